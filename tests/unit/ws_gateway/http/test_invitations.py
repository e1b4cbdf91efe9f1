"""Invitations: which address they have, which key, and who may make them."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from neuroone.service.local_address import local_ip
from neuroone.service.site_address import public_url
from neuroone.service.token_files import Role, Token
from ws_gateway.access import Access
from ws_gateway.http.invitations import Invitations, Site, qr_code
from ws_gateway.visitors import Visitors, networks
from ws_gateway.websocket.certificate import Authority

ANYWHERE = Site(("0.0.0.0",), 8080)
SERVER = "192.168.0.10:8080"
LAN = local_ip()
PHONE = "192.168.0.77"
PROXY = "10.0.0.2"


def ask(
    site: Site = ANYWHERE,
    *,
    path: str = "/invitation",
    peer: str = PHONE,
    site_key: str | None = None,
    join_codes: Mapping[str, str] | None = None,
    token: str = "teacher",
    authority: bytes | None = None,
    **headers: str,
) -> Response:
    tokens = [Token("teacher"), Token("watch", Role.WATCH)]
    access = Access(tokens, join_codes or {}, lambda: 0.0, site_key=site_key)
    given = {"Host": SERVER} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(path, Headers({"Authorization": f"Bearer {token}"} | given))
    visitor = Visitors(networks("10.0.0.0/8"), (), site_key).identify(peer, request.path, request.headers)
    trusted = Authority(None)
    trusted.pem = authority
    invitations = Invitations(site, access, trusted)
    return invitations.refuse(visitor) or invitations.make(request, visitor)


def made(site: Site = ANYWHERE, **asked: Any) -> dict[str, Any]:
    answer = ask(site, **asked)
    assert answer.status_code == HTTPStatus.OK, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    made = json.loads(answer.body)
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize(
    ("site", "asked", "url"),
    [
        (ANYWHERE, {}, f"http://{SERVER}/student"),
        (ANYWHERE, {"Host": "server.local"}, "http://server.local/student"),
        (ANYWHERE, {"Host": "[fd00::7]:8080"}, "http://[fd00::7]:8080/student"),
        (ANYWHERE, {"Host": "localhost:8080", "peer": "127.0.0.1"}, f"http://{LAN}:8080/student"),
        (ANYWHERE, {"Host": "127.0.0.1:9000", "peer": "127.0.0.1"}, f"http://{LAN}:8080/student"),
        (ANYWHERE, {"Host": "[::1]:8080", "peer": "::1"}, f"http://{LAN}:8080/student"),
        (ANYWHERE, {"Host": 'x"><script>'}, f"http://{LAN}:8080/student"),
        (Site(("192.168.7.7",), 80), {"Host": "localhost"}, "http://192.168.7.7/student"),
        (Site(("0.0.0.0",), 8080, tls_port=8443), {}, "https://192.168.0.10:8443/student"),
        (Site(("0.0.0.0",), 8080, tls_port=443), {"Host": "localhost:8080"}, f"https://{LAN}/student"),
        (Site(("0.0.0.0",), 8080, tls_port=8443), {"Host": "192.168.0.10:8443"}, "https://192.168.0.10:8443/student"),
        (Site(("0.0.0.0",), 8080, 8443, "https://school.example/eeg/"), {}, "https://school.example/eeg/student"),
        (ANYWHERE, {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}, f"http://{SERVER}/student"),
        (
            ANYWHERE,
            {"peer": PROXY, "X_Forwarded_Host": "school.example, inner", "X_Forwarded_Proto": "https"},
            "https://school.example/student",
        ),
        (ANYWHERE, {"peer": PROXY, "X_Forwarded_Proto": "https"}, "https://192.168.0.10:8080/student"),
        (
            ANYWHERE,
            {"peer": PROXY, "Host": "school.example", "X_Forwarded_Proto": "http"},
            "http://school.example/student",
        ),
        (
            ANYWHERE,
            {"peer": PROXY, "Forwarded": 'for=192.0.2.1;host="school.example:8443";proto=https, for=10.0.0.1'},
            "https://school.example:8443/student",
        ),
        (ANYWHERE, {"path": "/invitation?folder=/eeg/"}, f"http://{SERVER}/eeg/student"),
    ],
)
def test_the_address_is_one_that_a_phone_reaches(site: Site, asked: dict[str, str], url: str) -> None:
    """The operator's, else that by which the teacher came, with https if there is one; never the machine's own name."""
    answer = made(site, **asked)
    assert answer["url"] == url
    assert not answer["is_here_only"] or LAN == "127.0.0.1"


@pytest.mark.parametrize(
    ("site", "asked"),
    [
        (Site(("127.0.0.1",), 8080), {"Host": "localhost:8080", "peer": "127.0.0.1"}),
        (ANYWHERE, {"peer": PROXY, "Host": "localhost:8080"}),
        (Site(("0.0.0.0",), 8080, None, "http://localhost/"), {}),
    ],
)
def test_an_address_that_works_here_only_is_marked(site: Site, asked: dict[str, str]) -> None:
    assert made(site, **asked)["is_here_only"]


@pytest.mark.parametrize(
    ("site_key", "join_codes", "code", "behind"),
    [
        (None, {}, "ABC", ""),
        ("site-key", {}, "ABC", "key=site-key"),
        (None, {"ABC": "come in & sit"}, "ABC", "key=come%20in%20%26%20sit"),
        (None, {"ABC": "come"}, "XYZ", ""),
        (None, {"ABC": "come"}, "", ""),
        ("site-key", {"ABC": "come"}, "ABC", "key=site-key%3Acome"),
    ],
)
def test_the_key_is_that_of_the_class_or_of_the_site(
    site_key: str | None, join_codes: dict[str, str], code: str, behind: str
) -> None:
    """It stands behind the #, which no server gets; a class with a join code on a site with a key needs both."""
    parts = urlsplit(made(path=f"/invitation?code={code}", site_key=site_key, join_codes=join_codes)["url"])
    assert (parts.query, parts.fragment) == (f"code={code}" if code else "", behind)


def test_the_key_of_an_invitation_opens_both_doors() -> None:
    """The student page shows it in the address of its WebSocket and as its token; a part of it is not enough."""
    access = Access([], {"ABC": "come:in"}, lambda: 0.0, site_key="site-key")
    visitors = Visitors((), (), "site-key")
    key = access.invitation_key("ABC")
    for shown, has_site_key, may_join in (
        (key, True, True),
        ("site-key", True, False),
        ("come:in", False, True),
        ("site-key:", True, False),
        (f"x{key}", False, False),
    ):
        visitor = visitors.identify(PHONE, f"/eeg/ws/{quote(shown, safe='')}?x=1", Headers())
        assert (visitor.has_site_key, access.may_join("ABC", shown, PHONE)) == (has_site_key, may_join), shown


NAMES = (
    "João Conceição",
    "Ana & Bia? #1 100% =+/",
    "李小龙 🧠",
    "a" * 200,
    "é" * 200,
    "🧠" * 200,
    "../x?code=Y#key=Z",
)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back_from_the_address(name: str) -> None:
    url = made(path=f"/invitation?name={quote(name)}&code=A%26B", site_key="site-key")["url"]
    parts = urlsplit(url)
    assert parse_qs(parts.query) == {"name": [name], "code": ["A&B"]}
    assert (parts.path, parts.fragment) == ("/student", "key=site-key")


def test_a_long_address_takes_less_room_in_the_code_and_the_longest_has_none() -> None:
    """200 emoji fit beside a code; two such texts are more than a QR code holds, and the address is there alone."""
    both = made(path=f"/invitation?name={quote('🧠' * 200)}&code={quote('🧠' * 200)}")
    assert both["qr"] is None
    assert len(parse_qs(urlsplit(both["url"]).query)["code"][0]) == 200
    plain = qr_code("https://school.example/student?name=abc")
    assert plain is not None
    assert plain.startswith("<svg")
    assert 'viewBox="0 0 37 37"' in plain, "29 modules and 4 of white on each side"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/invitation?name={'a' * 201}", "name must have at most 200 characters"),
        (f"/invitation?code={'a' * 201}", "code must have at most 200 characters"),
        ("/invitation?folder=//evil.example/", "folder must be a path"),
        ("/invitation?folder=x", "folder must be a path"),
    ],
)
def test_what_cannot_be_invited_is_refused_in_words(path: str, words: str) -> None:
    answer = ask(path=path)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert words in answer.body.decode()


@pytest.mark.parametrize(("token", "status"), [("wrong", HTTPStatus.UNAUTHORIZED), ("watch", HTTPStatus.FORBIDDEN)])
def test_only_a_teacher_invites(token: str, status: HTTPStatus) -> None:
    answer = ask(token=token, site_key="site-key")
    assert answer.status_code == status
    assert b"site-key" not in answer.body


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://school.example", "https://school.example/"),
        ("http://192.168.0.10:8080/eeg", "http://192.168.0.10:8080/eeg/"),
    ],
)
def test_a_public_url_ends_with_a_slash(text: str, url: str) -> None:
    assert public_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("school.example", "ftp://school.example", "https://", "https://a b/", "https://u:p@school.example"),
        *("https://x/?y", "https://x/#y", "https://x:99999", "https://é.example", "https://x/\n"),
    ],
)
def test_a_wrong_public_url_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="must be an address like https"):
        public_url(text)


@pytest.mark.parametrize(
    ("site", "asked", "url"),
    [
        (Site(("0.0.0.0",), 8080, tls_port=8443), {}, "http://192.168.0.10:8080/trust"),
        (Site(("0.0.0.0",), 8080, tls_port=8443), {"Host": "localhost:8443"}, f"http://{LAN}:8080/trust"),
        (Site(("0.0.0.0",), 8080, 8443, "https://school.example/eeg/"), {}, "https://school.example/eeg/trust"),
        (ANYWHERE, {"peer": PROXY, "X_Forwarded_Proto": "https"}, "https://192.168.0.10:8080/trust"),
    ],
)
def test_devices_are_sent_to_what_they_must_trust_first(site, asked, url):
    path = "/invitation?to=trust&name=Ana&code=7B"
    invitation = made(site, path=path, authority=b"a certificate", site_key="key-of-the-site", **asked)
    assert (invitation["url"], invitation["must_trust"]) == (url, True)


def test_a_server_without_its_own_authority_invites_to_the_student_page_only():
    invitation = made(path="/invitation?to=trust")
    assert (invitation["url"], invitation["must_trust"]) == (f"http://{SERVER}/student", False)
