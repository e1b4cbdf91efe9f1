"""Spell topics and make ids from free text; nothing else in the project does.

Every topic is ``neuroone/v1/{site}/`` and one of the shapes of :data:`TOPICS`. An id is
``[A-Za-z0-9_-]{1,64}``: safe in a topic, in a file name and in an address.
"""

import hashlib
import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from neuroone.contract.errors import BadTopic
from neuroone.contract.messages import (
    Admission,
    GroupEvent,
    Health,
    LessonState,
    Message,
    RawBlock,
    Reading,
    Recorded,
    ServiceState,
    StreamState,
    Waiting,
)

ROOT: Final = "neuroone/v1"
ID_MAX_CHARS: Final = 64
"""Keeps a whole topic below 256 bytes, which every broker and every file system takes."""
HASH_CHARS: Final = 6
"""24 bits of SHA-256: among 1000 made ids of one slug, two meet with a chance of 3 %; of different slugs, never."""
TOPICS_MAX: Final = 20_000
"""Topics of readings and raw blocks that are parsed only once: the same few thousand come every second. About 10 MB."""
NO_GROUP: Final = "no-group"
"""The group of a source that named none."""
ALL: Final = "_all"
"""The group of events and lessons of everybody; no text is made into this id."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_ID = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class TopicRule:
    """One row of the topic table: the message that travels on a shape of topic, its owner, QoS and retain."""

    shape: str
    message: type[Message]
    owner: str
    qos: int
    retained: bool
    doc: str


READING: Final = TopicRule(
    "streams/{group}/{source}/reading",
    Reading,
    "serial_bridge or ws_gateway",
    qos=1,
    retained=False,
    doc="One reading, about 1 Hz.",
)
RAW: Final = TopicRule(
    "streams/{group}/{source}/raw",
    RawBlock,
    "serial_bridge or ws_gateway",
    qos=0,
    retained=False,
    doc="A block of raw samples, 8 a second.",
)
STREAM_STATE: Final = TopicRule(
    "streams/{group}/{source}/state",
    StreamState,
    "serial_bridge or ws_gateway",
    qos=1,
    retained=True,
    doc="Whether the source is there, who and what it is, its link and its counters.",
)
EVENT: Final = TopicRule(
    "groups/{group}/event",
    GroupEvent,
    "who sets the marker: ws_gateway, serial_bridge, monitor_gui, lsl_outlet",
    qos=1,
    retained=False,
    doc="A marker, or the start or the end of a lesson; of everybody where the group is `_all`.",
)
LESSON: Final = TopicRule(
    "groups/{group}/lesson",
    LessonState,
    "ws_gateway",
    qos=1,
    retained=True,
    doc="The lesson that runs; of everybody where the group is `_all`.",
)
SERVICE_STATE: Final = TopicRule(
    "services/{service}/{instance}/state",
    ServiceState,
    "each service; also its Last Will",
    qos=1,
    retained=True,
    doc="Whether a service is there.",
)
HEALTH: Final = TopicRule(
    "services/{service}/{instance}/health",
    Health,
    "each service",
    qos=0,
    retained=False,
    doc="Uptime, memory, counters and queue sizes, every 10 s.",
)
RECORDED: Final = TopicRule(
    "services/csv_recorder/{instance}/recorded",
    Recorded,
    "csv_recorder",
    qos=0,
    retained=False,
    doc="How far each stream is safe on disk; at most once a second.",
)
WAITING: Final = TopicRule(
    "services/ws_gateway/{instance}/waiting",
    Waiting,
    "ws_gateway",
    qos=0,
    retained=False,
    doc="Who waits at the door of this gateway: at changes, at most once a second, and every 5 s while anybody waits.",
)
ADMISSION: Final = TopicRule(
    "services/ws_gateway/{instance}/admission",
    Admission,
    "ws_gateway: the one that the teacher uses",
    qos=1,
    retained=False,
    doc="A teacher's decision about a student who waits at the door of this gateway.",
)
TOPICS: Final = (READING, RAW, STREAM_STATE, EVENT, LESSON, SERVICE_STATE, HEALTH, RECORDED, WAITING, ADMISSION)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart; ``str()`` puts it together again.

    ``ids`` holds the ids that the rule's shape names, in the shape's order.
    Raises BadTopic for an invalid id or for a wrong number of ids.
    """

    site: str
    rule: TopicRule
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.ids) != self.rule.shape.count("{"):
            raise BadTopic(f"{self.rule.shape} takes {self.rule.shape.count('{')} ids, got {len(self.ids)}")
        for text in (self.site, *self.ids):
            check_id(text)

    def __str__(self) -> str:
        shape = self.rule.shape
        return f"{ROOT}/{self.site}/{shape.format_map(dict(zip(_names(shape), self.ids, strict=True)))}"

    def __getitem__(self, name: str) -> str:
        """Return the id that the shape calls ``name``, as in ``topic["group"]``."""
        return self.ids[_names(self.rule.shape).index(name)]


def is_id(text: str) -> bool:
    """Return True if ``text`` can stand in a topic as it is."""
    return _ID.fullmatch(text) is not None


def check_id(text: str) -> str:
    """Return ``text`` if it is an id. Raises BadTopic."""
    if not is_id(text):
        raise BadTopic("an id is 1 to 64 of the characters A-Z a-z 0-9 _ -")
    return text


def id_from_text(text: str) -> str:
    """Make an id from any text, always the same from the same text.

    Text that already is an id stays, unless it is `ALL`. Anything else becomes an ASCII slug, ``-`` and six characters
    of the text's SHA-256, so that two names do not share an id ("José", "Jose" and "JOSÉ" differ).
    """
    if is_id(text) and text != ALL:
        return text
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    slug = _NOT_ID.sub("-", ascii_text).strip("-")[: ID_MAX_CHARS - HASH_CHARS - 1].rstrip("-") or "x"
    return with_hash(slug, text)


def with_hash(stem: str, text: str) -> str:
    """Add six hexadecimal digits of the text's SHA-256 to a stem that another text may have too."""
    return f"{stem}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:HASH_CHARS]}"


def group_id(code: str | None) -> str:
    """Return the group of a source whose class code (``Codigo`` in the first dialect) is ``code``."""
    return id_from_text(code) if code else NO_GROUP


def reading(site: str, group: str, source: str) -> Topic:
    """Return the topic of one source's readings."""
    return Topic(site, READING, (group, source))


def raw(site: str, group: str, source: str) -> Topic:
    """Return the topic of one source's raw blocks."""
    return Topic(site, RAW, (group, source))


def stream_state(site: str, group: str, source: str) -> Topic:
    """Return the topic of one source's retained state."""
    return Topic(site, STREAM_STATE, (group, source))


def event(site: str, group: str) -> Topic:
    """Return the topic of one group's events."""
    return Topic(site, EVENT, (group,))


def lesson(site: str, group: str) -> Topic:
    """Return the topic of the lesson that runs in one group, or of everybody."""
    return Topic(site, LESSON, (group,))


def service_state(site: str, service: str, instance: str) -> Topic:
    """Return the topic of one service's retained state and Last Will."""
    return Topic(site, SERVICE_STATE, (service, instance))


def health(site: str, service: str, instance: str) -> Topic:
    """Return the topic of one service's health."""
    return Topic(site, HEALTH, (service, instance))


def recorded(site: str, instance: str) -> Topic:
    """Return the topic of one recorder's receipts."""
    return Topic(site, RECORDED, (instance,))


def waiting(site: str, instance: str) -> Topic:
    """Return the topic of those who wait at the door of a gateway."""
    return Topic(site, WAITING, (instance,))


def admission(site: str, instance: str) -> Topic:
    """Return the topic of the decisions about those who wait at the door of a gateway."""
    return Topic(site, ADMISSION, (instance,))


def every(rule: TopicRule, site: str, **ids: str) -> str:
    """Return the filter for every topic of ``rule``, or for those with the ids that are given."""
    wanted = dict.fromkeys(_names(rule.shape), "+") | {name: check_id(text) for name, text in ids.items()}
    return f"{ROOT}/{check_id(site)}/{rule.shape.format_map(wanted)}"


def parse(topic: str) -> Topic:
    """Parse a topic. Raises BadTopic for one that is not of this contract."""
    # Other topics come once in a while: remembering them costs more memory than it saves time.
    return _parse_once(topic) if topic.endswith(("/reading", "/raw")) else _parse(topic)


def _parse(topic: str) -> Topic:
    for rule, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(topic):
            site, *ids = found.groups()
            return Topic(sys.intern(site), rule, tuple(ids))  # one text for all the topics of a site
    raise BadTopic("not a topic of this contract")


_parse_once = lru_cache(maxsize=TOPICS_MAX)(_parse)


@cache
def _names(shape: str) -> tuple[str, ...]:
    return tuple(part[1:-1] for part in shape.split("/") if part[0] == "{")


_PATTERNS: Final = {
    rule: re.compile(re.sub(r"\{\w+\}", f"({_ID.pattern})", f"{ROOT}/{{site}}/{rule.shape}")) for rule in TOPICS
}
