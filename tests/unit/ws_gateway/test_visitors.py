"""Whose address counts behind a proxy, who is on this machine, and whose web page it is."""

import pytest
from websockets.datastructures import Headers

from neuroone.service.site_address import key_in_path
from ws_gateway.visitors import FORWARDED, Page, Visitors, client_address, is_here, networks, token_given

PROXIES = networks("10.0.0.0/8, 192.168.1.1,::1")


def headers(**values: tuple[str, ...]) -> Headers:
    """Make the headers of a request, each as often as it has values."""
    return Headers((name.replace("_", "-"), each) for name, many in values.items() for each in many)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),
        ("10.1.2.3", (), "10.1.2.3"),
        ("10.1.2.3", ("198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1", "198.51.100.1"), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1,198.51.100.1, 192.168.1.1 ,10.9.9.9",), "198.51.100.1"),
        ("10.1.2.3", ("10.9.9.9",), "10.9.9.9"),
        ("10.1.2.3", ("198.51.100.1, unknown",), "10.1.2.3"),
        ("10.1.2.3", ("",), "10.1.2.3"),
        ("10.1.2.3", ("2001:db8::7",), "2001:db8::7"),
        ("::ffff:10.1.2.3", ("198.51.100.1",), "198.51.100.1"),
        ("::1", ("198.51.100.1",), "198.51.100.1"),
        ("", ("198.51.100.1",), ""),
        ("10.1.2.3", ("198.51.100.1:4711",), "198.51.100.1"),
        ("10.1.2.3", ("198.51.100.1:4711, 10.9.9.9:80",), "198.51.100.1"),
        ("10.1.2.3", ("[2001:db8::7]:4711",), "2001:db8::7"),
        ("10.1.2.3", ("[2001:db8::7]",), "2001:db8::7"),
        ("10.1.2.3", ("[::ffff:198.51.100.1]:4711",), "198.51.100.1"),
        ("10.1.2.3", ("198.51.100.1:",), "10.1.2.3"),
        ("10.1.2.3", ("[2001:db8::7",), "10.1.2.3"),
        ("10.1.2.3", ("198.51.100.1:port",), "10.1.2.3"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded_for: tuple[str, ...], address: str) -> None:
    """The rightmost address that is not a trusted proxy counts; a client can write anything to the left of it."""
    assert client_address(peer, headers(X_Forwarded_For=forwarded_for), PROXIES) == address


def test_by_default_no_proxy_is_trusted() -> None:
    assert client_address("127.0.0.1", headers(X_Forwarded_For=("198.51.100.1",)), ()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "proxy", "10.0.0.1/8", "10.0.0.1,"])
def test_wrong_networks_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"like 10\.0\.0\.2,172"):
        networks(text)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (("for=198.51.100.1",), "198.51.100.1"),
        (("for=1.1.1.1, for=198.51.100.1;proto=https;by=10.0.0.1",), "198.51.100.1"),
        (("for=1.1.1.1", "proto=http;For=198.51.100.1:4711"), "198.51.100.1"),
        (('for="[2001:db8::7]:4711"',), "2001:db8::7"),
        (('for="[2001:db8::7]"; by=10.0.0.1, for=10.9.9.9',), "2001:db8::7"),
        (("for=198.51.100.1, for=_hidden",), "10.1.2.3"),
        (("for=198.51.100.1, for=unknown",), "10.1.2.3"),
        (("for=198.51.100.1, proto=http",), "10.1.2.3"),
        (("",), "10.1.2.3"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_says(forwarded: tuple[str, ...], address: str) -> None:
    """A proxy appends to it as to X-Forwarded-For, which counts if both are there."""
    assert client_address("10.1.2.3", headers(Forwarded=forwarded), PROXIES) == address
    assert client_address("203.0.113.9", headers(Forwarded=forwarded), PROXIES) == "203.0.113.9"
    both = headers(Forwarded=forwarded, X_Forwarded_For=("198.51.100.99",))
    assert client_address("10.1.2.3", both, PROXIES) == "198.51.100.99"


@pytest.mark.parametrize(
    ("path", "authorization", "token"),
    [
        ("/", None, None),
        ("/?token=a%2Bb", None, "a+b"),
        ("/any/path?x=1&token=t", None, "t"),
        ("/?token=t", "Bearer  u ", "u"),
        ("/", "Basic dTpw", None),
        ("//[?token=t", None, "t"),
        ("/?token=t#x", None, "t"),
    ],
)
def test_where_a_token_may_be(path: str, authorization: str | None, token: str | None) -> None:
    """In the address, or in an Authorization header."""
    assert token_given(path, authorization) == token


def forwarded_as(name: str) -> dict[str, tuple[str, ...]]:
    return {name: ("198.51.100.1",)}


@pytest.mark.parametrize(
    ("peer", "given", "here"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("127.0.0.1", {"Host": ("localhost:8080",)}, True),
        ("127.0.0.1", {"Host": ("LOCALHOST.",)}, True),
        ("127.0.0.1", {"Host": ("127.0.0.1:8080",)}, True),
        ("127.0.0.1", {"Host": ("[::1]:8080",)}, True),
        ("127.0.0.1", {"Host": ("game.localhost",)}, True),
        ("127.0.0.1", {"Host": ("evil.example:8080",)}, False),
        ("127.0.0.1", {"Host": ("localhost.evil.example",)}, False),
        ("127.0.0.1", {"Host": ("127.0.0.1.evil.example",)}, False),
        ("127.0.0.1", {"Host": ("localhost", "evil.example")}, False),
        ("127.0.0.1", {"Host": ("",)}, False),
        ("127.0.0.1", {"Host": ("192.168.0.7",)}, False),
        ("192.168.0.7", {}, False),
        ("192.168.0.7", {"Host": ("localhost",)}, False),
        ("", {}, False),
        ("127.0.0.1", {"Host": ("x",), "Upgrade": ("websocket",)}, True),
        ("127.0.0.1", {"Host": ("x",), "Upgrade": ("websocket",), "Origin": ("http://x",)}, False),
        ("192.168.0.7", {"Host": ("x",), "Upgrade": ("websocket",)}, False),
        *(("127.0.0.1", forwarded_as(name), False) for name in FORWARDED),
        *(("127.0.0.1", {**forwarded_as(name), "Upgrade": ("websocket",)}, False) for name in FORWARDED),
    ],
)
def test_only_this_machine_itself_is_here(peer: str, given: dict[str, tuple[str, ...]], here: bool) -> None:
    """A client behind a proxy is not, nor is a page whose address is a stranger's name for this machine."""
    assert is_here(peer, headers(**given)) is here


HERE = "localhost:8080"
REBOUND = "evil.example:8080"


@pytest.mark.parametrize(
    ("origin", "host", "page"),
    [
        (None, HERE, Page.NONE),
        (None, None, Page.NONE),
        (None, REBOUND, Page.FOREIGN),
        ("http://localhost:8080", HERE, Page.OWN),
        ("http://127.0.0.1:3000", HERE, Page.OWN),
        ("http://game.localhost:3000", HERE, Page.OWN),
        ("http://localhost.evil.example", HERE, Page.FOREIGN),
        ("https://evil.example", HERE, Page.FOREIGN),
        ("https://evil.example", REBOUND, Page.FOREIGN),
        ("http://evil.example:8080", REBOUND, Page.FOREIGN),
        ("http://192.168.0.7:8080", "192.168.0.7:8080", Page.OWN),
        ("http://192.168.0.7:8081", "192.168.0.7:8080", Page.FOREIGN),
        ("http://192.168.0.7", "192.168.0.7", Page.OWN),
        ("http://[2001:db8::7]:8080", "[2001:db8::7]:8080", Page.OWN),
        ("http://server:8080", "server:8080", Page.OWN),
        ("http://server.local:8080", "server.local:8080", Page.OWN),
        ("https://school.example", HERE, Page.ALLOWED),
        ("https://SCHOOL.example:443", HERE, Page.ALLOWED),
        ("http://school.example", HERE, Page.FOREIGN),
        ("http://school.example:8080", "school.example:8080", Page.OWN),
        ("null", HERE, Page.FILE),
        ("file://", HERE, Page.FILE),
        ("chrome-extension://localhost", HERE, Page.FOREIGN),
        ("http://[::1", HERE, Page.FOREIGN),
        ("", HERE, Page.FOREIGN),
    ],
)
def test_whose_page_it_is(origin: str | None, host: str | None, page: Page) -> None:
    """Origin says where a page is from; Host is the name by which it found this server."""
    visitors = Visitors((), ["https://school.example/"])
    given = {name: (value,) for name, value in (("Origin", origin), ("Host", host)) if value is not None}
    assert visitors.identify("127.0.0.1", "/", headers(**given)).page is page


@pytest.mark.parametrize(
    ("origin", "host", "peer", "may"),
    [
        (None, HERE, "192.168.0.9", True),
        ("https://school.example", HERE, "192.168.0.9", True),
        ("https://evil.example", HERE, "192.168.0.9", False),
        ("http://192.168.0.7:8080", "192.168.0.7:8080", "192.168.0.9", True),
        ("https://gateway.example", "gateway.example", "192.168.0.9", True),
        ("null", "192.168.0.7:8080", "192.168.0.9", False),
        ("null", HERE, "127.0.0.1", True),
    ],
)
def test_origin_lets_in_the_named_pages_and_the_gateways_own(
    origin: str | None, host: str, peer: str, may: bool
) -> None:
    given = {name: (value,) for name, value in (("Origin", origin), ("Host", host)) if value is not None}
    assert Visitors((), ["https://school.example"]).identify(peer, "/", headers(**given)).may_connect is may
    assert Visitors((), []).identify(peer, "/", headers(**given)).may_connect


@pytest.mark.parametrize(
    ("path", "has_key"),
    [
        ("/ws/of-the-school", True),
        ("/of-the-school/", True),
        ("/any/path/of-the-school?token=1", True),
        ("/", False),
        ("/ws/of-the-schoo", False),
        ("/ws/of-the-school/x", False),
        ("/ws/?of-the-school", False),
        ("/ws/não", False),
    ],
)
def test_the_sites_key_is_the_last_part_of_the_path(path: str, has_key: bool) -> None:
    """Without one every address is right."""
    assert Visitors((), [], "of-the-school").identify("198.51.100.1", path, Headers()).has_site_key is has_key
    assert Visitors((), []).identify("198.51.100.1", path, Headers()).has_site_key


@pytest.mark.parametrize("text", ["", "short", "with/slash", "with space", "x" * 65])
def test_a_key_that_cannot_be_part_of_a_path_or_can_be_guessed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="8 to 64"):
        key_in_path(text)
    assert key_in_path("of-the-school") == "of-the-school"


def test_a_websocket_client_without_origin_is_a_program_whatever_its_host() -> None:
    given = headers(Upgrade=("websocket",), Host=("evil.example",))
    visitor = Visitors((), []).identify("127.0.0.1", "/", given)
    assert visitor.page is Page.NONE
    assert visitor.is_here
