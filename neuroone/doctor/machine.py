"""Observe this machine for `neuroone doctor`: adapters, ports, programs, firewall, directory, memory.

``root`` is the root of the file system; tests give a folder that describes another machine. A system without these
files (macOS, Windows) yields no observations.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from neuroone.doctor.checks import ADAPTERS, BLE, Adapter, Bluetooth, Directory, Firewall, Https, Nearby, Port
from neuroone.doctor.permissions import acting_as, count_foreign, me
from neuroone.service import programs
from neuroone.service.local_address import local_ip

COMMAND_TIMEOUT_S: Final = 10.0

SEARCH_TIMEOUT_S: Final = 30.0
"""`serial-bridge ports` searches for 4 s, and gives up what does not answer after 10 s."""
STRANGER: Final = "something else"
"""What `serial-bridge ports` says of a device that does not look like a headset."""


def adapters(root: Path) -> list[Adapter]:
    """List the known serial adapters on the USB, with their ports."""
    found = []
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        usb_id = ":".join(_text(device / name) for name in ("idVendor", "idProduct"))
        if usb_id in ADAPTERS:
            ttys = [*device.glob("*/ttyUSB*"), *device.glob("*/tty/tty*")]
            found.append(Adapter(usb_id, f"/dev/{ttys[0].name}" if ttys else None))
    return found


def port(device: str, root: Path) -> Port:
    """Observe a serial port."""
    path = Path(device)
    if not path.exists():
        return Port(device, exists=False, may_open=False, group="")
    try:
        group = path.group()
    except (KeyError, NotImplementedError):  # a group without a name; Windows, which has none
        group = "dialout"
    holders = tuple(name for process, name in _processes(root) if _has_open(process, path.resolve()))
    may_open = os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return Port(device, exists=True, may_open=may_open, group=group, holders=holders)


def bluetooth(device: str) -> Bluetooth:
    """Observe which devices are in reach over Bluetooth LE; the bridge's program searches them."""
    command = programs.command("serial_bridge", "ports", "--json")
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SEARCH_TIMEOUT_S, check=False, encoding="utf-8", errors="replace"
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return Bluetooth(device, fault=str(error))
    found = [Nearby(row["port"].partition(":")[2], row["description"], row["looks_like"] != STRANGER)
             for row in rows if row["port"].startswith(f"{BLE}:")]  # fmt: skip
    return Bluetooth(device, tuple(found), done.stderr.strip().rpartition("\n")[2])


def running(root: Path) -> frozenset[str]:
    """Return the names of the running programs, cut to 15 characters as Linux does."""
    return frozenset(name for _, name in _processes(root))


def firewall(root: Path) -> Firewall | None:
    """Return the firewall that is switched on."""
    if re.search(r"^ENABLED=yes", _text(root / "etc/ufw/ufw.conf"), re.MULTILINE):
        rules = root / "etc/ufw/user.rules"
        return Firewall("ufw", _ufw_ports(_text(rules)) if os.access(rules, os.R_OK) else None)
    if "firewalld" in running(root):
        zones = list((root / "etc/firewalld/zones").glob("*.xml"))
        ports = (re.findall(r'<port\b[^>]*\bport="(\d+)"', _text(zone)) for zone in zones)
        return Firewall("firewalld", frozenset(int(each) for found in ports for each in found))
    return None


def directory(path: Path, user: str) -> Directory:
    """Observe the directory of the recordings as the user who records; create a file in it and delete it again."""
    if not path.is_dir():
        return Directory(str(path), exists=False, may_write=False, free_bytes=0, user=user)
    free_bytes = shutil.disk_usage(path).free
    with acting_as(user) as is_acting:
        if not is_acting and user != me():
            return Directory(str(path), True, None, free_bytes, user)
        try:
            with tempfile.TemporaryFile(dir=path):
                may_write = True
        except OSError:
            may_write = False
        foreign = count_foreign(path) if may_write else 0
    return Directory(str(path), True, may_write, free_bytes, user, foreign)


def free_bytes(folder: Path | None) -> int | None:
    """Return the free space of a folder's disk; None if it is not there."""
    try:
        return None if folder is None else shutil.disk_usage(folder).free
    except OSError:
        return None


def variables(file: Path) -> dict[str, str]:
    """Read the variables of the services of a server."""
    return dict(re.findall(r"^\s*(?:export\s+)?(\w+)=(.*)$", _text(file), re.MULTILINE))


def https(folder: Path) -> Https | None:
    """Read what `neuroone up --tls` keeps in a folder; None if there is nothing."""
    if not folder.is_dir():
        return None
    seen = Https(str(folder))
    try:
        from neuroone.certificates import files, making
    except ImportError as error:
        return replace(seen, fault="unknown", detail=f"{error.name}, extra up")
    now = files.utc_now()
    if making.believable(now) != now:
        return replace(seen, fault="clock", detail=f"{now:%Y-%m-%d}")
    kept = files.CertificateFiles(folder)
    for fault, file in (("authority", kept.authority), ("damaged", kept.server)):
        try:
            certificate = files.read_certificate(file)
        except PermissionError as error:
            return replace(seen, fault="unknown", detail=str(error.strerror))
        except (OSError, making.Damaged) as error:
            return replace(seen, fault=fault, detail=str(error))
    mine = making.Names((), (ip_address(local_ip()),))
    days_left = (certificate.not_valid_after_utc - now).total_seconds() / 86400
    return replace(seen, days_left=days_left, missing=str(making.lacking(certificate, mine)))


def available_memory_bytes(root: Path) -> int | None:
    """Return the memory that Linux could give to a program now; None on other systems."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def run(command: Sequence[str]) -> str:
    """Run a command as `runners.Ask` describes.

    `docker logs` also writes to the error stream, so that is read too, and `supervisorctl status` ends with 3 if a
    program does not run.
    """
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "logs" in command else subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    is_done = not done.returncode or (done.returncode == 3 and "status" in command)
    return done.stdout.decode("utf-8", "replace") if is_done else ""


def _processes(root: Path) -> Iterator[tuple[Path, str]]:
    for process in (root / "proc").glob("[0-9]*"):
        if name := _text(process / "comm"):
            yield process, name


def _has_open(process: Path, file: Path) -> bool:
    try:
        return any(os.path.realpath(each) == str(file) for each in (process / "fd").iterdir())
    except OSError:  # the process belongs to another user, or has ended
        return False


def _ufw_ports(rules: str) -> frozenset[int]:
    ports: set[int] = set()
    for each in re.findall(r"^### tuple ### allow (?:tcp|any) (\S+) ", rules, re.MULTILINE):
        for part in each.split(","):
            first, _, last = part.partition(":")
            if first.isdecimal():
                ports.update(range(int(first), int(last or first) + 1))
    return frozenset(ports)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
