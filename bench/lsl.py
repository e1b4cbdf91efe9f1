"""Raw samples of the simulated headset through LSL: complete, when they came, and after what has died.

    python3 run.py exec python -m bench.lsl [--seconds 300] [--straight]

``--straight`` measures ``serial-bridge run --lsl``, else lsl-outlet does it. Everything stays on this computer.
"""

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuroone.contract.messages import MICROVOLTS_PER_COUNT, RawBlock
from neuroone.up import brokers
from tests.support import lsl_streams
from tests.support.brokers import Broker
from tests.support.bus_listener import listening

SOURCE_ID = "neuroone/local/no-group/sim/eeg"
OUTAGE_WAIT_S = 40.0


def pull(inlet, seconds: float, enough: int = 10**9) -> tuple[np.ndarray, np.ndarray]:
    """Pull for so long, or until there are enough samples."""
    samples, stamps, until_s = [], [], time.monotonic() + seconds
    while time.monotonic() < until_s and len(samples) < enough:
        chunk, at = inlet.pull_chunk(timeout=0.2)
        samples += [each[0] for each in chunk]
        stamps += at
    return np.array(samples), np.array(stamps)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=300)
    options.add_argument("--straight", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lsl_streams.library()
        broker = Broker(brokers.NATS, Path(folder))
        broker.start()
        try:
            measure(broker, given.seconds, straight=given.straight)
        finally:
            broker.stop()


def measure(broker: Broker, seconds: float, *, straight: bool) -> None:
    import pylsl

    bridge = ["serial_bridge", "run", "--port", "sim", "--broker", broker.url, *(["--lsl"] if straight else [])]
    outlet = ["lsl_outlet", "--broker", broker.url]
    programs = {"bridge": lsl_streams.start(*bridge)}
    if not straight:
        programs["outlet"] = lsl_streams.start(*outlet)
    try:
        with listening(broker.url, "bench", "neuroone/v1/local/streams/+/sim/raw") as listener:
            raw, dejittered = (
                lsl_streams.inlet(SOURCE_ID, flags) for flags in (0, pylsl.proc_dejitter | pylsl.proc_clocksync)
            )
            pull(raw, 1.0)  # whatever was sent before
            pull(dejittered, 0.5)
            samples, stamps = pull(raw, seconds)
            _, smooth = pull(dejittered, seconds, len(samples))
            report(samples, stamps, smooth, [block for _, block in listener.of(RawBlock)])
        for name, words in (("bridge", bridge), ("outlet", outlet)):
            if name not in programs:
                continue
            programs[name].kill()
            programs[name].communicate()
            pull(raw, 3.0)
            began_s = time.monotonic()
            programs[name] = lsl_streams.start(*words)
            samples, _ = pull(raw, OUTAGE_WAIT_S, 512)
            print(f"{name} killed and started: a second of samples after {time.monotonic() - began_s:.1f} s")
            assert len(samples) >= 512, name
        broker.kill()
        pull(raw, 5.0)
        broker.start()
        samples, stamps = pull(raw, OUTAGE_WAIT_S, 20 * 512)
        steps = [later - earlier for earlier, later in pairwise(stamps)]
        print(
            f"broker killed for 5 s: {len(samples)} samples after it, steps of the stamps {min(steps):.5f} to "
            f"{max(steps):.5f} s"
        )
        assert len(samples) >= 20 * 512
    finally:
        for program in programs.values():
            program.terminate()
            program.communicate()


def report(samples: np.ndarray, stamps: np.ndarray, smooth: np.ndarray, blocks: list[RawBlock]) -> None:
    """Compare what LSL delivered with what the bridge published."""
    import pylsl

    published = np.array([count * MICROVOLTS_PER_COUNT for block in blocks for count in block.samples], np.float32)
    offset_s = pylsl.local_clock() - time.time()
    ends = np.cumsum([len(block.samples) for block in blocks])
    first = next(
        n
        for n in range(len(published) - 256)
        if np.array_equal(published[n : n + 256], samples[:256].astype(np.float32))
    )
    same = np.array_equal(published[first : first + len(samples)], samples.astype(np.float32)[: len(published) - first])
    at = {int(end) - 1: block.time.timestamp() + offset_s for end, block in zip(ends, blocks, strict=True)}
    apart = np.array([stamps[n - first] - when for n, when in at.items() if first <= n < first + len(stamps)])
    fit = np.polyfit(np.arange(len(smooth)), smooth, 1)
    jitter = smooth - np.polyval(fit, np.arange(len(smooth)))
    settled = jitter[min(5 * 512, len(jitter) // 2) :]
    steps = np.diff(stamps)
    print(f"{len(samples)} samples in {stamps[-1] - stamps[0]:.1f} s, as published: {same}")
    print(
        f"rate {1 / fit[0]:.3f} Hz; steps of the stamps as sent {steps.min() * 1e3:.3f} to {steps.max() * 1e3:.3f} ms"
    )
    print(f"jitter after dejitter: sd {settled.std() * 1e3:.3f} ms, most {np.abs(settled).max() * 1e3:.3f} ms")
    print(
        f"stamps against the bridge's: mean {apart.mean() * 1e3:.3f} ms, sd {apart.std() * 1e3:.3f} ms, "
        f"most {np.abs(apart).max() * 1e3:.3f} ms"
    )
    assert same
    assert settled.std() <= 1e-3
    assert np.abs(apart.mean()) <= 5e-3


if __name__ == "__main__":
    main()
