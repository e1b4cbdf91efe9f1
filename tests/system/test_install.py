"""deploy/install.sh on a bare Debian, in a container: installed, used, updated, rolled back and removed."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from neuroone import __version__
from tests.support.repositories import Origin
from tests.support.waiting import wait_for
from tests.system.stack import (
    Phone,
    copy_of_checkout,
    measuring,
    mqtt_client,
    recordings_listed,
    skip_without_engine,
)
from tests.system.test_compose import PHONES, READING_PERIOD_S, STUDENT_CSV, STUDENT_FRAME, in_thread

IMAGE = os.environ.get("NEUROONE_TEST_DEBIAN", "python:3.13-slim")
INSTALL_TIMEOUT_S = 300.0
WAIT_S = 60.0
NEWER = "9.9.9"
RECORDING = "/var/lib/neuroone/recordings/Joao_Silva.csv"

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]


SYSTEMD = f"""\
FROM {IMAGE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \
    systemd systemd-sysv dbus git mosquitto python3-venv >/dev/null && rm -rf /var/lib/apt/lists/*
"""
"""A machine that has a Mosquitto already, as the distribution starts it."""
MACHINE = (
    "--cap-add=SYS_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--tmpfs=/run",
    "--tmpfs=/tmp",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup",
)
"""What systemd needs to be the first program of a container."""


class Machine:
    """A Debian of its own: with ``first`` as its first program."""

    def __init__(self, name: str, image: str, checkout: Path, *options: str, first: str = "sleep infinity") -> None:
        self._name = name
        start = ["docker", "run", "-d", "--rm", "--name", name, "-v", f"{checkout}:/checkout", *options]
        subprocess.run([*start, image, *first.split()], check=True, capture_output=True)

    def run(self, *words: str, check: bool = True, timeout_s: float = 60) -> str:
        """Run a command as root."""
        done = subprocess.run(
            ["docker", "exec", self._name, *words], capture_output=True, encoding="utf-8", timeout=timeout_s
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def neuroone(self, *words: str) -> str:
        """Run a command of neuroone."""
        return self.run("/opt/neuroone/current/bin/neuroone", *words, timeout_s=INSTALL_TIMEOUT_S)

    def install(self, *words: str) -> str:
        """Run deploy/install.sh."""
        return self.run("sh", "/checkout/deploy/install.sh", *words, timeout_s=INSTALL_TIMEOUT_S)

    @property
    def address(self) -> str:
        """Return the address at which others reach it."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        shown = subprocess.run(
            ["docker", "inspect", "-f", form, self._name], capture_output=True, text=True, check=True
        )
        return shown.stdout.strip()

    def doctor(self, *words: str) -> list[dict[str, Any]]:
        """Return what `neuroone doctor` finds wrong: it knows by itself where a server has what."""
        command = ("/opt/neuroone/current/bin/neuroone", "doctor", "--seconds", "2", "--json", *words)
        found = [json.loads(line) for line in self.run(*command, check=False).splitlines()]
        assert {"broker_disk_ok", "login_ok", "variable_ok"} & {each["code"] for each in found}
        return [each for each in found if each["status"] == "problem"]

    def problems(self) -> list[str]:
        """Return the codes of the problems that `neuroone doctor` finds."""
        return [each["code"] for each in self.doctor()]

    def end(self) -> None:
        """Remove everything of it."""
        subprocess.run(["docker", "kill", self._name], capture_output=True, check=False)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    """Make a repository of this project."""
    skip_without_engine()
    return Origin(copy_of_checkout(tmp_path / "origin"))


@pytest.fixture
def checkout(origin: Origin, tmp_path: Path) -> Path:
    """Clone it for the machines, as somebody who is not root."""
    origin.commit()
    clone = origin.clone(tmp_path / "checkout")
    for folder in (clone, origin.folder):
        subprocess.run(["chown", "--recursive", "1000:1000", folder], check=True)
    return clone


@pytest.fixture
def machine(checkout: Path) -> Iterator[Machine]:
    """Start a bare machine without systemd: supervisor restarts the services."""
    machine = Machine(f"neuroone-bare-{os.getpid()}", IMAGE, checkout, "--init")
    yield machine
    machine.end()


@pytest.fixture
def systemd_machine(checkout: Path, origin: Origin) -> Iterator[Machine]:
    """Start a machine with a real systemd."""
    build = ["docker", "build", "-q", "-t", "neuroone-test-systemd", "-"]
    built = subprocess.run(build, input=SYSTEMD, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    name = f"neuroone-systemd-{os.getpid()}"
    machine = Machine(
        name, "neuroone-test-systemd", checkout, f"--volume={origin.folder}:/origin", *MACHINE, first="/sbin/init"
    )
    try:
        wait_for(
            lambda: machine.run("systemctl", "is-system-running", check=False).strip() == "running", "systemd", WAIT_S
        )
        yield machine
    finally:
        machine.end()


def test_a_bare_debian_is_served_updated_rolled_back_and_cleared(machine: Machine) -> None:
    """Each step leaves the recordings and the logins as they were, until they are purged."""
    shown = machine.install("--supervisor")
    wait_for(lambda: machine.problems() == [], "system without a problem", WAIT_S)
    dashboards, reader, *_ = (line.rpartition(" ")[2] for line in shown.splitlines())
    server, _, token = dashboards.partition("/#token=")
    assert server == f"http://{machine.address}:8080", "this machine answers to no name"
    assert reader.endswith("@localhost:1883")
    assert "Future versions" not in machine.run("cat", "/var/log/neuroone/broker.log")
    with connect(f"ws://{machine.address}:8080/?token={token}") as dashboard:
        dashboard.send("dash")
        assert dashboard.ping().wait(WAIT_S)
        with connect(f"ws://{machine.address}:8080/ws/") as student:
            student.send(STUDENT_FRAME)
            assert json.loads(dashboard.recv(timeout=WAIT_S))["Nome"] == "Joao_Silva"
    wait_for(lambda: machine.run("cat", RECORDING, check=False) == STUDENT_CSV, "row on the disk", WAIT_S)
    assert machine.run("stat", "-c", "%U %a", RECORDING).split() == ["neuroone-recorder", "640"]
    assert "Joao_Silva.csv" in recordings_listed(f"http://{machine.address}:8080", token)
    first = machine.run("readlink", "/opt/neuroone/current")

    assert machine.install("show") == shown
    opened = machine.install("--lan")
    assert opened.splitlines()[0] == shown.splitlines()[0], "an update keeps token and logins"
    url = opened.splitlines()[1].rpartition(" ")[2]
    assert url == reader.replace("@localhost", f"@{machine.address}")
    with mqtt_client(url, host=machine.address) as (_, answers):
        assert answers == ["connect: Success"]
    second = machine.run("readlink", "/opt/neuroone/current")
    assert second != first
    wait_for(lambda: machine.problems() == [], "update without a problem", WAIT_S)

    machine.install("rollback")
    assert machine.run("readlink", "/opt/neuroone/current") == first
    assert machine.install("show") == opened
    wait_for(lambda: machine.problems() == [], "rollback without a problem", WAIT_S)

    _provoke(machine)
    machine.install("uninstall")
    assert machine.run("cat", RECORDING) == STUDENT_CSV
    assert machine.run("ls", "/opt", "/etc/supervisor/conf.d").split() == ["/etc/supervisor/conf.d:", "/opt:"]
    assert machine.run("sh", "-c", "grep -ls '/opt/neuroon[e]' /proc/[0-9]*/cmdline || echo none").strip() == "none"
    machine.install("uninstall", "--purge")
    left = machine.run("sh", "-c", "ls -d /etc/neuroone /var/lib/neuroone; getent passwd | grep neuroone", check=False)
    assert left == ""


def _provoke(machine: Machine) -> None:
    """Let root own a recording, close a login, stop a service, mistype a setting: the doctor names and mends."""
    settings = "/etc/neuroone/neuroone.env"
    machine.run("chown", "root:", RECORDING)
    machine.run("chown", "root:", "/etc/neuroone/csv_recorder.url")
    machine.run("supervisorctl", "stop", "neuroone-recorder")
    machine.run("sh", "-c", f"echo NEUROONE_METRICS_PROT=8081 >>{settings}")
    said = {each["code"]: f"{each['says']} {each['do']}" for each in machine.doctor("--language", "pt-BR")}
    assert list(said) == ["service_offline", "csv_foreign", "login_closed", "variable_mistyped"]
    assert "NEUROONE_METRICS_PORT" in said["variable_mistyped"]
    assert "supervisorctl start neuroone-recorder" in said["service_offline"]
    assert "systemctl" not in str(said)
    machine.run("sed", "-i", "/METRICS_PROT/d", settings)
    machine.doctor("--fix", "--yes")
    wait_for(lambda: machine.problems() == [], "everything mended", WAIT_S)


async def _maintain(machine: Machine, origin: Origin) -> None:
    """While phones measure: back up, update, fail to update, roll back, restore; each reading is in its file once."""
    machine.run("useradd", "--uid", "1000", "technician")
    (origin.folder / "neuroone/__init__.py").write_text(
        f'"""Another."""\n\n__version__ = "{NEWER}"\n', encoding="utf-8"
    )
    newer = origin.commit()
    phones = [Phone(f"ws://{machine.address}:8080/", f"Phone_{n}", host=machine.address) for n in range(PHONES)]
    async with measuring(phones, READING_PERIOD_S):
        await in_thread(machine.neuroone, "backup", "/root/saved")
        await in_thread(machine.neuroone, "update", "--from", "/origin")
        assert machine.neuroone("--version").split() == ["neuroone", NEWER]
        assert (
            machine.run("stat", "-c", "%U", f"/checkout/.git/objects/{newer[:2]}/{newer[2:]}").strip() == "technician"
        )
        (origin.folder / "deploy/install.sh").write_text("exit 1\n", encoding="utf-8")
        origin.commit()
        with pytest.raises(AssertionError, match="cannot be installed; nothing was changed"):
            await in_thread(machine.neuroone, "update", "--from", "/origin")
        assert machine.neuroone("--version").split() == ["neuroone", NEWER]
        await in_thread(machine.neuroone, "rollback")
        assert machine.neuroone("--version").split() == ["neuroone", __version__]
    folder = Path(RECORDING).parent

    sent = {each.name: each.sent for each in phones}

    def recorded() -> dict[str, list[str]]:
        lines = machine.run("sh", "-c", f"cd {folder}; grep -v Att Phone_*.csv", check=False).splitlines()
        rows = [line.split(".csv:") for line in lines]
        return {name: [row for owner, row in rows if owner == name] for name in sent}

    wait_for(lambda: recorded() == sent, "every row once", WAIT_S)
    machine.neuroone("restore", "/root/saved", "--replace")
    wait_for(lambda: machine.problems() == [], "restored system without a problem", WAIT_S)
    wait_for(lambda: all(recorded().values()), "rows of the backup", WAIT_S)
    for name, rows in recorded().items():
        assert rows == sent[name][: len(rows)]
    assert machine.run("find", str(folder), "-user", "root") == ""


def _is(read: Callable[[str], str], what: str, wanted: str) -> bool:
    return read(what) == wanted


def test_hardened_units_serve_and_come_back(systemd_machine: Machine, origin: Origin) -> None:
    """Under a real systemd every unit runs, and is started again when it is killed: no row is lost or doubled."""
    machine = systemd_machine
    machine.run("touch", "/etc/mosquitto/conf.d/school.conf")
    with pytest.raises(AssertionError, match="a Mosquitto that somebody set up runs here"):
        machine.install()
    machine.run("rm", "/etc/mosquitto/conf.d/school.conf")

    shown = machine.install()
    wait_for(lambda: machine.problems() == [], "system without a problem", WAIT_S)
    asyncio.run(_maintain(machine, origin))
    assert machine.install("show") == shown
    header, row = STUDENT_CSV.splitlines()

    def recorded() -> list[str]:
        return machine.run("cat", RECORDING, check=False).splitlines()

    def restarts(unit: str) -> str:
        return machine.run("systemctl", "show", "--value", "-p", "NRestarts", unit).strip()

    rows = [header]
    for unit in ("neuroone-gateway", "neuroone-recorder", "neuroone-broker"):
        wait_for(lambda: machine.problems() == [], "system without a problem", WAIT_S)
        rows.append(row)
        with connect(f"ws://{machine.address}:8080/") as student:
            student.send(STUDENT_FRAME)
            wait_for(lambda: recorded() == rows, "row", WAIT_S)
        machine.run("systemctl", "kill", "--signal=SIGKILL", unit)
        wait_for(partial(_is, restarts, unit, "1"), f"restart of {unit}", WAIT_S)
    wait_for(lambda: machine.problems() == [], "system without a problem", WAIT_S)
    assert recorded() == rows

    # One that cannot end itself is ended for want of a word; 150 s are too long for a test.
    machine.run("mkdir", "-p", folder := "/run/systemd/system/neuroone-gateway.service.d")
    machine.run("sh", "-c", f"printf '[Service]\nWatchdogSec=4\n' >{folder}/test.conf; systemctl daemon-reload")
    machine.run("systemctl", "restart", "neuroone-gateway")
    assert "connected to the broker" in machine.run("systemctl", "status", "neuroone-gateway")
    machine.run("systemctl", "kill", "--signal=SIGSTOP", "neuroone-gateway")
    wait_for(partial(_is, restarts, "neuroone-gateway", "1"), "restart of a gateway that is stopped", WAIT_S)
    wait_for(lambda: machine.problems() == [], "system without a problem", WAIT_S)

    machine.install("uninstall", "--purge")
    assert machine.run("sh", "-c", "ls /etc/systemd/system/neuroone-* /etc/neuroone /opt", check=False) == "/opt:\n"
