"""Tests of `neuroone doctor --fix`, and of the permissions that it mends, as root and as real other users."""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import pytest

from neuroone.doctor import checks, command, fixes, machine, permissions
from neuroone.doctor.checks import Finding
from neuroone.doctor.runners import Runner
from neuroone.service import settings
from neuroone.service.lifecycle import Stop
from tests.support.findings import codes

OTHER = "daemon"
"""A user of every Linux."""
as_root = pytest.mark.skipif(not permissions.is_root(), reason="only root can look as another user")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Make a recorder's directory that belongs to another user, down from the root of the file system."""
    folder = tmp_path / "recordings"
    (folder / "sessions/A/x").mkdir(parents=True)
    for name in ("Jo.csv", ".inbox.sqlite", "sessions/A/x/session.json", "sessions/A/x/readings.csv"):
        (folder / name).touch()
    (folder / "lost+found").mkdir(mode=0o700)
    (folder / "notes.txt").touch()
    uid, gid = permissions.find_user(OTHER) or (0, 0)
    for path in (folder, *folder.rglob("*")):
        if path.name != "lost+found" and path.name != "notes.txt":
            os.chown(path, uid, gid)
    for parent in folder.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    return folder


def examined(folder: Path) -> list[str]:
    return codes(checks.recordings(machine.directory(folder, OTHER)))


@as_root
def test_what_root_could_write_and_the_recorder_cannot_is_found_and_mended(recordings: Path) -> None:
    """What others keep there is no fault, and neither is a file that its owner has closed."""
    (recordings / "Jo.csv").chmod(0o444)
    assert examined(recordings) == ["csv_ok"]
    for number, name in enumerate(("Jo.csv", "sessions/A/x/readings.csv", "sessions/A"), 1):
        os.chown(recordings / name, 0, 0)
        finding = checks.recordings(machine.directory(recordings, OTHER))
        assert (finding.code, finding.facts["count"]) == ("csv_foreign", str(number))
    assert os.geteuid() == 0
    assert fixes.commands([finding], Runner.COMPOSE) == []
    [mend] = fixes.commands([finding], Runner.SYSTEMD)
    assert mend == ["chown", "-Rh", f"{OTHER}:", str(recordings)]
    assert fixes.run(mend) == 0
    assert examined(recordings) == ["csv_ok"]
    recordings.chmod(0o500)
    os.chown(recordings, 0, 0)
    assert examined(recordings) == ["csv_no_permission"]


@as_root
def test_a_login_that_its_service_cannot_read_is_named_and_mended(tmp_path: Path, recordings: Path) -> None:
    users = {"open.url": OTHER, "closed.url": OTHER, "of-nobody.url": "nobody-here", "missing.url": OTHER}
    for name in list(users)[:3]:
        (tmp_path / name).touch(0o600)
    os.chown(tmp_path / "open.url", *(permissions.find_user(OTHER) or (0, 0)))
    closed = permissions.closed_logins(tmp_path, users)
    assert closed == {str(tmp_path / "closed.url"): OTHER}
    findings = checks.logins(closed)
    assert codes(findings) == ["login_closed"]
    assert [fixes.run(each) for each in fixes.commands(findings, Runner.SUPERVISOR)] == [0, 0]
    assert codes(checks.logins(permissions.closed_logins(tmp_path, users))) == ["login_ok"]


def test_who_is_neither_root_nor_the_recorder_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "is_root", lambda: False)
    assert codes(checks.recordings(machine.directory(tmp_path, "neuroone-recorder")))[0] in (
        "csv_unknown",
        "csv_no_space",
    )
    assert permissions.closed_logins(tmp_path, {"x": "daemon"}) is None


OFFLINE = Finding("service_offline", {"service": "csv_recorder"})


@pytest.mark.parametrize(
    ("runner", "commands"),
    [
        (Runner.SYSTEMD, [["systemctl", "start", "neuroone-recorder"]]),
        (Runner.SUPERVISOR, [["supervisorctl", "start", "neuroone-recorder"]]),
        (Runner.COMPOSE, []),
        (Runner.UP, []),
    ],
)
def test_a_service_is_started_once_where_a_command_can(runner: Runner, commands: list[list[str]]) -> None:
    of_unit = Finding("unit_failed", {"service": "neuroone-recorder.service"})
    assert fixes.commands([OFFLINE, of_unit, Finding("firewall_closed", {})], runner) == commands


def test_a_service_is_started_after_its_login_is_given_back() -> None:
    closed = Finding("login_closed", {"user": "neuroone-recorder", "file": "f"})
    found = fixes.commands([OFFLINE, closed], Runner.SYSTEMD)
    assert [each[0] for each in found] == ["chown", "chmod", "systemctl"]


@pytest.mark.parametrize(
    ("answer", "yes", "done"),
    [("y\n", False, True), ("sim\n", False, True), ("\n", False, False), ("", False, False), ("", True, True)],
)
def test_nothing_is_run_before_it_was_shown_and_allowed(
    monkeypatch, capsys, answer: str, yes: bool, done: bool
) -> None:
    """An empty answer and a closed terminal mean no."""
    ran: list[Sequence[str]] = []

    def run(command: Sequence[str], out: TextIO) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(fixes, "run", run)
    monkeypatch.setattr(permissions, "is_root", lambda: True)
    monkeypatch.setattr(fixes, "is_root", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    examinations = iter([[OFFLINE], [Finding("service_ok", {"service": "csv_recorder", "instances": "a"})]])
    monkeypatch.setattr(command, "examine", lambda given, runner, stop: next(examinations))
    words = ["--fix", "--runner", "systemd", "--language", "en", *(["--yes"] if yes else [])]
    given = settings.read(command.DoctorSettings, words, {}, program="doctor")
    assert command.run(given, Stop()) == (0 if done else 1)
    assert ran == ([["systemctl", "start", "neuroone-recorder"]] if done else [])
    said = capsys.readouterr().out
    assert "To mend it: systemctl start neuroone-recorder\n" in said
    assert ("Done: " in said, "Not run: " in said) == (done, not done)


def test_no_variable_lets_the_doctor_change_anything() -> None:
    given = settings.read(command.DoctorSettings, [], {"NEUROONE_FIX": "1", "NEUROONE_YES": "1"}, program="doctor")
    assert not given.fix
    assert not given.yes


def test_who_is_not_root_calls_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixes, "is_root", lambda: False)
    assert fixes.with_rights(["chown"], may_ask=True) == ["sudo", "chown"]
    assert fixes.with_rights(["chown"], may_ask=False) == ["sudo", "-n", "chown"]
    assert fixes.run(["no-such-program-here"]) == 127
