"""Decide who may connect, watch, teach, mark and join: tokens, join codes, and limits for each address."""

import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import SettingsError
from neuroone.contract.students import name_key
from neuroone.service.token_files import Role, Token
from ws_gateway.token_bucket import TokenBucket
from ws_gateway.visitors import KEYS_SEPARATOR, Page, Visitor

ADDRESSES_MAX: Final = 10_000
"""Limits of each kind that are remembered; the one unused for longest is forgotten first."""
GUESSES_BURST: Final = 10
"""Wrong join codes that one address may try at once for one class: a class that mistypes."""
GUESSES_RATE_HZ: Final = 0.1
"""And then one in ten seconds: a four-digit code takes a day."""
LONG_CODE_CHARS: Final = 8
"""A join code so long is not guessed at 500 tries a second (a year for letters and digits), so it has no limit."""
CONNECTS_BURST: Final = 20_000
"""A school behind one address comes back at once after a power cut."""
CONNECTS_RATE_HZ: Final = 500.0
"""Connections of one address beyond these take turns (docs/decisions/0018). To refuse one costs as much as to accept it
(400 us), and would lock out whoever sits behind the same address as a flood."""
MARKS_RATE_HZ: Final = 1.0
"""Markers of one student or one game: whoever marks more often floods the lesson's list."""
MARKS_BURST: Final = 2
"""A timer of one second is now and then a little early."""
NAMES_BURST: Final = 500
"""New names that one address may bring at once beside one for each of its connections; further ones of the same
connections, of students who take turns, have a limit of their own."""
NAMES_RATE_HZ: Final = 20.0
"""And then so many a second: each name is a folder and a file for the recorder."""
NAMES_MAX: Final = 50_000
"""Names that are remembered as known, by a hash of 16 bytes; the one unseen for longest is forgotten first. 6 MB."""
IPV6_HOST_BITS: Final = 64
"""One household or school has all addresses that differ in these only (RFC 6177)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may see: the streams of one group, of one student (the name), or both; None is all.

    Only a teacher starts and stops lessons and loads recordings.
    """

    is_teacher: bool = False
    group: str | None = None
    student: str | None = None

    def includes(self, group: str, name: str | None) -> bool:
        """Return True if the stream of this group and name may be seen; names that look the same are one student's."""
        is_student = self.student in (None, name) or (name is not None and name_key(name) == name_key(self.student))
        return self.group in (None, group) and is_student


TEACH: Final = Grant(is_teacher=True)
WATCH_ALL: Final = Grant()


class Access:
    """Check tokens and join codes in constant time, and limit wrong join codes.

    Args:
        tokens: The tokens of those who watch.
        join_codes: The join code that students of each class code must show.
        clock: A steady clock in seconds.
        open_here: Whether programs and pages of this machine need no token.
        open_dashboards: Whether nobody needs a token to watch.
        site_key: What the addresses of students must end in; students may show it before a join code.
    """

    def __init__(
        self,
        tokens: Sequence[Token],
        join_codes: Mapping[str, str],
        clock: Callable[[], float],
        *,
        open_here: bool = True,
        open_dashboards: bool = False,
        site_key: str | None = None,
    ) -> None:
        self._open_here = open_here
        self._open_dashboards = open_dashboards
        # By group: two texts of one group are one class.
        self._join_codes = {topics.group_id(code): word for code, word in join_codes.items()}
        self._site_key = site_key
        self._clock = clock
        self._guesses: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._connects: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._marks: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._newcomers: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._names: OrderedDict[bytes, None] = OrderedDict()
        self._grants: dict[bytes, Grant] = {}
        self._token_names: dict[bytes, str] = {}
        self.set_tokens(tokens)

    def set_tokens(self, tokens: Sequence[Token]) -> None:
        """Replace all tokens."""
        self._grants = {_hash(each.token): _grant(each) for each in tokens}
        self._token_names = {_hash(each.token): each.name for each in tokens}

    def token_name(self, visitor: Visitor) -> str | None:
        """Return the name of the token that a visitor shows; None without one that is known."""
        return self._token_names.get(_hash(visitor.token)) if visitor.token else None

    def is_at_once(self, address: str) -> bool:
        """Return True if one more connection of this address is served at once now; False if it has to take turns."""
        # One that takes turns costs nothing of the rate: else those after a flood would take turns for long.
        return self._allows_one(self._connects, network_of(address), CONNECTS_RATE_HZ, CONNECTS_BURST)

    def may_mark(self, who: Hashable) -> bool:
        """Return True if this student or game may set one more marker now."""
        return self._allows_one(self._marks, who, MARKS_RATE_HZ, MARKS_BURST)

    def may_bring(self, name: str | None, code: str | None, address: str, connections: int | None) -> bool:
        """Return True if an address may bring this student now.

        A school has as many connections as students. Who brings far more names than connections makes them up.

        Args:
            name: The student's name.
            code: The student's class code.
            address: Where the connection comes from.
            connections: How many connections the address has, or None if this one was another student before: then
                it keeps no place from students who come with a connection of their own.
        """
        network = network_of(address)
        key = _hash(f"{network}\n{code}\n{name}")[:16]
        if key not in self._names:
            kind = (network, connections is None)
            bucket = self._bucket(self._newcomers, kind, NAMES_RATE_HZ, NAMES_BURST)
            if bucket.balance(self._clock()) < 1 - (connections or 0):
                return False
            bucket.spend(self._clock())
            if len(self._names) >= NAMES_MAX:
                self._names.popitem(last=False)
            self._names[key] = None
        self._names.move_to_end(key)
        return True

    def grant_of(self, visitor: Visitor, shown: str | None = None) -> Grant | None:
        """Return what a visitor may watch; None for nothing. ``shown`` is a token that it showed after connecting."""
        given = shown or visitor.token
        if given:
            grant = self._grants.get(_hash(given))
            if grant is not None:
                return grant
            if not self._open_dashboards:
                return None
        if self._open_here and visitor.is_here:
            if visitor.page.is_trusted:
                return TEACH
            if visitor.page is Page.FILE:
                return WATCH_ALL
        if self._open_dashboards:
            return TEACH if visitor.page.is_trusted else WATCH_ALL
        return None

    def may_join(self, code: str | None, given: str | None, address: str) -> bool:
        """Return True if a student who shows this join code may join the class."""
        group = topics.group_id(code)
        wanted = self._join_codes.get(group)
        if wanted is None:
            return True
        if not given:
            return False
        rights = (wanted, self.invitation_key(code))
        now_s = self._clock()
        bucket = self._bucket(self._guesses, (network_of(address), group), GUESSES_RATE_HZ, GUESSES_BURST)
        if len(wanted) < LONG_CODE_CHARS and not bucket.has_token(now_s):
            return False
        if any(hmac.compare_digest(each.encode(), given.encode("utf-8", "replace")) for each in rights):
            return True
        bucket.spend(now_s)
        return False

    def invitation_key(self, code: str | None) -> str:
        """Return what a student of this class needs to come in; empty for nothing."""
        return KEYS_SEPARATOR.join(filter(None, (self._site_key, self._join_codes.get(topics.group_id(code)))))

    def _allows_one(
        self, buckets: OrderedDict[Hashable, TokenBucket], key: Hashable, rate_hz: float, burst: float
    ) -> bool:
        bucket, now_s = self._bucket(buckets, key, rate_hz, burst), self._clock()
        return bucket.has_token(now_s) and bucket.spend(now_s) == 0

    def _bucket(
        self, buckets: OrderedDict[Hashable, TokenBucket], key: Hashable, rate_hz: float, burst: float
    ) -> TokenBucket:
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = TokenBucket(rate_hz, burst, self._clock())
            if len(buckets) > ADDRESSES_MAX:
                buckets.popitem(last=False)
        buckets.move_to_end(key)
        return bucket


def _hash(token: str) -> bytes:
    """Hash a token: how long it takes to look one up then says nothing about how much of it was right."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _grant(token: Token) -> Grant:
    if token.role is Role.TEACHER:
        return TEACH
    return Grant(group=None if token.code is None else topics.group_id(token.code), student=token.student)


def network_of(address: str) -> str:
    """Return what a limit counts for: an IPv4 address, or the network of an IPv6 address."""
    if ":" not in address:
        return address
    # A zone (%eth0) is this machine's name of a cable.
    return str(IPv6Address(int(IPv6Address(address.partition("%")[0])) >> IPV6_HOST_BITS))


def join_codes_in(file: Path) -> Mapping[str, str]:
    """Read the join codes from a JSON file, an object of class code to join code. Raises SettingsError."""
    try:
        codes = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"--join-codes: {file} cannot be read ({error})",)) from None
    if not isinstance(codes, dict) or not all(isinstance(word, str) and word for word in codes.values()):
        raise SettingsError((f"--join-codes: {file} must hold a JSON object of class codes and their join codes",))
    return codes
