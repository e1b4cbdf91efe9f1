"""Backup and restore of an installation: what is whole comes back as it was, what is damaged is refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuroone.__main__ import COMMANDS
from neuroone.contract.files import BROKER_FOLDER, REPLACED
from neuroone.maintenance.manifest import MANIFEST, RECORDINGS
from neuroone.service import lifecycle


def run(*words: str | Path) -> int:
    return lifecycle.main("neuroone", COMMANDS, [*map(str, words)])


def places(root: Path) -> list[str]:
    return ["--data", str(root / "data"), "--also", f"broker={root / 'broker'}", "--also", f"settings={root / 'etc'}"]


def contents(root: Path) -> dict[str, bytes]:
    """What users and services find, without what was moved aside and locks."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != ".inbox.lock")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if REPLACED not in str(path)}


def aside(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file() and REPLACED in str(path)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a server and its backup; csv-recorder takes half a second to start, so it is made once."""
    folder = tmp_path_factory.mktemp("made")
    root = folder / "server"
    for name in ("data/sessions", "broker", "etc/broker"):
        (root / name).mkdir(parents=True)
    (root / "data" / "Ana.csv").write_bytes(b"Att\n85\n")
    (root / "broker" / "mosquitto.db").write_bytes(b"what waits for the recorder")
    (root / "etc" / "gateway.url").write_bytes(b"mqtt://login")
    (root / "etc" / "gateway.url").chmod(0o600)
    (root / "etc" / "broker" / "passwords").write_bytes(b"hash")
    assert run("backup", folder / "saved", *places(root)) == 0
    return folder


@pytest.fixture
def server(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "server", tmp_path / "server")


@pytest.fixture
def saved(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "saved", tmp_path / "saved")


def test_everything_comes_back_on_a_new_machine_and_beside_what_an_old_one_has(
    server: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What differs is moved aside and named, what is the same stays, and so does the state of a broker that has one."""
    before = contents(server)
    assert saved.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in saved.rglob("*"))
    assert run("restore", saved, *places(tmp_path / "new")) == 0
    assert contents(tmp_path / "new") == before
    assert (tmp_path / "new" / "etc" / "gateway.url").stat().st_mode & 0o777 == 0o600

    (server / "etc" / "gateway.url").write_bytes(b"another login")
    (server / "etc" / "of this machine").write_bytes(b"kept")
    (server / "broker" / "mosquitto.db").write_bytes(b"newer")
    (server / "data" / "Ana.csv").write_bytes(b"Att\n85\n86\n")
    changed = contents(server)
    assert run("restore", saved, *places(server)) == 2, "nobody is there to be asked"
    assert "--replace moves what is there aside" in capsys.readouterr().err
    assert contents(server) == changed
    assert run("restore", saved, *places(server), "--replace") == 0
    assert contents(server) == before | {"etc/of this machine": b"kept", "broker/mosquitto.db": b"newer"}
    assert aside(server) == {"gateway.url": b"another login", "Ana.csv": b"Att\n85\n86\n"}
    assert run("restore", saved, *places(server), "--replace", "--with-broker") == 0
    assert contents(server) == before | {"etc/of this machine": b"kept"}


def test_the_directory_of_up_alone_is_a_whole_installation(tmp_path: Path) -> None:
    """Its token and its broker's state are in it."""
    data, saved, new = tmp_path / "data", tmp_path / "saved", tmp_path / "new"
    (data / BROKER_FOLDER).mkdir(parents=True)
    (data / BROKER_FOLDER / "mosquitto.db").write_bytes(b"state")
    (data / ".token").write_bytes(b"secret")
    assert run("backup", saved, "--data", data) == 0
    assert {path.name for path in saved.iterdir()} == {MANIFEST, RECORDINGS}
    assert run("restore", saved, "--data", new) == 0
    assert contents(new) == contents(data)


def _edit(saved: Path, **values: Any) -> None:
    manifest = json.loads((saved / MANIFEST).read_bytes())
    (saved / MANIFEST).write_text(json.dumps(manifest | values), encoding="utf-8")


def _flip(saved: Path) -> None:
    archive = bytearray((saved / RECORDINGS).read_bytes())
    archive[len(archive) // 2] ^= 1
    (saved / RECORDINGS).write_bytes(archive)


def _forge(saved: Path) -> None:
    files = json.loads((saved / MANIFEST).read_bytes())["files"]
    outside = saved.parent / "outside"
    outside.write_bytes((saved / "settings" / "gateway.url").read_bytes())
    _edit(saved, files=files | {"settings/../../outside": files["settings/gateway.url"]})


def _link(saved: Path) -> None:
    (saved / "settings" / "gateway.url").rename(saved.parent / "elsewhere")
    (saved / "settings" / "gateway.url").symlink_to(saved.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda saved: (saved / MANIFEST).unlink(), "is no whole backup"),
        (lambda saved: (saved / MANIFEST).write_bytes(b"{"), "is damaged: manifest.json"),
        (lambda saved: (saved / MANIFEST).write_bytes(b"[" * 10**6), "is damaged: manifest.json"),
        (lambda saved: _edit(saved, files={"settings/gateway.url": 1}), "is damaged: manifest.json"),
        (lambda saved: _edit(saved, files={}), "recordings.tar.gz is missing"),
        (lambda saved: _edit(saved, version="now"), "is damaged: manifest.json"),
        (lambda saved: _edit(saved, version="99.0"), "NeuroOne 99.0, newer than this"),
        (lambda saved: _edit(saved, format=2, files="unknown"), "newer than this"),
        (_flip, "recordings.tar.gz has changed"),
        (lambda saved: (saved / RECORDINGS).unlink(), "recordings.tar.gz is missing"),
        (lambda saved: (saved / "settings" / "gateway.url").write_bytes(b""), "settings/gateway.url has changed"),
        (lambda saved: (saved / "settings" / "more").write_bytes(b""), "settings/more is not in manifest.json"),
        (_forge, "outside is missing"),
        (_link, "gateway.url is missing"),
    ],
)
def test_a_damaged_forged_or_newer_backup_is_refused_and_changes_nothing(
    damage: Callable[[Path], Any], reason: str, server: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (server / "etc" / "gateway.url").write_bytes(b"another login")
    before = contents(server)
    damage(saved)
    assert run("restore", saved, *places(server), "--replace") == 2
    assert reason in capsys.readouterr().err
    assert contents(server) == before
    assert aside(server) == {}


def test_a_backup_that_cannot_be_whole_is_refused(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a folder that is there, into itself, of nothing, and one that csv-recorder did not finish."""
    for to, words, reason in (
        (tmp_path / "server", places(server), "is there already"),
        (server / "etc" / "saved", places(server), "would contain itself"),
        (tmp_path / "saved", ["--data", str(tmp_path / "gone")], "is not there"),
        (tmp_path / "gone" / "saved", places(server), "there is no backup"),
    ):
        assert run("backup", to, *words) in (1, 2)
        said = capsys.readouterr()
        assert reason in said.err
    (server / "data" / ".restoring").mkdir()
    assert run("backup", tmp_path / "saved", *places(server)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["server"]


def test_the_environment_steers_neither(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TO", "BACKUP", "DATA", "ALSO", "REPLACE", "WITH_BROKER", "FROM"):
        monkeypatch.setenv(f"NEUROONE_{name}", str(server / "data"))
    monkeypatch.chdir(tmp_path)
    assert run("backup") == 2
    assert run("backup", tmp_path / "saved") == 2, "recordings, the default, are not there"
    assert run("restore") == 2


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="root alone gives files away")
def test_root_brings_back_every_owner_and_lets_the_owner_of_the_recordings_restore_them(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What root makes there a recorder could not change."""
    recorder, gateway = 10001, 10002
    server, new, saved = tmp_path / "server", tmp_path / "new", tmp_path / "saved"
    (new / "data").mkdir(parents=True)
    shutil.copytree(made / "server", server)
    os.chown(server / "data", recorder, recorder)
    os.chown(new / "data", recorder, recorder)
    os.chown(server / "etc" / "gateway.url", gateway, gateway)
    started: list[tuple[int, int, list[int]]] = []

    def start(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        started.append((options["user"], options["group"], options["extra_groups"]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("neuroone.maintenance.places.subprocess.run", start)
    assert run("backup", saved, *places(server)) == 0
    assert run("restore", saved, *places(new)) == 0
    assert started == [(recorder, recorder, [])] * 2
    found = (new / "etc" / "gateway.url").stat()
    assert (found.st_uid, found.st_gid) == (gateway, gateway)
