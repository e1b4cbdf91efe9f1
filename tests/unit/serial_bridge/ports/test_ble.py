"""Headsets over Bluetooth LE: the same events as from a file, which one is chosen, and what goes wrong."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
)
from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract import hints
from neuroone.contract.errors import SettingsError
from neuroone.contract.messages import Link, Message, Reading, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.service.wearers import Owner
from serial_bridge.__main__ import main
from serial_bridge.captures import decode
from serial_bridge.captures.files import EXAMPLE
from serial_bridge.headset import Headset
from serial_bridge.headsets.events import Frame, Quantity, raw_samples
from serial_bridge.headsets.mindwave_mobile2 import Translator
from serial_bridge.headsets.thinkgear import Decoder, encode
from serial_bridge.ports import ble, ble_port
from serial_bridge.ports.ble_port import BlePort, BleSource, Radio
from serial_bridge.ports.connection import Connection
from serial_bridge.ports.port import PortFault
from serial_bridge.ports.simulated import SimulatedHeadset
from serial_bridge.ports.sources import open_source
from serial_bridge.publisher import StreamPublisher
from serial_bridge.record_command import Progress
from tests.support.ble_air import HM_10, MINDWAVE, NORDIC, Air, open_the_air, raising
from tests.support.captures import CAPTURES, content
from tests.support.waiting import wait_for

FRAME = encode(bytes([0x02, 0, 0x04, 50, 0x05, 60]))
ADDRESSES = [f"AA:BB:CC:DD:EE:{n:02X}" for n in range(9)]


@pytest.fixture
def air(monkeypatch: pytest.MonkeyPatch) -> Air:
    for name, value in {"SETTLE_S": 0.05, "SCAN_S": 0.2, "LOOK_S": 0.01}.items():
        monkeypatch.setattr(ble_port, name, value)
    return open_the_air(monkeypatch)


@contextmanager
def hurry() -> Iterator[None]:
    """Give up soon what hangs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"OPEN_S": 0.4, "DISCONNECT_S": 0.1, "HANG_S": 0.2}.items():
            patch.setattr(ble_port, name, value)
        patch.setattr(ble, "ANSWER_S", 0.2)
        patch.setattr(ble, "HANG_S", 0.1)
        yield


@pytest.fixture
def radio() -> Iterator[Radio]:
    radio = Radio()
    yield radio
    radio.close()


@pytest.fixture
def source(radio: Radio) -> Callable[[str], BleSource]:
    return partial(BleSource, radio=radio)


def received(port: BlePort, n_bytes: int) -> bytes:
    """Return so many bytes of a port."""
    arrived = bytearray()

    def is_complete() -> bool:
        arrived.extend(port.read())
        return len(arrived) >= n_bytes

    wait_for(is_complete, f"{n_bytes} bytes")
    return bytes(arrived)


def fault_of_reading(port: BlePort) -> PortFault:
    def read() -> PortFault | None:
        try:
            port.read()
        except PortFault as fault:
            return fault
        return None

    fault = wait_for(read, "a fault")
    assert fault is not None
    return fault


def fault_of_opening(source: BleSource) -> PortFault:
    with pytest.raises(PortFault) as caught:
        source.open(57600)
    return caught.value


@pytest.mark.parametrize("profile", [HM_10, NORDIC], ids=lambda profile: profile.name)
@pytest.mark.parametrize("capture", [EXAMPLE, *sorted(CAPTURES.glob("*.bytes"))], ids=lambda path: path.stem)
def test_a_capture_in_notifications_gives_the_events_of_the_file(air, source, profile, capture, monkeypatch):
    """Notifications of 20 bytes cut frames anywhere."""
    stream = capture.read_bytes()
    monkeypatch.setattr(ble_port, "BUFFER_MAX_BYTES", len(stream))
    packets = [stream[n : n + 20] for n in range(0, len(stream), 20)]
    air.add(ADDRESSES[0], "BrainLink", profile, packets=packets)
    port = source("ble").open(57600)
    decoder, events, n_bytes = Decoder(), [], 0
    while n_bytes < len(stream):
        arrived = port.read()
        n_bytes += len(arrived)
        events += decoder.feed(arrived)
    events += decoder.flush()
    assert joined(events) == joined(list(decode.events(Decoder(), capture)))
    port.close()


def joined(events: list[Any]) -> list[Any]:
    """Return the samples of each run, and the frames: how samples are grouped depends on the pieces."""
    found: list[Any] = []
    for event in events:
        samples = raw_samples(event)
        if samples and found and isinstance(found[-1], list):
            found[-1].extend(samples)
        else:
            found.append(list(samples) if samples else event)
    return found


@pytest.mark.parametrize(
    ("port", "chosen"),
    [
        ("ble", "MindWave"),
        ("ble:mindwave*", "MindWave"),
        ("ble:Brain*", "BrainLink_Pro"),
        ("ble:kit", "Kit"),
        ("ble:*", "MindWave"),
        (f"ble:{ADDRESSES[2].lower()}", "Kit 2"),
    ],
)
def test_the_headset_that_is_meant_is_connected(air, source, port, chosen):
    """The likeliest and nearest one without a name, or by name, by the beginning of a name, or by address."""
    air.add(ADDRESSES[0], None, HM_10, rssi=-20)
    air.add(ADDRESSES[1], "MindWave", NORDIC, rssi=-50)
    air.add(ADDRESSES[2], "Kit 2", HM_10, rssi=-30)
    air.add(ADDRESSES[3], "Kit", HM_10, rssi=-90)
    air.add(ADDRESSES[4], "BrainLink_Pro", NORDIC, rssi=-80)
    opened = source(port).open(57600)
    connected = [each.name for each in air.headsets if each.client]
    assert connected == [chosen]
    assert chosen in opened.device
    opened.close()


@pytest.mark.parametrize("port", ["ble:Kit", f"ble:{ADDRESSES[0]}"])
def test_a_headset_that_a_killed_program_left_connected_is_taken_over(air, source, port):
    """No search finds it. Without a name or an address it may be somebody's whose program runs."""
    headset = air.add(ADDRESSES[0], "Kit", NORDIC, is_left_connected=True)
    with pytest.raises(PortFault):
        source("ble").open(57600)
    opened = source(port).open(57600)
    assert headset.client is not None
    opened.close()
    air.faults["adapter"] = raising(NotImplementedError())  # on some systems nobody knows
    with pytest.raises(PortFault):
        source(port).open(57600)


def test_two_headsets_of_one_name_are_two_and_each_stays_its_wearers(air, source):
    """Each connects another one; after frames have come, only that very headset is connected again."""
    for n in range(2):
        air.add(ADDRESSES[n], "MindWave Mobile", packets=[FRAME, FRAME])
    sources = [source("ble:MindWave Mobile"), source("ble:MindWave Mobile")]
    with ThreadPoolExecutor() as pool:
        ports = list(pool.map(lambda each: each.open(57600), sources))
    assert {port.address for port in ports} == set(ADDRESSES[:2])
    for each, port in zip(sources, ports, strict=True):
        each.on_close(has_frames=True)
        port.close()
        assert port.has_ended(5)
    air.headsets[0].is_off = ports[0].address == ADDRESSES[0]
    air.headsets[1].is_off = not air.headsets[0].is_off
    assert fault_of_opening(sources[0]).link is Link.NO_PORT
    assert sources[1].open(57600).address == ports[1].address


def test_a_device_without_frames_comes_last(air, source):
    """A lamp with the same module is not connected again and again while a headset is there; nor is a deaf one."""
    air.add(ADDRESSES[0], "Lamp", rssi=-20)
    air.add(ADDRESSES[1], "Deaf", rssi=-30, faults={"connect": raising(BleakError("no"))})
    air.add(ADDRESSES[2], "Kit", rssi=-80, packets=[FRAME, FRAME])
    any_one = source("ble")
    connection = Connection(any_one)
    connection.port = lamp = any_one.open(57600)
    assert "Lamp" in lamp.device
    connection.close(has_frames=False)
    assert fault_of_opening(any_one).link is Link.NO_PORT
    assert "Kit" in any_one.open(57600).device


KINDS: list[BaseException] = [
    BleakError("Not connected"),
    BleakDBusError("org.bluez.Error.Failed", ["le-connection-abort-by-local"]),
    BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", []),
    BleakDeviceNotFoundError("AA"),
    BleakBluetoothNotAvailableError("off", BleakBluetoothNotAvailableReason.POWERED_OFF),
    BleakBluetoothNotAvailableError("no", BleakBluetoothNotAvailableReason.DENIED_BY_USER),
    TimeoutError(),
    OSError(5, "Input/output error"),
    EOFError(),
    KeyError("Connected"),
    AssertionError(),
    asyncio.CancelledError(),
    SystemExit(3),
]


async def hang() -> None:
    await asyncio.Event().wait()


async def hang_and_ignore_the_end() -> None:
    for _ in range(5):
        try:
            await asyncio.sleep(0.3)
        except asyncio.CancelledError:
            continue


async def block() -> None:
    threading.Event().wait(1.1)


FAULTS = {
    **{f"{type(kind).__name__} {n}": raising(kind) for n, kind in enumerate(KINDS)},
    "hang": hang,
    "deaf": hang_and_ignore_the_end,
}


@pytest.mark.parametrize("place", ["connect", "start_notify", "disconnect"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_mad_headsets_cost_only_themselves(air, source, place):
    """Whatever they do, all at once, each becomes a fault with a hint, and another one goes on sending."""
    good = air.add("good", "Good", packets=[FRAME])
    port = source("ble:Good").open(57600)
    for name, fault in {**FAULTS, "block": block}.items():
        air.add(name, name, faults={place: fault})
    mad = {each: source(f"ble:{each.name}") for each in air.headsets[1:]}
    with hurry(), ThreadPoolExecutor(len(mad)) as pool:
        faults = list(pool.map(fault_of_trying, mad.values()))
    assert all(fault and fault.hint for fault in faults) or place == "disconnect"
    good.send(FRAME)
    assert received(port, 2 * len(FRAME)) == 2 * FRAME
    for headset, its_source in mad.items():
        headset.faults.clear()
        headset.client = None
        wait_for(partial(is_opened, its_source), f"{headset.name}, well again")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", ["start", "stop"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_search_that_fails_costs_no_connected_headset(air, source, place, fault):
    """And it is repeated until it works."""
    good = air.add(ADDRESSES[0], "Good", packets=[FRAME])
    port = source("ble:Good").open(57600)
    air.add(ADDRESSES[1], "Other")
    air.faults[place] = FAULTS[fault]
    other = source("ble:Other")
    with hurry():
        found = fault_of_trying(other)
    assert place == "stop" or (found is not None and found.hint)
    good.send(FRAME)
    assert received(port, 2 * len(FRAME)) == 2 * FRAME
    air.faults.clear()
    wait_for(partial(is_opened, other), "another headset")


def fault_of_trying(source: BleSource) -> PortFault | None:
    try:
        source.open(57600).close()
    except PortFault as fault:
        return fault
    return None


def is_opened(source: BleSource) -> bool:
    return fault_of_trying(source) is None


def test_callbacks_after_the_end_and_floods_do_no_harm(air, source):
    """What comes after close is dropped; of a flood a bounded part is kept and the rest counted."""
    headset = air.add(ADDRESSES[0], "Kit")
    kit = source("ble:Kit")
    port = kit.open(57600)
    client = headset.client
    flood = bytes(2 * ble_port.BUFFER_MAX_BYTES)
    headset.send(flood)
    wait_for(lambda: kit.counters["ble_bytes_dropped"] > 0, "dropped bytes")
    wait_for(lambda: len(port._arrived) + kit.counters["ble_bytes_dropped"] == len(flood), "the whole flood")
    assert len(port._arrived) <= ble_port.BUFFER_MAX_BYTES
    port.close()
    assert port.has_ended(5)
    before = len(port._arrived)
    client.notify(FRAME)
    client.on_vanished()
    port.write(b"\x02")
    port.close()
    assert len(port._arrived) == before
    assert headset.client is None


def test_a_headset_that_goes_away_is_lost_and_connected_again(air, source):
    headset = air.add(ADDRESSES[0], "Kit", packets=[FRAME, FRAME])
    kit = source("ble")
    port = kit.open(57600)
    assert received(port, 2 * len(FRAME))
    headset.vanish()
    fault = fault_of_reading(port)
    assert (fault.link, "Kit" in str(fault)) == (Link.UNPLUGGED, True)
    kit.on_close(has_frames=True)
    assert "in reach" in str(fault_of_opening(kit))
    headset.is_off = False
    assert kit.open(57600).address == ADDRESSES[0]


def test_a_connection_that_breaks_while_it_is_made_is_a_headset_that_does_not_answer(air, source):
    """Systems report the end of a connection that never was."""
    kit = air.add(ADDRESSES[0], "Kit")

    async def break_off() -> None:
        kit.vanish()
        await asyncio.sleep(0)
        raise BleakError("le-connection-abort-by-local")

    kit.faults["start_notify"] = break_off
    fault = fault_of_opening(source("ble:Kit"))
    assert (fault.link, "does not accept" in str(fault)) == (Link.NO_PORT, True)


def test_commands_reach_the_headset(air, source):
    headset = air.add(ADDRESSES[0], "Kit")
    port = source("ble").open(57600)
    port.write(b"\xc2")
    wait_for(lambda: headset.written == [b"\xc2"], "the command")


def test_all_headsets_are_disconnected_when_the_program_ends(air):
    radio = Radio()
    headsets = [air.add(ADDRESSES[n], f"Kit {n}") for n in range(3)]
    for n in range(3):
        BleSource(f"ble:Kit {n}", radio).open(57600)
    headsets[0].faults["disconnect"] = hang
    with hurry():
        radio.close()
    assert [bool(each.client) for each in headsets] == [True, False, False]


def test_a_device_that_is_no_headset_says_so(air, source):
    air.add(ADDRESSES[0], "MindWave lamp", profile=ble.Profile("lamp", HM_10.write, (NORDIC.write,), NORDIC.write))
    fault = fault_of_opening(source("ble"))
    assert (fault.link, "no headset" in str(fault)) == (Link.NO_FRAMES, True)


def test_a_headset_is_never_taken_for_one_of_a_similar_name(air, source):
    """Its readings would come under another wearer's name."""
    air.add(ADDRESSES[0], "Kit 2")
    air.add(ADDRESSES[1], "A kit")
    assert fault_of_opening(source("ble:Kit")).link is Link.NO_PORT


# --- in the bridge ---------------------------------------------------------------------------------


class Published(Progress):
    """Replace the broker; keep the states, and the readings' sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.all_states: list[StreamState] = []
        self.sessions: list[str] = []

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        if isinstance(message, StreamState):
            self.all_states.append(message)
        elif isinstance(message, Reading):
            self.sessions.append(message.session)
        return super().publish(topic, message, on_ack)


def test_the_state_of_a_headset_tells_its_link_and_it_comes_back_by_itself(air, source):
    """As of any other port: online, gone, not in reach, online in a new session, ended; hints in two languages."""
    stream = SimulatedHeadset(1).advance(3)
    kit = air.add(ADDRESSES[0], "BrainLink", packets=[stream[n : n + 20] for n in range(0, len(stream), 20)])
    published = Published()
    headset = Headset(source("ble"), StreamPublisher(published, "no-group", "ble"), Owner("Ana"), Decoder)

    def state(link: Link, status: StreamStatus) -> StreamState | None:
        headset.step()
        last = published.all_states[-1]
        return last if (last.link, last.status) == (link, status) else None

    online = wait_for(lambda: state(Link.CONNECTED, StreamStatus.ONLINE), "the stream")
    assert online is not None
    assert online.device == f"ble:{ADDRESSES[0]} (BrainLink)"
    assert "ble_bytes_dropped" in online.counters
    kit.vanish()
    for link, word in ((Link.UNPLUGGED, "foi desconectado"), (Link.NO_PORT, "Nenhum headset aparece")):
        gone = wait_for(partial(state, link, StreamStatus.OFFLINE), link)
        assert gone is not None
        assert word in (hints.of_state(gone, "pt-BR") or "")
        assert ADDRESSES[0] in (gone.hint or "")
    kit.is_off = False
    assert wait_for(lambda: state(Link.CONNECTED, StreamStatus.ONLINE), "the stream")
    headset.close()
    assert published.all_states[-1].link is Link.ENDED
    assert len(set(published.sessions)) == 2
    wait_for(lambda: kit.client is None, "the end of the connection")


def test_a_headset_is_recorded_as_from_any_port(air, tmp_path, capsys):
    stream = SimulatedHeadset(1).advance(3)
    air.add(ADDRESSES[0], "Kit", NORDIC, packets=[stream[n : n + 20] for n in range(0, len(stream), 20)])
    capture = tmp_path / "kit.capture"
    assert main(["record", str(capture), "--port", "ble:Kit", "--seconds", "2.5"]) == 0
    assert "Kit: connected" in capsys.readouterr().out
    assert content(capture) == stream


# --- the settings ----------------------------------------------------------------------------------


def test_without_the_extra_the_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(ble, "is_installed", lambda: False)
    assert main(["run", "--port", "ble:Kit"]) == 2
    assert "bleak, which is not installed: install NeuroOne with its extra ble" in capsys.readouterr().err
    assert main(["record", "never.capture", "--port", "ble"]) == 2


def test_without_an_adapter_the_sentence_says_what_to_plug_in(air, capsys):
    reason = BleakBluetoothNotAvailableReason.NO_BLUETOOTH
    air.faults["start"] = raising(BleakBluetoothNotAvailableError("none", reason))
    assert main(["run", "--port", "ble"]) == 2
    assert "adapter" in capsys.readouterr().err
    assert main(["ports"]) == 0
    assert "adapter" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["BleakError 0", "hang", "deaf", "off"])
def test_bluetooth_that_is_off_for_now_is_no_reason_not_to_start(air, fault):
    reason = BleakBluetoothNotAvailableReason.POWERED_OFF
    air.faults["start"] = FAULTS.get(fault, raising(BleakBluetoothNotAvailableError("off", reason)))
    with hurry():
        ble.check(("sim", "ble"))


def test_ports_of_other_kinds_need_no_bluetooth(monkeypatch):
    monkeypatch.setattr(ble, "is_installed", lambda: False)
    ble.check(("auto", "COM4", "bleu"))
    with pytest.raises(SettingsError):
        ble.check(("ble:",))


def test_what_is_in_reach_is_listed(air, capsys, monkeypatch):
    """The likeliest first; a name cannot break the table, and nameless strangers are left out."""
    monkeypatch.setattr(ble, "in_reach", partial(ble.in_reach, 0.01))
    stranger = ble.Profile("x", "0000180d-0000-1000-8000-00805f9b34fb", (), "")
    air.add(ADDRESSES[0], None, stranger)
    air.add(ADDRESSES[1], "Watch\n\x1b[2J" + "x" * 300, stranger)
    air.add(ADDRESSES[2], None, HM_10)
    air.add(ADDRESSES[3], "BrainLink", NORDIC)
    assert main(["ports", "--json"]) == 0
    rows = [row for row in map(json.loads, capsys.readouterr().out.splitlines()) if row["port"].startswith("ble:")]
    assert [row["port"] for row in rows] == [f"ble:{ADDRESSES[n]}" for n in (3, 2, 1)]
    assert rows[2]["description"].startswith("Watch[2Jxx")
    assert len(rows[2]["description"]) == ble.NAME_MAX_CHARS


@pytest.mark.parametrize(
    ("port", "source_id"),
    [
        ("ble", "ble"),
        ("ble:Kit", "Kit"),
        ("ble:Kit*", "Kit"),
        ("ble:*", "ble"),
        (f"ble:{ADDRESSES[0]}", "ble-AA-BB-CC-DD-EE-00"),
    ],
)
def test_a_port_names_a_headset(port, source_id):
    assert open_source(port, None, 1).source_id == source_id


# --- MindWave Mobile 2, experimental ---------------------------------------------------------------


def packets(place: int, poor_signal: int = 0) -> list[bytes]:
    """The packets of one second, with their code at this place."""
    made = []
    for code, values in {
        0xEA: {6: poor_signal, 8: 53, 10: 47},
        0xEB: {7: 1, 11: 2, 15: 3, 19: 4},
        0xEC: {7: 5, 11: 6, 15: 7, 19: 8},
    }.items():
        packet = bytearray(20)
        packet[place] = code
        for at, value in values.items():
            packet[at] = value
        made.append(bytes(packet))
    return made


@pytest.mark.parametrize("place", [0, 2])
def test_a_mindwave_mobile_2_is_started_decoded_and_marked_as_experimental(air, source, place, caplog):
    raw = b"".join(n.to_bytes(2, signed=True) for n in range(-5, 5))
    headset = air.add(ADDRESSES[0], "MindWave Mobile", MINDWAVE, packets=[*packets(place), raw, b"strange"])
    port = source("ble").open(57600)
    assert "experimental" in port.device
    assert "experimental" in caplog.text
    wait_for(lambda: headset.written == [b"\x17", b"\x15"], "the commands to start")
    arrived = received(port, 36 + 80 + 7)
    assert arrived.endswith(b"strange")
    frame, *samples = Decoder().feed(arrived)
    assert isinstance(frame, Frame)
    rows = {row.quantity: row.value for row in frame.rows}
    assert rows[Quantity.BANDS] == (1, 2, 3, 4, 5, 6, 7, 8)
    assert (rows[Quantity.POOR_SIGNAL], rows[Quantity.ATTENTION], rows[Quantity.MEDITATION]) == (0, 53, 47)
    assert [each for event in samples for each in raw_samples(event)] == list(range(-5, 5))


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(packets(0) + packets(2) + packets(0, 201)))))
def test_nothing_that_a_mindwave_mobile_2_sends_is_made_into_impossible_numbers(sent):
    translator, decoder = Translator(), Decoder()
    for packet in sent:
        decoder.feed(translator.feed(packet))
    assert decoder.counters["implausible_values"] == 0 or any(b"\xaa\xaa" in packet for packet in sent)
