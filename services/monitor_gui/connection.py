"""Why there is no connection to the broker, in words. No Qt."""

import socket
import ssl

from neuroone.contract.errors import NeuroOneError
from neuroone.mqtt.packets import BadPacket
from neuroone.mqtt.reasons import HungUp, LoginRefused


def key_of(fault: NeuroOneError | None) -> str:
    """Return the key of the text that explains a fault."""
    match fault, None if fault is None else fault.__cause__:
        case LoginRefused(), _:
            key = "connection.wrong_login"
        case _, ssl.SSLCertVerificationError():
            key = "connection.wrong_certificate"
        case _, ssl.SSLError() | ConnectionResetError():  # a broker without TLS resets the handshake
            key = "connection.no_tls"
        case _, socket.gaierror():
            key = "connection.no_host"
        case _, FileNotFoundError() | PermissionError() | IsADirectoryError():
            key = "connection.no_ca"
        case _, ConnectionRefusedError():
            key = "connection.nothing_there"
        case HungUp() | BadPacket(), _:
            key = "connection.no_mqtt"
        case None, _:
            key = "connection.connecting"
        case _:
            key = "connection.no_answer"
    return key
