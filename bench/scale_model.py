"""The model of what students cost: fitted to the points of bench/scale.py, and what it says of more students."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from math import ceil
from typing import Any, Final

import numpy as np
from scipy.optimize import nnls

from csv_recorder.live.output import HANDLES_MAX
from csv_recorder.live.recorder import TURN_MAX_S, TURN_MIN_S, TURN_OF_SESSION_S
from neuroone.contract.topics import TOPICS_MAX
from neuroone.up.brokers import MOSQUITTO, NATS
from ws_gateway.dashboards import STREAMS_MAX

WITHIN: Final = 0.25
"""How near the model must come to points that it was not fitted to."""
NODES: Final = {MOSQUITTO: 1, NATS: 3}
FILES: Final = 2
"""Files of each student that a recorder appends to."""


class Use(StrEnum):
    """What a point is for: the model is fitted to it, or held against it, or it shows where this machine is full."""

    FIT = ""
    HELD_OUT = "held out"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a point runs. Each student sends once in ``period_s``."""

    broker: str
    students: int
    gateways: int = 1
    recorders: int = 1
    dashboards: int = 1
    period_s: float = 1.0
    replicas: int = 3
    use: Use = Use.FIT

    @property
    def rate(self) -> float:
        """Readings a second."""
        return self.students / self.period_s

    @property
    def delivered(self) -> int:
        """How many gateways the broker delivers each reading to: with MQTT 3.1.1 also to the one that sent it."""
        return self.gateways - (self.broker == MOSQUITTO)

    @property
    def appended(self) -> float:
        """Appends to files a second: a recorder writes once in a turn, which depends on its students."""
        own = self.students / self.recorders
        turn_s = min(TURN_MAX_S, max(TURN_MIN_S, own * TURN_OF_SESSION_S))
        return FILES * self.students / max(turn_s, self.period_s)

    @property
    def opened(self) -> float:
        """Files opened a second: all of them where a recorder has more than it keeps open."""
        return self.appended if FILES * self.students / self.recorders > HANDLES_MAX else 0.0

    def words(self) -> str:
        """Name the point."""
        words = f"{self.broker:9} {self.students:5} students, {self.gateways} gateways, {self.recorders} recorders"
        words += f", {self.dashboards} dashboards" if self.dashboards != 1 else ""
        words += f", every {self.period_s:g} s" if self.period_s != 1 else ""
        return words + (f", {self.replicas} copies" if self.broker == NATS and self.replicas != 3 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was measured. ``values`` are by quantity; a point with ``faults`` counts for nothing."""

    setup: Setup
    values: dict[str, float]
    latency_ms: dict[str, float | None]
    faults: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON takes it, with three digits of each value."""
        chosen = {
            f.name: getattr(self.setup, f.name) for f in fields(Setup) if getattr(self.setup, f.name) != f.default
        }
        digits = [{k: v and float(f"{v:.3g}") for k, v in each.items()} for each in (self.values, self.latency_ms)]
        return {"setup": chosen, "values": digits[0], "latency_ms": digits[1], "faults": self.faults}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Point":
        """Return the point that `as_json` wrote."""
        setup = {**given["setup"], "use": Use(given["setup"].get("use", ""))}
        return cls(**{**given, "setup": Setup(**setup)})


Feature = Callable[[Setup], float]
Terms = dict[str, Feature]

PROCESSES: Final[dict[str, Feature]] = {
    "gateways": lambda s: s.gateways,
    "recorders": lambda s: s.recorders,
    "brokers": lambda s: NODES[s.broker],
}
READING: Final[Terms] = {"reading": lambda s: s.rate}
STUDENT: Final[Terms] = {"student": lambda s: s.students}
KNOWN: Final[Terms] = {"known": lambda s: s.students * s.gateways}
DELIVERED: Final[Terms] = {"delivered": lambda s: s.rate * s.delivered}
SHOWN: Final[Terms] = {"shown": lambda s: s.rate * s.dashboards}
CLIENT: Final[Terms] = {"client": lambda s: s.gateways + s.recorders}
SENT: Final[Terms] = {"sent": lambda s: s.rate * (s.delivered + s.recorders)}
FOLLOWER: Final[Terms] = {"follower": lambda s: s.replicas - 1 if s.broker == NATS else 0.0}
RECORDED: Final[Terms] = {"recorded": lambda s: s.rate * s.recorders}
DROPPED: Final[Terms] = {"dropped": lambda s: s.rate * (s.recorders - 1)}
APPENDED: Final[Terms] = {"appended": lambda s: s.appended}
OPENED: Final[Terms] = {"opened": lambda s: s.opened}
COPIED: Final[Terms] = {"copied": lambda s: s.rate * (s.replicas - 1) if s.broker == NATS else 0.0}


def _process(part: str) -> Terms:
    return {"process": PROCESSES[part]}


TERMS: Final[dict[str, Terms]] = {
    "gateways cpu": _process("gateways") | STUDENT | READING | DELIVERED | SHOWN,
    "recorders cpu": _process("recorders") | READING | DROPPED | APPENDED | OPENED,
    "brokers cpu": _process("brokers") | CLIENT | READING | SENT | FOLLOWER,
    "gateways memory": _process("gateways") | STUDENT | KNOWN,
    "recorders memory": _process("recorders") | STUDENT | READING,
    "brokers memory": _process("brokers") | CLIENT | READING | FOLLOWER,
    "recorders written": _process("recorders") | STUDENT | READING,
    "brokers written": _process("brokers") | CLIENT | STUDENT | SENT | COPIED,
    "gateways in": READING | STUDENT,
    "gateways out": READING | SHOWN,
    "brokers in": READING | RECORDED,
    "brokers out": READING | DELIVERED | RECORDED,
    "nodes": READING | DELIVERED | RECORDED | COPIED,
}
"""What each quantity consists of: us of CPU a second, MB of memory, bytes a second written and sent."""
BY_BROKER: Final = ("brokers", "nodes")
"""Quantities of these are fitted for each kind of broker by itself."""
OF_BROKERS: Final = ("process", "follower")
"""Terms of a broker, or a cluster, that has many sites; all others are the sites'."""


@dataclass(frozen=True, slots=True)
class Model:
    """Coefficients of each quantity, for each kind of broker."""

    coefficients: Mapping[tuple[str, str], Mapping[str, float]]

    def total(self, quantity: str, setup: Setup) -> float:
        """Return a quantity a second, or in MB."""
        given = self.coefficients[setup.broker, quantity]
        return sum(factor * TERMS[quantity][term](setup) for term, factor in given.items())

    def value(self, quantity: str, setup: Setup) -> float:
        """Return a quantity as points have it: a reading, or in MB."""
        return self.total(quantity, setup) / _scale(quantity, setup)


def fit(points: Iterable[Point]) -> Model:
    """Fit each quantity to the points that are not held out, by least squares of the relative errors."""
    found: dict[tuple[str, str], Mapping[str, float]] = {}
    used = [each for each in points if not each.faults and each.setup.use is Use.FIT]
    for quantity, terms in TERMS.items():
        for broker in NODES:
            chosen = [p for p in used if p.setup.broker == broker or not quantity.startswith(BY_BROKER)]
            chosen = [p for p in chosen if p.values.get(quantity)]
            if chosen:
                found[broker, quantity] = _fit(quantity, terms, chosen)
    return Model(found)


def _fit(quantity: str, terms: Terms, points: Sequence[Point]) -> dict[str, float]:
    measured = np.array([p.values[quantity] * _scale(quantity, p.setup) for p in points])
    features = np.array([[feature(p.setup) for feature in terms.values()] for p in points])
    factors, _ = nnls(features / measured[:, None], np.ones(len(points)))
    return dict(zip(terms, factors.tolist(), strict=True))


def _scale(quantity: str, setup: Setup) -> float:
    return 1.0 if quantity.endswith(" memory") else setup.rate


def errors(model: Model, points: Iterable[Point]) -> Iterator[tuple[Point, str, float, float]]:
    """Yield what was measured and what the model says, of the points that were held out."""
    for point in (each for each in points if not each.faults):
        for quantity, measured in point.values.items():
            if quantity in TERMS and point.setup.use is Use.HELD_OUT and measured:
                yield point, quantity, measured, model.value(quantity, point.setup)


BUSY_MAX: Final = 0.6
"""Of a core: what a process that runs in one thread is planned with, so that bursts and faults have room."""
PROCESSES_MAX: Final = 64
SITE_MAX: Final = min(STREAMS_MAX, TOPICS_MAX)
"""Students of a site whose last readings a gateway keeps, and whose topics it parses only once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What students need: processes, cores at `BUSY_MAX`, memory, bytes a second to disks and over the network."""

    gateways: int
    recorders: int
    brokers: int
    cores: float
    memory_mb: float
    written_bytes_s: float
    sent_bytes_s: float


def site(model: Model, broker: str, students: int) -> Setup | None:
    """Return the fewest gateways and recorders for one site, none of them too busy; None where no number is enough.

    Each gateway has a dashboard that shows every student.
    """
    counts = range(1, PROCESSES_MAX + 1)
    setups = [Setup(broker=broker, students=students, gateways=count, dashboards=count) for count in counts]
    enough = next((each for each in setups if _load(model, "gateways", each) <= BUSY_MAX), None)
    if enough is None or students > SITE_MAX or (broker == MOSQUITTO and _load(model, "brokers", enough) > BUSY_MAX):
        return None
    setups = [replace(enough, recorders=count) for count in counts]
    return next((each for each in setups if _load(model, "recorders", each) <= BUSY_MAX), None)


def _load(model: Model, part: str, setup: Setup) -> float:
    """Return the part of a core that each process of a kind needs."""
    return model.total(f"{part} cpu", setup) / PROCESSES[part](setup) / 1e6


def busiest_share(points: Iterable[Point]) -> float:
    """Return the part of a cluster's CPU that its busiest node needs, where the most readings were fitted."""
    chosen = (p for p in points if p.setup.broker == NATS and p.setup.use is Use.FIT and not p.faults)
    largest = max(chosen, key=lambda p: p.setup.rate)
    return largest.values["busiest broker cpu"] / largest.values["brokers cpu"]


class Layout(StrEnum):
    """Where the brokers of many sites are."""

    SCHOOLS = "a Mosquitto in each school"
    SHARED = "in one place, Mosquitto"
    CLUSTERS = "in one place, clusters of NATS"


def need(model: Model, points: Iterable[Point], layout: Layout, sites: int, students: int) -> Need | None:
    """Return what so many sites of so many students need.

    NATS keeps the messages of all sites of a cluster in one stream, which one node leads: that node is planned like a
    process that runs in one thread.
    """
    kind = NATS if layout is Layout.CLUSTERS else MOSQUITTO
    each, known = site(model, kind, students), model.coefficients
    if each is None:
        return None

    def shared(quantity: str, count: int) -> float:
        """Return a quantity of so many brokers, or clusters of them, that have all sites."""
        factors = known[kind, quantity]
        own = sum(factors[term] * TERMS[quantity][term](each) for term in OF_BROKERS if term in factors)
        return sites * (model.total(quantity, each) - own) + count * own

    share = busiest_share(points) if layout is Layout.CLUSTERS else 1.0
    of_sites = shared("brokers cpu", 0)
    of_one = shared("brokers cpu", 1) - of_sites
    count = sites if layout is Layout.SCHOOLS else ceil(of_sites * share / (BUSY_MAX * 1e6 - of_one * share))

    def sum_of(ending: str) -> float:
        chosen = (quantity for quantity in TERMS if quantity.endswith(ending) and (kind, quantity) in known)
        return sum(shared(q, count) if q.startswith("brokers") else sites * model.total(q, each) for q in chosen)

    return Need(
        gateways=sites * each.gateways,
        recorders=sites * each.recorders,
        brokers=count * NODES[kind],
        cores=sum_of(" cpu") / 1e6 / BUSY_MAX,
        memory_mb=sum_of(" memory"),
        written_bytes_s=sum_of(" written"),
        sent_bytes_s=sum_of(" in") + sum_of(" out") + sum_of("nodes"),
    )
