"""Tests of run.py and of the lock it keeps."""

import os
import re

import pytest

import run


def test_the_lock_is_made_from_what_pyproject_toml_asks_for() -> None:
    assert run.lock_is_current()


def test_lock_names_no_address() -> None:
    """A school installs from its own mirror."""
    assert not re.search(r"//|\.(org|com|io|net)\b", run.LOCK.read_text(encoding="utf-8"))


def test_every_locked_package_has_a_hash() -> None:
    body = run.LOCK.read_text(encoding="utf-8")
    packages = re.findall(r"^([a-z0-9-]+)==", body, re.MULTILINE)
    assert len(packages) > 30
    for package in packages:
        assert "--hash=sha256:" in run.locked(package)


def test_locked_gives_one_package_alone() -> None:
    lines = run.locked("uv").splitlines()
    assert lines[0].startswith("uv==")
    assert all(line.startswith(" ") for line in lines[1:])


@pytest.mark.parametrize("arguments", [[], ["fly"], ["exec"]])
def test_a_wrong_call_prints_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(arguments) == 2
    shown = capsys.readouterr()
    assert "usage: python3 run.py COMMAND" in shown.out + shown.err


def test_an_old_python_gets_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
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
