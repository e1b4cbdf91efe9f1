"""Who may come in, and how much each may do: tokens, join codes and rates."""

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

ADDRESSES_MAX: Final = 10_000
"""Addresses whose rates are remembered, the longest unseen forgotten first."""
GUESSES_BURST: Final = 10
"""Wrong tokens or join codes that one address may try at once: a class that mistypes."""
GUESSES_RATE_HZ: Final = 0.1
"""And then one in ten seconds: a four-digit code takes a day."""
CONNECTS_BURST: Final = 20_000
"""A school behind one address comes back at once after a power cut."""
CONNECTS_RATE_HZ: Final = 500.0
TOKEN_BYTES: Final = 16

Network = IPv4Network | IPv6Network


class Bucket:
    """Lets through a burst, then a rate. Times are in seconds of one steady clock."""

    __slots__ = ("_at_s", "_burst", "_rate_hz", "_ready")

    def __init__(self, rate_hz: float, burst: float, now_s: float) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._ready = burst
        self._at_s = now_s

    def has(self, now_s: float) -> bool:
        """Whether one more would be let through."""
        self._ready = min(self._burst, self._ready + (now_s - self._at_s) * self._rate_hz)
        self._at_s = now_s
        return self._ready >= 1

    def take(self, now_s: float) -> float:
        """One more comes; seconds until it is let through, 0 for at once."""
        self.has(now_s)
        self._ready -= 1
        return max(0.0, -self._ready / self._rate_hz)


class Access:
    """Tokens and join codes, compared in constant time; too many wrong ones from an address are not looked at.

    ``token`` None lets everybody watch; ``open_here`` lets those on this machine watch without it. ``join_codes`` has
    the word that students of a class code must know.
    """

    def __init__(
        self, token: str | None, join_codes: Mapping[str, str], clock: Callable[[], float], *, open_here: bool = False
    ) -> None:
        self._token = token
        self._open_here = open_here
        self._join_codes = join_codes
        self._clock = clock
        self._guesses: OrderedDict[str, Bucket] = OrderedDict()
        self._connects: OrderedDict[str, Bucket] = OrderedDict()

    def may_connect(self, address: str) -> bool:
        """Whether one more connection from this address is welcome."""
        bucket = self._bucket(self._connects, address, CONNECTS_RATE_HZ, CONNECTS_BURST)
        return bucket.take(self._clock()) == 0

    def token_of(self, given: str | None, *, is_here: bool) -> str | None:
        """The token that a connection has: the one that it shows, or ours if it comes from this machine."""
        return self._token if given is None and is_here and self._open_here else given

    def may_watch(self, given: str | None, address: str) -> bool:
        """Whether whoever shows this token may see the students."""
        return self._token is None or self._is(self._token, given, address)

    def may_join(self, code: str | None, given: str | None, address: str) -> bool:
        """Whether a student who shows this join code may join the class."""
        wanted = self._join_codes.get(code or "")
        if wanted is None:
            return True
        # Who is here and showed nothing has our own token by `token_of`: that is no guess at a join code.
        return given is not self._token and self._is(wanted, given, address)

    def _is(self, wanted: str, given: str | None, address: str) -> bool:
        if given is None:
            return False
        bucket = self._bucket(self._guesses, address, GUESSES_RATE_HZ, GUESSES_BURST)
        if not bucket.has(self._clock()):
            return False
        if hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")):
            return True
        bucket.take(self._clock())
        return False

    def _bucket(self, buckets: OrderedDict[str, Bucket], address: str, rate_hz: float, burst: float) -> Bucket:
        bucket = buckets.get(address)
        if bucket is None:
            bucket = buckets[address] = Bucket(rate_hz, burst, self._clock())
            if len(buckets) > ADDRESSES_MAX:
                buckets.popitem(last=False)
        buckets.move_to_end(address)
        return bucket


def token_given(path: str, authorization: str | None) -> str | None:
    """The token in an address (``?token=``) or in an ``Authorization: Bearer`` header."""
    if authorization is not None and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    return parse_qs(urlsplit(path).query).get("token", [None])[0]


def is_here(peer: str, origin: str | None, *, is_forwarded: bool) -> bool:
    """Whether a connection was made by a program on this machine, or by a page of this machine.

    One that a proxy forwards comes from elsewhere; and a page of another site that is open here speaks for that site.
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
    """The parser of addresses and networks, separated by commas."""
    try:
        return tuple(ip_network(each.strip()) for each in text.split(","))
    except ValueError:
        raise ValueError("must be addresses or networks like 10.0.0.2,172.16.0.0/12") from None


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address that a connection is counted under: the peer's, or the one that trusted proxies say they serve.

    ``forwarded_for`` has the values of the headers X-Forwarded-For. Each proxy appends whom it serves, so the list is
    read from its end, and only as far as it was written by those whom we trust.
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
    """The token in a file, which is made with a new one where there is none. Raises SettingsError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(file, "x", encoding="ascii", opener=_for_us_alone) as new:
            new.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise SettingsError((f"--token-file: {file} cannot be read or made ({error})",)) from None
    if not token:
        raise SettingsError((f"--token-file: {file} is empty",))
    return token


def _for_us_alone(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def join_codes_in(file: Path) -> Mapping[str, str]:
    """The join codes in a JSON file, an object of class code to join code. Raises SettingsError."""
    try:
        codes = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"--join-codes: {file} cannot be read ({error})",)) from None
    if not isinstance(codes, dict) or not all(isinstance(word, str) and word for word in codes.values()):
        raise SettingsError((f"--join-codes: {file} must hold a JSON object of class codes and their join codes",))
    return codes
