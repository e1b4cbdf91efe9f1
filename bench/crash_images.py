"""Cut the power of a recorder under load, a hundred times: does every promised reading come back, once?

    python -m bench.crash_images [--images 100] [--students 60] [--seed N] [--keep DIR]

Students send, leave, come back with an old or a new session, and set markers, while the recorder writes to a disk that
a shim watches (tests/support/disk_shim.c): which bytes and names were synced, and when. At random moments the recorder
is stopped by SIGSTOP and its directory copied; in the copy everything that was not synced is damaged in one of four
ways (cut, zeros, random bytes, foreign lines of another program), names that were not synced may be gone, and so is
what stood in the inbox's WAL behind its last sync. On each image a recorder is started (every second time killed at
once and started again) with a broker that delivers nothing, and stopped.

Wrong is: an image that does not open; a reading that was acknowledged to the broker or named by a receipt and is not
in both files; a row twice, torn or out of order; a NUL; a foreign line that is gone; a fault that `csv-recorder verify`
finds in files which nobody else touched. Exit code 1 then. 100 images take about eight minutes.
"""

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import crash_image
from tests.support.crash_round import Taken, World, recovery, take_images
from tests.support.live_lesson import Findings

IMAGES_A_ROUND = 12
TURNS_PER_S = 4.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", type=Path, help="keep the images in which something is wrong in this folder")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    results: list[tuple[Taken, Findings]] = []
    with tempfile.TemporaryDirectory() as name, recovery(Path(name) / "fresh") as after:
        for number in range(-(-given.images // IMAGES_A_ROUND)):
            count = min(IMAGES_A_ROUND, given.images - number * IMAGES_A_ROUND)
            settle_s, rotate_bytes = ((0.0, 0), (1.0, 3000), (4.0, 9000))[number % 3]
            folder = Path(name) / f"round-{number}"
            with World(folder, given.students, rng, settle_s, rotate_bytes=rotate_bytes) as world:
                taken = list(take_images(world, count, rng, TURNS_PER_S, 1.5))
            with ThreadPoolExecutor(2) as pool:
                sites = [f"round-{number}-{each}" for each in range(count)]
                seeds = [random.Random(rng.random()) for _ in sites]
                found = list(pool.map(after.check, taken, sites, seeds))
            for each, faults in zip(taken, found, strict=True):
                results.append((each, faults))
                if faults:
                    print(f"seed {given.seed} round {number} {each.image.directory.name} ({each.image.kind}): {faults}")
                    print(*(f"    {example}" for example in faults.examples), sep="\n", flush=True)
                    if given.keep:
                        shutil.copytree(world.folder, given.keep / world.folder.name, dirs_exist_ok=True)
            with contextlib.suppress(OSError):
                shutil.rmtree(world.folder)
    table(results)
    return int(any(faults for _, faults in results))


def table(results: list[tuple[Taken, Findings]]) -> None:
    for kind in crash_image.KINDS:
        of_kind = [each for each in results if each[0].image.kind == kind]
        print(f"{kind:13}", line(of_kind))
    for wal_kind in crash_image.WAL_KINDS:
        print(f"WAL {wal_kind:12}", line([each for each in results if each[0].image.wal_kind == wal_kind]))
    print(f"{'all':13}", line(results))


def line(results: list[tuple[Taken, Findings]]) -> str:
    total = Counter[str]()
    for _, faults in results:
        total.update(faults.counts)
    opened = sum("not opened" not in faults.counts for _, faults in results)
    promised = sum(len(taken.promised) for taken, _ in results)
    receipted = sum(taken.receipted for taken, _ in results)
    damaged = sum(taken.image.damaged for taken, _ in results)
    vanished = sum(taken.image.vanished for taken, _ in results)
    foreign = sum(len(lines) for taken, _ in results for lines in taken.image.foreign.values())
    named = ("missing", "doubled", "NULs", "torn", "disordered")
    counts = ", ".join(f"{name} {total.pop(name, 0)}" for name in named)
    rest = "".join(f", {name} {count}" for name, count in sorted(total.items()) if count)
    return (
        f"opened {opened}/{len(results)}; of {promised} promised readings ({receipted} by receipts) {counts}{rest};"
        f" {damaged} files damaged, {vanished} names undone, {foreign} foreign lines"
    )


if __name__ == "__main__":
    sys.exit(main())
