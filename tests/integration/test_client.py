"""`neuroone.client` on real brokers."""

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from neuroone import logins
from neuroone.client import LiveReading, StatusChange, subscribe
from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import StreamStatus
from neuroone.mqtt.reasons import ConnectionLost, LoginRefused
from neuroone.mqtt.threaded import ThreadedClient
from tests.support.brokers import Broker, free_port
from tests.support.bus_listener import client_on, listening
from tests.support.messages import NOON, reading, stream_state
from tests.support.waiting import wait_for

pytestmark = pytest.mark.broker


def send(bus: ThreadedClient, seq: int, group: str = "7B", source: str = "Ana") -> None:
    """Publish a reading."""
    bus.publish(topics.reading("local", group, source), reading(seq=seq, time=NOON + timedelta(seconds=seq)))


def test_a_broker_that_dies_costs_the_program_no_word_and_no_reading_comes_twice(broker: Broker) -> None:
    """The program hears who is there, that nobody knows, and who is there again; what was kept comes once."""
    with (
        client_on(broker.url, "serial_bridge") as bus,
        subscribe(broker.url, "7B", presence=True) as readings,
    ):
        bus.publish(topics.stream_state("local", "7B", "Ana"), stream_state(name="Ana"))
        for seq in (0, 1, 1, 0):
            send(bus, seq)
        send(bus, 0, "8A")  # another class
        got: list[LiveReading | StatusChange] = []

        def seqs() -> list[int]:
            return [each.reading.seq for each in got if isinstance(each, LiveReading)]

        def statuses() -> list[StreamStatus | None]:
            return [each.status for each in got if isinstance(each, StatusChange)]

        def read_until(condition: Callable[[], bool]) -> None:
            while not condition():
                got.append(next(readings))

        read_until(lambda: len(seqs()) == 2 and bool(statuses()))
        wait_for(lambda: readings.counters["repeated"] == 2, "the two that came again")
        broker.kill()
        read_until(lambda: None in statuses())
        assert readings.status("7B", "Ana") is None
        broker.start()
        wait_for(lambda: readings.is_connected, "connection")
        for seq in (1, 2):
            send(bus, seq)
        read_until(lambda: 2 in seqs() and statuses()[-1] is StreamStatus.ONLINE)
        assert (seqs(), {each.group for each in got}) == ([0, 1, 2], {"7B"})
        assert statuses() == [StreamStatus.ONLINE, None, StreamStatus.ONLINE]
        assert readings.status("7B", "Ana") is StreamStatus.ONLINE
        assert readings.counters["connects"] == 2


def test_a_slow_consumer_gets_the_newest_and_is_told_how_many_were_dropped(one_broker: Broker) -> None:
    with client_on(one_broker.url, "serial_bridge") as bus, subscribe(one_broker.url, "slow", queue_max=5) as readings:
        for seq in range(50):
            send(bus, seq, "slow")
        wait_for(lambda: readings.counters["readings"] == 50, "all readings")
        assert readings.counters["dropped"] == 45
        assert [next(readings).reading.seq for _ in range(5)] == [45, 46, 47, 48, 49]


async def test_two_groups_in_one_event_loop_that_also_does_other_things(one_broker: Broker) -> None:
    """Each gets its own; the loop is not held up while nothing comes, and `close` ends the iteration."""
    with client_on(one_broker.url, "serial_bridge") as bus:
        async with subscribe(one_broker.url, "7B") as first, subscribe(one_broker.url, "Turma 8") as second:
            waiting = [asyncio.create_task(each.__anext__()) for each in (first, second)]
            await asyncio.sleep(0)
            assert not any(each.done() for each in waiting)
            send(bus, 1)
            send(bus, 2, topics.group_id("Turma 8"))
            assert [each.reading.seq for each in await asyncio.gather(*waiting)] == [1, 2]
            end = asyncio.create_task(asyncio.to_thread(first.close))
            assert [each async for each in first] == []
            await end
    await asyncio.get_running_loop().shutdown_default_executor()  # its threads would stay until the program's end


async def test_a_task_that_is_cancelled_while_it_connects_leaves_nothing_running(one_broker: Broker) -> None:
    """Whether it has not begun, is connecting or has just connected; nobody else would end the connection."""
    for moment in ("not begun", "connecting", "connected"):
        readings = subscribe(one_broker.url, "7B")
        task = asyncio.create_task(readings.__aenter__())
        if moment != "not begun":
            await asyncio.sleep(0)
        if moment == "connected":
            wait_for(partial(getattr, readings, "is_connected"), "a connection")  # its task does not run meanwhile
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not [each for each in threading.enumerate() if each.name == "mqtt"]


def test_a_subscription_is_for_one_use(one_broker: Broker) -> None:
    """Used again it ends at once and without a word, as if nobody sent anything."""
    with subscribe(one_broker.url, "7B") as readings:
        pass
    with pytest.raises(ConnectionLost, match="closed"), readings:
        pass
    assert list(readings) == []


def test_another_thread_ends_a_program_that_waits(one_broker: Broker) -> None:
    with subscribe(one_broker.url, "empty") as readings:
        threading.Timer(0, readings.close).start()
        assert list(readings) == []


def test_a_program_that_ends_in_the_middle_leaves_nothing_on_the_broker(one_broker: Broker) -> None:
    """It needs no `with`, has no state there, and its end takes no time."""
    program = f"from neuroone.client import subscribe\nprint(next(subscribe({one_broker.url!r}, 'end')).attention)"
    with listening(one_broker.url) as listener, client_on(one_broker.url, "serial_bridge") as bus:
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as popen:
            seqs = itertools.count()

            def has_ended() -> bool:
                send(bus, next(seqs), "end")
                return popen.poll() is not None

            wait_for(has_ended, "its end")
            assert popen.stdout is not None
            assert (popen.stdout.read(), popen.returncode) == ("85\n", 0)
        assert not [each.topic for each in listener.deliveries if "/services/client/" in each.topic]


def test_what_keeps_it_from_connecting_is_said(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    """A login that only reads is enough; a wrong one, one without a right, and no broker are errors that say so."""
    acl = tmp_path / "acl"
    acl.write_text(logins.acl(), encoding="utf-8")
    passwords = tmp_path / "passwords"
    for user in ("reader", "serial_bridge"):
        flags = ["-b"] if passwords.exists() else ["-b", "-c"]
        subprocess.run(["mosquitto_passwd", *flags, passwords, user, "secret"], check=True)
    broker = start_broker("mosquitto", f"acl_file {acl}", f"password_file {passwords}")
    with subscribe(broker.url.replace("//", "//reader:secret@")) as readings:
        with client_on(broker.url.replace("//", "//serial_bridge:secret@"), "serial_bridge") as bus:
            send(bus, 0)
            assert next(readings).attention == 85
        assert readings.counters["connects"] == 1
    errors: list[NeuroOneError] = []
    for url in (broker.url.replace("//", "//reader:wrong@"), f"mqtt://127.0.0.1:{free_port()}"):
        with pytest.raises(NeuroOneError) as caught, subscribe(url, connect_timeout_s=0.3):
            pass
        errors.append(caught.value)
    assert [type(each) for each in errors] == [LoginRefused, ConnectionLost]
    assert "it refuses us" in str(errors[0])
    assert "Connection refused" in str(errors[1])
    assert "wrong" not in str(errors[0])
