"""Tests of `neuroone cluster` without its nodes; tests/integration/test_cluster.py runs them."""

import json
import stat
import sys
from pathlib import Path

import pytest

from neuroone import cluster
from neuroone.certificates.files import read_certificate
from neuroone.certificates.making import names_in
from neuroone.contract.errors import SettingsError
from neuroone.logins import TOKEN, login_in
from neuroone.mqtt.address import BrokerAddresses
from neuroone.service import settings
from neuroone.service.lifecycle import Stop

NODES = ("n1.school", "n2.school", "10.0.0.3")


def read(*words: str) -> cluster.ClusterSettings:
    return settings.read(cluster.ClusterSettings, words, {}, program="neuroone cluster")


@pytest.mark.parametrize("nodes", [(), ("a", "b"), ("a", "b", "b"), ("a", "b", "c", "d")])
def test_a_cluster_has_three_or_five_machines(nodes: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="three or five"):
        cluster.run(read("--dir", str(tmp_path), *(f"--node={each}" for each in nodes)), Stop())


@pytest.mark.parametrize("host", ["UPPER", "a b", "a:1", "", "x@y", "-", 'a"b'])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="host name"):
        read(f"--node={host}")


def test_every_login_leads_to_every_node_but_the_last_which_leads_the_sessions(tmp_path: Path) -> None:
    cluster.make(tmp_path, NODES, 1, {})
    addresses = BrokerAddresses.parse(f"file:{tmp_path / 'ws_gateway.url'}")
    assert [(each.host, each.port, each.tls, each.user) for each in addresses] == [
        (each, 8883, True, "ws_gateway") for each in NODES[:-1]
    ]
    assert len({each.password for each in addresses}) == 1


def test_a_second_call_keeps_logins_and_authority_and_follows_the_nodes(tmp_path: Path) -> None:
    cluster.make(tmp_path, NODES, 1, {})
    kept = [tmp_path / TOKEN, tmp_path / cluster.AUTHORITY, tmp_path / "nodes" / NODES[0] / cluster.SERVER]
    before = [each.read_text(encoding="ascii") for each in kept]
    password = login_in(tmp_path, "csv_recorder").password
    cluster.make(tmp_path, (NODES[0], "10.0.0.4", NODES[2]), 1, {})
    assert [each.read_text(encoding="ascii") for each in kept[:2]] == before[:2]
    assert kept[2].read_text(encoding="ascii") != before[2], "it is also for the new machine"
    assert login_in(tmp_path, "csv_recorder").password == password
    assert "10.0.0.4" in (tmp_path / "reader.url").read_text(encoding="ascii")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
def test_only_the_authority_may_be_read_by_others(tmp_path: Path) -> None:
    cluster.make(tmp_path, NODES, 1, {})
    modes = {
        file.name: stat.S_IMODE(file.stat().st_mode)
        for file in (*tmp_path.iterdir(), *(tmp_path / "nodes").rglob("*"))
        if file.is_file()
    }
    assert {name for name, mode in modes.items() if mode & 0o077} <= {cluster.AUTHORITY}
    assert (tmp_path / cluster.AUTHORITY).stat().st_mode & 0o044 == 0o044


def test_one_certificate_is_for_all_nodes(tmp_path: Path) -> None:
    cluster.make(tmp_path, NODES, 1, {})
    found = names_in(read_certificate(tmp_path / "nodes" / NODES[2] / cluster.SERVER))
    assert (found.hosts, [str(each) for each in found.addresses]) == (NODES[:2], ["10.0.0.3"])


@pytest.mark.parametrize(
    ("node", "listens", "monitor"),
    [("n1", "0.0.0.0", "127.0.0.1"), ("10.0.0.3", "10.0.0.3", "127.0.0.1"), ("127.0.0.2", "127.0.0.2", "127.0.0.2")],
)
def test_a_node_listens_where_its_address_says_and_is_watched_from_its_own_machine(
    node: str, listens: str, monitor: str
) -> None:
    """A name may stand for another address on the machine itself, as Debian's /etc/hosts has it."""
    made = cluster.configuration(node, (node, "b", "c"), [], 1, "secret")
    assert made.count(f'host: "{listens}"') == 2
    assert f'http: "{monitor}:8222"' in made
    assert 'routes: ["tls://b:6222", "tls://c:6222"]' in made


def test_a_node_and_its_watch_have_one_password_which_no_other_node_has(tmp_path: Path) -> None:
    cluster.make(tmp_path, NODES, 1, {})
    made = [json.loads((tmp_path / "nodes" / each / cluster.LEADERS).read_text(encoding="utf-8")) for each in NODES]
    assert [each["node"] for each in made] == [*NODES]
    assert {tuple(each["nodes"]) for each in made} == {NODES}
    assert len({each["password"] for each in made}) == len(NODES)
    for each in made:
        conf = (tmp_path / "nodes" / each["node"] / cluster.CONF).read_text(encoding="utf-8")
        assert conf.count(f'"password": "{each["password"]}"') == 2


def test_every_node_has_every_message() -> None:
    assert "stream_replicas: 3\n" in cluster.configuration("a", "abc", [], 1, "secret")
    assert "stream_replicas: 5\n" in cluster.configuration("a", "abcde", [], 1, "secret")


def test_the_watch_may_ask_for_other_leaders_and_nothing_else() -> None:
    *_, users, accounts = cluster.configuration("a", "abc", [], 1, "secret").splitlines()
    assert '"publish": ["$JS.API.STREAM.LEADER.STEPDOWN.*"], "subscribe": ["_INBOX.leaders"]' in users
    assert '"publish": ["$JS.API.META.LEADER.STEPDOWN"], "subscribe": ["_INBOX.leaders"]' in accounts
