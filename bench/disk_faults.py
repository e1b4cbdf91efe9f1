"""Let the disk under a recorder fail in every way that a shim can: is every acknowledged reading recorded, once?

    python -m bench.disk_faults [--only TEXT] [--no-images] [--no-restarts] [--seed N]

Each fault of tests/support/disk_faults.py (fsync EIO with and without dropped pages, EIO on read and write, a full
disk, also in the middle of a row, EROFS, EMFILE, ENAMETOOLONG, EACCES) meets each target (the inbox, its database, its
WAL, one session's readings, one {Nome}.csv, one sidecar, one folder, everything), while students send. The recorder
must stay, name the fault in its retained state without a child's name, record everybody else where the fault is in one
student's files (also after it was killed and started again meanwhile), and go on by itself once the fault is over. The
power is cut under each fault and soon after it. Exit code 1 if anything is wrong. All faults take about 25 minutes.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.crash_round import recovery
from tests.support.disk_faults import FAULTS, try_faults

FAULTS_A_ROUND = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="only faults with this in their name")
    parser.add_argument("--no-images", action="store_true")
    parser.add_argument("--no-restarts", action="store_true")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", type=Path, help="keep what the rounds with faults leave in this folder")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    faults = [each for each in FAULTS if given.only in str(each)]
    total = Counter[str](trials=0, images=0, promised=0)
    wrong = 0
    with tempfile.TemporaryDirectory() as name, recovery(Path(name) / "fresh") as after:
        for start in range(0, len(faults), FAULTS_A_ROUND):
            folder = Path(name) / f"round-{start}"
            before = wrong
            for fault, found, images in try_faults(
                folder,
                faults[start : start + FAULTS_A_ROUND],
                rng,
                with_images=not given.no_images,
                with_restarts=not given.no_restarts,
            ):
                for number, taken in enumerate(images):
                    found.include(after.check(taken, f"site-{total['images']}", rng))
                    total.update(images=1, promised=len(taken.promised))
                    if found:
                        found.examples.append(f"image {number}: {taken.image.directory.name} {taken.image.kind}")
                total["trials"] += fault is not None
                print(f"{fault or 'all files of this round'}: {found}", flush=True)
                if found:
                    wrong += 1
                    print(*(f"    {example[:400]}" for example in found.examples), sep="\n", flush=True)
            if wrong > before and given.keep:
                shutil.copytree(folder, given.keep / folder.name, dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    print(
        f"seed {given.seed}: {total['trials']} faults, {total['images']} power cuts in them with {total['promised']}"
        f" promised readings; {wrong} with something wrong"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
