"""`csv-recorder give` writes all that is recorded of one student into an archive, and nothing of others."""

import json
import stat
from pathlib import Path
from zipfile import ZipFile

import pytest

from csv_recorder.__main__ import main
from tests.support.lessons import Lesson


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a directory with two sessions of Ana, whose name was typed in two ways, and one of João."""
    lesson = Lesson(tmp_path / "recordings")
    lesson.send("ana", range(30), name="Ana Íris")
    lesson.send("ana-2", range(30), name="Ana I\u0301ris", session="session-2")
    lesson.send("joao", range(30), name="João")
    lesson.settle()
    lesson.describe()
    lesson.end("ana")
    lesson.recorder.close()
    return lesson.root


@pytest.mark.parametrize(
    ("language", "names", "sentence"),
    [
        ("pt-BR", {"LEIA-ME.txt", "relatorio.html", "planilhas"}, "Gravações de Ana Íris"),
        ("en", {"README.txt", "report.html"}, "Recordings of Ana Íris"),
    ],
)
def test_the_archive_has_everything_of_one_student_and_nothing_of_others(
    root: Path, language: str, names: set[str], sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["give", "--dir", str(root), "--name", "Ana Íris", "--language", language]) == 0
    out = tmp_path / "Ana Íris.zip"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    of_ana = [path for path in root.glob("sessions/*/*/*") if "_ana" in path.parent.name]
    of_ana += [*root.glob("Ana*.csv")]
    with ZipFile(out) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    as_they_are = {name.removeprefix("files/"): content for name, content in contents.items() if "files/" in name}
    assert as_they_are == {path.relative_to(root).as_posix(): path.read_bytes() for path in of_ana}
    assert len([name for name in as_they_are if name.endswith("session.json")]) == 2
    assert {name.split("/")[0] for name in contents} == names | {"files"}
    texts = [content.decode("utf-8-sig") for name, content in contents.items() if "files/" not in name]
    assert any(text.startswith(sentence) for text in texts)
    assert not any("João" in text or "joao" in text for text in texts)


def test_an_archive_is_replaced_only_if_that_is_wanted_and_holds_whole_rows(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recorder may be writing a row just now; a sidecar that cannot be read is in the archive as it is."""
    out = tmp_path / "ana.zip"
    [folder] = root.glob("sessions/*/*_ana")
    before = (folder / "readings.csv").read_bytes()
    (folder / "readings.csv").write_bytes(before + b"2026-11-22T18:2")
    command = ["give", "--dir", str(root), "--source", "ABC123/ana", "--out", str(out)]
    assert main(command) == 0
    assert main(command) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    with ZipFile(out) as archive:
        assert archive.read(f"files/{folder.relative_to(root).as_posix()}/readings.csv") == before
        about = archive.read(f"files/{folder.relative_to(root).as_posix()}/session.json")
    assert json.loads(about)["name"] == "Ana Íris"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert main(["give", "--dir", str(root), "--name", "Nobody", "--out", str(out)]) == 2
