"""clients/headset.js in a real browser, with radio and port replaced at the browser's own interfaces."""

import base64
import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from serial_bridge.headsets.thinkgear import DONGLE_AUTO_CONNECT, encode
from serial_bridge.ports.simulated import SimulatedHeadset
from tests.support.bad_network import CLIENTS
from tests.support.browser import chromium, opened
from tests.support.fake_headsets import FAKES, readings_of

pytestmark = pytest.mark.timeout(90)

STANDBY: Final = encode(b"\xd4\x01\x00")
RUBBISH: Final = bytes(range(0x80)) * 2
LISTEN: Final = """
  const { BluetoothSource, chooseBluetooth, chooseSerial, Headset, waysToConnect } = await import("/headset.js");

  /** Listen to a headset whose clock runs faster; return what it says. */
  const listen = (source, speed) => {
    const headset = new Headset(source, { clock: () => performance.now() * speed });
    const heard = { readings: [], samples: 0, inBlocks: 0, links: [], sessions: [] };
    headset.addEventListener("reading", ({ detail }) => heard.readings.push(detail));
    headset.addEventListener("raw", ({ detail }) => (heard.samples += detail.length));
    headset.addEventListener("block", ({ detail: { samples } }) => (heard.inBlocks += samples.length));
    headset.addEventListener("session", () => heard.sessions.push(heard.readings.length));
    headset.addEventListener("state", ({ detail: { link } }) => heard.links.at(-1) !== link && heard.links.push(link));
    heard.ended = headset.start();
    return [headset, heard];
  };
  const until = async (holds) => { while (!holds()) await turn(); };
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def home() -> Iterator[str]:
    """Serve the clients on localhost: a secure context, as the browser's interfaces demand."""
    handler = functools.partial(_Quiet, directory=str(CLIENTS))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def page(browser: Browser, home: str) -> Iterator[Page]:
    with opened(browser, home) as page:
        yield page


def run(page: Page, script: str, **streams: bytes) -> Any:
    """Run a script with the fakes; each of the ``streams`` is a name in it for bytes."""
    names = "".join(f"const {name} = bytesOf(given.{name});" for name in streams)
    given = {name: base64.b64encode(stream).decode() for name, stream in streams.items()}
    return page.evaluate(f"async (given) => {{ {FAKES} {LISTEN} {names} {script} }}", given)


@pytest.mark.parametrize("service", ["0xffe0", "'6e400001-b5a3-f393-e0a9-e50e24dcca9e'"], ids=["HM-10", "Nordic UART"])
def test_bluetooth_gives_every_reading_once_and_a_lost_link_is_a_new_session(page, service):
    """Cut anywhere: the notifications have 20 bytes, the link breaks in the middle of a frame and comes back."""
    line = SimulatedHeadset(1).advance(30)
    first, second = line[:50_003], line[50_003:]
    heard = run(
        page,
        f"""
        const device = new FakeDevice({service}, [first, second]);
        Object.defineProperty(navigator, "bluetooth", {{ value: {{ requestDevice: async () => device }} }});
        const [headset, heard] = listen(await chooseBluetooth(), 1);
        await until(() => heard.links.filter((link) => link === "no_port").length === 1); // out of reach after both
        headset.stop();
        await heard.ended;
        return {{ ...heard, disconnects: device.disconnects }};
        """,
        first=first,
        second=second,
    )
    assert heard["readings"] == readings_of(first, second)
    assert heard["sessions"] == [len(readings_of(first)), len(heard["readings"])]
    assert [link for link in heard["links"] if link != "connected"] == ["unplugged", "unplugged", "no_port", "ended"]
    assert heard["disconnects"] == 3
    assert heard["inBlocks"] == heard["samples"] > 10_000


def test_a_dongle_at_its_speed_is_told_to_connect(page):
    """57600 brings rubbish; at 115200 the dongle stands by until it gets the command; then its port is pulled out."""
    line = SimulatedHeadset(2).advance(20)
    heard = run(
        page,
        """
        const port = new FakePort((baud, written) => (baud === 115200 ? (written === null ? standby : line) : rubbish),
          (baud) => baud !== 115200);
        Object.defineProperty(navigator, "serial", { value: { requestPort: async () => port } });
        const [headset, heard] = listen(await chooseSerial(), 8);
        await until(() => heard.readings.length === 20);
        port.unplug();
        await until(() => heard.links.includes("unplugged"));
        headset.stop();
        await heard.ended;
        return { ...heard, opened: port.opened, written: port.written };
        """,
        standby=STANDBY * 2,
        rubbish=RUBBISH,
        line=line,
    )
    assert heard["readings"] == readings_of(line)
    assert heard["opened"][:2] == [57600, 115200]
    assert bytes(heard["written"][:1]) == DONGLE_AUTO_CONNECT
    links = [link for link in heard["links"] if link not in ("connected", "searching", "silent")]
    assert links == ["no_frames", "standby", "unplugged", "ended"]


def test_a_headset_that_falls_silent_is_opened_anew(page):
    """Bluetooth gives no other sign; nothing is invented meanwhile."""
    line = SimulatedHeadset(3).advance(5)
    heard = run(
        page,
        """
        const port = new FakePort(() => line);
        const [headset, heard] = listen(await chooseSerial({ requestPort: async () => port }), 8);
        await until(() => port.opened.length === 3);
        headset.stop();
        await heard.ended;
        return { ...heard, opened: port.opened };
        """,
        line=line,
    )
    assert heard["opened"] == [57600] * 3
    assert heard["readings"][:10] == readings_of(line, line)[:10]
    assert "silent" in heard["links"]
    assert "unplugged" not in heard["links"]


def test_what_is_no_headset_or_cannot_be_opened_is_said_in_the_contracts_words(page):
    links = run(
        page,
        """
        const refused = (name) => ({ open: async () => { throw new DOMException("no", name); } });
        const links = [];
        for (const source of [
          new BluetoothSource(new FakeDevice("battery_service", [line])),
          await chooseSerial({ requestPort: async () => refused("InvalidStateError") }),
          await chooseSerial({ requestPort: async () => refused("SecurityError") }),
          await chooseSerial({ requestPort: async () => refused("NetworkError") }),
        ]) {
          const [headset, heard] = listen(source, 1);
          await until(() => heard.links.length > 0);
          headset.stop();
          await heard.ended;
          links.push(heard.links[0]);
        }
        return [links, waysToConnect({}), waysToConnect({ serial: {}, bluetooth: {} })];
        """,
        line=b"",
    )
    assert links == [["no_frames", "port_busy", "no_permission", "no_port"], [], ["bluetooth", "serial"]]


def test_a_headset_that_is_started_again_has_one_connection(page):
    """Twice, and right after a stop, while the link is open and while it waits."""
    line = SimulatedHeadset(4).advance(5)
    heard = run(
        page,
        """
        const port = new FakePort(() => line);
        const [headset, heard] = listen(await chooseSerial({ requestPort: async () => port }), 1);
        const again = () => [headset.start(), headset.stop(), headset.start()].length;
        again();
        await until(() => heard.readings.length === 5);
        port.unplug();
        await until(() => heard.links.includes("unplugged"));
        again();
        await until(() => heard.readings.length === 10);
        again();
        headset.stop();
        await heard.ended;
        return { ...heard, opened: port.opened };
        """,
        line=line,
    )
    assert heard["readings"] == readings_of(line, line)
    assert len(heard["opened"]) == 2
    assert "port_busy" not in heard["links"]


def test_a_connection_that_hangs_brings_nothing_into_the_next_one(page):
    """Its closing fails, and it sends on."""
    line = SimulatedHeadset(5).advance(5)
    heard = run(
        page,
        """
        const opened = [];
        const source = { speeds: [57600], open: async (_speed, onBytes) => {
          let lose;
          const closed = new Promise((resolve) => (lose = resolve));
          opened.push({ onBytes, lose });
          return { closed, close: async () => { throw new Error("it hangs"); } };
        } };
        const [headset, heard] = listen(source, 1);
        await until(() => opened.length === 1);
        opened[0].onBytes(line.slice(0, 10_003));
        opened[0].lose();
        await until(() => opened.length === 2);
        for (let at = 0; at < line.length; at += 20) {
          opened[0].onBytes(line.slice(at, at + 20));
          opened[1].onBytes(line.slice(at, at + 20));
        }
        headset.stop();
        await heard.ended;
        return heard;
        """,
        line=line,
    )
    assert heard["readings"] == readings_of(line[:10_003], line)


@pytest.mark.parametrize("ending", ["headset.stop();", "timers[20_000]();"], ids=["stopped", "after 20 s"])
def test_a_bluetooth_opening_that_hangs_is_ended(page, ending):
    """By disconnecting, or the radio goes on to connect; and nobody waits for it."""
    heard = run(
        page,
        f"""
        const device = new FakeDevice(0xffe0, []);
        device.gatt.connect = () => new Promise(() => {{}});
        const timers = {{}};
        const setTimer = globalThis.setTimeout;
        globalThis.setTimeout = (call, ms) => (ms === 20_000 ? (timers[ms] = call) && 0 : setTimer(call, ms));
        const [headset, heard] = listen(new BluetoothSource(device), 1);
        {ending}
        await until(() => device.disconnects === 1);
        headset.stop();
        await heard.ended;
        globalThis.setTimeout = setTimer;
        return heard;
        """,
    )
    assert heard["links"][-1] == "ended"


def test_a_bluetooth_opening_that_comes_too_late_leaves_the_next_one_alone(page):
    counted = run(
        page,
        """
        const device = new FakeDevice(0xffe0, [line, line]);
        const connect = device.gatt.connect;
        let answer;
        device.gatt.connect = () => new Promise((resolve) => (answer = resolve));
        const source = new BluetoothSource(device);
        const late = source.open(57600, () => {});
        device.gatt.connect = connect;
        const port = await source.open(57600, () => {});
        answer(connect());
        await (await late).close();
        const before = device.disconnects;
        await port.close();
        return [before, device.disconnects];
        """,
        line=b"",
    )
    assert counted == [0, 1]


def test_a_serial_port_is_closed_while_a_write_hangs(page):
    is_closed = run(
        page,
        """
        const port = new FakePort(() => line);
        const source = await chooseSerial({ requestPort: async () => port });
        const link = await source.open(57600, () => {});
        port.writable = new WritableStream({ write: () => new Promise(() => {}) });
        const close = port.close.bind(port);
        port.close = async () => {
          if (port.writable.locked) throw new TypeError("it is locked");
          await close();
        };
        link.write(line);
        await link.close();
        return port.readable === null;
        """,
        line=b"\xc2",
    )
    assert is_closed
