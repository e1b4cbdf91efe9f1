"""deploy/install.sh on a bare Debian, in a container: installed, used, updated, rolled back and removed."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.system.stack import copy_of_checkout, skip_without_engine
from tests.system.test_compose import STUDENT_CSV, STUDENT_FRAME
from tests.waiting import wait_for

INSTALL_TIMEOUT_S = 300.0
WAIT_S = 30.0
RECORDING = "/var/lib/neuroone/recordings/Joao_Silva.csv"

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]


class Machine:
    """A Debian of its own, without systemd: supervisor keeps the services alive."""

    def __init__(self, name: str, image: str, checkout: Path) -> None:
        self._name = name
        start = ["docker", "run", "-d", "--rm", "--init", "--name", name, "-v", f"{checkout}:/checkout:ro"]
        subprocess.run([*start, image, "sleep", "infinity"], check=True, capture_output=True)

    def run(self, *words: str, check: bool = True, timeout_s: float = 60) -> str:
        """Run a command as root."""
        done = subprocess.run(
            ["docker", "exec", self._name, *words], capture_output=True, encoding="utf-8", timeout=timeout_s
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, *words: str) -> str:
        """Run deploy/install.sh."""
        return self.run("sh", "/checkout/deploy/install.sh", *words, timeout_s=INSTALL_TIMEOUT_S)

    @property
    def address(self) -> str:
        """Where others reach it."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        shown = subprocess.run(
            ["docker", "inspect", "-f", form, self._name], capture_output=True, text=True, check=True
        )
        return shown.stdout.strip()

    def problems(self) -> list[str]:
        """What `neuroone doctor` finds."""
        command = "/opt/neuroone/current/bin/neuroone doctor --broker file:/etc/neuroone/doctor.url --json"
        shown = self.run(*command.split(), "--data", "/var/lib/neuroone/recordings", check=False)
        found = [json.loads(line) for line in shown.splitlines()]
        assert found
        return [each["code"] for each in found if each["status"] == "problem"]

    def end(self) -> None:
        """Leave nothing of it."""
        subprocess.run(["docker", "kill", self._name], capture_output=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A bare machine with a checkout of this project, which it cannot write."""
    skip_without_engine()
    checkout = copy_of_checkout(tmp_path / "checkout")
    machine = Machine(
        f"neuroone-install-{os.getpid()}", os.environ.get("NEUROONE_TEST_DEBIAN", "python:3.13-slim"), checkout
    )
    try:
        yield machine
    finally:
        machine.end()


def test_a_bare_debian_is_served_updated_rolled_back_and_cleared(machine: Machine) -> None:
    """Each step leaves the recordings and the logins as they were, until they are purged."""
    shown = machine.install("--supervisor")
    wait_for(lambda: machine.problems() == [], "system without a problem", WAIT_S)
    token = shown.partition("?token=")[2].split()[0]
    with connect(f"ws://{machine.address}:8080/?token={token}") as dashboard:
        dashboard.send("dash")
        assert dashboard.ping().wait(WAIT_S)
        with connect(f"ws://{machine.address}:8080/ws/") as student:
            student.send(STUDENT_FRAME)
            assert json.loads(dashboard.recv(timeout=WAIT_S))["Nome"] == "Joao_Silva"
    wait_for(lambda: machine.run("cat", RECORDING, check=False) == STUDENT_CSV, "row on the disk", WAIT_S)
    assert machine.run("stat", "-c", "%U %a", RECORDING).split() == ["neuroone-recorder", "640"]
    first = machine.run("readlink", "/opt/neuroone/current")

    assert machine.install() == shown, "an update keeps token and logins"
    second = machine.run("readlink", "/opt/neuroone/current")
    assert second != first
    wait_for(lambda: machine.problems() == [], "update without a problem", WAIT_S)

    machine.install("rollback")
    assert machine.run("readlink", "/opt/neuroone/current") == first
    wait_for(lambda: machine.problems() == [], "rollback without a problem", WAIT_S)

    machine.install("uninstall")
    assert machine.run("cat", RECORDING) == STUDENT_CSV
    assert machine.run("sh", "-c", "ls /opt /etc/supervisor/conf.d; pgrep -f /opt/neuroone || true").split() == [
        "/etc/supervisor/conf.d:",
        "/opt:",
    ]
    machine.install("uninstall", "--purge")
    left = machine.run("sh", "-c", "ls -d /etc/neuroone /var/lib/neuroone; getent passwd | grep neuroone", check=False)
    assert left == ""
