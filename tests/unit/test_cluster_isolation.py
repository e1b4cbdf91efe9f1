"""deploy/cluster/isolation.py: when a node is cut off, and what happens then."""

import importlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import LOOPBACK, free_port

ROOT = Path(__file__).parents[2]
NOWHERE = "255.255.255.255"
"""An address that no machine has: the system refuses to connect to it."""


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports a program of deploy/cluster."""
    monkeypatch.syspath_prepend(str(ROOT / "deploy/cluster"))
    return importlib.import_module


@pytest.mark.parametrize(
    ("ages_s", "expected"),
    [
        ([0.9, 0], False),
        ([2.1, 0], True),
        ([2.1, 0.5], False),
        ([2.1, 90.0], True),
        ([0, 0], False),
        ([], False),
    ],
    ids=[
        "hears the leader",
        "no leader any more",
        "leads, and hears one of two",
        "leads nobody any more",
        "hears of none",
        "starts",
    ],
)
def test_a_node_is_silent_if_it_hears_no_other_one_for_two_seconds(
    ages_s: list[float], expected: bool, deployed: Any
) -> None:
    replicas = [{"name": str(number), "active": int(age_s * 1e9)} for number, age_s in enumerate(ages_s)]
    assert deployed("isolation").is_silent({"meta_cluster": {"replicas": replicas}}) == expected


def test_a_machine_that_refuses_is_there_and_one_that_does_not_answer_is_not(deployed: Any) -> None:
    isolation = deployed("isolation")
    assert isolation.reaches_any([NOWHERE, LOOPBACK], free_port())
    assert not isolation.reaches_any([NOWHERE, NOWHERE], free_port())


def test_a_node_that_hears_nobody_is_alone_only_if_no_machine_answers(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolation, leaders = deployed("isolation"), deployed("leaders")
    said: dict[str, Any] = {"/jsz": {"meta_cluster": {"replicas": [{"active": 3_000_000_000}]}}}
    monkeypatch.setattr(leaders, "monitored", lambda given, path: said[path])
    for hosts, expected in (([], False), ([NOWHERE, LOOPBACK], False), ([NOWHERE], True)):
        said["/routez"] = {"routes": [{"ip": each} for each in hosts]}
        assert isolation.is_alone({"route_port": free_port()}) == expected


def test_the_watch_ends_a_node_that_is_alone(deployed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = deployed("healthcheck")
    (tmp_path / "leaders.json").write_text("{}x", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []

    def is_alone(given: Any) -> bool:
        asked.append(given)
        return True

    monkeypatch.setattr(watch.isolation, "is_alone", is_alone)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as node:
        Path("pid").write_text(str(node.pid), encoding="ascii")
        watch.check_isolation(Path("pid"))
        assert not asked, "it is of an earlier version, without settings"
        Path("leaders.json").write_text('{"node": "a"}', encoding="utf-8")
        watch.check_isolation(Path("pid"))
        assert node.wait(10) == -signal.SIGKILL


def test_a_node_waits_for_the_machine_of_another_one(deployed: Any) -> None:
    isolation = deployed("isolation")
    isolation.wait_until_it_reaches_one({})
    isolation.wait_until_it_reaches_one({"node": NOWHERE, "nodes": [NOWHERE, LOOPBACK], "route_port": free_port()})
