"""Simulate a headset: seeded, without a clock or I/O of its own.

The signals are plausible, not physiological: 1/f noise, rhythms that follow a scenario, blinks, mains hum, band powers
and eSense computed from these samples, and episodes of poor contact in which eSense freezes, as in real headsets.
"""

import math
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from operator import mul
from typing import Final

from neuroone.contract.messages import BAND_MAX, OFF_SKIN, RAW_RATE_HZ
from serial_bridge.headsets import thinkgear
from serial_bridge.headsets.thinkgear import encode, encode_raw
from serial_bridge.ports.scenarios import EVERYDAY, SCENARIOS

SCAN_S: Final = 2.0
"""Time that the simulated dongle scans for its headset; a real one needs up to 10 s."""
PART_SAMPLES: Final = 4
"""Raw samples in one part: 8 ms of the stream."""
MAINS_HZ: Final = 60.0
"""Brazil; the simulated headset has no notch filter."""
TYPICAL_BANDS: Final = (120_000, 32_000, 9_000, 7_000, 8_000, 6_500, 2_800, 2_200)
"""Medians of delta to mid gamma, near those of a real MindWave Mobile on a calm head."""
BAND_BINS_HZ: Final = ((1, 2), (4, 6), (8, 9), (10, 11), (13, 16), (18, 29), (31, 39), (41, 49))
"""First and last whole frequency of delta to mid gamma (ThinkGear Serial Stream Guide, ASIC_EEG_POWER)."""
TYPICAL_POWERS: Final = (27.1e6, 8.69e6, 3.32e6, 3.64e6, 2.72e6, 5.9e6, 3.13e6, 2.56e6)
"""Medians of the simulated head's own powers in these bands, by which they are scaled to TYPICAL_BANDS."""
BAND_NOISE: Final = 0.1
"""Standard deviation of the logarithm: a headset's band powers follow its raw samples, not exactly."""
ESENSE_SHARE: Final = 0.2
"""Of each second in eSense: it follows in about 5 s, as a headset's does."""
ESENSE_SLOPE: Final = 2.5
STEP_S: Final = 0.55
"""Time of a step of a walking person."""
POOR_LEVELS: Final = (26, 51, 80, OFF_SKIN)


def second_frame(poor_signal: int, bands: tuple[int, ...], attention: int, meditation: int) -> bytes:
    """Return the frame that a headset sends once a second."""
    powers = b"".join(power.to_bytes(3) for power in bands)
    return encode(bytes([0x02, poor_signal, 0x83, 24]) + powers + bytes([0x04, attention, 0x05, meditation]))


@dataclass(frozen=True, slots=True)
class Damage:
    """The damage of a bad line: the share of bytes that are lost, and of bytes with one bit flipped."""

    drop: float = 0.0
    flip: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Damage":
        """Read ``drop=0.01,flip=0.01``. Raises ValueError."""
        with suppress(TypeError, ValueError):
            pairs = (part.split("=") for part in text.split(",") if part)
            damage = cls(**{name: float(share) for name, share in pairs})
            if 0 <= damage.drop <= 1 and 0 <= damage.flip <= 1:
                return damage
        raise ValueError("must be like drop=0.01,flip=0.01, shares of the bytes from 0 to 1")

    def apply(self, stream: bytes, rng: random.Random) -> bytes:
        """Return the bytes that arrive at the other end of the line."""
        if not self.drop and not self.flip:
            return stream
        kept = (byte for byte in stream if rng.random() >= self.drop)
        return bytes(byte ^ 1 << rng.randrange(8) if rng.random() < self.flip else byte for byte in kept)


class Head:
    """The signals of one simulated person in a scenario: bands and eSense are computed from the raw samples."""

    def __init__(self, seed: int, scenario: str = EVERYDAY) -> None:
        self._rng = random.Random(seed)
        self._scenario = SCENARIOS[scenario]
        self._phase = self._scenario.phase(0)
        self._pink = [0.0, 0.0, 0.0]
        self._turn = self._rng.random()
        self._n = 0
        self._second: list[int] = []
        self._blink_at = 2 * RAW_RATE_HZ
        self._rhythms = self._phase.rhythms
        """Amplitudes of delta, theta, alpha and beta, as they follow the scenario."""
        self._waves: tuple[tuple[float, float], ...] = ()
        """Amplitude and frequency of each in this second."""
        self._moods = (1.0, 1.0)
        """How relaxed and how alert the person is, by chance."""
        self._powers = [0.0] * len(BAND_BINS_HZ)
        """Logarithms of the last seconds' band powers, from which eSense is made."""
        self._contact = 0, 0
        """Poor signal, and for how many seconds more."""
        self.attention = 0
        self.meditation = 0
        self._begin_second()

    @property
    def _poor(self) -> int:
        return self._contact[0]

    def sample(self) -> int:
        """Return the next raw sample, 512 a second."""
        rng, pink, t_s = self._rng, self._pink, self._n / RAW_RATE_HZ
        self._n += 1
        # P. Kellet's economy filter: white noise to 1/f.
        white = rng.random() - 0.5
        pink[0] = 0.99765 * pink[0] + white * 0.0990460
        pink[1] = 0.96300 * pink[1] + white * 0.2965164
        pink[2] = 0.57000 * pink[2] + white * 1.0526913
        value = 55 * (pink[0] + pink[1] + pink[2] + white * 0.1848) + 4 * math.sin(2 * math.pi * MAINS_HZ * t_s)
        value += sum(amplitude * math.sin(2 * math.pi * hz * t_s) for amplitude, hz in self._waves)
        since_blink_s = (self._n - self._blink_at) / RAW_RATE_HZ
        if since_blink_s >= 0:
            value += 700 * _blink(since_blink_s)
            if since_blink_s > 1:
                self._blink_at = self._n + int(rng.expovariate(self._phase.blinks_hz) * RAW_RATE_HZ)
        if self._phase.step:
            value += self._phase.step * _blink(t_s % STEP_S)
        if self._poor:
            value *= 2 + 8 * (self._poor == OFF_SKIN)
        sample = max(thinkgear.RAW_LOW, min(thinkgear.RAW_HIGH, round(value)))
        self._second.append(sample)
        return sample

    def second(self) -> bytes:
        """Return the frame of the second that ends now."""
        rng, powers = self._rng, band_powers(self._second)
        self._second = []
        bands = tuple(
            min(BAND_MAX, round(power * usual / own * rng.lognormvariate(0, BAND_NOISE)))
            for power, usual, own in zip(powers, TYPICAL_BANDS, TYPICAL_POWERS, strict=True)
        )
        warm = self._n > 3 * RAW_RATE_HZ
        if not self._poor:
            share = ESENSE_SHARE if warm else 1.0
            logs = [math.log(1 + power / own) for power, own in zip(powers, TYPICAL_POWERS, strict=True)]
            self._powers = [old + share * (new - old) for old, new in zip(self._powers, logs, strict=True)]
        if self._poor == OFF_SKIN or not warm:
            self.attention = self.meditation = 0
        elif not self._poor:
            _, theta, low_alpha, high_alpha, low_beta, high_beta, _, _ = self._powers
            alpha, beta = (low_alpha + high_alpha) / 2, (low_beta + high_beta) / 2
            self.attention = _esense(beta - (alpha + theta) / 2 + 0.2)
            self.meditation = _esense(alpha - (beta + theta) / 2)
        frame = second_frame(self._poor, bands, self.attention, self.meditation)
        self._begin_second()
        return frame

    def _begin_second(self) -> None:
        rng, scenario = self._rng, self._scenario
        self._phase = scenario.phase(self._n / RAW_RATE_HZ)
        if scenario.wanders:
            self._moods = tuple(min(2.0, max(0.0, mood + rng.gauss(0, 0.16))) for mood in self._moods)  # type: ignore[assignment]
        relaxed, alert = self._moods
        delta, theta, alpha, beta = (
            now + (then - now) / scenario.settles_s
            for now, then in zip(self._rhythms, self._phase.rhythms, strict=True)
        )
        self._rhythms = delta, theta, alpha, beta
        swing = max(0.0, math.sin(2 * math.pi * (0.13 * self._n / RAW_RATE_HZ + self._turn)))
        # Whole frequencies go on without a step at the second's border.
        self._waves = (
            (delta * rng.lognormvariate(0, 0.4), 2),
            (theta * rng.lognormvariate(0, 0.4), rng.choice((5, 6))),
            (alpha * relaxed * (0.5 + swing) * rng.lognormvariate(0, 0.2), 10),
            (0.3 * alpha * relaxed * rng.lognormvariate(0, 0.4), 9),
            (beta * alert * rng.lognormvariate(0, 0.2), rng.randint(14, 26)),
        )
        self._change_contact()

    def _change_contact(self) -> None:
        poor, left_s = self._contact
        if left_s:
            self._contact = (poor if left_s > 1 else 0), left_s - 1
        elif self._n > 10 * RAW_RATE_HZ and self._rng.random() < self._phase.poor_share:
            self._contact = self._rng.choice(POOR_LEVELS), self._rng.randint(1, 8)


def band_powers(samples: list[int]) -> tuple[float, ...]:
    """Return the powers of a second of raw samples in the eight bands, delta to mid gamma; the scale is free."""
    n = len(samples)
    windowed = [sample * weight for sample, weight in zip(samples, _hann(n), strict=True)]
    powers = [
        sum(sum(map(mul, windowed, wave)) ** 2 for wave in _waves(n, bin_hz))
        for bin_hz in range(1, BAND_BINS_HZ[-1][1] + 1)
    ]
    return tuple(sum(powers[first - 1 : last]) for first, last in BAND_BINS_HZ)


@cache
def _hann(n: int) -> tuple[float, ...]:
    return tuple(0.5 - 0.5 * math.cos(2 * math.pi * at / n) for at in range(n))


@cache
def _waves(n: int, bin_hz: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    turn = 2 * math.pi * bin_hz / n
    return tuple(math.cos(turn * at) for at in range(n)), tuple(math.sin(turn * at) for at in range(n))


class SimulatedHeadset:
    """Produce the bytes of a headset, a TGAM module or a dongle with one, as time passes.

    ``mode`` is "headset" (raw and one frame a second, from the start), "normal" (a TGAM module at 9600 baud: one
    frame a second, raw after the command) or "dongle" (a headset behind an RF dongle that connects on command).
    """

    MODES: Final = ("headset", "normal", "dongle")

    def __init__(self, seed: int, mode: str = "headset", damage: Damage = Damage(), scenario: str = EVERYDAY) -> None:
        self.headset_id = (seed * 257 + 0x0505).to_bytes(8)[-2:]
        self._is_dongle = mode == "dongle"
        self.is_linked = not self._is_dongle
        self.sends_raw = mode != "normal"
        self._head = Head(seed, scenario)
        self._line = random.Random(seed)
        self._damage = damage
        self._samples = 0
        self._now_s = 0.0
        self._scan_until_s: float | None = None
        self._status_s = 0.0
        self._answers = bytearray()

    @property
    def baud(self) -> int:
        """The speed at which it sends, in baud."""
        if self._is_dongle:
            return thinkgear.DONGLE_BAUD
        return thinkgear.RAW_BAUD if self.sends_raw else thinkgear.NORMAL_BAUD

    def advance(self, to_s: float) -> bytes:
        """Return the bytes of the time up to ``to_s`` seconds since it was switched on."""
        out, self._answers = self._answers, bytearray()
        if self._scan_until_s is not None and to_s >= self._scan_until_s:
            self._scan_until_s = None
            self.is_linked = True
            out += encode(b"\xd0\x02" + self.headset_id)
        if self.is_linked:
            while (self._samples + 1) / RAW_RATE_HZ <= to_s:
                self._samples += 1
                sample = self._head.sample()
                if self.sends_raw:
                    out += encode_raw(sample)
                if self._samples % RAW_RATE_HZ == 0:
                    out += self._head.second()
        else:
            self._samples = int(to_s * RAW_RATE_HZ)
            while self._status_s + 1 <= to_s:
                self._status_s += 1
                out += encode(b"\xd4\x01" + bytes([self._scan_until_s is not None]))
        self._now_s = to_s
        return self._damage.apply(bytes(out), self._line)

    def receive(self, commands: bytes) -> None:
        """Obey the commands that were written to the port."""
        for command in (bytes([byte]) for byte in commands):
            if command == thinkgear.DONGLE_DISCONNECT and self.is_linked:
                self.is_linked = False
                self._status_s = self._now_s
                self._answers += encode(b"\xd2\x02" + self.headset_id)
            elif command in (thinkgear.DONGLE_AUTO_CONNECT, bytes([thinkgear.DONGLE_CONNECT])) and not self.is_linked:
                self._scan_until_s = self._now_s + SCAN_S
            elif command == thinkgear.TGAM_RAW_MODE:
                self.sends_raw = True


def parts(seed: int, scenario: str = EVERYDAY) -> Iterator[tuple[float, bytes]]:
    """Yield a simulated headset's bytes for ever, each part with the seconds since the beginning at which it is due."""
    headset = SimulatedHeadset(seed, scenario=scenario)
    for n in count(1):
        due_s = n * PART_SAMPLES / RAW_RATE_HZ
        yield due_s, headset.advance(due_s)


def _esense(balance: float) -> int:
    """Return 1 to 100 for a balance of rhythms, 0 being the usual one."""
    return max(1, min(100, round(100 / (1 + math.exp(-ESENSE_SLOPE * balance)))))


def _blink(t_s: float) -> float:
    """Return the shape of an eye blink, or of a step, in raw samples: up to 1, down below 0, back; about 0.4 s."""
    if t_s > 0.4:
        return 0.0
    return math.exp(-(((t_s - 0.1) / 0.045) ** 2)) - 0.6 * math.exp(-(((t_s - 0.24) / 0.06) ** 2))
