"""Say why a broker refuses or a connection to it ends."""

from collections.abc import Mapping
from typing import Final

from neuroone.contract.errors import NeuroOneError

TEXT_MAX: Final = 200
"""Characters of a broker's text that a log shows."""
BAD_LOGIN: Final = (0x04, 0x05, 0x86, 0x87)
"""Reasons of a CONNACK, in 3.1.1 and in 5, that a right user name and password would cure."""
_NAMES: Final[Mapping[int, str]] = {
    0x00: "Normal disconnection",
    0x01: "Unacceptable protocol version",
    0x02: "Identifier rejected",
    0x03: "Server unavailable",
    0x04: "Bad user name or password",
    0x05: "Not authorized",
    0x80: "Unspecified error",
    0x81: "Malformed packet",
    0x82: "Protocol error",
    0x83: "Implementation specific error",
    0x84: "Unsupported protocol version",
    0x85: "Client identifier not valid",
    0x86: "Bad user name or password",
    0x87: "Not authorized",
    0x88: "Server unavailable",
    0x89: "Server busy",
    0x8A: "Banned",
    0x8B: "Server shutting down",
    0x8D: "Keep alive timeout",
    0x8E: "Session taken over",
    0x8F: "Topic filter invalid",
    0x90: "Topic name invalid",
    0x93: "Receive maximum exceeded",
    0x95: "Packet too large",
    0x96: "Message rate too high",
    0x97: "Quota exceeded",
    0x98: "Administrative action",
    0x99: "Payload format invalid",
    0x9A: "Retain not supported",
    0x9B: "QoS not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    0x9F: "Connection rate exceeded",
}
"""The names of MQTT 5.0, 2.4, and below 0x80 those of a CONNACK of 3.1.1."""


class ConnectionLost(NeuroOneError):
    """The connection ended or is of no more use; the text says why. An error of the system is its cause."""


class HungUp(ConnectionLost):
    """The broker closed the connection without giving a reason."""


class NoAnswer(ConnectionLost):
    """The broker says nothing: it may be cut off, or hang."""


class LoginRefused(ConnectionLost):
    """The broker does not accept the user name and the password."""


def reason_name(reason: int, text: str = "") -> str:
    """Return the standard's name of a reason code, the code, and the broker's own text where it sends one."""
    return f"{_NAMES.get(reason, 'reason')} ({reason:#04x}){f', {text[:TEXT_MAX]!r}' if text else ''}"
