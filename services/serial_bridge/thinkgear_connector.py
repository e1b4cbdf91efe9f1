"""A server that speaks as NeuroSky's ThinkGear Connector does, for programs made for it.

Source: "ThinkGear Socket Protocol" (developer.neurosky.com). Messages are JSON objects, each ended by a carriage
return, or the headset's own frames where a client asks for ``BinaryPacket``. A client that has said nothing is sent
nothing yet: the Connector sends binary frames until then, on which JSON readers fail.
"""

import json
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from neuroone.contract.messages import BANDS
from serial_bridge.blink import BlinkEstimator
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw, Row, Skipped
from serial_bridge.headsets.thinkgear import encode, encode_raw

PORT: Final = 13854
"""Where ThinkGear Connector listens, on this computer only."""
TURN_S: Final = 0.02
"""Between two looks at what there is to send."""
QUIET_S: Final = 3.0
"""Without anything from the headset for so long it is said to be looked for, and another one may take its place."""
REQUEST_MAX_BYTES: Final = 8192
"""A client's requests have 200 bytes at most."""
BACKLOG_MAX_BYTES: Final = 256 * 1024
"""What may wait for one client, 13 s of raw samples as JSON; one that is slower is dropped."""
WAITING_MAX_EVENTS: Final = 4096
"""Events between a headset's thread and the server's: seconds, where a turn takes 20 ms."""
BAND_KEYS: Final = dict(
    zip(BANDS, ("delta", "theta", "lowAlpha", "highAlpha", "lowBeta", "highBeta", "lowGamma", "highGamma"), strict=True)
)

log = logging.getLogger(__name__)


def messages(event: Event, blinks: BlinkEstimator) -> Iterator[tuple[bool, dict[str, Any]]]:
    """What a JSON client is told of an event: whether it is raw, and the object."""
    if isinstance(event, Raw):
        yield from ((True, {"rawEeg": sample}) for sample in event.samples)
        yield from ((False, {"blinkStrength": strength}) for strength in blinks.find(event.samples))
    elif isinstance(event, Frame):
        said = {row.quantity: row for row in event.rows}
        told: dict[str, Any] = {}
        if Quantity.ATTENTION in said or Quantity.MEDITATION in said:
            told["eSense"] = {
                str(each): said[each].value for each in (Quantity.ATTENTION, Quantity.MEDITATION) if each in said
            }
        if Quantity.BANDS in said:
            told["eegPower"] = dict(zip(BAND_KEYS.values(), _band_powers(said[Quantity.BANDS]), strict=True))
        if Quantity.POOR_SIGNAL in said:
            told["poorSignalLevel"] = said[Quantity.POOR_SIGNAL].value
        if told:
            yield False, told


def frames(event: Event) -> bytes:
    """The frames of an event, as the headset sent them."""
    if isinstance(event, Raw):
        return b"".join(map(encode_raw, event.samples))
    return b"" if isinstance(event, Skipped) else encode(event.payload)


@dataclass(eq=False, slots=True)
class Client:
    """One connected program: what it asked for and what waits for it."""

    sock: socket.socket
    format: str | None = None
    wants_raw: bool = False
    asked: str = ""
    waiting: bytearray = field(default_factory=bytearray)

    def on_received(self, received: bytes) -> None:
        """Read requests, which follow each other with or without anything between them."""
        self.asked += received.decode("utf-8", "replace")
        while text := self.asked.lstrip():
            try:
                request, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                # Half a request waits for the rest of it; what can be no request is thrown away.
                self.asked = text if text.startswith("{") and len(text) < REQUEST_MAX_BYTES else ""
                return
            self.asked = text[end:]
            if isinstance(request, dict):
                self._obey(request)
        self.asked = ""

    def _obey(self, request: dict[str, Any]) -> None:
        if "appKey" in request or "appName" in request:
            self.queue({"isAuthorized": True})
        if "format" in request or "enableRawOutput" in request:
            self.format = "BinaryPacket" if request.get("format") == "BinaryPacket" else "Json"
            self.wants_raw = request.get("enableRawOutput") is True

    def queue(self, message: dict[str, Any]) -> None:
        """Queue a JSON message."""
        self.waiting += json.dumps(message, separators=(",", ":")).encode() + b"\r"


class ThinkGearConnectorServer:
    """Serves one headset, the first that sends, to any number of programs."""

    def __init__(self, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.counters = dict.fromkeys(("tgc_clients", "tgc_clients_dropped"), 0)
        self._port = port
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=WAITING_MAX_EVENTS)
        self._headset: object = None
        self._heard_s = self._status_s = float("-inf")
        self._blinks = BlinkEstimator()
        self._clients: list[Client] = []
        self._closing = threading.Event()
        self._listener = socket.socket()
        self._thread = threading.Thread(target=self._run, name="tgc", daemon=True)

    def start(self) -> None:
        """Listen on this computer's own address. Raises OSError when the port is taken."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self._listener.listen()
        self._listener.setblocking(False)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    def on_events(self, headset: object, events: list[Event]) -> None:
        """Take a headset's events; called from that headset's thread, does not block."""
        now_s = self._clock()
        if headset is not self._headset and now_s - self._heard_s < QUIET_S:
            return
        self._headset, self._heard_s = headset, now_s
        self._events.extend(events)

    def close(self) -> None:
        """Stop serving."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._closing.wait(TURN_S):
                for key, _ in selector.select(0):
                    if key.data is None:
                        self._accept(selector)
                    else:
                        self._read(key.data, selector)
                self._queue_events()
                for client in tuple(self._clients):
                    self._send(client, selector)
        for client in self._clients:
            client.sock.close()

    def _accept(self, selector: selectors.BaseSelector) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        client = Client(sock)
        self._clients.append(client)
        self.counters["tgc_clients"] += 1
        selector.register(sock, selectors.EVENT_READ, client)

    def _read(self, client: Client, selector: selectors.BaseSelector) -> None:
        try:
            received = client.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if received:
            client.on_received(received)
        else:
            self._drop(client, selector)

    def _queue_events(self) -> None:
        now_s = self._clock()
        for _ in range(len(self._events)):  # events that come meanwhile wait until these have been sent
            event = self._events.popleft()
            told = list(messages(event, self._blinks))
            for client in self._clients:
                if client.format == "BinaryPacket":
                    client.waiting += frames(event) if client.wants_raw or not isinstance(event, Raw) else b""
                elif client.format:
                    for is_raw, message in told:
                        if client.wants_raw or not is_raw:
                            client.queue(message)
        if now_s - self._heard_s >= QUIET_S and now_s - self._status_s >= 1:
            self._status_s = now_s
            for client in self._clients:
                if client.format == "Json":
                    client.queue({"poorSignalLevel": 200, "status": "scanning"})

    def _send(self, client: Client, selector: selectors.BaseSelector) -> None:
        try:
            while client.waiting:
                del client.waiting[: client.sock.send(client.waiting)]
        except BlockingIOError:
            if len(client.waiting) > BACKLOG_MAX_BYTES:
                self.counters["tgc_clients_dropped"] += 1
                self._drop(client, selector)
        except OSError:
            self._drop(client, selector)

    def _drop(self, client: Client, selector: selectors.BaseSelector) -> None:
        if client in self._clients:
            self._clients.remove(client)
            selector.unregister(client.sock)
            client.sock.close()


def _band_powers(row: Row) -> tuple[Any, ...]:
    return row.value if isinstance(row.value, tuple) else ()
