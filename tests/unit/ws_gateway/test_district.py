"""The file with the schools of a district, and a school whose place another program has taken."""

import asyncio
import json
import re
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.service.lifecycle import Stop
from ws_gateway import district
from ws_gateway.service import Service
from ws_gateway.settings import Settings

GOOD = {"broker": "mqtt://127.0.0.1:1", "token_file": "a.token"}


def settings(folder: Path, sites: object, **given: Any) -> Settings:
    file = folder / "sites.json"
    file.write_text(json.dumps(sites), encoding="utf-8")
    return Settings(sites=file, **given)


def test_each_site_has_its_own_settings_and_the_rest_of_all(tmp_path: Path) -> None:
    sites = {
        "school-a": {**GOOD, "name": "Escola A", "recordings": "/a", "osc": "127.0.0.1:9000"},
        "school-b": {**GOOD, "token_file": "b.token"},
    }
    given = settings(tmp_path, sites, public_url="https://district.example/", token="all", reading_rate=7.0)
    one, other = district.sites_in(given).values()
    assert (one.title, other.title) == ("Escola A", "school-b")
    assert (one.given.site, one.given.recordings, one.given.token_file) == ("school-a", Path("/a"), Path("a.token"))
    assert (one.given.osc, other.given.osc) == ((("127.0.0.1", 9000),), ())
    assert other.given.public_url == "https://district.example/school-b/"
    assert {each.given.token for each in (one, other)} == {None}
    assert {each.given.reading_rate for each in (one, other)} == {7.0}


def test_a_districts_gateway_has_no_name_that_a_schools_may_have(tmp_path: Path) -> None:
    """A school's gateway of the same name, which the forwarder brings, would be its twin."""
    (site,) = district.sites_in(settings(tmp_path, {"school-a": GOOD})).values()
    assert site.given.instance.startswith("district-")
    (site,) = district.sites_in(settings(tmp_path, {"school-a": GOOD}, instance="one")).values()
    assert site.given.instance == "one"


@pytest.mark.parametrize(
    ("sites", "fault"),
    [
        ([], "must hold a JSON object of sites"),
        ({}, "must hold a JSON object of sites"),
        ({"a b": GOOD}, "a b: a site is 1 to 64"),
        ({"page": GOOD}, "page: this address is the gateway's own"),
        ({"a": 1}, "a: must be a JSON object of texts"),
        ({"a": {"token_file": "x"}}, "a: must have broker and token_file"),
        ({"a": {"broker": "mqtt://x"}}, "a: must have broker and token_file"),
        ({"a": {**GOOD, "ws_port": "1"}}, "a: must have broker and token_file, and may have name, recordings"),
        ({"a": {**GOOD, "broker": "http://x"}}, "a: broker: must be like mqtt://"),
        ({"a": GOOD, "b": GOOD}, r"two sites have .*a\.token as token_file"),
        ({"a": {**GOOD, "recordings": "/r"}, "b": {**GOOD, "token_file": "b", "recordings": "/r/b"}}, "as recordings"),
    ],
)
def test_a_faulty_file_is_refused_with_the_reason(tmp_path: Path, sites: object, fault: str) -> None:
    with pytest.raises(SettingsError) as refused:
        district.sites_in(settings(tmp_path, sites))
    assert [each for each in refused.value.faults if re.search(fault, each)], refused.value.faults


def test_a_site_may_not_have_the_tokens_that_open_every_site(tmp_path: Path) -> None:
    given = settings(tmp_path, {"a": {**GOOD, "token_file": f"{tmp_path}/x/../all"}}, token_file=tmp_path / "all")
    with pytest.raises(SettingsError, match="a: its token_file is that of --token-file"):
        district.sites_in(given)


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"recordings": Path("x")}, "--recordings"),
        ({"site_key": "a-long-key"}, "--site-key"),
        ({"open_dashboards": True}, "--open-dashboards"),
        ({"access_log": "x"}, "--access-log"),
    ],
)
def test_what_belongs_to_a_site_is_refused_for_all(tmp_path: Path, given: dict[str, Any], flag: str) -> None:
    with pytest.raises(SettingsError, match=flag):
        district.sites_in(settings(tmp_path, {"a": GOOD}, **given))


async def test_a_site_that_lost_its_place_is_tried_again_and_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    started = asyncio.Event()

    class Site:
        class client:
            class identity:
                site = "a"

            start = started.set

    monkeypatch.setattr(district, "RESTART_S", 0.01)
    district.restart(Site(), NeuroOneError("another program uses the same site"))  # type: ignore[arg-type]
    await asyncio.wait_for(started.wait(), 5)


@pytest.mark.parametrize(("path", "answer"), [("/", None), ("/school-c/", 404), ("/school-c/ws?x=/", 404)])
async def test_only_an_address_without_a_path_belongs_to_the_default_site(
    tmp_path: Path, path: str, answer: int | None
) -> None:
    """What students of a school send that is not there, or no more, must not be recorded at another one."""
    site = {**GOOD, "token_file": str(tmp_path / "a.token")}
    gateway = Service(settings(tmp_path, {"school-a": site}, site="school-a", token="all"), Stop())
    connection: Any = SimpleNamespace(is_plain_on_tls=False, peer="10.0.0.1", server=None)
    connection.text_response = lambda status, text: status
    connection.move_to = lambda server: setattr(connection, "server", server)
    headers = Headers({"Host": "district.example", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"})
    answered = gateway._server.on_request(connection, Request(path, headers))
    if isinstance(answered, Coroutine):
        answered.close()
    assert (connection.server is None, answered if answer else None) == (bool(answer), answer)


def test_a_fault_in_one_site_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = {name: {**GOOD, "token_file": str(tmp_path / name)} for name in ("a", "b")}
    service = Service(settings(tmp_path, tokens), Stop())
    one, other = service.sites

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(one, "timers", lambda: [(1.0, fail)])
    called: list[int] = []
    monkeypatch.setattr(other, "timers", lambda: [(1.0, lambda: called.append(1))])
    for _ in range(2):
        for _, call in service.of_sites():
            call()
    assert len(called) == 2
    assert (one.hub.counters["faults"], other.hub.counters["faults"]) == (2, 0)
    assert "start the gateway again" in one.readiness.answer()[1]
    assert "start the gateway again" not in other.readiness.answer()[1]
    assert caplog.text.count("a fault in a periodic task") == 1
