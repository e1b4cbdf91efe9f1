"""Tests of the dry run that checks every kind of machine."""

import sys
from pathlib import Path

import pytest

import platforms
import run
from run import EXTRAS, FOLDER, SERVICES, WINDOW

MUSL = platforms.MUSL[0]
NEWEST = platforms.PYTHONS[-1]


@pytest.fixture
def without_wheels(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Give a set to which a test adds the names of what uv cannot install."""
    lacking: set[str] = set()

    def resolve(folder: str, names: list[str], *words: str) -> str | None:
        return "no wheels" if lacking & set(names) else None

    monkeypatch.setattr(platforms, "resolve", resolve)
    return lacking


def test_a_set_that_cannot_be_installed_is_named(without_wheels: set[str]) -> None:
    without_wheels |= {SERVICES, WINDOW, FOLDER}
    assert platforms.faults("", MUSL, NEWEST) == [f"services on {MUSL} with Python {NEWEST}: no wheels"]


def test_a_known_gap_is_no_fault_until_it_closes(without_wheels: set[str]) -> None:
    without_wheels |= {WINDOW, FOLDER}
    assert platforms.faults("", MUSL, NEWEST) == []
    without_wheels.remove(WINDOW)
    (fault,) = platforms.faults("", MUSL, NEWEST)
    assert fault.startswith(f"window on {MUSL} with Python {NEWEST}: can be installed, take it out of GAPS")


def test_where_there_is_no_gap_every_set_must_resolve(without_wheels: set[str]) -> None:
    without_wheels |= set(EXTRAS)
    assert len(platforms.faults("", platforms.MACOS[0], NEWEST)) == len(EXTRAS)
    without_wheels.clear()
    assert platforms.faults("", platforms.MACOS[0], NEWEST) == []


@pytest.mark.parametrize(("is_reached", "exit_code"), [(True, 1), (False, 0)], ids=["registry", "no registry"])
def test_only_a_registry_that_answers_fails_the_check(
    is_reached: bool, exit_code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def resolve(folder: str, names: list[str], *words: str) -> str | None:
        return None if names == ["one"] and is_reached else "no wheels"

    monkeypatch.setattr(platforms, "resolve", resolve)
    assert platforms.main() == exit_code
    said = capsys.readouterr().out
    assert ("skipped: the registry cannot be reached" in said) is not is_reached


def test_a_registry_that_never_answers_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hanging = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(run, "uv", lambda *words: hanging)
    monkeypatch.setattr(platforms, "TIMEOUT_S", 0.2)
    assert platforms.resolve(str(tmp_path), ["one"]) == "uv did not answer within 0 s"
