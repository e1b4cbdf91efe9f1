"""Which version of a clone run.py starts, and what becomes of it."""

import subprocess
from pathlib import Path

import pytest

import run
from neuroone.contract.errors import NeuroOneError
from neuroone.maintenance import versions
from neuroone.maintenance.checkouts import VERSIONS, Checkout
from neuroone.maintenance.clones import CURRENT, Clone
from tests.support.repositories import Origin

WORKS = "print('works')\n"
FAILS = "import sys; sys.exit(1)\n"


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def root(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a first version, with run.py's idea of where it is."""
    origin.commit(WORKS)
    monkeypatch.setattr(run, "ROOT", tmp_path / "clone")
    return origin.clone(tmp_path / "clone")


def installed(root: Path) -> Clone:
    return Clone(Checkout(root), root / "recordings")


def test_run_py_starts_the_chosen_version_until_somebody_changes_the_clone(origin: Origin, root: Path) -> None:
    first = installed(root).commit()
    assert run.chosen_version() is None
    second = origin.commit(WORKS)
    assert versions.update(installed(root), None, None)
    assert run.chosen_version() == root / VERSIONS / second[:12]
    assert versions.update(installed(root), None, None), "there is nothing newer"
    third = origin.commit(WORKS)
    assert versions.update(installed(root), str(origin.folder), "HEAD")
    assert installed(root).commit() == third
    assert versions.roll_back(installed(root))
    assert installed(root).commit() == second
    assert versions.roll_back(installed(root)), "and forth again"
    assert installed(root).commit() == third

    subprocess.run(["git", "pull", "--quiet"], cwd=root, check=True)
    assert run.chosen_version() is None
    assert installed(root).commit() == third
    with pytest.raises(NeuroOneError, match="no earlier version"):
        versions.roll_back(installed(root))
    (root / VERSIONS / CURRENT).write_text("{", encoding="utf-8")
    assert run.chosen_version() is None
    assert installed(root).commit() == third != first


def test_a_version_that_fails_its_test_is_not_chosen(origin: Origin, root: Path) -> None:
    first = installed(root).commit()
    origin.commit(FAILS)
    with pytest.raises(NeuroOneError, match=r"does not work on this machine; nothing was changed"):
        versions.update(installed(root), None, None)
    assert installed(root).commit() == first
    assert run.chosen_version() is None


def test_what_cannot_be_fetched_changes_nothing(root: Path, tmp_path: Path) -> None:
    first = installed(root).commit()
    for source, ref in ((str(tmp_path / "gone"), None), (None, "no-such-version")):
        with pytest.raises(NeuroOneError, match="git fetch"):
            versions.update(installed(root), source, ref)
    assert installed(root).commit() == first


def test_folders_of_versions_that_nobody_needs_are_removed(origin: Origin, root: Path) -> None:
    names = []
    for _ in range(4):
        names.append(origin.commit(WORKS)[:12])
        assert versions.update(installed(root), None, None)
    assert {each.name for each in (root / VERSIONS).iterdir()} == {CURRENT, *names[-3:]}


def test_a_folder_that_was_cut_off_is_made_whole(origin: Origin, root: Path) -> None:
    second = origin.commit(WORKS)
    Checkout(root).fetch(None, None)
    folder = Checkout(root).add(second)
    (folder / "run.py").unlink()
    assert versions.update(installed(root), None, None)
    assert (folder / "run.py").exists()


def test_a_clone_that_was_moved_is_updated_where_it_is_now(origin: Origin, root: Path, tmp_path: Path) -> None:
    second = origin.commit(WORKS)
    assert versions.update(installed(root), None, None)
    moved = root.rename(tmp_path / "moved")
    third = origin.commit(WORKS)
    assert versions.update(installed(moved), None, None)
    assert installed(moved).commit() == third
    assert versions.roll_back(installed(moved))
    assert installed(moved).commit() == second
