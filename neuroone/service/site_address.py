"""What an operator says about a server's addresses: the key of its students, and its address for other devices."""

import contextlib
import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
"""Browsers leave these out of Origin and Host."""
HOST: Final = re.compile(r"[a-z0-9._:-]+")
_SITE_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""Eight random characters are not guessed at 500 tries a second."""


def site_of(address: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of an address; an invalid one has no host."""
    try:
        parts = urlsplit(address.strip())
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError:
        return "", "", None
    return scheme, host.removesuffix("."), port or DEFAULT_PORTS.get(scheme)


def key_in_path(text: str) -> str:
    """Parse the key in students' addresses. Raises ValueError."""
    if not _SITE_KEY.fullmatch(text):
        raise ValueError("must have 8 to 64 of the characters A-Z a-z 0-9 _ -")
    return text


def public_url(text: str) -> str:
    """Parse the address of a server or of a folder on it; the result ends with a slash. Raises ValueError."""
    scheme, host, _ = site_of(text)
    is_plain = "@" not in text and "?" not in text and "#" not in text and text.isascii() and text.isprintable()
    if scheme not in ("http", "https") or not HOST.fullmatch(host) or not is_plain or " " in text:
        raise ValueError("must be an address like https://school.example or http://192.168.0.10:8080/")
    return text.rstrip("/") + "/"


def host_name(text: str) -> str:
    """Parse a host's name or address, without scheme and port. Raises ValueError."""
    with contextlib.suppress(ValueError):
        ip(text)
        return text
    if site_of(f"http://{text}") != ("http", text.lower().removesuffix("."), 80) or not HOST.fullmatch(text.lower()):
        raise ValueError("must be a name or an address without http:// and port, like escola.local")
    return text


def name_in_network(node: str) -> str:
    """Return the name by which the local network finds a machine that calls itself ``node``."""
    return node.lower() if "." in node else f"{node.lower()}.local" if node else "localhost"


def ip(text: str) -> str:
    """Parse an IP address. Raises ValueError."""
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError("must be an address of this machine like 192.168.0.10, or 0.0.0.0 for all") from None
