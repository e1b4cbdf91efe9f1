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
SENSORS = {"attention": "Attention", "meditation": "Meditation", "students": "Students"}


def state_topic(group: str) -> str:
    """Return where the state of a class is."""
    return f"neuroone-home/{group}/state"


def announcements(group: str) -> dict[str, dict[str, object]]:
    """Return the topic and payload that announce each sensor of a class."""
    device = {"identifiers": [f"neuroone_{group}"], "name": f"NeuroOne {group}"}
    shared = {"state_topic": state_topic(group), "expire_after": EXPIRE_AFTER_S, "state_class": "measurement"}
    return {
        f"homeassistant/sensor/neuroone_{group}/{key}/config": {
            "name": name,
            "unique_id": f"neuroone_{group}_{key}",
            "value_template": f"{{{{ value_json.{key} }}}}",  # null, if nobody's number means anything: "unknown"
            "device": device,
            "origin": {"name": "NeuroOne"},
            **shared,
        }
        for key, name in SENSORS.items()
    }


def main(broker: str, home_broker: str, codes: list[str]) -> None:
    """Announce the classes, and publish their means until the program is ended."""
    groups = {topics.group_id(code) for code in codes}
    home, address = Client(CallbackAPIVersion.VERSION2), urlsplit(home_broker)
    home.username_pw_set(address.username, address.password)

    def announce(*_: object) -> None:
        for group in groups:
            for topic, payload in announcements(group).items():
                home.publish(topic, json.dumps(payload), qos=1, retain=True)

    home.on_connect = announce
    home.connect(address.hostname or "localhost", address.port or 1883)
    home.loop_start()
    classes, due_s = Classes(), time.monotonic() + PERIOD_S
    with subscribe(broker, site=os.environ.get("NEUROONE_SITE", "local")) as readings:
        for each in readings:
            classes.add(each, time.monotonic())
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + PERIOD_S
                for group, summary in classes.summaries(time.monotonic()).items():
                    if group in groups:
                        home.publish(state_topic(group), json.dumps(asdict(summary)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
