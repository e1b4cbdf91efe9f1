"""Where the brokers are and how to log in to them: the values of ``--broker``."""

import hashlib
import ipaddress
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

_FORM: Final = re.compile(
    r"(?P<scheme>mqtts?)://"
    r"((?P<user>[^:/]*?)(:(?P<password>[^/]*))?@)?"
    r"(\[(?P<ipv6>[^\]]*)\]|(?P<host>[^:/@\[\]]+))"
    r"(:(?P<port>[0-9]+))?/?"
)
_BETWEEN_ADDRESSES: Final = re.compile(r",(?=mqtts?://)")
"""A comma of the list. Any other belongs to an address, where a password may hold it."""
SITE_LOGIN: Final = "site-"
"""How the login of a school begins that shares the broker of a district."""
ID_CHARS: Final = 16
"""64 bits of SHA-256: nobody guesses them."""
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker and the login to it: ``mqtt://[user:password@]host[:port]``, or ``mqtts://`` for TLS."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> "BrokerAddress":
        """Read an address. Raises ValueError with words that follow "the address"; they quote no password."""
        if re.search(r"[\s#?]", text):
            raise ValueError("must not hold spaces, # or ?: in a password, write %20, %23 and %3F")
        parts = _FORM.fullmatch(text)
        if parts is None or "," in (parts["host"] or ""):
            in_list = ", also behind each comma" if "," in text else ""
            raise ValueError(f"must be like mqtt://host:1883 or mqtts://user:password@host:8883{in_list}")
        tls = parts["scheme"] == "mqtts"
        port = int(parts["port"] or (8883 if tls else 1883))
        if not 1 <= port <= 65535:
            raise ValueError("must have a port from 1 to 65535")
        host = _host_name(parts["host"]) if parts["ipv6"] is None else _ipv6(parts["ipv6"])
        return cls(host, port, tls, _login(parts["user"]), _login(parts["password"]))

    @property
    def url(self) -> str:
        """The whole address with the login: for another program, not for a log."""
        login = "" if self.user is None else quote(self.user, safe="")
        login += "" if self.password is None else f":{quote(self.password, safe='')}"
        return str(self).replace("://", f"://{login}@", 1) if self.user is not None else str(self)

    @property
    def id_suffix(self) -> str:
        """What a program with the login of a school adds to its MQTT client ids; for other logins nothing.

        Mosquitto gives the session that waits under an id to whoever names it: no other school can guess this one.
        """
        if self.user is None or not self.user.startswith(SITE_LOGIN):
            return ""
        return f"-{hashlib.sha256((self.password or '').encode()).hexdigest()[:ID_CHARS]}"

    def __str__(self) -> str:
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


class BrokerAddresses(tuple[BrokerAddress, ...]):
    """At least one broker, in the order in which they are tried: ``mqtt://a:1883,mqtt://b:1883``.

    ``file:PATH`` names a file that holds the same text: its passwords are then in no command line and no environment.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "BrokerAddresses":
        """Read addresses between commas, or the file that holds them. Raises ValueError, which quotes no password."""
        if not text.startswith("file:"):
            return cls(_addresses(text))
        file = Path(text.removeprefix("file:"))
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} cannot be read ({error})") from None
        try:
            return cls(_addresses(text))
        except ValueError as fault:
            raise ValueError(f"the file's text {fault}") from None

    def shuffled(self, rng: random.Random) -> "BrokerAddresses":
        """Return them in another order, so that many programs with one list do not all begin with the same broker."""
        return BrokerAddresses(rng.sample(self, len(self)))

    @property
    def url(self) -> str:
        """All addresses with their logins: for another program, not for a log."""
        return ",".join(address.url for address in self)

    def __str__(self) -> str:
        return ",".join(map(str, self))


def _addresses(text: str) -> list[BrokerAddress]:
    texts = _BETWEEN_ADDRESSES.split(text)
    found = []
    for position, each in enumerate(texts, start=1):
        try:
            found.append(BrokerAddress.parse(each))
        except ValueError as fault:
            which = f"(address {position} of {len(texts)}) " if len(texts) > 1 else ""
            raise ValueError(f"{which}{fault}") from None
    return found


def _host_name(text: str) -> str:
    try:
        ascii_text = text.encode("idna").decode("ascii")  # what a socket does with a name
    except UnicodeError:
        ascii_text = ""
    if not _HOST.fullmatch(ascii_text.lower()):
        raise ValueError("must have a host of letters, digits, - and _ between single dots")
    return text.lower()


def _ipv6(text: str) -> str:
    """Return an IPv6 address. It may have a zone (``%eth0``), without which a link-local one cannot be reached."""
    try:
        return str(ipaddress.IPv6Address(text.replace("%25", "%")))
    except ValueError:
        raise ValueError("must have an IPv6 address between [ and ]") from None


def _login(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        plain = "\0"
    if not plain.isprintable():
        raise ValueError("must have a login of printable characters, its %-escapes in UTF-8")
    return plain
