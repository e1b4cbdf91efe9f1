"""The environment variables that programs of NeuroOne read, and those that look like one and are read by none.

All programs of a server share their variables (``/etc/neuroone/neuroone.env``, ``.env``, a shell), so each one knows
those of the others too: only a name that nobody reads is a mistake.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Final

ENV_PREFIX: Final = "NEUROONE_"
STATUS_DIR: Final = "STATUS_DIR"
"""Set where services are started: see `neuroone.service.run_record`."""
KNOWN: Final = frozenset(
    f"""
    ACCESS_LOG AFTER BAUD BRIDGE_METRICS_PORT BRIDGE_RAW BROKER BROKER_CA BROKER_DATA BROKER_PROGRAM BROKER_SHUFFLE
    CADDY_IMAGE CLIENTS_PER_ADDRESS CODE COMPARE CSV DAMAGE DATA DIR DISTRICT DISTRICT_CA DOMAIN FILE
    FORWARD_METRICS_PORT GRAFANA_IMAGE GRAFANA_PORT GUI HEADSET HEADSETS HEADSET_ID HEALTH_FILE HOST HTTPS_PORT
    HTTP_PORT INSTANCE JOIN_CODES JSON KEEP_DAYS LANGUAGE LINK LOG_LEVEL LOOP LSL MARKERS MARKERS_TO METRICS_HOST
    METRICS_PORT MODE MOSQUITTO_IMAGE MQTT_ADDRESS MQTT_HOST MQTT_PORT MQTT_WS_PORT NAME OPEN_DASHBOARDS OPEN_HERE
    ORIGIN OSC OWNER PAGE PLAY PORT PROMETHEUS_IMAGE PSEUDONYMS PUBLIC_URL PYTHON_IMAGE RAW READING_RATE RECORD
    RECORDINGS REGISTRY ROTATE_H ROTATE_MB RUNNER SCENARIO SCREENSHOT SECONDS SEED SERIAL_GROUP SHARD SHOW SIM_NAME SITE
    SITES SITE_KEY SITE_LOGIN SOURCE SPEED SPOOL SPOOL_MB START {STATUS_DIR} STREAM TAG TCP TGC THEME TIMEZONE TLS
    TLS_CA TLS_CERT TLS_KEY TLS_PORT TOKEN TOKEN_FILE TRUSTED_PROXIES WATCHDOG_S WITH_RAW WS_CA WS_PORT WS_URL

    STOP_ON_EOF HTTPS_SUFFIX STREAM_BUFFER
    CAPTURES CLOCK SHIM_GRAVES SHIM_LOG SHIM_ROOT SHIM_RULES TEST_DEBIAN TEST_PACKAGING
    """.split()
)
"""The settings of all programs and of compose.yaml; then what programs tell each other; then what tests read."""
SAME_WORD: Final = 0.9
"""How alike (difflib's ratio) a name that does not begin as ours do must be to one of ours: it misses one letter or has
one too many. Other programs' variables, like NEURON_HOME, are less alike."""


def unknown(environ: Mapping[str, str], known: Collection[str] = KNOWN) -> dict[str, str]:
    """Return each variable that looks like a setting and is none, with the setting that is nearest or an empty text."""
    ours = {ENV_PREFIX + each for each in known}
    found = {}
    for name in sorted(set(environ) - ours):
        if name.startswith(ENV_PREFIX):
            near = difflib.get_close_matches(name.removeprefix(ENV_PREFIX).upper(), known, n=1)
            found[utf_8(name)] = ENV_PREFIX + near[0] if near else ""
        elif name[0].upper() == ENV_PREFIX[0] and (
            near := difflib.get_close_matches(name.upper(), ours, n=1, cutoff=SAME_WORD)
        ):
            found[utf_8(name)] = near[0]
    return found


def utf_8(text: str) -> str:
    """Replace what the system could not read of a name, and what no terminal and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def sentences(unknown: Mapping[str, str], of: str) -> list[str]:
    """Return a sentence for each variable that is no setting of ``of``."""
    return [
        f"{name} is no setting of {of} and changes nothing{f': {near}?' if near else '.'}"
        for name, near in unknown.items()
    ]
