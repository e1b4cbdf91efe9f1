"""Print the contract: write docs/contract.md and docs/asyncapi.yaml from the code.

    python3 run.py exec python -m docs.print_contract

A test fails when the files and the code disagree.
"""

import json
from pathlib import Path
from typing import Any

import yaml
from msgspec import inspect

from docs import message_schemas
from docs.message_schemas import schema_of
from neuroone import __version__
from neuroone.contract import topics
from neuroone.contract.checks import Message, fields_of, item_class_of
from neuroone.contract.json import PAYLOAD_MAX_BYTES
from neuroone.contract.messages import BANDS, ServiceStatus
from neuroone.contract.students import STEM_MAX_CHARS
from neuroone.contract.topics import TopicRule
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.students.stream_registry import FORGET_AFTER

DOCS = Path(__file__).parent
GOLDEN = DOCS.parent / "tests" / "golden"
GOLDEN_OF = {
    topics.READING: "reading",
    topics.RAW: "raw",
    topics.STREAM_STATE: "stream_state",
    topics.EVENT: "group_event",
    topics.LESSON: "lesson",
    topics.SERVICE_STATE: "service_state",
    topics.HEALTH: "health",
    topics.RECORDED: "recorded",
    topics.WAITING: "waiting",
    topics.ADMISSION: "admission",
}

DIALECTS = {
    "neuroone_v1": (
        message_schemas.V1_FROM_CLIENT,
        message_schemas.V1_TO_CLIENT,
        SUBPROTOCOL,
        "The dialect neuroone.v1, on any path, for clients that offer the subprotocol. hello comes first.",
    ),
    "first_dialect": (
        message_schemas.FIRST_FROM_CLIENT,
        message_schemas.FIRST_TO_CLIENT,
        "",
        "The first dialect, on any path: students send readings; a client that sends dash receives those of every "
        "student; a client that sends nothing receives those of the headset at a serial port.",
    ),
}
"""What clients send and receive, the subprotocol and the description of each WebSocket dialect."""

INTRODUCTION = f"""\
<!-- Printed from the code by docs/print_contract.py: change neuroone/contract, then print again. -->
# The contract, version 1

What travels between NeuroOne's services, and to anyone who subscribes. `docs/asyncapi.yaml` says the same for
programs.

- **Topics** begin with `{topics.ROOT}/{{site}}/`. `site`, `group`, `source`, `service` and `instance` are ids: 1 to
  {topics.ID_MAX_CHARS} of the characters `A-Z a-z 0-9 _ -`. Ids are made from free text by one rule: text that is an id
  stays as it is; other text becomes an ASCII slug, `-` and {topics.HASH_CHARS} hexadecimal digits of the text's SHA-256
  (`João Silva` is `{topics.id_from_text("João Silva")}`). A source without a code is in the group `{topics.NO_GROUP}`.
- **The group `{topics.ALL}` is everybody**: it has events and lessons, and no sources. The text `{topics.ALL}` is made
  into another id.
- **A lesson** runs from a `session_start` to the next `session_stop` of its group, and takes in whoever is there or
  comes while it runs. For a group with a lesson of its own that one counts, and not the one of `{topics.ALL}`. A
  `session_start` with another name ends the lesson that runs and begins the next; with the same name the lesson goes
  on. Every gateway hears these events, whoever sends them, and publishes the retained [LessonState](#lessonstate).
- **The door of a lesson** is `open`, `ask` or `closed` in its state. A newcomer to a door that asks is in the
  [Waiting](#waiting) list of one gateway until an [Admission](#admission) there decides; no other topic has anything of
  that student before. Of two states of one lesson that with the higher `revision` counts. No address of anybody is on
  the broker.
- **Payloads** are JSON objects in UTF-8 of at most {PAYLOAD_MAX_BYTES // 1024} KiB. Unknown keys are to be
  ignored: later versions may add some. A field whose type is "or null" is always there.
- **Everything that matters is in the payload**, not in MQTT 5 properties: MQTT 3.1.1 is enough.
- **QoS 1 delivers at least once.** Two messages with the same `session` and `seq` on one topic are the same
  message. A jump of `seq` is a gap. A new `session` starts at 0.
- **Only state is retained.** A retained state is the present one; a reading that you receive has just happened. The
  same state may come several times: each is published again 12 s later, and when its service connects again.
  An empty payload on a state's topic removes the state: a gateway does so when a student has been gone for
  {FORGET_AFTER.total_seconds() / 3600:g} hours, because the state holds a child's name,
  and `csv-recorder forget --broker` at once.
- **A number is to be trusted only as far as `poor_signal` says.** eSense (`attention`, `meditation`) is valid only
  while `poor_signal` is 0; an eSense of 0 means "not computed". Neither a frozen nor a missing value may enter an
  average. `poor_signal` null: the source does not say.
- **Band powers** (`{BANDS[0]}` to `{BANDS[-1]}`) have no physical unit: compare a source with itself only.
- **Who is there:** a stream is there while its state is not `offline` *and* the service that owns it (`service`,
  `instance` in the state) says `{ServiceStatus.ONLINE}`. A run of a service has a random id (`run`, absent in states
  of older versions): compare it for equality only. `epoch` is for information: the clocks of two computers differ.
- **Recorders that share the work** say in states and receipts which `shard` of how many `shards` they record. A stream
  is of shard 1 + SHA-256(`{{group}}/{{stem}}`) mod `shards`, where the first four bytes of the hash are a big-endian
  number, and the stem is the source without the numbers at its end (`-2`, as namesakes have), at most {STEM_MAX_CHARS}
  characters: of 3 shards, `ABC123/Joao_Silva` and `ABC123/Joao_Silva-2` are of 1 and `no-group/usb-0` of 3. Events and
  lessons are recorded by all.

## Topics

| topic under `{topics.ROOT}/{{site}}/` | message | owner | QoS | retained | |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """Return the text of docs/contract.md."""
    parts = [INTRODUCTION]
    for rule in topics.TOPICS:
        name = rule.message.__name__
        link = f"[{name}](#{name.lower()})"
        retained = "yes" if rule.retained else "no"
        parts.append(f"| `{rule.shape}` | {link} | {rule.owner} | {rule.qos} | {retained} | {rule.doc} |\n")
    parts.append("\n## Messages\n")
    for rule in topics.TOPICS:
        parts.append(f"\n### {rule.message.__name__}\n\n{_first_line(rule.message)}\n\n{_table(rule.message)}")
        for field in fields_of(rule.message).values():
            if (item_class := item_class_of(field)) is not None:
                parts.append(f"\nEach of them:\n\n{_table(item_class)}")
        parts.append(f"\n```json\n{_golden(rule)}```\n")
    return "".join(parts)


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document."""
    channels = {}
    operations = {}
    messages = {}
    for rule in topics.TOPICS:
        key = GOLDEN_OF[rule]
        messages[key] = {
            "name": rule.message.__name__,
            "summary": _first_line(rule.message),
            "contentType": "application/json",
            "payload": schema_of(rule.message),
            "bindings": {"mqtt": {"payloadFormatIndicator": 1, "contentType": "application/json"}},
        }
        names = ["site", *(part[1:-1] for part in rule.shape.split("/") if part.startswith("{"))]
        channels[key] = {
            "address": f"{topics.ROOT}/{{site}}/{rule.shape}",
            "description": f"{rule.doc} Owner: {rule.owner}.",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
            "messages": {key: {"$ref": f"#/components/messages/{key}"}},
        }
        operations[f"receive_{key}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{key}"},
            "summary": rule.doc,
            "bindings": {"mqtt": {"qos": rule.qos, "retain": rule.retained}},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "NeuroOne",
            "version": __version__,
            "description": "EEG headsets of classrooms and laboratories, on MQTT and over WebSocket. docs/contract.md "
            "and docs/websocket.md say it in prose. The operations are those of a third party that subscribes, and of "
            "clients.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "localhost:1883",
                "protocol": "mqtt",
                "description": "MQTT 5 or 3.1.1.",
                "bindings": {"mqtt": {"cleanSession": True, "keepAlive": 20}},
            },
            "gateway": {
                "host": "localhost:8080",
                "protocol": "ws",
                "description": "Students, dashboards and games. Behind a reverse proxy also wss.",
            },
        },
        "channels": channels | {key: _websocket_channel(key) for key in DIALECTS},
        "operations": operations | _websocket_operations(),
        "components": {
            "parameters": {
                "site": {"description": "Id of the school or laboratory.", "default": "local"},
                "group": {"description": "Id of the class or session, made from its code."},
                "source": {"description": "Id of one headset or student in the group."},
                "service": {"description": "serial_bridge, ws_gateway, csv_recorder or monitor_gui."},
                "instance": {"description": "Id of one copy of the service."},
            },
            "messages": messages,
        },
    }


def _websocket_channel(key: str) -> dict[str, Any]:
    said, heard, protocol, words = DIALECTS[key]
    messages = {
        f"{way}_{name}": {"name": name, "contentType": "application/json", "payload": schema}
        for way, schemas in (("said", said), ("heard", heard))
        for name, schema in schemas.items()
    }
    if "dash" in said:
        messages["said_dash"]["contentType"] = "text/plain"
    headers = {"type": "object", "required": ["Sec-WebSocket-Protocol"]}
    headers["properties"] = {"Sec-WebSocket-Protocol": {"const": protocol}}
    parameters: dict[str, Any] = {"token": {"type": "string", "description": "Where one is wanted."}}
    if not protocol:
        parameters["follow"] = {"type": "string", "description": "CODE or CODE/Name of a student; then send nothing."}
        parameters["doubtful"] = {"enum": ["yes", "no"], "description": "Whether to get what means nothing too."}
    query = {"type": "object", "properties": parameters}
    return {
        "address": "/",
        "description": words,
        "servers": [{"$ref": "#/servers/gateway"}],
        "messages": messages,
        "bindings": {"ws": {"method": "GET", "query": query, **({"headers": headers} if protocol else {})}},
    }


def _websocket_operations() -> dict[str, Any]:
    operations = {}
    for key, (said, heard, *_) in DIALECTS.items():
        for action, way, names in (("send", "said", said), ("receive", "heard", heard)):
            operations[f"{action}_{key}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{key}"},
                "summary": f"What clients {action}.",
                "messages": [{"$ref": f"#/channels/{key}/messages/{way}_{name}"} for name in names],
            }
    return operations


def asyncapi_text() -> str:
    """Return the text of docs/asyncapi.yaml."""
    head = "# Printed from the code by docs/print_contract.py: change neuroone/contract, then print again.\n"
    plain = json.loads(json.dumps(asyncapi()))  # nothing is shared: YAML would print anchors
    return head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)


def _table(message: type[Message]) -> str:
    rows = ["| field | type | unit | |\n|---|---|---|---|\n"]
    for name, field in fields_of(message).items():
        words = _type(field.type) + (" or null" if field.optional else "")
        rows.append(f"| `{name}` | {words} | {field.unit} | {field.doc} |\n")
    return "".join(rows)


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType(ge=low, le=high):
            return f"whole number, {low} to {high}"
        case inspect.BoolType():
            return "true or false"
        case inspect.UnionType():
            return "number, at least 0"
        case inspect.StrType(min_length=low, max_length=high):
            return f"text, {low or 0} to {high} characters"
        case inspect.EnumType(cls=of):
            return "one of " + ", ".join(f"`{member}`" for member in of)
        case inspect.DateTimeType():
            return "UTC time, `2026-11-22T18:20:31.123456Z`"
        case inspect.VarTupleType(item_type=inspect.IntType(ge=low, le=high), max_length=most):
            return f"list of 1 to {most} whole numbers, {low} to {high}"
        case inspect.DictType(max_length=most):
            return f"object of at most {most} numbers"
        case inspect.VarTupleType(max_length=most):
            return f"list of at most {most} objects"
    raise TypeError(f"no words for {kind}")


def _first_line(message: Any) -> str:
    return str(message.__doc__).splitlines()[0]


def _golden(rule: TopicRule) -> str:
    return (GOLDEN / f"{GOLDEN_OF[rule]}.json").read_text(encoding="utf-8")


if __name__ == "__main__":
    (DOCS / "contract.md").write_text(markdown(), encoding="utf-8")
    (DOCS / "asyncapi.yaml").write_text(asyncapi_text(), encoding="utf-8")
