"""csv-recorder as a program whose wall clock is set while it runs: rows, waits and sessions do not follow it."""

import json
import random
import time
from pathlib import Path

import pytest

from neuroone.up import brokers
from tests.support import preloaded
from tests.support.brokers import Broker
from tests.support.clock_shim import ClockShim
from tests.support.recorded_class import QUICK, recorded_class

why_not = preloaded.why_not() or ("Mosquitto is not installed" if brokers.find(brokers.MOSQUITTO) is None else None)
pytestmark = [pytest.mark.broker, pytest.mark.skipif(why_not is not None, reason=str(why_not))]
HOUR_S = 3600
DAY_S = 24 * HOUR_S


@pytest.fixture
def clock(tmp_path: Path) -> ClockShim:
    """Make the wall clock of the recorder."""
    return ClockShim(tmp_path)


def test_a_clock_that_is_set_back_holds_up_no_row(mosquitto: Broker, tmp_path: Path, clock: ClockShim) -> None:
    """A reading is missing when it happens: those behind it wait ten seconds, not an hour."""
    with recorded_class(mosquitto, tmp_path, first=QUICK, environment=clock.environment) as lesson:
        lesson.send("Bia", 0, 1, 3, 4)
        lesson.wait(lambda: lesson.receipt("Bia"), "receipt")
        for ahead_s in (-HOUR_S, -400 * DAY_S):
            clock.set(ahead_s)
            lesson.good_are()
        lesson.wait_for_rows("Bia", [0, 1, 3, 4])
        lesson.good_are()
        assert json.loads((lesson.folder_of() / "session.json").read_text(encoding="utf-8"))["status"] == "open"
        assert lesson.stop() == 0


@pytest.mark.parametrize("ahead_s", [8 * DAY_S, 40 * 365 * DAY_S])
def test_a_clock_that_is_set_forward_forgets_no_session(
    mosquitto: Broker, tmp_path: Path, clock: ClockShim, ahead_s: int
) -> None:
    """Its readings come again after a restart, and are known."""
    with recorded_class(mosquitto, tmp_path, first=QUICK, environment=clock.environment) as lesson:
        clock.set(ahead_s)
        lesson.send("Bia", 0, 1)
        lesson.good_are()
        assert lesson.stop() == 0
        for set_to_s in (ahead_s, 0):
            clock.set(set_to_s)
            lesson.start(QUICK, environment=clock.environment)
            lesson.send("Ana", *range(lesson.sent))
            lesson.send("Bia", 0, 1)
            lesson.good_are()
            lesson.wait_for_rows("Bia", [0, 1])
            assert lesson.stop() == 0


def test_a_clock_that_jumps_all_the_time_doubles_and_loses_nothing(
    mosquitto: Broker, tmp_path: Path, clock: ClockShim
) -> None:
    """From 1970, where a computer without a clock begins, to the next century."""
    rng = random.Random(11)
    clock.set(-int(time.time()))
    with recorded_class(mosquitto, tmp_path, first=QUICK, environment=clock.environment) as lesson:
        seq = 0
        for number in range(12):
            span_s = rng.choice((90, HOUR_S, 8 * DAY_S, 50 * 365 * DAY_S))
            clock.set(rng.randrange(-span_s, span_s))
            lesson.send("Bia", seq, seq + 1)
            seq += 2
            lesson.send_good(1)
            if number % 4 == 3:
                lesson.wait_for_good()
                lesson.kill()
                lesson.start(QUICK, environment=clock.environment)
        lesson.wait_for_good()
        lesson.wait_for_rows("Bia", range(seq))
        assert lesson.stop() == 0
        assert not any(lesson.faults())
