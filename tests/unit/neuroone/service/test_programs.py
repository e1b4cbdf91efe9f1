"""How our programs start each other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import run
from neuroone import __version__
from neuroone.service import programs

CONSOLE = run.ROOT / "deploy" / "folder" / "console.py"


def test_an_installed_program_is_started_with_this_python() -> None:
    assert programs.command("serial_bridge", "ports") == [sys.executable, "-m", "serial_bridge", "ports"]
    assert programs.contents() is None


@pytest.mark.parametrize("suffix", ["", ".exe"])
def test_a_program_of_the_folder_starts_the_others_from_the_folder(
    suffix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / f"neuroone-monitor{suffix}"))
    program = str(tmp_path / f"neuroone{suffix}")
    assert programs.command("serial_bridge", "ports", "--json") == [program, "serial-bridge", "ports", "--json"]
    assert programs.command("neuroone", "up") == [program, "up"]


def test_no_other_place_starts_our_programs_with_a_python() -> None:
    """In the folder there is none."""
    places = [
        path.relative_to(run.ROOT).as_posix()
        for folder in ("neuroone", "services")
        for path in (run.ROOT / folder).rglob("*.py")
        if re.search(r"sys\.executable,\s*\"-m\"", path.read_text(encoding="utf-8"))
    ]
    assert places == ["neuroone/service/programs.py"]


def test_the_window_without_a_console_writes_its_log_into_a_file(tmp_path: Path) -> None:
    """On Windows, where such a program has no standard error; it has never run there."""
    code = f"import runpy, sys; sys.stdout = sys.stderr = None; runpy.run_path({str(CONSOLE.with_name('window.py'))!r})"
    words = [sys.executable, "-c", code, "--theme", "blue"]
    done = subprocess.run(words, env={"HOME": str(tmp_path)}, capture_output=True, check=False)
    (log,) = tmp_path.rglob("monitor.log")
    assert "--theme: must be one of" in log.read_text(encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


@pytest.mark.parametrize("words", [(), ("serial-bridge",)])
def test_the_console_program_has_the_services_as_commands(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, CONSOLE, *words, "--version"], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.stdout, done.stderr) == (f"{words[0] if words else 'neuroone'} {__version__}\n", "")


def test_its_help_names_them() -> None:
    done = subprocess.run([sys.executable, CONSOLE, "--help"], capture_output=True, encoding="utf-8", check=True)
    named = {each for each in run.PROGRAMS[1:] if each in done.stdout.splitlines()[-1]}
    assert named == {*run.PROGRAMS[1:]} - {"lsl-outlet"}  # its library is not in the folder
