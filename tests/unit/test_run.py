"""Tests of run.py and of the lock it keeps."""

import os
import re

import pytest

import run


def test_lock_is_made_from_todays_wishes() -> None:
    """The lock's first line matches what pyproject.toml asks for."""
    assert run.lock_is_current()


def test_lock_names_no_address() -> None:
    """The lock holds versions and hashes, and no host: a school installs from its own mirror."""
    assert not re.search(r"//|\.(org|com|io|net)\b", run.LOCK.read_text(encoding="utf-8"))


def test_every_locked_package_has_a_hash() -> None:
    """Each package of the lock is pinned and followed by at least one hash."""
    body = run.LOCK.read_text(encoding="utf-8")
    packages = re.findall(r"^([a-z0-9-]+)==", body, re.MULTILINE)
    assert len(packages) > 30
    for package in packages:
        assert "--hash=sha256:" in run.locked(package)


def test_locked_gives_one_package_alone() -> None:
    """The lines of uv are those of uv, without its neighbours."""
    lines = run.locked("uv").splitlines()
    assert lines[0].startswith("uv==")
    assert all(line.startswith(" ") for line in lines[1:])


@pytest.mark.parametrize("arguments", [[], ["fly"], ["exec"]])
def test_wrong_call_says_how_to_call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A call without a command, or with one that there is not, prints the usage and exits with 2."""
    assert run.main(arguments) == 2
    shown = capsys.readouterr()
    assert "usage: python3 run.py COMMAND" in shown.out + shown.err


def test_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A Python that is too old gets one sentence and exit code 2."""
    monkeypatch.setattr("sys.version_info", (3, 10, 13))
    assert run.main(["test"]) == 2
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "command"), [([], run.TESTS), (["-k", "NAME"], ["pytest", "-k", "NAME"])], ids=["all", "named"]
)
def test_only_a_run_of_all_tests_uses_several_processes(
    words: list[str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(run.ROOT)
    monkeypatch.setattr(run, "make_environment", lambda: None)
    started: list[str] = []
    monkeypatch.setattr(run, "become", lambda *words: started.extend(words))
    run.main(["test", *words])
    assert started == command
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
