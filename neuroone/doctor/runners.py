"""What starts and restarts the services of this machine, how it is commanded, and which of its services die.

Docker, systemd and supervisor are asked where they can be. In a container they cannot: there the services' own records
are read (`neuroone.service.run_record`).
"""

import itertools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from neuroone.doctor.checks import Finding
from neuroone.service.run_record import Record, Run

PROJECT: Final = "neuroone"
"""The name of the compose project, and the prefix of the units of systemd and supervisor."""
TAIL_LINES: Final = 3
RESTARTS_MAX: Final = 2
"""An update and a reboot restart a service once each; more restarts are a fault."""
RECENT_S: Final = 3600.0
"""Restarts within the last hour are a loop. Those before are over: an update, a visit of the technician."""
DAY_S: Final = 24 * 3600.0
"""What killed a service today may do it again."""
LOG_BYTES: Final = 100_000
"""The end of supervisor's log: an hour of four services that die every ten seconds."""
PROPERTIES: Final = (
    *("Id", "LoadState", "ActiveState", "NRestarts", "Result", "ExecMainStatus"),
    *("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"),
)
"""What systemd is asked of a unit. The times are in us since the machine's start."""
Ask = Callable[[Sequence[str]], str]
"""Run a command and return its output; an empty text if it cannot be run."""


class Runner(StrEnum):
    """What starts the services again when they end."""

    COMPOSE = "compose"
    SYSTEMD = "systemd"
    SUPERVISOR = "supervisor"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands of a runner. ``{container}`` and ``{unit}`` stand for a service."""

    start: str
    log: str
    login: str
    own: str
    settings: str


ON_SERVER: Final = "sudo /opt/neuroone/current/bin/neuroone doctor --broker file:/etc/neuroone/doctor.url"
OWN: Final = "sudo chown -Rh {user}: {dir}"
ENV_FILE: Final = "/etc/neuroone/neuroone.env"
COMMANDS: Final[Mapping[Runner, Commands]] = {
    Runner.COMPOSE: Commands(
        "docker compose up -d {container}",
        "docker compose logs --tail 50 {container}",
        "docker compose run --rm doctor",
        "docker compose run --rm --no-deps --user 0:0 --cap-add CHOWN --cap-add DAC_READ_SEARCH "
        "--entrypoint chown csv_recorder -Rh 10001:10001 /data",
        ".env",
    ),
    Runner.SYSTEMD: Commands(
        "sudo systemctl start {unit}", "sudo journalctl -n 50 -u {unit}", ON_SERVER, OWN, ENV_FILE
    ),
    Runner.SUPERVISOR: Commands(
        "sudo supervisorctl start {unit}", "sudo supervisorctl tail -5000 {unit}", ON_SERVER, OWN, ENV_FILE
    ),
    Runner.UP: Commands("neuroone up", "", "neuroone doctor --broker mqtt://USER:PASSWORD@HOST", OWN, ""),
}
NAMES: Final = (
    ("mosquitto", "neuroone-broker"),
    ("csv_recorder", "neuroone-recorder"),
    ("ws_gateway", "neuroone-gateway"),
    ("serial_bridge", "neuroone-bridge"),
)
"""Each service as a container and as a unit."""
OF_CHECKS: Final = {"broker": "mosquitto", "websocket": "ws_gateway"}
"""The service that a check is about if its finding names none; the others are about the recorder."""
USERS: Final[Mapping[str, str]] = {
    "ws_gateway.url": "neuroone-gateway",
    "dashboard-token": "neuroone-gateway",
    "csv_recorder.url": "neuroone-recorder",
    "serial_bridge.url": "neuroone-bridge",
    "forwarder.url": "neuroone-bridge",
    "district.url": "neuroone-bridge",
    "broker/passwords": "mosquitto",
    "broker/acl": "mosquitto",
}
"""Who must read each file of /etc/neuroone."""
SERVICES: Final = ("csv-recorder", "ws-gateway", "serial-bridge", "monitor-gui", "lsl-outlet")
PROGRAMS: Final = (*SERVICES, "neuroone", "mosquitto", "nats-server")
"""Our programs and the brokers, as the kernel names them."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A service as what restarts it knows it. ``restarts`` are recent ones, ``tail`` is the end of its log."""

    name: str
    running: bool
    restarts: int
    out_of_memory: bool
    exit_code: int
    tail: str = ""


def judge(found: Sequence[Unit], *, is_closed: bool = False) -> list[Finding]:
    """Check whether services die. ``is_closed``: this user may not ask what restarts them."""
    findings = []
    for unit in found:
        facts = {"service": unit.name, "restarts": str(unit.restarts), "code": str(unit.exit_code), "tail": unit.tail}
        code = "unit_ok"
        if unit.out_of_memory:
            code = "unit_out_of_memory"
        elif not unit.running and unit.exit_code:
            code = "unit_failed"
        elif unit.restarts > RESTARTS_MAX:
            code = "unit_restarts"
        findings.append(Finding(code, facts))
    return findings or [Finding("unit_unknown" if is_closed else "unit_none")]


def runner_of(root: Path, ask: Ask) -> Runner:
    """Find what runs the services of this machine."""
    if (root / f"etc/supervisor/conf.d/{PROJECT}.conf").exists():
        return Runner.SUPERVISOR
    if any((root / "etc/systemd/system").glob(f"{PROJECT}-*.service")):
        return Runner.SYSTEMD
    return Runner.COMPOSE if _container_ids(ask) else Runner.UP


def commands_for(runner: Runner, check: str, facts: Mapping[str, str]) -> dict[str, str]:
    """Return the runner's commands for the service that a finding is about."""
    name = facts.get("service") or OF_CHECKS.get(check, "csv_recorder")
    bare = re.sub(rf"^{PROJECT}-|-\d+$|\.service$|/.*$", "", name)
    container, unit = bare.replace("-", "_"), f"{PROJECT}-{bare}"
    container, unit = next((each for each in NAMES if container == each[0] or unit == each[1]), (container, unit))
    places = {"container": container, "unit": unit, "user": facts.get("user", ""), "dir": facts.get("dir", "")}
    commands = COMMANDS[runner]
    return {field: getattr(commands, field).format(**places) for field in Commands.__slots__}


def units(ask: Ask, records: Sequence[Record], now_s: float) -> list[Unit]:
    """List the services that Docker, systemd and supervisor run here, and those that keep records."""
    ids = _container_ids(ask)
    found = containers(ask(["docker", "inspect", *ids]), ask, now_s) if ids else []
    shown = ask(["systemctl", "show", f"{PROJECT}-*.service", f"--property={','.join(PROPERTIES)}"])
    found += systemd_units(shown, ask, now_s, time.monotonic())
    supervised = ask(["supervisorctl", "status"])
    log = ask(["supervisorctl", "maintail", f"-{LOG_BYTES}"]) if supervised else ""
    return found + supervisor_programs(supervised, log, ask, now_s) + recorded(records, now_s)


def _container_ids(ask: Ask) -> list[str]:
    return ask(["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}"]).split()


def containers(inspected: str, ask: Ask, now_s: float) -> list[Unit]:
    """Read the output of `docker inspect`."""
    found = []
    for each in json.loads(inspected or "[]"):
        state: Any = each["State"]
        name, restarts, code = each["Name"].lstrip("/"), each["RestartCount"], state["ExitCode"]
        is_healthy = (state["Running"] or not code) and not restarts
        before = [f"--until={state['StartedAt']}"] if state["Running"] and "StartedAt" in state else []
        tail = "" if is_healthy else ask(["docker", "logs", f"--tail={TAIL_LINES}", *before, name])
        if state["Running"] and now_s - _seconds(state.get("StartedAt", "")) > RECENT_S:
            restarts = 0
        found.append(Unit(name, state["Running"], restarts, state["OOMKilled"], code, line(tail)))
    return found


def _seconds(time_text: str) -> float:
    """Read a time of Docker, in UTC with nanoseconds; one that cannot be read is that of now."""
    try:
        return datetime.strptime(time_text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("inf")


def systemd_units(shown: str, ask: Ask, now_s: float, monotonic_s: float) -> list[Unit]:
    """Read the output of `systemctl show`. Only the journal knows the last words and the memory of the run before."""
    found = []
    for block in filter(None, shown.strip().split("\n\n")):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        if properties.get("LoadState") != "loaded":
            continue
        name, restarts = properties["Id"], int(properties.get("NRestarts") or 0)
        is_running, code = properties["ActiveState"] == "active", int(properties.get("ExecMainStatus") or 0)
        began_s, active_s = (
            now_s - monotonic_s + int(properties.get(f"{event}TimestampMonotonic") or 0) / 1e6
            for event in ("ExecMainStart", "ActiveEnter")
        )
        journal = ["journalctl", "--no-pager", "--output=cat"]
        out_of_memory = properties.get("Result") == "oom-kill"
        tail = ""
        if restarts or not is_running:
            before = [f"--until=@{int(began_s)}"] if is_running else []
            tail = ask([*journal, f"--lines={TAIL_LINES}", *before, f"_SYSTEMD_UNIT={name}"])
            out_of_memory |= "oom-kill" in ask([*journal, "--since=-1day", "--grep=oom-kill", f"--unit={name}"])
        if is_running and now_s - active_s > RECENT_S:
            restarts = 0
        found.append(Unit(name, is_running, restarts, out_of_memory, code, line(tail)))
    return found


def supervisor_programs(status: str, log: str, ask: Ask, now_s: float) -> list[Unit]:
    """Read the output of `supervisorctl status` and the end of supervisor's log, which has local times."""
    deaths: dict[str, list[str]] = {}
    for at, name, how in re.findall(
        r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S* \w+ exited: (\S+) \((.+)\)", log, re.MULTILINE
    ):
        if "not expected" in how and now_s - time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")) <= RECENT_S:
            deaths.setdefault(name, []).append(how)
    found = []
    for name, state in re.findall(rf"^({PROJECT}-\S+)\s+([A-Z]+)", status, re.MULTILINE):
        if state == "STOPPED":  # by hand, or never started
            continue
        died = deaths.get(name, [])
        code = re.search(r"exit status (\d+)", died[-1] if died else "")
        is_running = state == "RUNNING" or (state == "STARTING" and not died)
        tail = ask(["supervisorctl", "tail", name]) if died or not is_running else ""
        found.append(Unit(name, is_running, len(died), False, int(code[1]) if code else 1, line(tail)))
    return found


def newest_of(records: Sequence[Record]) -> list[Record]:
    """Return the newest record of each service: that of the container that runs, or ran last."""
    return list({each.service: each for each in sorted(records, key=lambda each: each.runs[-1].began_s)}.values())


def recorded(records: Sequence[Record], now_s: float) -> list[Unit]:
    """Judge the services' own records, one for each container: of a service the newest is named, and others that died.

    What ended in order is over, and so is a wrong setting of a container that was replaced.
    """
    newest = newest_of(records)
    found = []
    for record in records:
        last, is_newest = record.runs[-1], record in newest
        deaths = [(run, next_) for run, next_ in itertools.pairwise(record.runs) if _died(run, next_)]
        restarts = sum(now_s - next_.began_s <= RECENT_S for _, next_ in deaths) if last.code != 0 else 0
        out_of_memory = any(_lacked_memory(run, next_) and now_s - next_.began_s <= DAY_S for run, next_ in deaths)
        failed = bool(last.code) and is_newest and now_s - last.began_s <= DAY_S
        words = last.words or (deaths[-1][0].words if deaths else "")
        if is_newest or out_of_memory or restarts:
            found.append(Unit(record.service, not failed, restarts, out_of_memory, last.code or 0, line(words)))
    return found


def _died(run: Run, next_: Run) -> bool:
    """Return True if the run ended by a fault or was killed, and not together with the machine."""
    return bool(run.code) or (run.code is None and run.boot == next_.boot)


def _lacked_memory(run: Run, next_: Run) -> bool:
    return run.code is None and next_.memory_kills > run.memory_kills


def memory_kills(kernel_log: str, now_s: float) -> list[str]:
    """Return the programs of ours that Linux killed today for lack of memory, from `dmesg --time-format=iso`."""
    found = []
    for at, name in re.findall(r"^(\S+) .*Killed process \d+ \(([^)]+)\)", kernel_log, re.MULTILINE):
        try:
            age_s = now_s - datetime.fromisoformat(at.replace(",", ".")).timestamp()
        except ValueError:
            continue
        if age_s <= DAY_S and name in PROGRAMS:
            found.append(name)
    return found


def line(tail: str) -> str:
    """Return the end of a log as one line, without repetitions."""
    return " | ".join(dict.fromkeys(tail.strip().splitlines()[-TAIL_LINES:]))
