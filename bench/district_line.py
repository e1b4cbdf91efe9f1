"""A school whose line to its district is away: what arrives afterwards, in which order, and how fast.

    python -m bench.district_line [--school mosquitto|nats] [--students 30] [--minutes 60] [--rate 1000]

Runs a school's broker, recorder and forwarder, and a district's NATS server with a recorder. While the line is away,
``students`` send one reading for each second of ``minutes``, ``rate`` of them a second; meanwhile the school's broker
and then the forwarder are killed with SIGKILL, each twice. Then the line is back. Every reading must be in the files of
the school and in those of the district exactly once and in order: the exit code says so. Takes (students x minutes x
60 / rate) seconds, and as long again as the district needs to catch up.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from neuroone.contract import topics
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up.brokers import AUTOSAVE_S
from tests.support.brokers import LOOPBACK, Broker
from tests.support.messages import reading
from tests.support.relay import Relay
from tests.support.waiting import wait_for

SITE = "school-a"
KILLS = 2
READY_S = 3.0
SAVED_S = AUTOSAVE_S + READY_S
"""Mosquitto has saved its sessions by then: one that was killed before would not know the forwarder's."""
LONG_S = 3600.0


def start(*words: str) -> subprocess.Popen[bytes]:
    """Start a program of ours."""
    return subprocess.Popen([sys.executable, "-m", *words, "--site", SITE, "--log-level", "error"])


def deltas(folder: Path, student: int) -> list[int]:
    """Return which readings of a student are in its file, in the file's order."""
    with contextlib.suppress(OSError):
        lines = (folder / f"Aluno_{student}.csv").read_text(encoding="utf-8").splitlines()[1:]
        return [int(line.split(",")[2]) for line in lines]
    return []


def judge(name: str, folder: Path, students: int, wanted: int) -> bool:
    """Print what is missing, doubled or out of order; return True if nothing is."""
    found = [deltas(folder, student) for student in range(students)]
    lost = sum(wanted - len({*each}) for each in found)
    doubled = sum(len(each) - len({*each}) for each in found)
    unordered = sum(each != sorted(each) for each in found)
    print(f"{name}: {lost} lost, {doubled} doubled, {unordered} of {students} files out of order", flush=True)
    return not lost and not doubled and not unordered


def count(folder: Path, students: int) -> int:
    """Count the rows in the files of all students."""
    return sum(len(deltas(folder, student)) for student in range(students))


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--school", choices=["mosquitto", "nats"], default="mosquitto")
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=int, default=1000)
    given = parser.parse_args()
    seconds = given.minutes * 60
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        brokers = []
        for kind, name in ((given.school, "at-school"), ("nats", "at-district")):
            (folder / name).mkdir()
            brokers.append(Broker(kind, folder / name))
            brokers[-1].start()
            stack.callback(brokers[-1].stop)
        school, district = brokers
        line = stack.enter_context(Relay(district.port))
        own, theirs, spool = folder / "school", folder / "district", folder / "spool"
        forward = ("neuroone", "forward", "--broker", school.url, "--spool", str(spool))
        forward += ("--district", f"mqtt://{LOOPBACK}:{line.port}")
        programs = {
            "own": start("csv_recorder", "--broker", school.url, "--dir", str(own)),
            "theirs": start("csv_recorder", "--broker", district.url, "--dir", str(theirs)),
            "forward": start(*forward),
        }
        stack.callback(lambda: [each.kill() for each in programs.values()])
        identity = Identity(SITE, "ws_gateway", "one", "0", 1, "run")
        bus = ThreadedClient(BrokerAddresses.parse(school.url), identity, replay=ReplayBuffer(time.monotonic))
        bus.start()
        stack.callback(bus.close, 10)
        wait_for(lambda: bus.is_connected, "connection")
        time.sleep(READY_S if given.school == "nats" else SAVED_S)
        line.refuse()
        kills = {seconds * (2 * each + 1) // (2 * KILLS): each for each in range(KILLS)}
        began_s = time.monotonic()
        for seq in range(seconds):
            if seq in kills:
                school.kill()
                school.start()
            if seq - seconds // 8 in kills:
                programs["forward"].kill()
                programs["forward"].wait()
                programs["forward"] = start(*forward)
            for student in range(given.students):
                said = reading(name=f"Aluno_{student}", session=f"s-{student}", seq=seq, delta=seq)
                bus.publish(topics.reading(SITE, "6B", f"Aluno_{student}"), said)
            time.sleep(max(0.0, began_s + (seq + 1) * given.students / given.rate - time.monotonic()))
        total = seconds * given.students
        wait_for(lambda: count(own, given.students) >= total or bus.waiting == 0, "all at the school", LONG_S)
        time.sleep(READY_S * 2)
        size = sum(each.stat().st_size for each in spool.iterdir())
        print(f"{total} readings in {time.monotonic() - began_s:.0f} s; the spool has {size / 1e6:.0f} MB", flush=True)
        line.heal()
        healed_s, before, last_s = time.monotonic(), -1, time.monotonic()
        while time.monotonic() - last_s < READY_S * 5:
            now = count(theirs, given.students)
            if now != before:
                before, last_s = now, time.monotonic()
            if now >= total:
                break
            time.sleep(0.2)
        print(f"the district has caught up after {last_s - healed_s:.0f} s", flush=True)
        cpu_s = sum(map(int, Path(f"/proc/{programs['forward'].pid}/stat").read_text("ascii").split()[13:15]))
        print(f"CPU of the last forwarder: {cpu_s / os.sysconf('SC_CLK_TCK') / total * 1e6:.0f} us a reading")
        fine = [judge("school", own, given.students, seconds), judge("district", theirs, given.students, seconds)]
        return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
