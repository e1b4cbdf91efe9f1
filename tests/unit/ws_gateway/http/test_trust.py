"""What browsers are told about https, and how those are led there that speak plain HTTP to its port."""

import json
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from tests.support.certificates import made_in
from ws_gateway.http import responses
from ws_gateway.http.invitations import Site
from ws_gateway.http.trust import Trust
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.certificate import Authority


def request(path: str = "/", *hosts: str, **headers: str) -> Request:
    return Request(path, Headers([*(("Host", host) for host in hosts), *headers.items()]))


def answer(trust: Trust, path: str, host: str = "192.168.0.10:8080"):
    found = trust.get(path, request(path, host), Visitor("192.168.0.20"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("site", "has_authority", "https"),
    [
        (Site(("0.0.0.0",), 8080), False, None),
        (Site(("0.0.0.0",), 8080, 8443), False, "https://192.168.0.10:8443/"),
        (Site(("0.0.0.0",), 8080, 443), True, "https://192.168.0.10/"),
        (Site(("0.0.0.0",), 8080), True, "https://192.168.0.10/"),
        (Site(("0.0.0.0",), 8080, None, "https://school.example/x/"), False, "https://school.example/x/"),
        (Site(("0.0.0.0",), 8080, None, "https://school.example:444/"), True, "https://school.example:444/"),
    ],
)
def test_pages_are_told_where_https_is(tmp_path: Path, site, has_authority, https):
    """An authority without a port of our own is that of a proxy in front."""
    authority = Authority(made_in(tmp_path).public if has_authority else None)
    told = answer(Trust(site, authority), "/page/where.json")
    assert json.loads(told.body) == {"https": https, "ca": has_authority}
    shown = answer(Trust(site, authority), "/ca.crt")
    assert shown.status_code == (HTTPStatus.OK if has_authority else HTTPStatus.NOT_FOUND)
    assert (shown.body == authority.pem) is has_authority


def test_everything_else_is_about_something_else():
    assert Trust(Site(("::",), 1), Authority(None)).get("/", request(), Visitor("")) is None


@pytest.mark.parametrize("host", ["192.168.0.10:8443", "lab.local:8443", "lab", "[fd00::2]:8443"])
def test_a_browser_is_led_to_https(host):
    led = responses.to_https(request("/student?name=A", host))
    assert (led.status_code, led.headers["Location"]) == (307, f"https://{host}/student?name=A")


@pytest.mark.parametrize("hosts", [(), ("a", "b"), ("",), ("a/b",), ("user@evil.example",), ("a b",), ("a:999999",)])
def test_nobody_is_led_by_a_host_that_is_none(hosts):
    refused = responses.to_https(request("/", *hosts))
    assert refused.status_code == 400
    assert "Location" not in refused.headers


@pytest.mark.parametrize("path", ["@evil.example/", ".evil.example/", "evil", "http://evil.example/", "*"])
def test_nobody_is_led_by_a_path_that_would_be_another_host(path):
    refused = responses.to_https(request(path, "lab:8443"))
    assert refused.status_code == 400
    assert "Location" not in refused.headers


def test_a_websocket_is_told_in_words():
    """Programs do not follow a redirection."""
    refused = responses.to_https(request("/", "lab:8443", Upgrade="websocket"))
    assert (refused.status_code, b"wss://" in refused.body) == (400, True)
