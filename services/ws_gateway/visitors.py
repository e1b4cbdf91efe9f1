"""Judge who connects: from which address, from this machine or not, and from whose web page.

Everything here comes from a client or from a proxy, and a client can write anything into its headers.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import parse_qs, unquote

from websockets.datastructures import Headers

from neuroone.service.site_address import HOST, site_of

FORWARDED: Final = ("X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
"""Headers that proxies add: a connection with one of them comes from elsewhere, whoever the peer is."""
KEYS_SEPARATOR: Final = ":"
"""Between a site's key, which cannot have it, and the join code of a class: students of both show the two as one."""
PRIVATE_DOMAINS: Final = ("localhost", "local", "internal", "home.arpa")
"""Domains that nobody on the internet can own (RFC 6761, 6762, 8375, ICANN 2024)."""
_PARAMETER: Final = r'(?:^|;)\s*{}\s*=\s*("[^"]*"|[^;]*)'
_FORWARDED_FOR: Final = re.compile(_PARAMETER.format("for"), re.IGNORECASE)
_FORWARDED_HOST: Final = re.compile(_PARAMETER.format("host"), re.IGNORECASE)
_FORWARDED_PROTO: Final = re.compile(_PARAMETER.format("proto"), re.IGNORECASE)
_PORT: Final = re.compile(r":\d{1,5}")

Network = IPv4Network | IPv6Network


class Page(Enum):
    """Whose web page opened a connection, as the browser says."""

    NONE = "a program: browsers always send an Origin"
    OWN = "a page of this gateway, or of this machine"
    ALLOWED = "a page named by --origin"
    FILE = "a file, or a page that hides where it is from"
    FOREIGN = "a page of another site"

    @property
    def is_trusted(self) -> bool:
        """True for what may do all that the person in front of the browser may."""
        return self in (Page.NONE, Page.OWN, Page.ALLOWED)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who connects.

    ``address`` is what limits count for; ``is_here`` is True for this machine itself; ``may_connect`` is False for a
    web page that --origin leaves out, ``has_site_key`` for an address without the key that students need;
    ``is_proxied`` is True if a trusted proxy brings it. ``query`` is what stands behind ``?`` in its address.
    """

    address: str
    token: str | None = None
    is_here: bool = False
    page: Page = Page.NONE
    may_connect: bool = True
    has_site_key: bool = True
    is_proxied: bool = False
    query: str = ""


class Visitors:
    """Tell the visitors of one gateway apart.

    Args:
        trusted_proxies: Reverse proxies whose X-Forwarded-For or Forwarded header is believed.
        origins: Origins of web pages that may connect; empty for all.
        site_key: The last part of the addresses that students use; None for any.
    """

    def __init__(self, trusted_proxies: Sequence[Network], origins: Sequence[str], site_key: str | None = None) -> None:
        self._site_key = site_key
        self._trusted_proxies = trusted_proxies
        self._origins = frozenset(map(site_of, origins))
        self._hosts = frozenset(host for _, host, _ in self._origins)

    def identify(self, peer: str, path: str, headers: Headers) -> Visitor:
        """Judge a connection by its peer's address and its request."""
        here = is_here(peer, headers)
        page, may_connect = self._page_of(headers, here)
        token = token_given(path, _only(headers, "Authorization"))
        address = client_address(peer, headers, self._trusted_proxies)
        is_proxied = bool(self._trusted_proxies) and _is_among(_ip(peer), self._trusted_proxies)
        has_key, query = self._has_site_key(path), path.partition("?")[2]
        return Visitor(address, token, here, page, may_connect, has_key, is_proxied, query)

    def _has_site_key(self, path: str) -> bool:
        if self._site_key is None:
            return True
        last = unquote(path.partition("?")[0].rstrip("/").rpartition("/")[2])
        shown = last.partition(KEYS_SEPARATOR)[0]
        return hmac.compare_digest(shown.encode("utf-8", "replace"), self._site_key.encode())

    def _page_of(self, headers: Headers, here: bool) -> tuple[Page, bool]:
        """Return whose page it is, and whether --origin lets it connect."""
        origin = _only(headers, "Origin")
        host = site_of(f"http://{_only(headers, 'Host') or ''}")
        # A stranger's name can point to this machine (DNS rebinding); then his page looks like our own.
        is_rebound = bool(host[1]) and not (host[1] in self._hosts or _is_ours(host[1]))
        if origin is None:
            if _is_program(headers):
                return Page.NONE, True
            is_foreign = is_rebound or headers.get_all("Sec-Fetch-Site")[:1] in (["cross-site"], ["same-site"])
            return Page.FOREIGN if is_foreign else Page.NONE, True
        if origin == "null" or origin.startswith("file:"):
            return Page.FILE, here or not self._origins
        site = site_of(origin)
        if site in self._origins:
            return Page.ALLOWED, True
        if _is_same(site, host):
            return Page.FOREIGN if is_rebound else Page.OWN, True
        if here and site[0] in ("http", "https") and is_local(site[1]):
            return Page.OWN, not self._origins
        return Page.FOREIGN, not self._origins


def token_given(path: str, authorization: str | None) -> str | None:
    """Return the token in an address (``?token=``) or in an ``Authorization: Bearer`` header."""
    if authorization is not None and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    _, _, query = path.partition("?")
    return parse_qs(query.partition("#")[0]).get("token", [None])[0]


def is_here(peer: str, headers: Headers) -> bool:
    """Return True if a connection comes from this machine, and is meant for it by one of its local names.

    A connection that a proxy forwards comes from elsewhere. A page whose address is a stranger's name for this machine
    (DNS rebinding) has that name in Host; a program may write anything there.
    """
    address = _ip(peer)
    if address is None or not address.is_loopback or any(name in headers for name in FORWARDED):
        return False
    host = _only(headers, "Host")
    return host is None or _is_program(headers) or is_local(site_of(f"http://{host}")[1])


def networks(text: str) -> tuple[Network, ...]:
    """Parse addresses and networks, separated by commas."""
    try:
        return tuple(ip_network(each.strip()) for each in text.split(","))
    except ValueError:
        raise ValueError("must be addresses or networks like 10.0.0.2,172.16.0.0/12") from None


def client_address(peer: str, headers: Headers, trusted: Sequence[Network]) -> str:
    """Return the address that a connection counts for: the peer's, or the client's that trusted proxies name.

    Each proxy appends its client's address to X-Forwarded-For, so the list is read from its end, as long as the address
    read so far is a trusted proxy's. ``Forwarded`` (RFC 7239) counts where no X-Forwarded-For is.
    """
    address = _ip(peer)
    if address is None:
        return peer
    if _is_among(address, trusted):
        hops = _hops(headers)
        while hops and _is_among(address, trusted):
            before = _ip(hops.pop())
            if before is None:
                break
            address = before
    return str(address)


def site_asked(headers: Headers, *, is_proxied: bool) -> tuple[str, str, int | None]:
    """Return scheme, host and port by which a client reached the gateway, as it or a trusted proxy says.

    The host is empty where nobody says it in a form that a name or an address has.
    """
    host, scheme = _only(headers, "Host"), "http"
    if is_proxied:
        host = _first(headers, "X-Forwarded-Host") or _first(headers, "Forwarded", _FORWARDED_HOST) or host
        given = _first(headers, "X-Forwarded-Proto") or _first(headers, "Forwarded", _FORWARDED_PROTO)
        scheme = "https" if given.lower() in ("https", "wss") else "http"
    site = site_of(f"{scheme}://{host or ''}")
    return site if HOST.fullmatch(site[1]) else (scheme, "", None)


def _first(headers: Headers, name: str, parameter: re.Pattern[str] | None = None) -> str:
    """Return the first of the values that proxies have put in a row: what the client asked the outermost one."""
    first = next((value.partition(",")[0].strip() for value in headers.get_all(name)), "")
    if parameter is None:
        return first
    found = parameter.search(first)
    return "" if found is None else found[1].strip('" ')


def _is_among(address: IPv4Address | IPv6Address | None, within: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in within)


def _hops(headers: Headers) -> list[str]:
    """List the addresses that proxies name, the nearest proxy's client last."""
    values = headers.get_all("X-Forwarded-For")
    if values:
        return [hop for value in values for hop in value.split(",")]
    elements = [element for value in headers.get_all("Forwarded") for element in value.split(",")]
    found = (_FORWARDED_FOR.search(element) for element in elements)
    return ["" if each is None else each[1] for each in found]


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, also with a port, in brackets or in quotes."""
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _PORT.fullmatch(port)):
            return None
        text = inside
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _PORT.fullmatch(f":{port}"):
            return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_program(headers: Headers) -> bool:
    """Return True for a WebSocket client that is no browser: these always send Origin there (RFC 6455, 4.1)."""
    return "Upgrade" in headers and "Origin" not in headers


def _only(headers: Headers, name: str) -> str | None:
    """Return a header's value; None without one, and empty text if there are several: nobody knows which counts."""
    values = headers.get_all(name)
    return None if not values else values[0].strip() if len(values) == 1 else ""


def _is_same(origin: tuple[str, str, int | None], host: tuple[str, str, int | None]) -> bool:
    """Return True if a page's origin is the server that Host names; some proxies leave the port out of Host."""
    scheme, name, port = origin
    return scheme in ("http", "https") and bool(name) and name == host[1] and host[2] in (port, 80)


def is_local(host: str) -> bool:
    """Return True for a name or an address by which only this machine is reached."""
    address = _ip(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _is_ours(host: str) -> bool:
    """Return True if no stranger on the internet can own this name: an address, a name without dots, a private one."""
    return "." not in host or _ip(host) is not None or host.endswith(tuple(f".{each}" for each in PRIVATE_DOMAINS))
