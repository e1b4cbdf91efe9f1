"""One student's data is removed everywhere, the others' stays and stays verifiable."""

import io
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.inbox import Inbox
from csv_recorder.live.recorder import Options, Recorder
from neuroone.contract import topics
from neuroone.contract.files import DEAD_LETTERS_FILE, INBOX_FILE, event_row
from neuroone.contract.json import encode
from neuroone.contract.messages import EventType, Reading
from neuroone.mqtt.delivery import Delivery
from tests.support import messages
from tests.support.lessons import Lesson
from tests.support.recordings import NOON, SEED_FILE, reading_rows, write_session
from tests.unit.csv_recorder.live.test_lessons import phone
from tests.unit.csv_recorder.live.test_lessons import start as start_of
from tests.unit.csv_recorder.live.test_sessions import record as note

ANA = "Ana Íris"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ana in two sessions, João, and another Ana in another group; files, index and dead letters."""
    root = tmp_path / "recordings"
    later = NOON + timedelta(days=1)
    write_session(root, name=ANA, source="ana", readings=reading_rows(30))
    write_session(root, name=ANA, source="ana", readings=reading_rows(30, start=later), start=later)
    write_session(root, name="João", source="joao", readings=reading_rows(30))
    (root / "Ana Íris.csv").write_text(SEED_FILE, encoding="ascii")
    (root / "Ana Íris__X.csv").write_text(SEED_FILE, encoding="ascii")
    (root / "João.csv").write_text(SEED_FILE, encoding="ascii")
    (root / "names.csv").write_text(
        'name,file\n"Ana Íris","Ana Íris.csv"\n"Ana Íris","Ana Íris__X.csv"\n"João","João.csv"\n', encoding="utf-8"
    )
    letters = [
        letter("streams/ABC123/ana/reading", b"{}"),
        letter("streams/ABC123/joao/reading", b"{}"),
        letter("streams/ABC123/x/reading", json.dumps({"name": ANA}).encode()),
        letter("streams/ABC123/x/reading", json.dumps({"name": ANA}, ensure_ascii=False).encode()),
        b"no letter\n",
    ]
    (root / DEAD_LETTERS_FILE).write_bytes(b"".join(letters))
    return root


def letter(topic: str, payload: bytes) -> bytes:
    content = {"topic": f"neuroone/v1/local/{topic}", "fault": "x", "payload": payload.hex()}
    return json.dumps(content).encode() + b"\n"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def forget(root, *words):
    return main(["forget", "--dir", str(root), *words])


def delivery(topic: topics.Topic, reading: Reading) -> Delivery:
    return Delivery(str(topic), encode(reading), retained=False, packet_id=reading.seq + 1, connection=1)


def record(root: Path, *students: tuple[str, str, str], stop: bool = True) -> None:
    """A recorder that took ten readings of each student (group, source, name)."""
    recorder = Recorder(root, Options(site="local"), now=lambda: NOON)
    recorder.open()
    for group, source, name in students:
        topic = topics.Topic("local", topics.READING, (group, source))
        for seq in range(10):
            reading = messages.reading(
                seq=seq, time=NOON + timedelta(seconds=seq), name=name, code=group, session=f"s-{source}-{group}"
            )
            recorder.accept([delivery(topic, reading)])
    if stop:
        recorder.close()


def test_a_name_is_forgotten_everywhere(root, capsys):
    """Sessions, files, index and dead letters change; every other byte stays and can be verified."""
    before = contents(root)
    assert forget(root, "--name", ANA, "--yes") == 0
    out = capsys.readouterr().out
    assert out.count("session ") == 2
    assert "3 messages in .dead-letters.jsonl" in out
    after = contents(root)
    assert not any("ana" in name.lower() for name in after)
    assert all("Íris" not in content.decode() for content in after.values())
    assert after["names.csv"].decode().splitlines() == ['"name","file"', '"João","João.csv"']
    assert after[DEAD_LETTERS_FILE].count(b"\n") == 2
    changed = {"names.csv", DEAD_LETTERS_FILE}
    assert {name: before[name] for name in after if name not in changed} == {
        name: content for name, content in after.items() if name not in changed
    }
    assert not (root / "sessions" / "2026-11-23").exists()
    assert main(["verify", str(root)]) == 0


def test_what_goes_is_listed_first_and_nothing_goes_without_a_yes(root, capsys, monkeypatch):
    """Without a terminal, --yes is needed."""
    before = contents(root)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert forget(root, "--name", ANA) == 2
    out, err = capsys.readouterr()
    assert "Ana Íris.csv, and its line in names.csv" in out
    assert "--yes is needed" in err
    assert contents(root) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("sim", 0), ("n", 1), ("", 1), (None, 1)])
@pytest.mark.pty
@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
def test_on_a_terminal_it_is_asked_for(root, monkeypatch, capsys, answer, code):
    """The end of the input means no."""
    ours, theirs = os.openpty()
    os.write(ours, b"\x04" if answer is None else f"{answer}\n".encode())
    before = contents(root)
    with os.fdopen(theirs, encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        assert forget(root, "--name", ANA) == code
    os.close(ours)
    assert "Remove all of this for ever?" in capsys.readouterr().out
    assert (contents(root) == before) == (code == 1)


def test_a_name_whose_accents_are_composed_otherwise(root):
    assert forget(root, "--name", "Ana I\u0301ris", "--yes") == 0
    assert not list(root.glob("sessions/*/*_ana"))


@pytest.mark.parametrize("name", ['O"Neil', "two\nlines", 'a "b" \\ c', "Zé"])
def test_a_name_with_signs_is_found_in_what_others_wrote(tmp_path, name, capsys):
    """Rows double a quote and have a space for the end of a line; others' names are no reason to keep or to clear."""
    rows = [event_row(NOON, EventType.MARKER, text=text) for text in (f"{name} saiu", "uma prova")]
    write_session(tmp_path, name=name, source="mine", readings=reading_rows(3))
    kept = write_session(tmp_path, name=f"{name} Luz", source="x", readings=reading_rows(3), events=rows)
    assert forget(tmp_path, "--name", name, "--yes") == 0
    assert "stays" not in capsys.readouterr().out
    texts = [row.split(b",")[4] for row in (kept / "events.csv").read_bytes().splitlines()[1:]]
    assert [set(texts[0]), texts[1]] == [set(b"*"), b"uma prova"]


@pytest.mark.parametrize("name", ["A", "é", "1", "."])
def test_a_name_of_one_letter_clears_no_words_of_others(tmp_path, name, capsys):
    """And no file of others is named as one that still holds it."""
    events = [event_row(NOON, EventType.MARKER, text="a prova é a 1 . fim")]
    write_session(tmp_path, name=name, source="mine", readings=reading_rows(3))
    write_session(tmp_path, name="Ana", source="x", readings=reading_rows(3), events=events)
    before = contents(tmp_path)
    assert forget(tmp_path, "--name", name, "--yes") == 0
    assert "stays" not in capsys.readouterr().out
    assert contents(tmp_path) == {path: content for path, content in before.items() if "_mine/" not in path}


def test_one_source_only(root, capsys):
    """A file that others of the same name use stays; the exit code is 1."""
    write_session(root, name=ANA, group="XYZ", source="other", readings=reading_rows(5))
    assert forget(root, "--source", "ABC123/ana", "--yes") == 1
    out = capsys.readouterr().out
    assert out.count("stays, others of that name are in it too") == 2
    assert {path.name for path in root.glob("sessions/*/*")} == {"182031_ABC123_joao", "182031_XYZ_other"}
    assert (root / "Ana Íris.csv").exists()
    assert main(["verify", str(root)]) == 0


def test_one_source_with_a_file_of_its_own(root):
    assert forget(root, "--source", "ABC123/joao", "--yes") == 0
    assert not (root / "João.csv").exists()
    assert (root / "Ana Íris.csv").exists()
    assert main(["verify", str(root)]) == 0


def test_the_inbox_forgets_too(tmp_path, capsys):
    """Nothing about the student is left in its pages, and the others are still recorded."""
    root = tmp_path / "recordings"
    record(root, ("ABC", "ana", ANA), ("ABC", "bia", "Bia"), ("XYZ", "ana", ANA))
    files = sorted(path.name for path in root.glob("Ana*.csv"))
    assert len(files) == 2
    assert forget(root, "--source", "XYZ/ana", "--yes") == 0
    assert [path.name for path in root.glob("Ana*.csv")] == ["Ana Íris.csv"]
    assert main(["verify", str(root)]) == 0
    assert forget(root, "--name", ANA, "--yes") == 0
    inbox = b"".join(path.read_bytes() for path in root.glob(f"{INBOX_FILE}*"))
    assert "Íris".encode() not in inbox
    assert json.dumps(ANA).encode()[1:-1] not in inbox
    assert b"ABC/ana" not in inbox
    assert main(["verify", str(root)]) == 0
    before = (root / "Bia.csv").read_bytes()
    record(root, ("ABC", "bia", "Bia"), ("ABC", "new", "New"))
    assert (root / "Bia.csv").read_bytes() == before
    assert (root / "New.csv").read_bytes().count(b"\n") == 11
    assert main(["verify", str(root)]) == 0
    capsys.readouterr()
    assert forget(root, "--name", ANA, "--yes") == 1
    assert "there is nothing to remove" in capsys.readouterr().out


def test_rows_that_still_wait_are_forgotten(tmp_path):
    """The next recorder writes the others' rows only."""
    root = tmp_path / "recordings"
    record(root, ("ABC", "bia", "Bia"))
    crashed = Recorder(root, Options(site="local"), now=lambda: NOON)
    crashed.open()
    batch = []
    for source, name in (("ana", ANA), ("bia", "Bia")):
        topic = topics.Topic("local", topics.READING, ("ABC", source))
        reading = messages.reading(seq=20, session=f"s-{source}-ABC", name=name, code="ABC")
        batch.append(delivery(topic, reading))
    crashed.accept(batch)
    crashed._inbox.close()
    assert forget(root, "--name", ANA, "--yes") == 0
    record(root)
    assert not list(root.glob("Ana*"))
    assert not list(root.glob("sessions/*/*_ana"))
    assert (root / "Bia.csv").read_bytes().count(b"\n") == 12


def test_a_running_recorder_prevents_it(root, capsys):
    """It would write the same files."""
    recorder = Recorder(root)
    recorder.open()
    before = contents(root)
    try:
        assert forget(root, "--name", ANA, "--yes") == 2
        assert "a recorder writes there: stop it first" in capsys.readouterr().err
        assert contents(root) == before
    finally:
        recorder.close()


def test_an_unknown_name_removes_nothing(root, capsys):
    """The exit code is 1, and nothing changes."""
    before = contents(root)
    assert forget(root, "--name", "Nobody", "--yes") == 1
    assert "there is nothing to remove" in capsys.readouterr().out
    assert contents(root) == before


def test_a_removal_that_was_broken_off_can_be_begun_again(root):
    """The sidecar, which names the student, goes last."""
    folder = next(iter(root.glob("sessions/2026-11-22/*_ana")))
    for file in folder.glob("*.csv"):
        file.unlink()
    assert forget(root, "--name", ANA, "--yes") == 0
    assert not list(root.glob("sessions/*/*_ana"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--name", "a", "--source", "a/b"],
        ["--source", "a"],
        ["--source", "a b/c"],
        ["--dir", "/gone", "--name", "a"],
    ],
)
def test_wrong_settings(words, capsys):
    assert main(["forget", *words]) == 2
    assert capsys.readouterr().err


def test_a_session_that_a_crash_left_without_a_sidecar_is_forgotten(tmp_path, capsys):
    """The inbox knows whose it is; so do lines that somebody else wrote into the student's file."""
    lesson = Lesson(tmp_path / "live")
    lesson.record("ana", range(5), name=ANA)
    lesson.record("bia", range(5))
    lesson.send("ana", range(5, 8), name=ANA)
    lesson.write()
    root = lesson.killed(tmp_path / "recordings")
    lesson.recorder.close()
    for path in root.glob("sessions/*/*/session.json"):
        path.unlink()
    (root / f"{ANA}.csv.appended-by-hand").write_bytes(b"by hand\n")
    (root / "Bia.csv.appended-by-hand").write_bytes(b"by hand\n")
    (root / "inbox.damaged-20261122T182031Z").write_bytes(b"x")
    (root / ".replaced-20261122T182031Z").mkdir()
    assert forget(root, "--name", ANA, "--yes") == 0
    out = capsys.readouterr().out
    assert f"file {root}/{ANA}.csv.appended-by-hand\n" in out
    assert out.count("stays, the student may be in it (remove it when nobody needs it): ") == 2
    assert not [path for path in root.rglob("*") if "ana" in path.name.lower()]
    inbox = b"".join(path.read_bytes() for path in root.glob(f"{INBOX_FILE}*"))
    assert b"ABC123/ana" not in inbox
    assert "Íris".encode() not in inbox
    assert (root / "Bia.csv.appended-by-hand").exists()
    assert main(["verify", str(root)]) == 0
    after = Lesson(root)
    after.recorder.close()
    assert not [path for path in root.rglob("*") if "ana" in path.name.lower()]
    assert main(["verify", str(root)]) == 0


def test_one_source_without_a_sidecar_is_forgotten_with_its_file(tmp_path):
    lesson = Lesson(tmp_path / "live")
    lesson.record("ana", range(5), name=ANA)
    lesson.record("bia", range(5))
    root = lesson.killed(tmp_path / "recordings")
    lesson.recorder.close()
    for path in root.glob("sessions/*/*/session.json"):
        path.unlink()
    assert forget(root, "--source", "ABC123/ana", "--yes") == 0
    assert not (root / f"{ANA}.csv").exists()
    assert (root / "Bia.csv").exists()
    assert main(["verify", str(root)]) == 0


def test_rows_that_a_file_is_owed_are_forgotten(tmp_path):
    """The student's file could not be written; the inbox keeps its rows."""
    root = tmp_path / "recordings"
    (root / f"{ANA}.csv").mkdir(parents=True)
    lesson = Lesson(root)
    lesson.record("ana", range(5), name=ANA)
    lesson.recorder.close()
    (root / f"{ANA}.csv").rmdir()
    inbox = Inbox(root / INBOX_FILE)
    inbox.open()
    assert inbox.owing()
    inbox.close()
    assert forget(root, "--name", ANA, "--yes") == 0
    inbox.open()
    assert not inbox.owing()
    inbox.close()
    Lesson(root).recorder.close()
    assert not [*root.glob("*Íris*")]


def test_the_name_goes_out_of_the_names_of_lessons(tmp_path, capsys):
    """Also out of the sidecars of others; whole words only, whatever the case and the accents."""
    recorder = Recorder(tmp_path)
    recorder.open()
    for number, lesson in enumerate(("Reforço da ANA IRIS", "Semana de provas", "Ana Íris")):
        note(recorder, start_of(lesson, minutes=number))
        note(recorder, phone("João", number, "5JJJJJ", number), phone(ANA, number, "5AAAAA"))
    recorder.close()
    assert forget(tmp_path, "--name", ANA, "--yes") == 0
    out = capsys.readouterr().out
    assert "the name in the names of 2 lessons" in out
    assert out.count("the name in the name of a lesson in") == 1
    (sidecar,) = tmp_path.glob("sessions/*/*/session.json")
    about = json.loads(sidecar.read_bytes())
    assert about["class"] == ""
    assert [each["name"] for each in about["lessons"]] == ["", "Semana de provas", ""]
    assert main(["lessons", "--dir", str(tmp_path), "--language", "en"]) == 0
    assert capsys.readouterr().out.count("lesson without a name") == 2
    inbox = (tmp_path / INBOX_FILE).read_bytes().decode("utf-8", "replace")
    assert not any(name in inbox for name in ("ANA IRIS", ANA))
    assert main(["verify", str(tmp_path)]) == 0
    recorder.open()
    note(recorder, phone("João", 3, "5JJJJJ", 4))
    recorder.close()
    assert "Íris" not in sidecar.read_text("utf-8")


def test_a_name_that_only_a_lesson_has_is_found(tmp_path, capsys):
    recorder = Recorder(tmp_path)
    recorder.open()
    note(recorder, start_of("Aula com Zé"), phone("João", 0, "5JJJJJ"))
    recorder.close()
    assert forget(tmp_path, "--name", "Zé", "--yes") == 0
    assert "the name in the names of 1 lessons" in capsys.readouterr().out
    assert forget(tmp_path, "--name", "Zé", "--yes") == 1
