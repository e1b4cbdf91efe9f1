"""Ten minutes of three headsets that lose 0.3 to 5 s at random places, and a broker that dies meanwhile.

``python -m bench.raw_time [--minutes 10] [--seed 1]``: headsets of 250, 256 and 512 samples/s send a sine of 10 Hz
through bridge, Mosquitto and recorder, in real time. It fails if a sample's time in raw.csv or the last one's in EDF is
more than 0.3 s from the truth, a rate more than 1 % or the sine more than 0.2 Hz, or if a reading is missing.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.support.brokers import Broker
from tests.support.sine_headsets import SineHeadset, record_and_check

DROPOUT_S = 0.3, 5.0
BETWEEN_S = 5.0, 25.0
FIRST_S = 1.0
OUTAGE_S = 5.0


def dropouts(rng: random.Random, seconds: float) -> list[tuple[float, float]]:
    """Return the start and length of each dropout."""
    found, at_s = [], FIRST_S + rng.uniform(0, BETWEEN_S[1])
    while at_s < seconds - DROPOUT_S[1] - FIRST_S:
        length_s = rng.uniform(*DROPOUT_S)
        found.append((at_s, length_s))
        at_s += length_s + rng.uniform(*BETWEEN_S)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    rng, seconds = random.Random(given.seed), given.minutes * 60
    headsets = {f"r{rate_hz}": SineHeadset(rate_hz, dropouts(rng, seconds)) for rate_hz in (250, 256, 512)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker("mosquitto", folder)
        broker.start()

        def outage() -> None:
            time.sleep(seconds / 2)
            broker.kill()
            time.sleep(OUTAGE_S)
            broker.start()

        try:
            record_and_check(broker, folder, headsets, seconds, outage)
        finally:
            broker.stop()
    for source, headset in headsets.items():
        lost_s = sum(length_s for _, length_s in headset.dropouts)
        told = f"{headset.samples} samples, {headset.readings} readings, {len(headset.dropouts)} dropouts"
        print(f"{source}: {told}, {lost_s:.1f} s lost: all in their time")


if __name__ == "__main__":
    main()
