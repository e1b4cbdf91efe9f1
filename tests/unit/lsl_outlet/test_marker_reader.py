"""Markers of other programs, which may send anything."""

from types import SimpleNamespace

import pytest

from tests.support import lsl_streams

pylsl = lsl_streams.library()

from lsl_outlet.marker_reader import AGE_MAX_S, MARKERS_MAX, MarkerReader, Program, is_readable, text_of  # noqa: E402
from neuroone.contract.messages import NOTE_MAX_CHARS  # noqa: E402


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (["stimulus 3"], "stimulus 3"),
        ([7], "7"),
        ([7.0, 0.5], "7,0.5"),
        (["  "], ""),
        (["x" * 5000], "x" * NOTE_MAX_CHARS),
    ],
)
def test_a_marker_is_a_text_of_bounded_length(sample: list[object], text: str) -> None:
    assert text_of(sample) == text


def test_a_flood_of_markers_and_wrong_stamps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsl_outlet.marker_reader.time.monotonic", lambda: 5.0)
    came: list[tuple[str, float]] = []
    reader = MarkerReader(lambda text, age_s: came.append((text, age_s)), lambda: None)
    flooding, quiet = Program(None), Program(None)
    for age_s in (0.5, -3.0, 1.8e9, float("nan"), AGE_MAX_S):
        reader._accept(flooding, "m", age_s)
    assert [age_s for _, age_s in came] == [0.5, 0.0, 0.0, 0.0, AGE_MAX_S]
    for _ in range(1000):
        reader._accept(flooding, "m", 0.0)
    reader._accept(quiet, "stimulus 3", 0.1)
    assert len(came) == MARKERS_MAX + 1
    assert came[-1] == ("stimulus 3", 0.1)
    assert reader.counters == {"markers_in": MARKERS_MAX + 1, "markers_dropped": 1005 - MARKERS_MAX}


def test_what_is_no_text_is_left_out_and_the_next_marker_is_read() -> None:
    came: list[str] = []
    reader = MarkerReader(lambda text, age_s: came.append(text), lambda: None)
    pulled = iter([UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text"), (["next"], 1.0), (None, None)])

    def pull_sample(timeout: float) -> object:
        each = next(pulled)
        if isinstance(each, Exception):
            raise each
        return each

    assert reader._read(Program(SimpleNamespace(pull_sample=pull_sample)))
    assert (came, reader.counters["markers_dropped"]) == (["next"], 1)


@pytest.mark.parametrize(
    ("channels", "format", "readable"), [(1, "string", True), (3, "int32", True), (5000, "string", False)]
)
def test_streams_that_cannot_be_markers_are_not_opened(channels: int, format: str, readable: bool) -> None:
    assert is_readable(pylsl.StreamInfo("x", "Markers", channels, 0, format)) is readable
