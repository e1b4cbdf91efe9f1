"""What a gateway keeps for a forwarder that does not run."""

from datetime import UTC, datetime

from neuroone.contract.messages import Health, ServiceState, ServiceStatus
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.unsaved import UNSAVED_MAX_BYTES, UNSAVED_S, Unsaved


def state(status: ServiceStatus) -> ServiceState:
    return ServiceState(status=status, version="0.1.0", epoch=1, connection=1)


def outgoing(number: int = 0, size_bytes: int = 1) -> Outgoing:
    return Outgoing(f"topic/{number}", b"x" * size_bytes, 1, False)


ONLINE, OFFLINE = state(ServiceStatus.ONLINE), state(ServiceStatus.OFFLINE)


def test_nothing_is_kept_without_a_forwarder_or_for_one_that_runs() -> None:
    kept = Unsaved()
    kept.acked(outgoing(), 0.0)
    kept.on_forwarder("main", ONLINE, retained=True)
    kept.acked(outgoing(), 1.0)
    assert len(kept) == 0


def test_readings_are_kept_for_one_that_is_away_until_mosquitto_has_saved() -> None:
    kept = Unsaved()
    kept.on_forwarder("main", OFFLINE, retained=True)
    for number in range(3):
        kept.acked(outgoing(number), float(number))
    kept.forget_saved(1.5 + UNSAVED_S)
    assert [each.topic for each in kept.on_connected([])] == ["topic/2"]
    assert len(kept) == 0  # it is kept again once the broker has acknowledged it


def test_what_goes_out_again_anyway_does_so_once() -> None:
    kept = Unsaved()
    kept.on_forwarder("main", OFFLINE, retained=False)
    both, covered = outgoing(1), outgoing(0)
    for each in (covered, both):
        kept.acked(each, 0.0)
    assert kept.on_connected([both]) == [covered]


def test_a_state_that_the_broker_kept_over_its_end_proves_no_life() -> None:
    """A health report does: the broker keeps none."""
    kept = Unsaved()
    kept.on_forwarder("main", ONLINE, retained=True)
    kept.on_connected([])
    kept.on_forwarder("main", ONLINE, retained=True)
    kept.acked(outgoing(), 0.0)
    assert len(kept) == 1
    kept.on_forwarder(
        "main", Health(time=datetime.now(UTC), uptime_s=1.0, memory_bytes=None, counters={}, gauges={}), retained=False
    )
    kept.acked(outgoing(), 0.0)
    assert len(kept) == 1


def test_what_is_kept_has_a_bound() -> None:
    kept = Unsaved()
    kept.on_forwarder("main", OFFLINE, retained=True)
    for number in range(5):
        kept.acked(outgoing(number, UNSAVED_MAX_BYTES // 3), 0.0)
    assert [each.topic for each in kept.on_connected([])] == ["topic/2", "topic/3", "topic/4"]
