"""Kill the recorder, the broker and both under load: is every reading on disk once, and no receipt ahead of the disk?

    python -m bench.kills [--students N] [--broker mosquitto|nats] [--only recorder|closing|broker|both|backlog]

A publisher with a replay buffer, as bridge and gateway have it, sends N readings a second (one per student). Meanwhile

1. the recorder is killed 20 times, each time right after a receipt; before it starts again, what is on the disk is
   compared with everything that was ever acknowledged or named by a receipt;
2. the same while students leave, and come back with an old or a new session, and every file goes on in a new one after
   3000 bytes: the recorder is killed while it closes sessions, writes their sidecars and begins new files (``closing``:
   at least 20 kills, and until it was killed in the middle of 3 sidecars);
3. the broker is killed 5 times and started again;
4. both are killed at once 5 times.

With ``--only backlog`` the recorder is killed and stays away for longer than the publisher keeps readings, and
Mosquitto is killed right before it would have saved the backlog.

Exit code 1 if a row is lost, doubled, torn or out of its order, or a receipt was ahead.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from csv_recorder.live.recorder import Recorder
from neuroone.up.brokers import AUTOSAVE_S, MOSQUITTO_STATE
from tests.support.brokers import Broker
from tests.support.crash_round import World
from tests.support.live_lesson import Load, check
from tests.support.waiting import wait_for

TIMEOUT_S = 120.0
KILLS = {"recorder": 20, "closing": 20, "broker": 5, "both": 5, "backlog": 1}
BACKLOG_S = 150.0
"""Longer than KEPT_MAX_S of the replay buffer."""
SIDECARS_TORN = 3
KILLS_MAX = 60
ROTATE_BYTES = 3000
TURNS_PER_S = {"recorder": 1.0, "closing": 4.0, "broker": 1.0, "both": 1.0, "backlog": 1.0}


def receipts(world: World) -> int:
    return sum(each.topic.endswith("/recorded") for each in list(world.tap.published))


def not_on_the_disk(world: World) -> int:
    """How many promised readings are not in the files of the killed recorder, once its next start has mended them."""
    promised, _ = world.promised()
    recorder = Recorder(world.directory)
    recorder.open()
    recorder._inbox.close()  # noqa: SLF001 (and dies again)
    recorder._writer.close()  # noqa: SLF001
    found = check(world.directory, world.lesson, promised)
    return found.counts["missing"] + found.counts["student missing"]


def sidecars_under_way(world: World) -> int:
    """How many sidecars were being written when the recorder was killed."""
    return len(list(world.directory.glob("sessions/*/*/.session.json.new")))


def wait_before_a_save(broker: Broker, at_least_s: float) -> None:
    """Wait for so long, and then until Mosquitto is about to save again."""
    state = broker.log_file.parent / MOSQUITTO_STATE
    time.sleep(at_least_s)
    saved_ns = state.stat().st_mtime_ns
    wait_for(lambda: state.stat().st_mtime_ns != saved_ns, "a save", TIMEOUT_S)
    time.sleep(AUTOSAVE_S - 1)


def scenario(name: str, kind: str, students: int, rng: random.Random) -> bool:
    """Run one scenario; whether all was well."""
    is_closing = name == "closing"
    with tempfile.TemporaryDirectory() as folder:
        rotate_bytes, settle_s = (ROTATE_BYTES, 1.0) if is_closing else (0, 0.0)
        world = World(
            Path(folder) / "world", students, rng, settle_s, rotate_bytes=rotate_bytes, kind=kind, is_watched=False
        )
        with world:
            world.start_recorder()
            load = Load(world.lesson, TURNS_PER_S[name], restless=is_closing)
            load.start()
            ahead = kills = torn = 0
            while kills < KILLS[name] or (is_closing and torn < SIDECARS_TORN and kills < KILLS_MAX):
                before = receipts(world)
                wait_for(lambda before=before: receipts(world) > before, "a receipt", TIMEOUT_S)
                if is_closing:
                    until_s = time.monotonic() + rng.uniform(0.5, 4.0)
                    while time.monotonic() < until_s and not (kills % 2 and sidecars_under_way(world)):
                        time.sleep(0.001)
                kills += 1
                if name != "broker":
                    world.recorder.kill()
                    torn += sidecars_under_way(world) > 0
                if name == "backlog":
                    wait_before_a_save(world.broker, BACKLOG_S)
                if name in ("broker", "both", "backlog"):
                    world.broker.kill()
                    world.broker.start()
                if name in ("recorder", "closing"):
                    ahead += not_on_the_disk(world)
                if name != "broker":
                    world.start_recorder()
            load.end()
            sent = world.lesson.sent()
            try:
                wait_for(lambda: sent <= world.promised()[0], "the last acknowledgements", TIMEOUT_S)
            except AssertionError as error:  # then the faults below say what is missing
                print(error)
            assert world.bus.close(30)
            assert world.recorder.stop() == 0
            found = check(world.directory, world.lesson, sent, is_ordered=name in ("recorder", "closing"))
            parts = len(list(world.directory.glob("sessions/*/*/readings-*.csv")))
            sessions = len(list(world.directory.glob("sessions/*/*/session.json")))
            print(
                f"{name}: {kills} kills on {kind}, {torn} of them within a sidecar; {len(sent)} readings in"
                f" {sessions} sessions, {parts} later parts of files;"
                f" {receipts(world)} receipts, {ahead} promised readings not on the disk; {found}",
                *(f"    {example[:300]}" for example in found.examples),
                sep="\n",
                flush=True,
            )
        return not found and not ahead


def main() -> int:
    """Run the scenarios; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=1000)
    parser.add_argument("--broker", default="mosquitto")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", choices=tuple(KILLS))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    names = [given.only] if given.only else [each for each in KILLS if each != "backlog"]
    results = [scenario(name, given.broker, given.students, random.Random(given.seed)) for name in names]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
