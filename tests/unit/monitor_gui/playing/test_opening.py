"""What captures, session folders and EDF files hold, and what is said about files that are none."""

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from csv_recorder.offline.export import edf as export
from monitor_gui.feed import StreamId
from monitor_gui.playing import capture as captures
from monitor_gui.playing import recording as recordings
from monitor_gui.playing import session as sessions
from monitor_gui.playing.opening import Opening
from monitor_gui.playing.recording import Recording, in_order
from neuroone.contract.json import encode
from neuroone.contract.messages import RawBlock, Reading
from neuroone.data import raw_runs
from neuroone.data.recordings import find
from serial_bridge.captures.files import EXAMPLE
from tests.support import messages
from tests.support.recordings import NOON, checked, event_row, raw_rows, reading_rows, write_session
from tests.support.waiting import wait_for


def opened(path: Path) -> Recording:
    """Read a recording to its end."""
    opening = Opening(path)
    opening.run()
    assert opening.recording is not None
    assert opening.recording.is_read
    return opening.recording


def held(recording: Recording) -> tuple[int, int]:
    """Return how many readings and raw samples a recording has."""
    played = [message for _, message in recording.due(0, float("inf"))]
    samples = sum(len(each.samples) for each in played if isinstance(each, RawBlock))
    return sum(isinstance(each, Reading) for each in played), samples


def write_edf(folder: Path, seconds: int = 20) -> Path:
    """Export a session as the recorder does."""
    marker = event_row(NOON + timedelta(seconds=5), "marker", "olhos fechados")
    rows = reading_rows(seconds), raw_rows(seconds, lost=range(40, 80))
    write_session(folder, readings=rows[0], raw=rows[1], events=[marker])
    (run,) = raw_runs.runs(find([folder])[0])
    export.write(run, folder / "lesson.edf", "ABC")
    return folder / "lesson.edf"


def test_a_session_is_read_in_order_with_its_marks(tmp_path: Path) -> None:
    marker = event_row(NOON + timedelta(seconds=5), "marker", "olhos, fechados")
    folder = write_session(tmp_path, readings=reading_rows(20), raw=raw_rows(20), events=[marker], parts=2)
    for path in (folder, folder / "session.json", folder / "readings-2.csv"):
        recording = opened(path)
        assert recording.fault is None
        assert held(recording) == (20, 20 * 512)
        assert (recording.about.name, str(recording.about.stream)) == ("Joao_Silva", "ABC123/Joao_Silva")
        assert [event.text for event in recording.about.events] == ["olhos, fechados"]
        assert recording.duration_s == pytest.approx(20)
        times = [message.time for _, message in recording.due(0, float("inf"))]
        assert times == sorted(times)


def test_a_capture_is_read_by_the_program_serial_bridge() -> None:
    recording = opened(EXAMPLE)
    assert recording.fault is None
    assert held(recording) == (10, 5120)
    assert recording.duration_s == pytest.approx(10, abs=0.2)


def test_an_exported_edf_has_the_samples_the_holes_and_the_marks(tmp_path: Path) -> None:
    recording = opened(write_edf(tmp_path))
    assert recording.fault is None
    assert held(recording) == (0, 15 * 512)
    assert [event.text for event in recording.about.events] == ["olhos fechados"]
    blocks = [message for _, message in recording.due(0, float("inf")) if isinstance(message, RawBlock)]
    assert blocks[40].first_sample - blocks[39].first_sample == 41 * 64
    assert [block.samples[0] for block in blocks[:2]] == [-2048, -1984]
    assert blocks[0].time == pytest.approx(NOON + timedelta(seconds=0.125), abs=timedelta(seconds=0.01))


def torn_rows(folder: Path) -> Path:
    """Tear the last row, change one, and put a line without an end behind."""
    content = (folder / "readings.csv").read_bytes().replace(b",0,1,41,", b",0,1,42,", 1)
    (folder / "readings.csv").write_bytes(content[:-20] + b"\n" + b"\x00" * 50)
    return folder


def test_damaged_and_torn_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_session(tmp_path, readings=reading_rows(20), raw=raw_rows(20))
    recording = opened(torn_rows(folder))
    assert held(recording) == (18, 20 * 512)
    assert recording.fault is not None
    assert (recording.fault.key, recording.fault.words[1]) == ("play.rows_left_out", 3)


def cells_that_mean_nothing(folder: Path) -> Path:
    """Rows whose checks are right and whose cells are not."""
    bad = ["x", "-1", "9" * 5000, str(2**70), "1.5", ""]
    header = (folder / "readings.csv").read_bytes().partition(b"\n")[0]
    times = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "yesterday", "2026-11-22"]
    rows = [checked([time, "s", 0, 0, 1, 1, 1, *[1] * 8]) for time in times]
    rows += [checked([NOON.isoformat(), "s", cell, 0, 1, 1, 1, *[1] * 8]) for cell in bad]
    rows += [checked([NOON.isoformat(), "s" * 99, 0, 0, 1, 1, 1, *[1] * 8]), checked(["only", "two"])]
    (folder / "readings.csv").write_bytes(header + b"\n" + b"".join(rows))
    raw = (folder / "raw.csv").read_bytes().partition(b"\n")[0]
    rows = [checked([NOON.isoformat(), "s", 0, 0, 512, cell]) for cell in ("", "1 x", "99999", "1 " * 65)]
    rows += [checked([NOON.isoformat(), "s", 0, 0, rate, "1 2"]) for rate in (0, -512, 10**9)]
    (folder / "raw.csv").write_bytes(raw + b"\n" + b"".join(rows))
    return folder


def no_rows(folder: Path) -> Path:
    for name in ("readings.csv", "raw.csv"):
        (folder / name).write_bytes(b"")
    return folder


def other_header(folder: Path) -> Path:
    for name in ("readings.csv", "raw.csv"):
        (folder / name).write_bytes(b"Att,Med\n1,2\n" * 1000)
    return folder


def endless_line(folder: Path) -> Path:
    """A line of five megabytes, without an end."""
    for name in ("readings.csv", "raw.csv"):
        header = (folder / name).read_bytes().partition(b"\n")[0]
        (folder / name).write_bytes(header + b"\n" + b"1," * 2_500_000)
    return folder


def files_that_are_folders(folder: Path) -> Path:
    for name in ("readings.csv", "raw.csv", "session.json", "events.csv"):
        (folder / name).unlink()
        (folder / name).mkdir()
    return folder


@pytest.mark.parametrize(
    "damage", [cells_that_mean_nothing, no_rows, other_header, endless_line, files_that_are_folders]
)
def test_a_session_with_nothing_to_play_gives_one_sentence(damage: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = damage(write_session(tmp_path, readings=reading_rows(3), raw=raw_rows(3)))
    recording = opened(folder)
    assert held(recording) == (0, 0)
    assert recording.fault is not None
    assert recording.fault.key in ("play.empty", "play.unreadable")


@pytest.mark.parametrize(
    "sidecar",
    [b"", b"{", b"[" * 100_000, b'{"name":7}', b'{"name":"\\ud800"}', b"\xff\xfe", b'{"name":"' + b"x" * 9999],
)
def test_a_damaged_sidecar_only_costs_the_name(sidecar: bytes, tmp_path: Path) -> None:
    folder = write_session(tmp_path, readings=reading_rows(3))
    (folder / "session.json").write_bytes(sidecar)
    recording = opened(folder)
    assert held(recording) == (3, 0)
    assert recording.about.name == recording.about.stream.source


def test_a_long_line_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CHUNK_BYTES", 4096)
    folder = write_session(tmp_path, readings=reading_rows(100))
    lines = (folder / "readings.csv").read_bytes().splitlines(keepends=True)
    lines.insert(50, b"x" * 30_000 + b"\n")
    (folder / "readings.csv").write_bytes(b"".join(lines))
    assert held(opened(folder)) == (100, 0)


def some_file(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def timed(*lines: bytes) -> bytes:
    return b"\n".join([b'{"format":"neuroone-capture","version":1,"headset":"thinkgear"}', *lines, b""])


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("empty.capture", b"", "play.empty"),
        ("noise.bytes", bytes(range(1, 160)) * 99, "play.unknown"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(1000), "play.unknown"),
        ("student.csv", b"Att,Med\n1,2\n", "play.unknown"),
        ("sync.bytes", b"\xaa\xaa" * 5000, "play.empty"),
        ("rubbish.capture", timed(b"rubbish"), "play.damaged"),
        ("--help", b"\xaa\xaa\x04", "play.empty"),
        ("short.edf", b"0       ", "play.damaged"),
        ("zeros.edf", b"0       " + bytes(5000), "play.damaged"),
        ("text.edf", b"0       " + b"7" * 5000, "play.damaged"),
    ],
)
def test_each_kind_of_bad_file_gives_one_sentence(name: str, content: bytes, key: str, tmp_path: Path) -> None:
    fault = opened(some_file(tmp_path, name, content)).fault
    assert fault is not None
    assert fault.key == key
    assert all("\n" not in str(word) for word in fault.words)


def test_what_comes_before_the_damage_of_a_capture_is_played(tmp_path: Path) -> None:
    example = EXAMPLE.read_bytes()
    lines = [f"{n * 1_000_000} {example[n * 4500 : (n + 1) * 4500].hex()}".encode() for n in range(5)]
    recording = opened(some_file(tmp_path, "torn.capture", timed(*lines, b"5000000 aaa")))
    assert held(recording)[1] > 2000
    assert recording.fault is not None
    assert recording.fault.key == "play.damaged"


@pytest.mark.parametrize("cut", [100, 300, 700, 9000])
def test_a_torn_edf_is_played_up_to_the_tear_or_is_damaged(cut: int, tmp_path: Path) -> None:
    path = write_edf(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    recording = opened(path)
    assert recording.fault is not None
    assert recording.fault.key == "play.damaged"
    assert (held(recording)[1] > 0) == (cut > 1000)


def test_an_edf_with_any_damaged_field_gives_a_sentence_at_most(tmp_path: Path) -> None:
    whole = write_edf(tmp_path, seconds=12).read_bytes()
    for at in range(0, 768, 8):
        for damage in (b"99999999", b"-1      "):
            content = whole[:at] + damage + whole[at + 8 :]
            recording = opened(some_file(tmp_path, "damaged.edf", content))
            assert len(recording) or recording.fault is not None


def test_an_edf_of_another_program_says_so(tmp_path: Path) -> None:
    import numpy as np
    from edfio import Edf, EdfSignal

    Edf([EdfSignal(np.arange(512.0), 256, label="Cz")]).write(tmp_path / "other.edf")
    fault = opened(tmp_path / "other.edf").fault
    assert fault is not None
    assert fault.key == "play.no_edf"


def test_a_missing_library_or_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_edf(tmp_path)
    monkeypatch.setitem(sys.modules, "edfio", None)
    monkeypatch.setattr(captures, "command", lambda *words: None)
    faults = [opened(each).fault for each in (path, EXAMPLE)]
    assert [fault and fault.key for fault in faults] == ["play.no_edfio", "play.no_bridge"]
    monkeypatch.setattr(captures, "command", lambda *words: [str(tmp_path / "gone"), *words])
    gone = opened(EXAMPLE).fault
    assert gone is not None
    assert gone.key == "play.unreadable"


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    found = {name: opened(tmp_path / name).fault for name in ("gone", "folder")}
    assert {name: fault and fault.key for name, fault in found.items()} == {
        "gone": "play.not_there",
        "folder": "play.no_session",
    }
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", Path("/dev/zero")):
            fault = opened(path).fault
            assert fault is not None
            assert fault.key == "play.unknown"


def test_a_recording_longer_than_the_limit_ends_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MESSAGES_MAX", 50)
    folder = write_session(tmp_path, readings=reading_rows(20), raw=raw_rows(20))
    for path in (folder, EXAMPLE):
        recording = opened(path)
        assert len(recording) == 50
        assert recording.fault is not None
        assert recording.fault.key == "play.too_long"


def test_a_huge_capture_plays_at_once_and_ends_its_program_when_nobody_wants_it(tmp_path: Path) -> None:
    path = some_file(tmp_path, "huge.bytes", EXAMPLE.read_bytes() * 400)
    opening = Opening(path)
    opening.start()
    wait_for(lambda: opening.recording is not None, "the first messages", 20)
    opening.close()
    opening.join(10)
    assert not opening.is_alive()
    assert opening.recording is not None
    assert opening.recording.duration_s < 4000


def readings_at(*seconds: float) -> list[Reading]:
    """Make readings at these seconds."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [messages.reading(seq=n, time=begin + timedelta(seconds=each)) for n, each in enumerate(seconds)]


def test_holes_and_clocks_that_were_set_do_not_stop_the_playing() -> None:
    """A hole of hours is played as two minutes; a clock that was set back stands still."""
    recording = Recording(recordings.About(Path("x"), messages_stream(), "x"))
    for at_s, message in in_order(iter(readings_at(0, 1, 9e6, 9e6 + 1, 5, 6))):
        recording.add(at_s, message)
    assert [due_s for due_s, _ in recording.due(0, float("inf"))] == [0, 1, 121, 122, 122, 123]


def test_two_tracks_stay_together_when_the_clock_is_set() -> None:
    one, other = readings_at(*range(60), *range(60)), readings_at(*range(60), *range(60))
    order = [at_s for at_s, _ in in_order(iter(one), iter(other))]
    assert order == sorted(order)
    assert all(order.count(each) in (2, 4) for each in set(order))
    assert list(itertools.islice(in_order(), 1)) == []


def messages_stream() -> StreamId:
    return StreamId("g", "s")


@pytest.mark.timeout(30)
def test_a_decoder_that_says_very_much_is_not_held_up(tmp_path, monkeypatch):
    """Its last line is the sentence; a pipe that is read only afterwards would stop it for ever."""
    flood = "import sys; sys.stderr.write('x' * 10**6 + '\\ndecode: the file is bad\\n'); sys.exit(1)"
    monkeypatch.setattr(captures, "command", lambda *arguments: [sys.executable, "-c", flood])
    with pytest.raises(recordings.Unplayable) as fault:
        list(captures.messages_of(tmp_path / "a.bytes"))
    assert "the file is bad" in str(fault.value)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("begin", "readings"),
    [
        pytest.param("", 0, id="before its first line"),
        pytest.param("print({0!r}, flush=True)", 1, id="in the middle"),
        pytest.param("print({0!r}[:9], end='', flush=True)", 0, id="within a line"),
        pytest.param("print({0!r}, flush=True); os.close(1)", 1, id="after its last line"),
    ],
)
def test_a_decoder_that_hangs_is_ended(tmp_path, monkeypatch, begin, readings):
    """What it said before is played; the thread that reads does not wait until the window ends."""
    program = f"import os, time\n{begin.format(encode(messages.reading()).decode())}\ntime.sleep(600)"
    monkeypatch.setattr(captures, "command", lambda *arguments: [sys.executable, "-c", program])
    monkeypatch.setattr(captures, "SILENT_MAX_S", 0.5)
    path = tmp_path / "a.bytes"
    path.write_bytes(captures.SYNC)
    recording = opened(path)
    assert (recording.fault is not None, len(recording)) == (True, readings)
    assert str(recording.fault).startswith("play.silent: ")


def test_a_decoder_has_its_time_for_each_line_however_long_the_one_before_was_used():
    """A use of 40 s must not end the program at the moment when somebody waits for it again."""
    hangs = []

    class Stream(io.BytesIO):
        def readline(self, size=-1, /):
            hangs.append(watch.hangs())
            return b"line"

    watch = captures.Watch(subprocess.Popen([sys.executable, "-c", ""]))
    with watch._program:
        watch.read_line(Stream())
        assert not watch.hangs()
        watch.read_line(Stream())
        watch.close()
    assert hangs == [False, False]
