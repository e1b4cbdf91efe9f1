"""Write the tables of docs/scale.md from what bench/scale.py measured.

    python3 run.py exec python -m bench.scale_tables

A test fails when docs/scale.json and the documents disagree.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

from bench.scale_model import (
    NODES,
    TERMS,
    Layout,
    Point,
    Setup,
    Use,
    errors,
    fit,
    need,
    site,
)
from neuroone.up.brokers import MOSQUITTO, NATS

DOCS: Final = Path(__file__).parents[1] / "docs"
RESULTS: Final = DOCS / "scale.json"
DOCUMENTS: Final = {"en": DOCS / "scale.md", "pt": DOCS / "scale.pt-BR.md"}
NAMES: Final = {MOSQUITTO: "Mosquitto", NATS: "3 NATS"}
PARTS: Final = ("brokers", "recorders", "gateways")
SITES: Final = (1000, 3000, 6000, 10_000, 20_000)
SCHOOLS: Final = ((1, 500), (1, 2000), (50, 1000), (100, 1000), (1000, 1000))
"""Sites, and the students of each who send at the same time."""
HOUR_S: Final = 3600
STEADY: Final = ("process", "student", "client", "follower")
"""What costs each second; everything else costs each time."""
WORDS: Final = {
    "broker": "broker",
    "students": "alunos",
    "every": "a cada",
    "gateways": "gateways",
    "recorders": "gravadores",
    "dashboards": "painéis",
    "copies": "cópias",
    "sites": "escolas",
    "CPU: broker + recorders + gateways": "CPU: broker + gravadores + gateways",
    "memory": "memória",
    "written: recorders + broker": "gravado: gravadores + broker",
    "students ⇄ gateways": "alunos ⇄ gateways",
    "all ⇄ broker": "todos ⇄ broker",
    "between nodes": "entre nós",
    Use.FIT: "",
    Use.HELD_OUT: "fora do ajuste",
    Use.LIMIT: "máquina cheia, fora do ajuste",
    "does not count": "não vale",
    "quantity": "grandeza",
    "no": "não",
    "part": "parte",
    "cost of": "custo de",
    "cores": "núcleos",
    "brokers": "broker",
    Layout.SCHOOLS: "um Mosquitto em cada escola",
    Layout.SHARED: "em um só lugar, Mosquitto",
    Layout.CLUSTERS: "em um só lugar, clusters de NATS",
    "layout": "arranjo",
    "disks": "discos",
    "recordings": "gravações",
    "network": "rede",
    "cpu": "CPU",
    "written": "gravado",
    "in": "entrada",
    "out": "saída",
    "nodes": "entre nós",
    "process": "um processo",
    "student": "um aluno conectado",
    "known": "um aluno conhecido a um gateway",
    "reading": "uma leitura",
    "delivered": "uma leitura entregue pelo broker a um gateway",
    "shown": "uma leitura mostrada em um painel",
    "recorded": "uma leitura entregue a um gravador",
    "dropped": "uma leitura da parte de outro gravador",
    "appended": "um acréscimo a um arquivo",
    "opened": "um arquivo aberto de novo",
    "copied": "mais uma cópia de uma leitura",
    "client": "um gateway ou gravador conectado",
    "sent": "uma leitura entregue a um gateway ou gravador",
    "follower": "um nó que guarda mais uma cópia",
}
ENGLISH: Final = {
    "process": "a process",
    "student": "a connected student",
    "known": "a student known to a gateway",
    "reading": "a reading",
    "delivered": "a reading delivered by the broker to a gateway",
    "shown": "a reading shown on a dashboard",
    "recorded": "a reading delivered to a recorder",
    "dropped": "a reading of another recorder's shard",
    "appended": "an append to a file",
    "opened": "a file opened again",
    "copied": "one more copy of a reading",
    "client": "a connected gateway or recorder",
    "sent": "a reading delivered to a gateway or recorder",
    "follower": "a node that keeps one more copy",
    Use.LIMIT: "the machine is full, not fitted",
    "nodes": "between nodes",
    "brokers": "broker",
}


class Tables:
    """The tables of one document, in its language."""

    def __init__(self, points: Sequence[Point], language: str) -> None:
        self._points, self._model, self._language = points, fit(points), language

    def all(self) -> dict[str, str]:
        """Return each table by its name."""
        made = {
            "cost": self._cost(),
            "bytes": self._bytes(),
            "coefficients": self._coefficients(),
            "held out": self._held_out(),
            "one site": self._one_site(),
            "needs": self._needs(),
        }
        return {name: self._table(rows) for name, rows in made.items()}

    def _table(self, rows: Iterator[Sequence[str]]) -> str:
        head, *body = rows
        lines = [head, ["---"] * len(head), *body]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def _word(self, word: str) -> str:
        return WORDS[word] if self._language == "pt" else ENGLISH.get(word, word)

    def _number(self, value: float | None, digits: int = 3) -> str:
        """Write a number with so many digits that mean something."""
        if value is None:
            return "-"
        rounded = float(f"{value:.{digits}g}")
        text = f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:,.{digits}g}"
        return text.translate(str.maketrans(",.", ".,")) if self._language == "pt" else text

    def _sum(self, *values: float) -> str:
        return " + ".join(map(self._number, values))

    def _setup(self, setup: Setup) -> list[str]:
        copies = f", {setup.replicas} {self._word('copies')}" if (setup.broker, setup.replicas) == (NATS, 1) else ""
        period = "" if setup.period_s == 1 else f", {self._word('every')} {self._number(setup.period_s)} s"
        shown = "" if setup.dashboards == 1 else f", {setup.dashboards} {self._word('dashboards')}"
        students = f"{self._number(setup.students)}{period}{shown}"
        return [NAMES[setup.broker] + copies, students, str(setup.gateways), str(setup.recorders)]

    def _heads(self, *more: str) -> list[str]:
        return [self._word(each) for each in ("broker", "students", "gateways", "recorders", *more)]

    def _cost(self) -> Iterator[Sequence[str]]:
        yield [*self._heads("CPU: broker + recorders + gateways", "memory"), "p50 ms", "p99 ms", ""]
        for point in self._points:
            cpu, memory = (self._sum(*(point.values[f"{part} {of}"] for part in PARTS)) for of in ("cpu", "memory"))
            note = self._word("does not count") if point.faults else self._word(point.setup.use)
            latency = (self._number(point.latency_ms[each]) for each in ("p50", "p99"))
            yield [*self._setup(point.setup), cpu, memory, *latency, note]

    def _bytes(self) -> Iterator[Sequence[str]]:
        more = ("written: recorders + broker", "students ⇄ gateways", "all ⇄ broker", "between nodes")
        yield self._heads(*more)
        for values, setup in ((p.values, p.setup) for p in self._points if not p.faults):
            pairs = (
                ("recorders written", "brokers written"),
                *((f"{w} in", f"{w} out") for w in ("gateways", "brokers")),
            )
            yield [
                *self._setup(setup),
                *(self._sum(*(values[each] for each in pair)) for pair in pairs),
                self._number(values["nodes"]) if NODES[setup.broker] > 1 else "-",
            ]

    def _coefficients(self) -> Iterator[Sequence[str]]:
        yield [self._word("part"), self._word("cost of"), *NAMES.values()]
        for quantity, terms in TERMS.items():
            if quantity.endswith((" cpu", " memory", " written")):
                found = [self._model.coefficients.get((broker, quantity), {}) for broker in NODES]
                for term in terms:
                    factors = [each.get(term, 0.0) for each in found]
                    if any(factors):
                        costs = (self._cost_of(quantity, term, factor) for factor in factors)
                        yield [self._quantity(quantity), self._word(term), *costs]

    def _cost_of(self, quantity: str, term: str, factor: float) -> str:
        """Write a coefficient: what processes and students cost each second, and everything else each time."""
        if not factor:
            return "-"
        if quantity.endswith(" memory"):
            return (
                f"{self._number(factor)} MB"
                if term in STEADY and term != "student"
                else f"{self._number(factor * 1e3)} kB"
            )
        unit = "µs" if quantity.endswith(" cpu") else "B"
        return f"{self._number(factor)} {unit}{'/s' if term in STEADY else ''}"

    def _quantity(self, quantity: str) -> str:
        return ", ".join(map(self._word, quantity.split()))

    def _held_out(self) -> Iterator[Sequence[str]]:
        points = [point for point in self._points if point.setup.use is Use.HELD_OUT]
        yield [self._word("quantity"), *(self._words(point.setup) for point in points)]
        found = {(q, self._words(point.setup)): (m, p) for point, q, m, p in errors(self._model, points)}
        for quantity in TERMS:
            pairs = (found.get((quantity, self._words(point.setup))) for point in points)
            yield [self._quantity(quantity), *(self._compared(*pair) if pair else "-" for pair in pairs)]

    def _compared(self, measured: float, predicted: float) -> str:
        return f"{self._number(measured)} → {self._number(predicted)} ({predicted / measured - 1:+.0%})"

    def _words(self, setup: Setup) -> str:
        broker, students, gateways, recorders = self._setup(setup)
        words = (students, "students"), (gateways, "gateways"), (recorders, "recorders")
        return ", ".join([broker, *(f"{count} {self._word(word)}" for count, word in words)])

    def _one_site(self) -> Iterator[Sequence[str]]:
        yield [*self._heads(), self._word("cores")]
        for students in SITES:
            for broker in NODES:
                found = site(self._model, broker, students)
                if found is None:
                    yield [NAMES[broker], self._number(students), self._word("no"), self._word("no"), "-"]
                else:
                    layout = Layout.CLUSTERS if broker == NATS else Layout.SCHOOLS
                    wanted = need(self._model, self._points, layout, 1, students)
                    assert wanted is not None
                    yield [*self._setup(replace(found, dashboards=1)), self._number(wanted.cores, 2)]

    def _needs(self) -> Iterator[Sequence[str]]:
        words = ("layout", "gateways", "recorders", "brokers", "cores", "memory", "disks", "recordings", "network")
        yield [self._word("students"), *map(self._word, words)]
        kept = [p.values["readings.csv"] + p.values["{Nome}.csv"] for p in self._points if not p.faults]
        for (sites, students), layout in product(SCHOOLS, Layout):
            found = need(self._model, self._points, layout, sites, students)
            if found is not None and (sites > 1 or layout is Layout.SCHOOLS):
                yield [
                    self._number(students) if sites == 1 else f"{self._number(sites)} × {self._number(students)}",
                    self._word(layout),
                    *(self._number(each) for each in (found.gateways, found.recorders, found.brokers)),
                    self._number(found.cores, 2),
                    f"{self._number(found.memory_mb / 1e3, 2)} GB",
                    f"{self._number(found.written_bytes_s / 1e6, 2)} MB/s",
                    f"{self._number(sites * students * HOUR_S * sum(kept) / len(kept) / 1e9, 2)} GB/h",
                    f"{self._number(found.sent_bytes_s * 8 / 1e6, 2)} Mbit/s",
                ]


def load() -> list[Point]:
    """Return the points of docs/scale.json."""
    return [Point.from_json(each) for each in json.loads(RESULTS.read_text(encoding="utf-8"))["points"]]


def filled(text: str, tables: dict[str, str]) -> str:
    """Return a document with its tables: each stands between two comments with its name."""
    for name, table in tables.items():
        comment = f"<!-- {name} -->\n"
        before, _, after = text.split(comment)
        text = f"{before}{comment}\n{table}\n{comment}{after}"
    return text


if __name__ == "__main__":
    measured = load()
    for language, document in DOCUMENTS.items():
        before = document.read_text(encoding="utf-8")
        document.write_text(filled(before, Tables(measured, language).all()), encoding="utf-8")
