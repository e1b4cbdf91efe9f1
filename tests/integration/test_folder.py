"""The folder that runs without Python, built once and used as a school uses it."""

import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import psutil
import pytest
from packaging.utils import canonicalize_name
from PyInstaller.archive.readers import CArchiveReader
from websockets.sync.client import ClientConnection, connect

import run
from neuroone import __version__
from tests.support.brokers import LOOPBACK, free_port
from tests.support.waiting import wait_for

SPEC = run.ROOT / "deploy" / "folder" / "neuroone.spec"
BUILD_TIMEOUT_S = 600
START_TIMEOUT_S = 60.0
TEN_KEYS = {"Att", "Med", "Delta", "Theta", "LowAlpha", "HighAlpha", "LowBeta", "HighBeta", "LowGamma", "MiddleGamma"}
SIZE_MAX_BYTES = 500_000_000
PATH_MAX_CHARS = 120
"""Half of what Windows allows: the rest is for where a school puts the folder."""

pytestmark = [
    pytest.mark.gui,
    pytest.mark.packaging,
    pytest.mark.timeout(BUILD_TIMEOUT_S + 100),
    pytest.mark.skipif(
        not os.environ.get("NEUROONE_TEST_PACKAGING"), reason="builds for a minute: set NEUROONE_TEST_PACKAGING=1"
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the folder."""
    place = tmp_path_factory.mktemp("folder")
    folders = ["--distpath", str(place), "--workpath", str(place / "build")]
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", *folders, str(SPEC)],
        check=True,
        timeout=BUILD_TIMEOUT_S,
    )
    return place / "NeuroOne"


def test_start_here_reads_a_headset_records_it_and_shows_it(folder: Path, tmp_path: Path) -> None:
    """Without a PATH, and with an environment that says only where the user's home is and that there is no screen."""
    port, picture, recorded = free_port(), tmp_path / "picture.svg", tmp_path / "Documents" / "NeuroOne" / "Demo.csv"
    words = ["--start=sim", "--page=monitor", f"--ws-port={port}", f"--screenshot={picture}", "--after=3600"]
    environment = {"HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
    log = tmp_path / "log"
    with (
        log.open("wb") as said,
        subprocess.Popen([folder / "neuroone-monitor", *words], env=environment, cwd=tmp_path, stderr=said) as window,
    ):
        try:
            with frames(window, port) as client:
                assert json.loads(client.recv(START_TIMEOUT_S)).keys() == TEN_KEYS
            wait_for(lambda: rows_of(recorded) > 1, "a row in the student's file", START_TIMEOUT_S)
            wait_for(lambda: b"showing no-group/sim" in log.read_bytes(), "the stream in the window", START_TIMEOUT_S)
            started = psutil.Process(window.pid).children(recursive=True)
            assert {Path(each.exe()).relative_to(folder).name for each in started} == {"neuroone", "nats-server"}
            window.send_signal(signal.SIGTERM)
            assert window.wait(START_TIMEOUT_S) == 0
        finally:
            window.kill()
    assert "Demo" in picture.read_text(encoding="utf-8")
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive
    workbook = tmp_path / "report.xlsx"
    assert "Demo" in said_by(folder, "csv-recorder", "report", "--xlsx", str(workbook), HOME=str(tmp_path))
    assert workbook.exists()


def frames(window: "subprocess.Popen[bytes]", port: int) -> ClientConnection:
    """Connect to the gateway as soon as it is there."""
    found: list[ClientConnection] = []

    def is_connected() -> bool:
        assert window.poll() is None
        try:
            found.append(connect(f"ws://{LOOPBACK}:{port}/", proxy=None))
        except OSError:
            return False
        return True

    wait_for(is_connected, "the gateway", START_TIMEOUT_S)
    return found[0]


def rows_of(file: Path) -> int:
    """Return how many lines a file has."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_every_program_is_a_command(folder: Path) -> None:
    """All but one, whose library is not in the folder."""
    for program in {*run.PROGRAMS} - {"lsl-outlet"}:
        words = [] if program == "neuroone" else [program]
        assert said_by(folder, *words, "--version") == f"{program} {__version__}\n"


def said_by(folder: Path, *words: str, **environment: str) -> str:
    """Run a command of the folder, in an environment that is empty but for ``environment``; return what it says."""
    command = [str(folder / "neuroone"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_made_of_the_packages_of_its_set_and_short_paths(folder: Path) -> None:
    """What else is installed where it is built stays out."""
    modules = CArchiveReader(str(folder / "neuroone")).open_embedded_archive("PYZ.pyz").toc
    names = {each.partition(".")[0] for each in (*modules, *(path.name for path in (folder / "_internal").iterdir()))}
    locked = set(re.findall(r"^([a-z0-9-]+)==", run.locked_sets()[run.FOLDER], re.MULTILINE)) | {"neuroone"}
    of = {name: {canonicalize_name(each) for each in each_of} for name, each_of in packages_distributions().items()}
    assert {"PySide6", "pandas", "bleak", "tzdata", "nats-server"} <= names
    assert sorted(name for name in names if not of.get(name, locked) & locked) == []
    files = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    assert sum(each.stat().st_size for each in files) < SIZE_MAX_BYTES
    assert max(len(str(each.relative_to(folder))) for each in files) <= PATH_MAX_CHARS
