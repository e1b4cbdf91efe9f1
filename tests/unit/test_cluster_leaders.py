"""deploy/cluster/leaders.py: which node is to lead what."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NODES = ["n1", "n2", "n3"]


@pytest.fixture
def leaders(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "deploy/cluster"))
    return importlib.import_module("leaders")


def group(leader: str, *others: str, **of_first: object) -> dict[str, object]:
    replicas = [{"name": each, "current": True} for each in others]
    return {"leader": leader, "replicas": [{**replicas[0], **of_first}, *replicas[1:]]}


def test_sessions_and_the_meta_group_are_led_by_the_last_node(leaders: Any) -> None:
    groups = {"$MQTT_sess": group("n1", "n3", "n2"), "meta": group("n1", "n2", "n3")}
    assert leaders.moves("n1", NODES, groups) == {"$MQTT_sess": "n3", "meta": "n3"}
    groups = {"$MQTT_sess": group("n3", "n1", "n2"), "meta": group("n3", "n1", "n2")}
    assert leaders.moves("n3", NODES, groups) == {}


def test_messages_are_led_by_any_other_node_and_retained_ones_by_the_same(leaders: Any) -> None:
    """So the death of one node of three holds readings up, and not that of two."""
    on_last = {"$MQTT_msgs": group("n3", "n1", "n2"), "$MQTT_rmsgs": group("n3", "n1", "n2")}
    assert leaders.moves("n3", NODES, on_last) == {"$MQTT_msgs": "n1", "$MQTT_rmsgs": "n1"}
    apart = {"$MQTT_msgs": group("n2", "n1", "n3"), "$MQTT_rmsgs": group("n1", "n2", "n3")}
    assert leaders.moves("n1", NODES, apart) == {"$MQTT_rmsgs": "n2"}
    assert leaders.moves("n2", NODES, apart) == {}
    assert leaders.moves("n1", NODES, {**apart, "$MQTT_msgs": group("", "n2", "n3")}) == {}, "an election"


@pytest.mark.parametrize(
    "fault",
    [
        {"current": False},
        {"offline": True},
        {"current": False, "lag": 101, "active": 1},
        {"current": False, "lag": 1, "active": 3_000_000_000},
        {"offline": True, "lag": 1, "active": 1},
    ],
    ids=str,
)
def test_nothing_moves_while_a_node_is_away_or_behind(leaders: Any, fault: dict[str, object]) -> None:
    assert leaders.moves("n1", NODES, {"$MQTT_sess": group("n1", "n2", "n3", **fault)}) == {}


def test_a_message_on_its_way_is_no_reason_to_wait(leaders: Any) -> None:
    groups = {"$MQTT_sess": group("n1", "n2", "n3", current=False, lag=2, active=400_000_000)}
    assert leaders.moves("n1", NODES, groups) == {"$MQTT_sess": "n3"}


def test_a_node_moves_only_what_it_leads(leaders: Any) -> None:
    assert leaders.moves("n2", NODES, {"$MQTT_sess": group("n1", "n2", "n3")}) == {}


def test_streams_that_nobody_here_uses_and_unknown_nodes_are_left_alone(leaders: Any) -> None:
    assert leaders.moves("n1", NODES, {"ORDERS": group("n1", "n2", "n3")}) == {}
    assert leaders.moves("n1", NODES, {"$MQTT_sess": group("n1", "n2", "old")}) == {}
    assert leaders.moves("n1", NODES, {"$MQTT_sess": {"leader": "n1"}}) == {}, "no copies: one node"


def test_of_five_nodes_the_last_that_has_the_stream_leads(leaders: Any) -> None:
    """A cluster that was made with three copies on five nodes."""
    five = ["n1", "n2", "n3", "n4", "n5"]
    assert leaders.moves("n1", five, {"$MQTT_sess": group("n1", "n4", "n2")}) == {"$MQTT_sess": "n4"}


def test_the_meta_group_moves_last(leaders: Any) -> None:
    """While it has no leader no other group can be moved."""
    said = {
        "meta_cluster": group("n1", "n2", "n3"),
        "account_details": [{"stream_detail": [{"name": "$MQTT_sess", "cluster": group("n1", "n2", "n3")}]}],
    }
    assert list(leaders.groups_of(said)) == ["$MQTT_sess", "meta"]
    assert leaders.groups_of({}) == {"meta": {}}, "a node that starts"


def test_a_node_of_an_earlier_version_and_a_fault_hinder_nobody(
    leaders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    leaders.keep_if_possible()
    assert capsys.readouterr().err == ""
    Path("leaders.json").write_text('{"monitor": "http://127.0.0.1:1"}', encoding="utf-8")
    leaders.keep_if_possible()
    assert "refused" in capsys.readouterr().err
