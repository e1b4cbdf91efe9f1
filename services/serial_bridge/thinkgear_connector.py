"""A server that speaks the protocol of NeuroSky's ThinkGear Connector, for programs made for it.

Source: "ThinkGear Socket Protocol" (developer.neurosky.com). Messages are JSON objects, each ended by a carriage
return, or the headset's own frames where a client asks for ``BinaryPacket``. A client receives nothing before its
first request: the Connector sends binary frames until then, on which JSON readers fail.
"""

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final

from serial_bridge.blink import BlinkEstimator
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw
from serial_bridge.headsets.thinkgear import encode, encode_raw

TICK_S: Final = 0.02
"""Time between two rounds of reading requests and sending messages."""
QUIET_S: Final = 3.0
"""After so long without data, clients are told that the server scans, and another headset may be served."""
SCANNING_PERIOD_S: Final = 1.0
"""Time between two messages that say so, as the Connector does."""
REQUEST_MAX_BYTES: Final = 8192
"""A client's requests have 200 bytes at most."""
BACKLOG_MAX_BYTES: Final = 256 * 1024
"""Waiting for one client, 13 s of raw samples as JSON; a slower client is dropped."""
WAITING_MAX_EVENTS: Final = 4096
"""Events between a headset's thread and the server's: seconds, where a tick takes 20 ms."""
BAND_KEYS: Final = ("delta", "theta", "lowAlpha", "highAlpha", "lowBeta", "highBeta", "lowGamma", "highGamma")
"""The names of the eight band powers, in the order of the bands."""


def encode_json(message: dict[str, Any]) -> bytes:
    """Encode one JSON message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\r"


def json_messages(event: Event, blinks: list[int], wants_raw: bool) -> Iterator[dict[str, Any]]:
    """Yield what a JSON client receives for an event; ``blinks`` are the strengths of the blinks found in it."""
    if isinstance(event, Raw):
        if wants_raw:
            yield from ({"rawEeg": sample} for sample in event.samples)
        yield from ({"blinkStrength": strength} for strength in blinks)
    elif isinstance(event, Frame):
        values: dict[Quantity, Any] = {row.quantity: row.value for row in event.rows}
        message: dict[str, Any] = {}
        if esense := {str(q): values[q] for q in (Quantity.ATTENTION, Quantity.MEDITATION) if q in values}:
            message["eSense"] = esense
        if Quantity.BANDS in values:
            message["eegPower"] = dict(zip(BAND_KEYS, values[Quantity.BANDS], strict=True))
        if Quantity.POOR_SIGNAL in values:
            message["poorSignalLevel"] = values[Quantity.POOR_SIGNAL]
        if message:
            yield message


def encode_event(event: Event, blinks: list[int], format: str, wants_raw: bool) -> bytes:
    """Encode what a client receives for an event: JSON messages, or frames as the headset sent them."""
    if format == "Json":
        return b"".join(map(encode_json, json_messages(event, blinks, wants_raw)))
    if isinstance(event, Raw):
        return b"".join(map(encode_raw, event.samples)) if wants_raw else b""
    return encode(event.payload) if isinstance(event, Frame) else b""


@dataclass(eq=False, slots=True)
class Client:
    """One connected program: what it asked for, and the bytes that wait to be sent to it."""

    sock: socket.socket
    format: str | None = None
    wants_raw: bool = False
    requests: str = ""
    waiting: bytearray = field(default_factory=bytearray)

    def receive(self) -> None:
        """Obey the requests that have arrived. Raises BlockingIOError, or another OSError if the program is gone."""
        received = self.sock.recv(4096)
        if not received:
            raise ConnectionResetError
        self.on_received(received)

    def send(self) -> None:
        """Send what the program accepts. Raises BlockingIOError, or another OSError if it is gone."""
        while self.waiting:
            del self.waiting[: self.sock.send(self.waiting)]

    def on_received(self, received: bytes) -> None:
        """Obey requests; one may arrive in pieces, and several without anything between them."""
        self.requests += received.decode("utf-8", "replace")
        while text := self.requests.lstrip():
            try:
                request, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                # Half a request waits for the rest of it; other text is thrown away.
                self.requests = text if text.startswith("{") and len(text) < REQUEST_MAX_BYTES else ""
                return
            self.requests = text[end:]
            if isinstance(request, dict):
                self._obey(request)
        self.requests = ""

    def _obey(self, request: dict[str, Any]) -> None:
        if "appKey" in request or "appName" in request:
            self.waiting += encode_json({"isAuthorized": True})
        if "format" in request or "enableRawOutput" in request:
            self.format = "BinaryPacket" if request.get("format") == "BinaryPacket" else "Json"
            self.wants_raw = request.get("enableRawOutput") is True


class ThinkGearConnectorServer(threading.Thread):
    """Serve one headset, the first that sends, to any number of programs."""

    def __init__(self, port: int) -> None:
        super().__init__(name="tgc", daemon=True)
        self.counters = dict.fromkeys(("tgc_clients", "tgc_clients_dropped"), 0)
        self._port = port
        self._events: deque[Event] = deque(maxlen=WAITING_MAX_EVENTS)
        self._headset: object = None
        self._received_s = self._scanning_s = float("-inf")
        self._blinks = BlinkEstimator()
        self._clients: list[Client] = []
        self._closing = threading.Event()

    def start(self) -> None:
        """Listen on this computer's own address. Raises OSError when the port is taken."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listener.setblocking(False)
        super().start()

    def on_events(self, headset: object, events: list[Event]) -> None:
        """Queue a headset's events for the clients; called from the headsets' thread, does not block."""
        now_s = time.monotonic()
        if headset is not self._headset and now_s - self._received_s < QUIET_S:
            return
        self._headset, self._received_s = headset, now_s
        self._events.extend(events)

    def close(self) -> None:
        """Stop serving."""
        self._closing.set()
        self.join()

    def run(self) -> None:
        """Serve the programs until `close` is called."""
        while not self._closing.wait(TICK_S):
            self._accept()
            self._call_each(Client.receive)
            for _ in range(len(self._events)):  # those that come meanwhile wait until these have been sent
                self._queue(self._events.popleft())
            self._queue_scanning()
            self._call_each(Client.send)
            for slow in [client for client in self._clients if len(client.waiting) > BACKLOG_MAX_BYTES]:
                self.counters["tgc_clients_dropped"] += 1
                self._drop(slow)
        for each in (self._listener, *(client.sock for client in self._clients)):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # nobody connects, or not any more
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self._clients.append(Client(sock))
            self.counters["tgc_clients"] += 1

    def _call_each(self, call: Callable[[Client], None]) -> None:
        """Receive from or send to every client; drop those whose programs are gone."""
        for client in tuple(self._clients):
            try:
                call(client)
            except BlockingIOError:
                continue
            except OSError:
                self._drop(client)

    def _drop(self, client: Client) -> None:
        self._clients.remove(client)
        client.sock.close()

    def _queue(self, event: Event) -> None:
        """Encode an event once for each kind of client."""
        blinks = self._blinks.find(event.samples) if isinstance(event, Raw) else []
        encode_for = cache(partial(encode_event, event, blinks))
        for client in self._clients:
            if client.format is not None:
                client.waiting += encode_for(client.format, client.wants_raw)

    def _queue_scanning(self) -> None:
        now_s = time.monotonic()
        if now_s - self._received_s < QUIET_S or now_s - self._scanning_s < SCANNING_PERIOD_S:
            return
        self._scanning_s = now_s
        for client in self._clients:
            if client.format == "Json":
                client.waiting += encode_json({"poorSignalLevel": 200, "status": "scanning"})
