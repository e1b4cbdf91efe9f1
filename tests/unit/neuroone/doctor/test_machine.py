"""Tests of what `neuroone doctor` observes of this machine, with real parts or in a folder that describes one."""

import dataclasses
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from neuroone.certificates import files
from neuroone.certificates.files import CertificateFiles
from neuroone.certificates.making import Names
from neuroone.doctor import checks, machine
from neuroone.doctor.checks import (
    Adapter,
    Firewall,
)
from neuroone.doctor.permissions import me
from tests.support.findings import codes
from tests.support.small_disk import small_disk

ROOT = Path("/")
NOW = datetime(2026, 11, 26, 16, 0, tzinfo=UTC)
DAY = timedelta(days=1)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def described(root: Path, **files: str) -> Path:
    """Describe a machine by files under ``root``; ``__`` in their names stands for a slash."""
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def usb(root: Path, usb_id: str, port: str | None) -> Path:
    """Describe a machine with a serial adapter and, if there is one, its port."""
    vendor, product = usb_id.split(":")
    device = root / "sys/bus/usb/devices/1-1"
    device.mkdir(parents=True)
    (device / "idVendor").write_text(f"{vendor}\n", encoding="utf-8")
    (device / "idProduct").write_text(f"{product}\n", encoding="utf-8")
    if port is not None:
        (device / "1-1:1.0" / port).mkdir(parents=True)
    return root


def test_an_adapter_without_a_port_lacks_its_driver(tmp_path: Path) -> None:
    """The USB has it, the system made no port of it, and brltty is not there to take it."""
    adapters = machine.adapters(usb(tmp_path, "1a86:7523", None))
    assert adapters == [Adapter("1a86:7523", None)]
    assert codes(checks.ports(adapters, [], frozenset())) == ["port_no_driver"]


def test_brltty_is_named_if_it_runs(tmp_path: Path) -> None:
    """brltty takes the port away as soon as there is one."""
    root = described(usb(tmp_path, "1a86:7523", None), proc__77__comm="brltty\n")
    assert codes(checks.ports(machine.adapters(root), [], machine.running(root))) == ["port_brltty"]


def test_the_port_of_an_adapter_is_found(tmp_path: Path) -> None:
    root = usb(tmp_path, "10c4:ea60", "ttyUSB3")
    assert machine.adapters(root) == [Adapter("10c4:ea60", "/dev/ttyUSB3")]


def test_a_named_port_that_does_not_exist_is_missing() -> None:
    port = machine.port("/dev/ttyUSB77", ROOT)
    assert codes(checks.ports([], [port], frozenset())) == ["port_missing"]


@linux
@pytest.mark.pty
def test_a_port_of_another_user_has_no_permission() -> None:
    """A real terminal of mode 600, examined as another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can look as another user")
    leader, follower = os.openpty()
    device = os.ttyname(follower)
    Path(device).chmod(0o600)
    machine.port(device, ROOT)  # what it imports may be closed to somebody else
    os.seteuid(65534)
    try:
        port = machine.port(device, ROOT)
    finally:
        os.seteuid(0)
        os.close(leader)
        os.close(follower)
    assert codes(checks.ports([], [port], frozenset())) == ["port_no_permission"]


@linux
@pytest.mark.pty
def test_a_program_that_has_the_port_open_is_named(tmp_path: Path) -> None:
    """A real program of that name, with a real terminal open."""
    program = tmp_path / "ModemManager"
    shutil.copy(shutil.which("sleep") or "", program)
    leader, follower = os.openpty()
    device = os.ttyname(follower)
    process = subprocess.Popen([program, "60"], stdin=follower)
    os.close(follower)
    try:
        port = machine.port(device, ROOT)
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert codes(checks.ports([], [port], frozenset())) == ["port_taken"]


UFW_RULES = (
    "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n### tuple ### allow any 80,8000:8100 0.0.0.0/0 any\n"
)


@pytest.mark.parametrize(("rules", "code"), [(UFW_RULES, "firewall_ok"), (UFW_RULES[:40], "firewall_closed")])
def test_ports_lists_and_ranges_of_ufw_are_read(tmp_path: Path, rules: str, code: str) -> None:
    root = described(
        tmp_path, etc__ufw__ufw_conf="", **{"etc__ufw__user.rules": rules, "etc__ufw__ufw.conf": "ENABLED=yes"}
    )
    assert codes(checks.firewall(machine.firewall(root), 8080, [])) == [code]


def test_the_ports_of_firewalld_zones_are_read(tmp_path: Path) -> None:
    zone = {"etc__firewalld__zones__public.xml": '<zone><port protocol="tcp" port="8080"/></zone>'}
    root = described(tmp_path, proc__5__comm="firewalld\n", **zone)
    wall = machine.firewall(root)
    assert wall == Firewall("firewalld", frozenset({8080}))
    assert codes(checks.firewall(wall, 443, [])) == ["firewall_closed"]


def test_a_firewall_that_is_off_or_bypassed_is_no_problem(tmp_path: Path) -> None:
    """ufw that is not enabled; ports that Docker publishes; rules that only root may read."""
    off = described(tmp_path, **{"etc__ufw__ufw.conf": "ENABLED=no"})
    assert codes(checks.firewall(machine.firewall(off), 8080, [])) == ["firewall_none"]
    assert codes(checks.firewall(Firewall("ufw", frozenset()), 8080, ["docker-proxy"])) == ["firewall_none"]
    assert codes(checks.firewall(Firewall("ufw", None), 8080, [])) == ["firewall_unknown"]


def test_a_directory_that_can_be_written_is_fine_and_left_as_it_was(tmp_path: Path) -> None:
    found = machine.directory(tmp_path, me())
    assert codes(checks.recordings(dataclasses.replace(found, free_bytes=10**10))) == ["csv_ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_and_a_closed_one_are_different_problems(tmp_path: Path) -> None:
    """/proc is closed even to root."""
    assert codes(checks.recordings(machine.directory(tmp_path / "none", me()))) == ["csv_no_dir"]
    if sys.platform == "linux":
        assert codes(checks.recordings(machine.directory(Path("/proc"), me()))) == ["csv_no_permission"]
    assert codes(checks.recordings(None)) == ["csv_elsewhere"]


def test_available_memory_is_read(tmp_path: Path) -> None:
    root = described(tmp_path, proc__meminfo="MemTotal: 4000000 kB\nMemAvailable:   100000 kB\n")
    assert codes(checks.memory(machine.available_memory_bytes(root))) == ["memory_low"]
    assert codes(checks.memory(10**9)) == ["memory_ok"]
    assert codes(checks.memory(machine.available_memory_bytes(tmp_path / "none"))) == ["memory_unknown"]


def test_variables_of_a_server_are_read_as_a_shell_does(tmp_path: Path) -> None:
    file = tmp_path / "neuroone.env"
    file.write_text("# NEUROONE_X=1\nNEUROONE_SIET=lab\n export NEUROONE_WS_PORT=81\nrubbish\n", encoding="utf-8")
    assert machine.variables(file) == {"NEUROONE_SIET": "lab", "NEUROONE_WS_PORT": "81"}
    assert machine.variables(tmp_path / "none") == {}


@linux
def test_the_free_space_of_the_brokers_disk_is_measured(tmp_path: Path) -> None:
    """On a real disk that is full."""
    with small_disk(tmp_path / "disk", 4) as disk:
        disk.fill(left_bytes=1 << 16)
        free_bytes = machine.free_bytes(disk.folder)
        assert free_bytes is not None
        assert codes(checks.broker_disk(str(disk.folder), free_bytes)) == ["broker_disk_full"]
    assert machine.free_bytes(tmp_path / "none") is None


def test_a_command_that_is_missing_or_fails_has_no_output() -> None:
    """A machine without Docker has no fault."""
    assert machine.run(["no-such-program-here"]) == ""
    assert machine.run([sys.executable, "-c", "print(1); raise SystemExit(3)"]) == ""
    assert machine.run([sys.executable, "-c", "print(1)"]).strip() == "1"
    assert machine.run([sys.executable, "-c", "raise SystemExit(print(2) or 3)", "status"]).strip() == "2"


@pytest.mark.parametrize(
    ("name", "clock", "mine", "code"),
    [
        ("", NOW, "192.168.0.10", "certificate_ok"),
        ("", NOW + 380 * DAY, "192.168.0.10", "certificate_ends"),
        ("", NOW, "192.168.0.11", "certificate_address"),
        ("", NOW - 20_000 * DAY, "192.168.0.10", "certificate_clock"),
        ("server.pem", NOW, "192.168.0.10", "certificate_damaged"),
        ("authority.pem", NOW, "192.168.0.10", "certificate_authority"),
    ],
)
def test_the_certificate_for_https_is_judged(tmp_path: Path, monkeypatch, name, clock, mine, code) -> None:
    """A file with a name is damaged."""
    made = CertificateFiles(tmp_path / ".tls")
    made.refresh(Names(("lab.local",), (ip_address("192.168.0.10"),)), NOW)
    if name:
        (made.folder / name).write_bytes(b"x")
    monkeypatch.setattr(files, "utc_now", lambda: clock)
    monkeypatch.setattr(machine, "local_ip", lambda: mine)
    assert checks.certificate(machine.https(made.folder)).code == code


def test_without_https_there_is_no_certificate_to_judge(tmp_path: Path) -> None:
    assert checks.certificate(machine.https(tmp_path / ".tls")).code == "certificate_none"
