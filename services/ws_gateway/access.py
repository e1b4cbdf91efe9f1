"""Decide who may connect, watch and join: tokens, join codes and limits for each address."""

import contextlib
import hmac
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from neuroone.contract.errors import SettingsError
from ws_gateway.token_bucket import TokenBucket

ADDRESSES_MAX: Final = 10_000
"""Addresses whose limits are remembered; the one unseen for longest is forgotten first."""
GUESSES_BURST: Final = 10
"""Wrong tokens or join codes that one address may try at once: a class that mistypes."""
GUESSES_RATE_HZ: Final = 0.1
"""And then one in ten seconds: a four-digit code takes a day."""
CONNECTS_BURST: Final = 20_000
"""A school behind one address comes back at once after a power cut."""
CONNECTS_RATE_HZ: Final = 500.0
TOKEN_BYTES: Final = 16

Network = IPv4Network | IPv6Network


class Access:
    """Check tokens and join codes in constant time, and limit the wrong ones that each address may try.

    If ``token`` is None everybody may watch; ``open_here`` lets programs of this machine watch without it.
    ``join_codes`` has the join code that students of each class code must show.
    """

    def __init__(
        self, token: str | None, join_codes: Mapping[str, str], clock: Callable[[], float], *, open_here: bool = False
    ) -> None:
        self._token = token
        self._open_here = open_here
        self._join_codes = join_codes
        self._clock = clock
        self._guesses: OrderedDict[str, TokenBucket] = OrderedDict()
        self._connects: OrderedDict[str, TokenBucket] = OrderedDict()

    def may_connect(self, address: str) -> bool:
        """Return True if this address may open one more connection now."""
        bucket = self._bucket(self._connects, address, CONNECTS_RATE_HZ, CONNECTS_BURST)
        return bucket.spend(self._clock()) == 0

    def token_of(self, given: str | None, *, is_here: bool) -> str | None:
        """Return the token that a connection showed, or our own if this machine needs none."""
        return self._token if given is None and is_here and self._open_here else given

    def may_watch(self, given: str | None, address: str) -> bool:
        """Return True if a client that shows this token may watch the students."""
        return self._token is None or self._is(self._token, given, address)

    def may_join(self, code: str | None, given: str | None, address: str) -> bool:
        """Return True if a student who shows this join code may join the class."""
        wanted = self._join_codes.get(code or "")
        if wanted is None:
            return True
        # A client of this machine that showed nothing has our own token by `token_of`: that is no wrong guess.
        return given is not self._token and self._is(wanted, given, address)

    def _is(self, wanted: str, given: str | None, address: str) -> bool:
        if given is None:
            return False
        bucket = self._bucket(self._guesses, address, GUESSES_RATE_HZ, GUESSES_BURST)
        if not bucket.has_token(self._clock()):
            return False
        if hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")):
            return True
        bucket.spend(self._clock())
        return False

    def _bucket(
        self, buckets: OrderedDict[str, TokenBucket], address: str, rate_hz: float, burst: float
    ) -> TokenBucket:
        bucket = buckets.get(address)
        if bucket is None:
            bucket = buckets[address] = TokenBucket(rate_hz, burst, self._clock())
            if len(buckets) > ADDRESSES_MAX:
                buckets.popitem(last=False)
        buckets.move_to_end(address)
        return bucket


def token_given(path: str, authorization: str | None) -> str | None:
    """Return the token in an address (``?token=``) or in an ``Authorization: Bearer`` header."""
    if authorization is not None and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    return parse_qs(urlsplit(path).query).get("token", [None])[0]


def is_here(peer: str, origin: str | None, *, is_forwarded: bool) -> bool:
    """Return True if a connection comes from a program of this machine, or from a page that it serves.

    A connection that a proxy forwards comes from elsewhere, and so does a page of another site that is open here.
    """
    address = _ip(peer)
    if address is None or not address.is_loopback or is_forwarded:
        return False
    if origin is None:
        return True
    host = urlsplit(origin).hostname or ""
    page = _ip(host)
    return host == "localhost" or (page is not None and page.is_loopback)


def networks(text: str) -> tuple[Network, ...]:
    """Parse addresses and networks, separated by commas."""
    try:
        return tuple(ip_network(each.strip()) for each in text.split(","))
    except ValueError:
        raise ValueError("must be addresses or networks like 10.0.0.2,172.16.0.0/12") from None


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address that a connection counts for: the peer's, or the client's that trusted proxies name.

    ``forwarded_for`` has the values of the X-Forwarded-For headers. Each proxy appends its client's address, so the
    list is read from its end, as long as the address read so far is a trusted proxy's.
    """
    address = _ip(peer)
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    while address is not None and hops and any(address in network for network in trusted):
        before = _ip(hops.pop())
        if before is None:
            break
        address = before
    return peer if address is None else str(address)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def token_in(file: Path) -> str:
    """Read the token from a file; create the file with a new token if it does not exist. Raises SettingsError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(file, "x", encoding="ascii", opener=_private) as new:
            new.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise SettingsError((f"--token-file: {file} cannot be read or made ({error})",)) from None
    if not token:
        raise SettingsError((f"--token-file: {file} is empty",))
    return token


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def join_codes_in(file: Path) -> Mapping[str, str]:
    """Read the join codes from a JSON file, an object of class code to join code. Raises SettingsError."""
    try:
        codes = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"--join-codes: {file} cannot be read ({error})",)) from None
    if not isinstance(codes, dict) or not all(isinstance(word, str) and word for word in codes.values()):
        raise SettingsError((f"--join-codes: {file} must hold a JSON object of class codes and their join codes",))
    return codes
