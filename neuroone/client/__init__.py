"""Receive the readings of students and headsets in another program: `subscribe`.

    from neuroone.client import subscribe

    with subscribe("mqtt://reader:PASSWORD@SERVER", group="7B") as readings:
        for each in readings:
            print(each.name, each.attention, each.doubt)

In an event loop it is ``async with`` and ``async for``. Each reading comes once, in the order in which the broker sends
them, with its doubt (docs/doubts.md). docs/how-to/programs.md has more.
"""

from pathlib import Path
from typing import Final, Literal, overload

from neuroone.client.streams import LiveReading, StatusChange
from neuroone.client.subscription import Subscription
from neuroone.contract import topics
from neuroone.contract.errors import BadTopic, SettingsError
from neuroone.mqtt.address import BrokerAddresses

__all__ = ["LiveReading", "StatusChange", "Subscription", "subscribe"]

QUEUE_MAX: Final = 10_000
"""Readings that wait for a slow consumer: a school's 1000 students for 10 s, about 10 MB."""
CONNECT_TIMEOUT_S: Final = 10.0
"""For the first connection: a broker that is there answers within a second."""


@overload
def subscribe(
    broker: str,
    group: str | None = None,
    *,
    presence: Literal[False] = False,
    site: str = ...,
    queue_max: int = ...,
    connect_timeout_s: float | None = ...,
    ca_file: str | Path | None = ...,
) -> Subscription[LiveReading]: ...


@overload
def subscribe(
    broker: str,
    group: str | None = None,
    *,
    presence: Literal[True],
    site: str = ...,
    queue_max: int = ...,
    connect_timeout_s: float | None = ...,
    ca_file: str | Path | None = ...,
) -> Subscription[LiveReading | StatusChange]: ...


def subscribe(
    broker: str,
    group: str | None = None,
    *,
    presence: bool = False,
    site: str = "local",
    queue_max: int = QUEUE_MAX,
    connect_timeout_s: float | None = CONNECT_TIMEOUT_S,
    ca_file: str | Path | None = None,
) -> Subscription[LiveReading] | Subscription[LiveReading | StatusChange]:
    """Subscribe to the readings of every stream, or of one group; return an iterator and context manager.

    Args:
        broker: ``mqtt://[user:password@]host[:port]``, ``mqtts://`` for TLS; several between commas, or ``file:PATH``
            of a file with them. A login that only reads is enough.
        group: A class code (``Codigo``), or the id of a group; None: all.
        presence: Also yield a `StatusChange` when a stream comes, falls silent or goes.
        site: The site in the topics.
        queue_max: Readings that wait for the consumer at most; beyond it the oldest is dropped and counted.
        connect_timeout_s: Seconds to wait for the first connection; None: as long as it takes. Later ones are made
            anew for ever.
        ca_file: The certificate authority of an ``mqtts://`` broker, if the system does not know it.

    Raises:
        SettingsError: An argument is wrong. Entering the context, or the first item, raises LoginRefused if the broker
            does not accept the login, and ConnectionLost if it is not there in time or refuses the subscription.
    """
    ids = {} if group is None else {"group": topics.group_id(group)}
    try:
        addresses = BrokerAddresses.parse(broker)
        rules = {topics.READING: ids, topics.STREAM_STATE: ids, topics.SERVICE_STATE: {}}
        filters = {topics.every(rule, site, **its): rule.qos for rule, its in rules.items()}
    except BadTopic as fault:
        raise SettingsError([f"site: {fault}"]) from None
    except ValueError as fault:
        raise SettingsError([f"broker: the address {fault}"]) from None
    if queue_max < 1:
        raise SettingsError(["queue_max: must be at least 1"])
    return Subscription(
        addresses,
        filters,
        site,
        presence=presence,
        queue_max=queue_max,
        connect_timeout_s=connect_timeout_s,
        ca_file=None if ca_file is None else Path(ca_file),
    )
