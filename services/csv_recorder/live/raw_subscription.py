"""Receive raw samples while a lesson wants those of its students, also where those of headsets are not recorded."""

from collections.abc import Callable

from neuroone.contract.errors import ContractError
from neuroone.contract.messages import LessonState
from neuroone.mqtt.delivery import Delivery


class RawSubscription:
    """Follow the lessons: a school's headsets need not send everything here for the students' sake at all times."""

    def __init__(self, subscribe: Callable[[], None], unsubscribe: Callable[[], None]) -> None:
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._wanted: set[str] = set()
        """Topics of the lessons that want raw samples."""

    def on_delivery(self, delivery: Delivery) -> None:
        """Follow a lesson's state; every other message is ignored."""
        if not delivery.topic.endswith("/lesson"):
            return
        before = bool(self._wanted)
        if _is_raw_wanted(delivery):
            self._wanted.add(delivery.topic)
        else:
            self._wanted.discard(delivery.topic)
        if bool(self._wanted) is before:
            return
        if before:
            self._unsubscribe()
        else:
            self._subscribe()


def _is_raw_wanted(delivery: Delivery) -> bool:
    """Return True if a lesson runs that wants raw samples. Intake reports what is no lesson."""
    try:
        _, state = delivery.open()
    except ContractError:
        return False
    return isinstance(state, LessonState) and state.raw is True
