"""csv-recorder as a program whose power is cut: `python -m bench.crash_images` does the same a hundred times."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from neuroone.up import brokers
from tests.support import preloaded
from tests.support.crash_round import World, recovery, take_images

why_not = preloaded.why_not() or ("Mosquitto is not installed" if brokers.find(brokers.MOSQUITTO) is None else None)
pytestmark = [pytest.mark.broker, pytest.mark.skipif(why_not is not None, reason=str(why_not))]
IMAGES = 8
STUDENTS = 15


def test_whatever_a_power_cut_leaves_every_promised_reading_is_recorded_once(tmp_path: Path) -> None:
    """Two images of each kind of damage, with a WAL that is damaged too; redelivery by the broker does not help."""
    rng = random.Random(8)
    with recovery(tmp_path / "fresh") as after:
        with World(tmp_path / "world", STUDENTS, rng, settle_s=1.0, rotate_bytes=3000) as world:
            images = list(take_images(world, IMAGES, rng, turns_per_s=8.0, gap_s=0.4))
        assert all(taken.promised for taken in images[2:])
        with ThreadPoolExecutor(4) as pool:
            sites = [f"image-{number}" for number in range(IMAGES)]
            found = list(pool.map(after.check, images, sites, map(random.Random, range(IMAGES))))
    assert [each.examples for each in found if each] == []
