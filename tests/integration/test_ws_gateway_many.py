"""Several gateways on one broker."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from neuroone.contract import topics
from neuroone.contract.messages import StreamStatus
from neuroone.up import brokers
from tests.support.gateways import HEARD_WITHIN_S, GatewayProgram, happens, hear, speak_until
from tests.support.messages import SESSION, stream_state

BANDS = ("delta", "theta", "low_alpha", "high_alpha", "low_beta", "high_beta", "low_gamma", "mid_gamma")
pytestmark = pytest.mark.broker


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Any]]:
    """Open a connection that sends these messages; a hello makes it one of the new dialect."""
    opened: list[ClientConnection] = []

    async def open_client(gateway: GatewayProgram, *words: str, **hello: Any) -> ClientConnection:
        connection = await connect(gateway.url, subprotocols=[Subprotocol("neuroone.v1")] if hello else None)
        opened.append(connection)
        for word in words:
            await connection.send(word)
        if hello:
            await connection.send(json.dumps({"type": "hello", **hello}))
        return connection

    yield open_client
    for connection in opened:
        await connection.close()


def old_frame(name: str, **values: int) -> str:
    return json.dumps({"Nome": name, "Codigo": "A", "Att": 85, **values})


def new_frame(seq: int) -> str:
    values = {"attention": 60, "meditation": 50, **dict.fromkeys(BANDS, 1)}
    return json.dumps({"type": "reading", "seq": seq, **values})


async def hear_of(connection: ClientConnection, kind: str) -> Any:
    while (heard := await hear(connection))["type"] != kind:
        pass
    return heard


async def test_a_dashboard_sees_the_students_of_all(gateways, client):
    """Old and new dashboards of either gateway, each with numbers of its own that stay."""
    dashboards = [await client(gateway, "dash", "?") for gateway in gateways]
    viewers = [await client(gateway, role="dashboard") for gateway in gateways]
    for dashboard in dashboards:
        assert "error" in await hear(dashboard)
    for viewer in viewers:
        await hear_of(viewer, "link")
    students = [await client(gateways[number], old_frame(name)) for number, name in enumerate(("Ana", "Bia"))]
    numbers = []
    for dashboard in dashboards:
        heard = [await hear(dashboard) for _ in range(2)]
        assert {each["Nome"] for each in heard} == {"Ana", "Bia"}
        assert {each["ID"] for each in heard} == {1, 2}
        numbers.append({each["Nome"]: each["ID"] for each in heard})
    for viewer in viewers:
        assert {(await hear_of(viewer, "reading"))["name"] for _ in range(2)} == {"Ana", "Bia"}
    for student, name in zip(students, ("Ana", "Bia"), strict=True):
        await student.send(old_frame(name, Med=1))
        for dashboard, ids in zip(dashboards, numbers, strict=True):
            assert (await hear(dashboard))["ID"] == ids[name]


async def test_a_dashboard_that_joins_late_sees_who_is_at_the_other(gateways, client, peer):
    """The first state comes from the broker, not from the gateway that has the student."""
    await client(gateways[0], old_frame("Ana"))
    await happens(lambda: "online" in peer.statuses("Ana"))
    viewer = await client(gateways[1], role="dashboard")
    assert (await hear_of(viewer, "state"))["source"] == "Ana"


async def test_two_of_one_name_at_two_gateways_are_two(gateways, client, peer):
    first = await client(gateways[0], old_frame("Ana"))
    await happens(lambda: "online" in peer.statuses("Ana"))
    probe = await client(gateways[1], role="dashboard")
    await hear_of(probe, "state")  # the second gateway knows of her
    await client(gateways[1], old_frame("Ana"))
    await speak_until(lambda: "online" in peer.statuses("Ana-2"), (first, old_frame("Ana")))


async def test_a_session_moves_to_another_gateway(gateways, client, peer):
    """What was acknowledged is not sent again, what was not is: no reading is doubled, and the stream is the same.

    The first gateway learns late that its connection is gone; what it then says does not stand.
    """
    hello = {"role": "student", "name": "Ana", "code": "A", "session": SESSION}
    first = await client(gateways[0], **hello)
    for seq in range(3):
        await first.send(new_frame(seq))
    while (await hear_of(first, "ack"))["seq"] < 2:
        pass
    second = await client(gateways[1], **hello)
    assert (await hear_of(second, "welcome"))["source"] == "Ana"
    for seq in range(3, 6):
        await second.send(new_frame(seq))
    while (await hear_of(second, "ack"))["seq"] < 5:
        pass
    await first.close()
    await happens(lambda: peer.statuses("Ana")[-2:] == [StreamStatus.OFFLINE, StreamStatus.ONLINE])
    await happens(lambda: len(peer.readings()) == 6)
    assert [(each.session, each.seq) for each in peer.readings()] == [(SESSION, seq) for seq in range(6)]


async def test_a_student_who_begins_anew_at_another_gateway_is_one(gateways, client, peer):
    """Also while the first gateway, which hangs, has not said yet that the session before is over."""
    hello = {"role": "student", "name": "Ana", "code": "A"}
    first = await client(gateways[0], session=SESSION, **hello)
    await first.send(new_frame(0))
    await hear_of(first, "ack")
    probe = await client(gateways[1], role="dashboard")
    await hear_of(probe, "state")  # the second gateway knows of her
    with stopped(gateways[0]):
        first.transport.abort()
        second = await client(gateways[1], session=f"{SESSION[:-1]}0", **hello)
    assert (await hear_of(second, "welcome"))["source"] == "Ana"


async def test_two_who_seem_to_be_one_wait_for_nothing(gateways, client, peer):
    """The second one of a name and code is another student after a second, or with its first reading."""
    hello = {"role": "student", "name": "Ana", "code": "A"}
    first = await client(gateways[0], session=SESSION, **hello)
    assert (await hear_of(first, "welcome"))["source"] == "Ana"
    second = await client(gateways[0], session=f"{SESSION[:-1]}0", **hello)
    assert (await hear_of(second, "welcome"))["source"] == "Ana-2"
    third = await client(gateways[0], session=f"{SESSION[:-1]}1", **hello)
    await third.send(new_frame(0))
    assert (await hear_of(third, "welcome"))["source"] == "Ana-3"
    await happens(lambda: [each.seq for each in peer.readings()] == [0])


@contextlib.contextmanager
def stopped(gateway: GatewayProgram) -> Iterator[None]:
    """Let a gateway hang."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        gateway.process.send_signal(signal.SIGCONT)


async def test_students_of_a_killed_gateway_keep_their_streams_at_another(broker, gateways, client, peer):
    if broker.kind == brokers.NATS:
        pytest.skip("NATS now and then does not publish the Last Will of a client that was killed")
    await client(gateways[0], old_frame("Ana"))
    await happens(lambda: "online" in peer.statuses("Ana"))
    gateways[0].process.kill()
    topic = topics.service_state("local", "ws_gateway", "one")
    await happens(lambda: [state.status for heard, state in peer.heard if heard == topic][-1] == "offline")
    viewer = await client(gateways[1], role="dashboard")
    await hear_of(viewer, "state")
    await client(gateways[1], old_frame("Ana"))
    await happens(lambda: len(peer.readings()) == 2)
    assert peer.statuses("Ana-2") == []


@pytest.mark.timeout(60)
async def test_a_state_of_yesterday_is_cleared(gateways, peer):
    """Either gateway clears it; one of today stays."""
    now = datetime.now(UTC)
    gone = {"status": StreamStatus.OFFLINE, "service": "ws_gateway", "instance": "of-last-year"}
    old, new = (topics.stream_state("local", "A", source) for source in ("old", "new"))
    peer.bus.publish(old, stream_state(**gone, time=now - timedelta(hours=25)))
    peer.bus.publish(new, stream_state(**gone, time=now - timedelta(hours=23)))
    async with asyncio.timeout(2 * HEARD_WITHIN_S):
        while not peer.forgotten:  # noqa: ASYNC110 (the peer sets no event)
            await asyncio.sleep(0.05)
    assert set(peer.forgotten) == {str(old)}
