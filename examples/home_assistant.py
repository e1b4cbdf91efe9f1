"""Show classes in Home Assistant, by MQTT discovery: python home_assistant.py BROKER HOME_BROKER CODE...

BROKER is NeuroOne's (a login that reads is enough), HOME_BROKER that of Home Assistant. Each CODE becomes a device with
the mean attention and meditation and the number of students; no name is sent (docs/how-to/examples.md).
"""

import json
import os
import sys
import time
from dataclasses import asdict
from urllib.parse import urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from neuroone.client import subscribe
from neuroone.client.classes import Classes
from neuroone.contract import topics

PERIOD_S = 5.0
EXPIRE_AFTER_S = 15  # Home Assistant then shows "unavailable": nobody of the class is there, or this program is away
STATE = "neuroone-home/{}/state"


def announcement(group: str, key: str) -> dict[str, object]:
    """Return what tells Home Assistant of one sensor of a class."""
    return {
        "name": key.title(),
        "unique_id": f"neuroone_{group}_{key}",
        "device": {"identifiers": [f"neuroone_{group}"], "name": f"NeuroOne {group}"},
        "origin": {"name": "NeuroOne"},
        "state_topic": STATE.format(group),
        "state_class": "measurement",
        "value_template": f"{{{{ value_json.{key} }}}}",  # null, if nobody's number means anything: "unknown"
        "expire_after": EXPIRE_AFTER_S,
    }


def main(broker: str, home_broker: str, codes: list[str]) -> None:
    """Announce the classes, and publish their means until the program is ended."""
    groups = {topics.group_id(code) for code in codes}
    home, address = Client(CallbackAPIVersion.VERSION2), urlsplit(home_broker)

    def announce(*_: object) -> None:
        for group, key in ((group, key) for group in groups for key in ("attention", "meditation", "students")):
            topic = f"homeassistant/sensor/neuroone_{group}/{key}/config"
            home.publish(topic, json.dumps(announcement(group, key)), qos=1, retain=True)

    home.on_connect = announce
    home.username_pw_set(address.username, address.password)
    home.connect(address.hostname or "localhost", address.port or 1883)
    home.loop_start()
    classes, due_s = Classes(), time.monotonic() + PERIOD_S
    with subscribe(broker, site=os.environ.get("NEUROONE_SITE", "local")) as readings:
        for each in readings:
            classes.add(each, now_s := time.monotonic())
            if now_s >= due_s:
                due_s = now_s + PERIOD_S
                for group, summary in classes.summaries(now_s).items():
                    if group in groups:
                        home.publish(STATE.format(group), json.dumps(asdict(summary)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
