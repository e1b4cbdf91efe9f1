"""A server that speaks the protocol of NeuroSky's ThinkGear Connector, for programs made for it.

Source: "ThinkGear Socket Protocol" (developer.neurosky.com). Messages are JSON objects, each ended by a carriage
return, or the headset's own frames where a client asks for ``BinaryPacket``. A client receives nothing before its
first request: the Connector sends binary frames until then, on which JSON readers fail.

Many programs take what one call of ``recv`` returns for one message, as the Connector's own rhythm lets them: each
message is sent by itself, with a pause behind it.
"""

import json
import logging
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final

from serial_bridge.blink import HeadsetBlinks
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw, raw_samples
from serial_bridge.headsets.thinkgear import encode, encode_raw

TICK_S: Final = 0.02
"""Time between two rounds of reading requests and sending messages."""
QUIET_S: Final = 3.0
"""After so long without data, clients are told that the server scans, and another headset may be served."""
SCANNING_PERIOD_S: Final = 1.0
"""Time between two messages that say so, as the Connector does."""
CLIENTS_MAX: Final = 32
"""Programs of one computer are a few. Each holds a file, and the bridge's own files must stay free: systems allow 256
(macOS) to 1024."""
REQUEST_MAX_CHARS: Final = 8192
"""A client's requests have 200 characters at most."""
BACKLOG_MAX_BYTES: Final = 256 * 1024
"""Waiting for one client, 13 s of raw samples as JSON; a slower client is dropped."""
WAITING_MAX_EVENTS: Final = 4096
"""Events between a headset's thread and the server's: seconds, where a tick takes 20 ms."""
MESSAGE_PAUSE_S: Final = 0.000_05
"""Between two messages: a program that waits for data reads the first one before the second arrives. Measured: of raw
samples 18 % are read one by one without it, 98.7 % with it."""
PACED_MAX_MESSAGES: Final = 512
"""A second of raw samples. With more waiting they are sent at once: to keep up comes first."""
BAND_KEYS: Final = ("delta", "theta", "lowAlpha", "highAlpha", "lowBeta", "highBeta", "lowGamma", "highGamma")
"""The names of the eight band powers, in the order of the bands."""
REQUEST_KEYS: Final = frozenset({"appKey", "appName", "enableRawOutput", "format"})

_FLAT_OBJECT: Final = re.compile(r'\{(?:[^{}"]|"(?:[^"\\\x00-\x1f]|\\.)*")*\}')
"""A JSON object without objects in it, as all requests are."""
_HTTP_REQUEST: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+ (?:/|\*|https?:)")
"""The beginning of an HTTP request: a method and a target (RFC 9112)."""
_HTTP_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} ?\Z")
"""The same, of which no more has arrived yet."""

log = logging.getLogger(__name__)


def encode_json(message: dict[str, Any]) -> bytes:
    """Encode one JSON message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\r"


def json_messages(event: Event, blinks: list[int], wants_raw: bool) -> Iterator[dict[str, Any]]:
    """Yield what a JSON client receives for an event; ``blinks`` are the strengths of the blinks found in it."""
    if wants_raw:
        yield from ({"rawEeg": sample} for sample in raw_samples(event))
    if isinstance(event, Frame):
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
    yield from ({"blinkStrength": strength} for strength in blinks)


def encode_event(event: Event, blinks: list[int], format: str, wants_raw: bool) -> list[bytes]:
    """Encode what a client receives for an event: JSON messages, or frames as the headset sent them."""
    if format == "Json":
        return [encode_json(message) for message in json_messages(event, blinks, wants_raw)]
    if isinstance(event, Raw):
        return [b"".join(map(encode_raw, event.samples))] if wants_raw else []
    return [encode(event.payload)] if isinstance(event, Frame) else []


@dataclass(eq=False, slots=True)
class Client:
    """One connected program: what it asked for, and the messages that wait to be sent to it."""

    sock: socket.socket
    format: str | None = None
    wants_raw: bool = False
    requests: str = ""
    waiting: deque[bytes] = field(default_factory=deque)
    waiting_bytes: int = 0

    def receive(self) -> None:
        """Obey the requests that have arrived. Raises BlockingIOError, or another OSError if the program is gone."""
        received = self.sock.recv(4096)
        if not received:
            raise ConnectionResetError
        self.on_received(received)

    def queue(self, messages: list[bytes]) -> None:
        """Queue messages to send."""
        self.waiting += messages
        self.waiting_bytes += sum(map(len, messages))

    def send_one(self) -> None:
        """Send one message, as far as the program accepts it. Raises BlockingIOError, or OSError if it is gone."""
        if len(self.waiting) > PACED_MAX_MESSAGES:
            joined = b"".join(self.waiting)
            self.waiting.clear()
            self.waiting.append(joined)
        sent = self.sock.send(self.waiting[0])
        self.waiting_bytes -= sent
        if sent == len(self.waiting[0]):
            self.waiting.popleft()
        else:
            self.waiting[0] = self.waiting[0][sent:]

    def on_received(self, received: bytes) -> None:
        """Obey requests; one may arrive in pieces, and several without anything between them.

        What is no request is thrown away. Raises ConnectionRefusedError where a web page sends HTTP.
        """
        self.requests = (self.requests + received.decode("utf-8", "replace")).lstrip()
        if self.format is None and _HTTP_REQUEST.match(self.requests):
            raise ConnectionRefusedError("this is HTTP")
        while request := self._next_request():
            self._obey(request)

    def _next_request(self) -> dict[str, Any] | None:
        """Take the next request from the text that has arrived; None: there is no whole one."""
        for found in _FLAT_OBJECT.finditer(self.requests):
            try:
                request: dict[str, Any] = json.loads(found[0])
            except (ValueError, RecursionError):
                continue
            if REQUEST_KEYS & request.keys():
                self.requests = self.requests[found.end() :]
                return request
        # Half a request waits for the rest of it, without the whole objects before it, which are none.
        half = 0 if _HTTP_METHOD.match(self.requests) else self.requests.find("{")
        while half >= 0 and (whole := _FLAT_OBJECT.match(self.requests, half)):
            half = self.requests.find("{", whole.end())
        self.requests = self.requests[half:] if half >= 0 else ""
        if len(self.requests) > REQUEST_MAX_CHARS:
            self.requests = ""
        return None

    def _obey(self, request: dict[str, Any]) -> None:
        if "appKey" in request or "appName" in request:
            self.queue([encode_json({"isAuthorized": True})])
        if "format" in request or "enableRawOutput" in request:
            self.format = "BinaryPacket" if request.get("format") == "BinaryPacket" else "Json"
            self.wants_raw = request.get("enableRawOutput") is True


class ThinkGearConnectorServer(threading.Thread):
    """Serve one headset, the first that sends, to the programs of this computer.

    ``on_fatal`` is called with the reason if the server ends by a fault of its own.
    """

    def __init__(self, port: int, on_fatal: Callable[[str], object] = lambda reason: None) -> None:
        super().__init__(name="tgc", daemon=True)
        self.counters = dict.fromkeys(("tgc_clients", "tgc_clients_dropped", "tgc_clients_refused"), 0)
        self._port = port
        self._on_fatal = on_fatal
        self._events: deque[Event] = deque(maxlen=WAITING_MAX_EVENTS)
        self._headset: object = None
        self._received_s = self._scanning_s = float("-inf")
        self._blinks = HeadsetBlinks()
        self._clients: list[Client] = []
        self._closing = threading.Event()

    def start(self) -> None:
        """Listen on this computer's own address. Raises OSError when the port is taken."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listener.setblocking(False)
        super().start()

    @property
    def connected(self) -> int:
        """Number of programs that are connected."""
        return len(self._clients)

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
        try:
            while not self._closing.wait(TICK_S):
                self._serve()
        except Exception as error:
            log.exception("a fault in the server for ThinkGear Connector's programs")
            self._on_fatal(f"the server of --tgc failed: {error!r}")
        finally:
            for each in (self._listener, *(client.sock for client in self._clients)):
                each.close()

    def _serve(self) -> None:
        self._accept()
        self._call_each(Client.receive)
        for _ in range(len(self._events)):  # those that come meanwhile wait until these have been sent
            self._queue(self._events.popleft())
        self._queue_scanning()
        self._send()
        for slow in [client for client in self._clients if client.waiting_bytes > BACKLOG_MAX_BYTES]:
            self._drop(slow)

    def _accept(self) -> None:
        """Accept the programs that connect; beyond CLIENTS_MAX the oldest one that asked for nothing leaves."""
        for _ in range(CLIENTS_MAX):
            try:
                sock, _ = self._listener.accept()
            except OSError:  # nobody connects, or not any more, or there is no file left
                return
            self.counters["tgc_clients"] += 1
            if len(self._clients) >= CLIENTS_MAX:
                idle = next((client for client in self._clients if client.format is None), None)
                if idle is None:
                    self.counters["tgc_clients_refused"] += 1
                    sock.close()
                    continue
                self._drop(idle)
            sock.setblocking(False)
            with suppress(OSError):  # it is gone already
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients.append(Client(sock))

    def _send(self) -> None:
        """Send the waiting messages one by one, with a pause behind each."""
        ready = [client for client in self._clients if client.waiting]
        while ready:
            ready = [client for client in self._call_each(Client.send_one, ready) if client.waiting]
            if ready:
                time.sleep(MESSAGE_PAUSE_S)

    def _call_each(self, call: Callable[[Client], None], clients: list[Client] | None = None) -> list[Client]:
        """Receive from or send to clients; drop those that are gone or ask for what is not served.

        Return those that more can be sent to.
        """
        served = []
        for client in tuple(self._clients if clients is None else clients):
            try:
                call(client)
                served.append(client)
            except BlockingIOError:
                continue
            except ConnectionRefusedError as error:
                log.warning("a program at the port of --tgc is sent away: %s", error)
                self.counters["tgc_clients_refused"] += 1
                self._close(client)
            except OSError:
                self._close(client)
            except Exception:
                log.exception("a program at the port of --tgc is dropped")
                self._drop(client)
        return served

    def _drop(self, client: Client) -> None:
        self.counters["tgc_clients_dropped"] += 1
        self._close(client)

    def _close(self, client: Client) -> None:
        self._clients.remove(client)
        client.sock.close()

    def _queue(self, event: Event) -> None:
        """Encode an event once for each kind of client."""
        encode_for = cache(partial(encode_event, event, self._blinks.find_in(event)))
        for client in self._clients:
            if client.format is not None:
                client.queue(encode_for(client.format, client.wants_raw))

    def _queue_scanning(self) -> None:
        now_s = time.monotonic()
        if now_s - self._received_s < QUIET_S or now_s - self._scanning_s < SCANNING_PERIOD_S:
            return
        self._scanning_s = now_s
        for client in self._clients:
            if client.format == "Json":
                client.queue([encode_json({"poorSignalLevel": 200, "status": "scanning"})])
