"""Doubtful readings: one golden list, three forms of one rule, and the words about it."""

import random
import re
from datetime import timedelta
from typing import Final

import pytest

from neuroone.contract.doubt import ENGLISH, PORTUGUESE, Doubt
from neuroone.contract.files import VALUES
from neuroone.contract.messages import Reading
from neuroone.service.wearers import Owner
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.stream import Stream
from tests.support.captures import BASELINE, needs_captures
from tests.support.doubts import NOON, Window, in_arrays, in_javascript, in_python, made, stream, windows

SECOND_BYTES: Final = 4132
"""A second of the capture: 512 raw packets of 8 bytes, and one of 36 with the values."""
PACKET: Final = re.compile(rb"\xaa\xaa(?:\x20(.{32}).|\x04(.{4}).)", re.DOTALL)
PACKET_OF_VALUES: Final = 32
WINDOWS: Final = windows()
STREAMS: Final = 150
"""Random streams, of about 30 readings each."""


def test_the_golden_list_has_every_doubt_and_honest_windows_too() -> None:
    assert len({each.name for each in WINDOWS}) == len(WINDOWS) >= 40
    assert {told for each in WINDOWS for told in each.in_the_end} == {None, *Doubt}
    honest = [each for each in WINDOWS if set(each.in_the_end) <= {None, Doubt.NO_QUALITY}]
    assert len(honest) >= 15


@pytest.mark.parametrize("window", WINDOWS, ids=lambda each: each.name)
def test_a_window_has_its_doubts(window: Window) -> None:
    """Those of arrays are known when the last reading is; for each reading there is a time when it is the last."""
    assert [told for told, _ in in_python(window.readings)] == list(window.as_it_came)
    assert in_arrays(window.readings) == list(window.in_the_end)
    cut = [in_arrays(window.readings[: end + 1])[-1] for end in range(len(window.readings))]
    assert cut == list(window.as_it_came)


def test_the_page_tells_the_same_doubts_and_words() -> None:
    chance = random.Random(16)
    streams = [each.readings for each in WINDOWS] + [stream(chance) for _ in range(STREAMS)]
    page = in_javascript(streams)
    for readings, told in zip(streams, page["doubts"], strict=True):
        assert [tuple(each) for each in told] == in_python(readings)
    for language, words in page["words"].items():
        assert words == {str(each): each.words(language)._asdict() for each in Doubt}
    assert page["touched"] == {str(each): [each.touches_esense, each.touches_bands] for each in Doubt}
    assert page["none"] == [False, False]


@pytest.mark.parametrize("seed", range(STREAMS))
def test_arrays_tell_the_same_of_a_random_stream(seed: int) -> None:
    """And mark the readings before a frozen one that are the same."""
    readings = stream(random.Random(seed))
    told = in_python(readings)
    for end in range(len(readings)):
        found = in_arrays(readings[: end + 1])
        assert found[-1] == told[end][0]
        if found[-1] is Doubt.FROZEN:
            same = set(found[end + 1 - told[end][1] :])
            assert same <= {Doubt.FROZEN, Doubt.POOR_CONTACT}


def test_without_times_a_reading_lasts_a_second() -> None:
    readings = [made(0, None, 50, 50, *[1000] * 8)] * 11
    assert set(in_arrays(readings, with_times=False)) == {Doubt.FROZEN}
    assert set(in_arrays(readings[:10], with_times=False)) == {Doubt.NO_QUALITY}


def test_an_earlier_doubt_touches_at_least_what_a_later_one_touches() -> None:
    """So nothing is left out when only the first one is told."""
    for touched in ([each.touches_esense for each in Doubt], [each.touches_bands for each in Doubt]):
        assert touched == sorted(touched, reverse=True)


def test_every_doubt_has_words_in_both_languages() -> None:
    assert list(ENGLISH) == list(PORTUGUESE) == list(Doubt)
    for language in ("en", "pt-BR"):
        assert len({each.words(language).word for each in Doubt}) == len(Doubt)
    assert Doubt.FROZEN.words("pt_BR").word == "congelado"


def replayed() -> list[Reading]:
    """Return the readings of the real capture, a second apart."""
    stream, decoder = Stream(Owner("Ana", "5KX")), Decoder()
    content = BASELINE.read_bytes()
    seconds = range(len(content) // SECOND_BYTES + 1)
    parts = [content[second * SECOND_BYTES : (second + 1) * SECOND_BYTES] for second in seconds]
    messages = [
        message
        for second, part in enumerate(parts)
        for message in stream.on_events(decoder.feed(part), NOON + timedelta(seconds=second))
    ]
    return [each for each in messages if isinstance(each, Reading)]


def seen_by_the_production_app(content: bytes, notification_bytes: int) -> list[Reading]:
    """Return what the production app sends once a second: it reads each notification by itself, and many rows wrongly.

    Bands have the wrong order of bytes and end at 99; a raw sample whose first byte is 4 or 5 is taken for attention
    or meditation; a row that two notifications share is lost; there is no signal quality.
    """
    sent = [0] * len(VALUES)
    readings = []
    for second, start in enumerate(range(0, len(content), SECOND_BYTES)):
        part = content[start : start + SECOND_BYTES]
        for at in range(0, len(part), notification_bytes):
            for found in PACKET.finditer(part[at : at + notification_bytes]):
                payload = found[1] or found[2]
                if len(payload) == PACKET_OF_VALUES:
                    powers = [int.from_bytes(payload[each : each + 3], "little") for each in range(4, 28, 3)]
                    sent = [min(99, value) for value in (payload[29], payload[31], *powers)]
                elif payload[2] in (4, 5):
                    sent[payload[2] - 4] = min(99, payload[3])
        readings.append(made(1000 * second, None, *sent))
    return readings


@needs_captures
def test_a_real_headset_has_no_doubt_but_poor_contact() -> None:
    """It lies on the table for its first 13 s."""
    readings = replayed()
    told = [doubt for doubt, _ in in_python(readings)]
    assert len(told) == 322
    assert [doubt for doubt in told if doubt] == [Doubt.POOR_CONTACT] * 13
    assert told == [Doubt.POOR_CONTACT if each.poor_signal else None for each in readings] == in_arrays(readings)


@needs_captures
def test_a_real_headset_through_the_production_app_has_clipped_bands() -> None:
    """Attention and meditation are not doubtful, but for the time on the table, when nothing changes."""
    readings = seen_by_the_production_app(BASELINE.read_bytes(), SECOND_BYTES)
    told = in_arrays(readings)
    assert told == [Doubt.FROZEN] * 13 + [Doubt.CLIPPED] * (len(told) - 13)


@needs_captures
def test_a_real_headset_through_notifications_of_20_bytes_has_no_bands() -> None:
    readings = seen_by_the_production_app(BASELINE.read_bytes(), 20)
    told = in_arrays(readings)
    first = next(at for at, each in enumerate(readings) if each.attention or each.meditation)
    assert told == [Doubt.ZEROS] * first + [Doubt.NO_BANDS] * (len(told) - first)
    assert first < len(told) / 2


@needs_captures
def test_the_production_app_without_its_headset_is_frozen() -> None:
    readings = seen_by_the_production_app(BASELINE.read_bytes()[: 300 * SECOND_BYTES], SECOND_BYTES)
    values = [getattr(readings[-1], name) for name in VALUES]
    readings += [made(1000 * second, None, *values) for second in range(300, 386)]
    assert in_arrays(readings)[-88:] == [Doubt.CLIPPED] + [Doubt.FROZEN] * 87
