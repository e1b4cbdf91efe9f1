"""Record headsets into captures without a broker: the command ``serial-bridge record``."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

from neuroone import __version__
from neuroone.contract.errors import SettingsError
from neuroone.contract.messages import Message, Reading, StreamState
from neuroone.contract.topics import Topic
from neuroone.mqtt.identity import Identity
from neuroone.service import lifecycle
from neuroone.service.lifecycle import Stop
from neuroone.service.wearers import AUTO, Owner
from serial_bridge.captures.record import Recording, RecordingFault, free_path, numbered
from serial_bridge.headset import Headset
from serial_bridge.headsets import HEADSETS
from serial_bridge.ports import ble
from serial_bridge.ports.memory import PortMemory
from serial_bridge.ports.memory import default_path as memory_path
from serial_bridge.ports.sources import PortSource, devices_of, open_source
from serial_bridge.publisher import StreamPublisher
from serial_bridge.reader import HeadsetReader, Search
from serial_bridge.settings import RecordSettings

TICK_S: Final = 0.1
"""Time between two checks for the end and for new ports."""
PROGRESS_PERIOD_S: Final = 1.0
CLOSE_S: Final = 5.0
"""For the last bytes to reach a slow disk."""
PRINTED_COUNTERS: Final = {"bytes": "bytes", "raw_samples": "raw samples", "readings": "readings"}


class Progress:
    """Replace the broker: keep each headset's last reading and the state of the search, to print them."""

    identity = Identity("local", "serial_bridge", "record", __version__, 0, "record")
    is_connected = True
    waiting = 0

    def __init__(self) -> None:
        self.readings: dict[str, Reading] = {}
        self.states: dict[str, StreamState] = {}
        self._before: dict[str, dict[str, float]] = {}

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        """Keep a message."""
        if isinstance(message, Reading):
            self.readings[topic["source"]] = message
        elif isinstance(message, StreamState):
            self.states[topic["source"]] = message
        return True

    def line(self, source_id: str, headset: Headset) -> str:
        """Tell what has come from a headset since the last line about it."""
        counters, before = headset.counters, self._before.get(source_id, {})
        self._before[source_id] = counters
        parts = [f"{counters[key] - before.get(key, 0):.0f} {unit}" for key, unit in PRINTED_COUNTERS.items()]
        if counters["readings"] > before.get("readings", 0):
            reading = self.readings[source_id]
            poor_signal = "not sent" if reading.poor_signal is None else reading.poor_signal
            parts.append(f"poor signal {poor_signal}, attention {reading.attention}, meditation {reading.meditation}")
        return f"{source_id}: {headset.link_status.link}, {', '.join(parts)}"


class Recorder:
    """Record every headset of the named ports and, with ``auto``, of all ports; print each second what comes."""

    def __init__(self, settings: RecordSettings) -> None:
        self._settings = settings
        self._progress = Progress()
        self._reader = HeadsetReader()
        self._headsets: dict[str, Headset] = {}
        ble.check(settings.port)
        named = [port for port in settings.port if port != AUTO]
        self._sources = [open_source(port, settings.baud, seed=1 + n) for n, port in enumerate(named)]
        self._paths = [numbered(settings.file, n + 1) for n in range(max(1, len(named)))]
        for path in self._paths:
            _check_writable(path)
        self._is_searching = AUTO in settings.port
        self._found = count(len(named) + 1)

    def run(self, stop: Stop) -> int:
        """Record until stopped, until the time is over, or until every source has ended."""
        for source, path in zip(self._sources, self._paths, strict=False):
            self._add(source, source.source_id, None, lambda path=path: path)  # type: ignore[misc]
        search = self._search() if self._is_searching else None
        self._reader.start()
        began_s = printed_s = time.monotonic()
        while not stop.wait(TICK_S) and not self._has_failed:
            if search is not None:
                search.tick()
            elif all(headset.has_ended for headset in self._headsets.values()):
                break
            now_s = time.monotonic()
            if self._settings.seconds is not None and now_s - began_s >= self._settings.seconds:
                break
            if now_s - printed_s >= PROGRESS_PERIOD_S:
                printed_s += PROGRESS_PERIOD_S
                self._print(f"{now_s - began_s:5.0f} s  ")
        hint = self._hint()
        self._reader.close(CLOSE_S)
        return self._result(hint)

    def _add(
        self, source: PortSource, source_id: str, probe: Callable[[], Owner] | None, new_path: Callable[[], Path]
    ) -> Headset:
        while source_id in self._headsets and not self._headsets[source_id].has_ended:
            source_id += "-2"
        headset = Headset(
            source,
            StreamPublisher(self._progress, "record", source_id),
            Owner(),
            HEADSETS[self._settings.headset],
            headset_id=self._settings.headset_id,
            asks_raw=self._settings.raw,
            probe=probe,
            recording=Recording(
                new_path,
                self._settings.headset,
                keeps_all=len(source.speeds) == 1 and probe is None,
                is_simulated=source.is_simulated,
            ),
        )
        self._headsets[source_id] = headset
        return self._reader.add(headset)

    def _search(self) -> Search:
        def new_path() -> Path:
            return free_path(numbered(self._settings.file, next(self._found)))

        def new_headset(source: PortSource, source_id: str, probe: Callable[[], Owner]) -> Headset:
            return self._add(source, source_id, probe, new_path)

        return Search(
            self._reader,
            new_headset,
            StreamPublisher(self._progress, "record", AUTO),
            [Owner()],
            lambda: devices_of(self._sources),
            PortMemory(memory_path()),
            self._settings.baud,
        )

    @property
    def _has_failed(self) -> bool:
        return any(_faults(headset) for headset in self._headsets.values())

    def _print(self, prefix: str) -> None:
        shown = {source_id: headset for source_id, headset in self._headsets.items() if not headset.is_probe}
        for source_id, headset in shown.items():
            print(prefix + self._progress.line(source_id, headset), flush=True)
        if not shown and AUTO in self._progress.states:
            state = self._progress.states[AUTO]
            print(f"{prefix}{state.link}: {state.hint}", flush=True)

    def _hint(self) -> str:
        """Tell why nothing comes, if that is known; empty if not."""
        hints = [headset.link_status.hint for headset in self._headsets.values()]
        hints += [state.hint for state in self._progress.states.values()]
        return next(filter(None, hints), "")

    def _result(self, hint: str) -> int:
        """Print what was recorded; return the exit code. Raises RecordingFault where it is not what was asked for."""
        for headset in self._headsets.values():
            if (recording := headset.recording) is not None and recording.path and recording.counters["recorded_bytes"]:
                counts = ", ".join(f"{headset.counters[key]:.0f} {unit}" for key, unit in PRINTED_COUNTERS.items())
                print(f"{recording.path}: {counts}", flush=True)
        faults = [fault for headset in self._headsets.values() for fault in _faults(headset)]
        if faults:
            raise RecordingFault("; ".join(map(str, faults)))
        if any(headset.counters["raw_samples"] or headset.counters["readings"] for headset in self._headsets.values()):
            return lifecycle.OK
        raise RecordingFault(f"No headset was recorded. {hint}".strip())


def _faults(headset: Headset) -> list[Exception]:
    faults = headset.fault, headset.recording and headset.recording.fault
    return [fault for fault in faults if fault]


def record(settings: RecordSettings, stop: Stop) -> int:
    """Write all that arrives until the program stops, the source ends or the time is over."""
    return Recorder(settings).run(stop)


def _check_writable(path: Path) -> None:
    """Make sure that a file can be made at ``path``; nothing stays there. Raises SettingsError."""
    try:
        path.open("x", encoding="ascii").close()
        path.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError([f"FILE: {path} cannot be written: {reason}"]) from None
