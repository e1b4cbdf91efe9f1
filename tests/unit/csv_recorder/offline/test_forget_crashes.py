"""After a crash at any place of the recorder, a student can be forgotten, and every byte of the name and code goes."""

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.inbox import Inbox
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.files import INBOX_FILE
from neuroone.contract.messages import EventType
from neuroone.mqtt.delivery import Delivery
from tests.support.lessons import EVENT, Lesson, delivered
from tests.support.messages import reading

ANA = "Ana Íris"
CODE = "5KXPVN"
SOURCE = topics.id_from_text(ANA)


def traces() -> list[bytes]:
    """Return what the student is known by, as files may spell it."""
    names = [unicodedata.normalize(form, ANA) for form in ("NFC", "NFD")]
    return [*(name.encode() for name in names), json.dumps(ANA).encode()[1:-1], CODE.encode(), SOURCE.encode()]


def with_traces(root: Path) -> list[Path]:
    """Return the files and folders that still have something of the student."""
    found = []
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if any(each in content or each in os.fsencode(path.name) for each in traces()):
            found.append(path)
    return found


def send_ana(lesson: Lesson, seq: int) -> None:
    """Send one reading of the student, alone in the group of her own code."""
    topic = topics.reading("local", CODE, SOURCE)
    message = reading(seq=seq, name=ANA, code=CODE, session="session-a", delta=seq)
    lesson.recorder.accept([delivered(topic, message)])


def mark(lesson: Lesson, group: str, text: str, kind: EventType = EventType.MARKER) -> None:
    """Set a marker."""
    event = replace(EVENT, id=f"{group}-{text}", text=text, type=kind, source=None)
    lesson.recorder.accept([delivered(topics.event("local", group), event)])


def record(lesson: Lesson) -> None:
    """Let two students be recorded, while people write about one of them."""
    lesson.send("joao", range(3))
    send_ana(lesson, 0)
    mark(lesson, "ABC123", "ANA IRIS, de novo", EventType.SESSION_START)
    mark(lesson, "ABC123", f'a {ANA} chorou, "muito"')
    mark(lesson, "ABC123", f"o aparelho de {CODE}")
    mark(lesson, CODE, "leituras reunidas")
    mark(lesson, "ABC123", "Ana Paula riu")
    refused = f'{{"nome": {json.dumps(ANA)}}}'.encode()
    topic = str(topics.reading("local", "ABC123", "joao"))
    lesson.recorder.accept([Delivery(topic, refused, False, 1, 1)])
    lesson.write()
    lesson.settle()
    send_ana(lesson, 1)
    lesson.send("joao", range(3, 6))
    lesson.describe()
    lesson.settle()
    lesson.end("joao")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Directories as a kill leaves them just before each commit of the recorder: files are ahead of the inbox."""
    base = tmp_path_factory.mktemp("images")
    made: list[Path] = []
    commit = Inbox.commit

    def keep() -> None:
        made.append(base / f"{len(made):03}")
        shutil.copytree(base / "live", made[-1])

    def commit_and_keep(inbox: Inbox) -> None:
        keep()
        commit(inbox)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inbox, "commit", commit_and_keep)
        lesson = Lesson(base / "live")
        record(lesson)
        lesson.recorder.close()
    keep()
    shutil.copytree(made[-1], base / "last")
    return made


def rows_of_joao(root: Path) -> bytes:
    """Let a recorder finish what waits, and return the other student's file."""
    Lesson(root).recorder.close()
    return next((path.read_bytes() for path in root.glob("Joao.csv")), b"")


def test_nothing_of_a_student_is_left_after_a_crash_anywhere(
    images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder made just before the crash is in no inbox; the others' files stay as they would have been."""
    for image in images:
        kept = image.with_name(f"{image.name}-kept")
        shutil.copytree(image, kept)
        expected = rows_of_joao(kept)
        is_there = bool(with_traces(image))
        code = main(["forget", "--dir", str(image), "--name", ANA, "--yes"])
        assert with_traces(image) == []
        assert (code == 0) == is_there, capsys.readouterr().out
        assert rows_of_joao(image) == expected
        assert with_traces(image) == []
        assert main(["verify", str(image)]) == 0 or not [*image.glob("sessions/*/*/*.csv")]


def test_what_people_wrote_about_others_stays(images: list[Path]) -> None:
    """A text that mentions the student becomes stars of its length, in rows that verify."""
    root = images[-1]
    main(["forget", "--dir", str(root), "--name", ANA, "--yes"])
    [events] = root.glob("sessions/*/*/events.csv")
    texts = [line.rsplit(",", 2)[1] for line in events.read_text(encoding="utf-8").splitlines()]
    assert "Ana Paula riu" in texts
    assert sum(bool(text) and set(text) == {"*"} for text in texts) == 3
    assert main(["verify", str(root)]) == 0


def test_a_removal_that_breaks_off_is_finished_by_the_next_one(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place where a file is removed, replaced or committed may be the last one."""
    for step in range(60):
        root = tmp_path / str(step)
        shutil.copytree(images[0].parent / "last", root)
        left = [step]

        def stops(original: Callable[..., object], left: list[int] = left) -> Callable[..., object]:
            def call(*given: object, **named: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return original(*given, **named)

            return call

        with monkeypatch.context() as patch:
            for owner, name in ((Path, "unlink"), (Path, "rmdir"), (os, "replace"), (Inbox, "commit")):
                patch.setattr(owner, name, stops(getattr(owner, name)))
            try:
                main(["forget", "--dir", str(root), "--name", ANA, "--yes"])
            except KeyboardInterrupt:
                pass
        main(["forget", "--dir", str(root), "--name", ANA, "--yes"])
        assert with_traces(root) == []
        if left[0] >= 0:
            assert main(["verify", str(root)]) == 0
            return
    raise AssertionError("the removal has more steps")


def test_a_folder_of_which_nothing_says_whose_it_is_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lesson = Lesson(tmp_path)
    lesson.record("ana", range(3), name=ANA)
    lesson.recorder.close()
    (tmp_path / "sessions" / "2026-11-22" / "182031_XYZ_tablet3").mkdir()
    assert main(["forget", "--dir", str(tmp_path), "--name", ANA, "--yes"]) == 1
    assert "stays, nothing says whose it is (look into it)" in capsys.readouterr().out


def test_a_page_that_somebody_put_into_the_directory_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lesson = Lesson(tmp_path)
    lesson.record("ana", range(3), name=ANA)
    lesson.recorder.close()
    (tmp_path / "report.html").write_text(f"<td>{ANA}</td>", encoding="utf-8")
    assert main(["forget", "--dir", str(tmp_path), "--name", ANA, "--yes"]) == 1
    assert f"stays, the name or code is in it (remove it when nobody needs it): {tmp_path}/report.html" in (
        capsys.readouterr().out
    )


def test_a_scrub_follows_a_removal_that_broke_off_before_it(tmp_path: Path) -> None:
    """What earlier versions freed in the database without wiping it."""
    lesson = Lesson(tmp_path)
    lesson.record("ana", range(3), name=ANA)
    lesson.record("bia", range(3))
    lesson.recorder.close()
    inbox = Inbox(tmp_path / INBOX_FILE)
    inbox.open()
    inbox.db.execute("DELETE FROM sessions WHERE about LIKE '%Ana%'")
    inbox.close()
    main(["forget", "--dir", str(tmp_path), "--name", ANA, "--yes"])
    main(["forget", "--dir", str(tmp_path), "--name", ANA, "--yes"])
    assert "Íris".encode() not in (tmp_path / INBOX_FILE).read_bytes()
