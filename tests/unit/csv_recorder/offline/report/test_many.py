"""Reports on very many sessions: a summary, what is asked for, and an index with a page for each class."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote
from zlib import crc32

import pytest

from csv_recorder.__main__ import main
from csv_recorder.offline.report import pages, text
from csv_recorder.offline.report.figures import Selection, make
from neuroone.data.recordings import find
from tests.support.recordings import NOON, reading_rows, write_session

HOSTILE = '<img src=x onerror="alert(1)">/../=1+1'


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Two classes of three students on four days, a student alone with a class, and two without one."""
    monkeypatch.setattr(text, "PRINTED_MAX", 10)
    monkeypatch.setattr(text, "NEWEST_SHOWN", 3)
    monkeypatch.setattr(text, "CLASSES_SHOWN", 3)
    monkeypatch.setattr(pages, "SESSIONS_MAX", 8)
    root = tmp_path / "recordings"
    for day in range(4):
        for student in range(6):
            start = NOON + timedelta(days=day, minutes=student)
            about: dict[str, Any] = {"class": HOSTILE if student > 2 else "Química"}
            rows = reading_rows(65, start, seed=day * 6 + student)
            write_session(root, f"João {student}", f"T{student // 3}", f"s{student}", start, rows, **about)
    for number, class_ in enumerate((HOSTILE, None, None)):
        start = NOON - timedelta(days=9, minutes=number)
        about = {"class": class_}
        write_session(root, f"Só {number}", f"K{number}", f"k{number}", start, reading_rows(65, start), **about)
    return root


def report(*words):
    return main(["report", *map(str, words), "--language", "en", "--timezone", "UTC"])


class Links(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.targets += [str(value) for key, value in attrs if key == "href"]

    def handle_data(self, data):
        self.words += data


def test_many_sessions_have_a_summary(many, capsys):
    """Counts, the newest classes, the newest sessions, and how to see more."""
    assert report(many) == 0
    out = capsys.readouterr().out
    assert "27 sessions of 9 students, from 2026-11-13 to 2026-11-25, 1755 rows." in out
    assert re.search(r"^T0 +2026-11-22 +2026-11-25 +3 +12 +780", out, re.MULTILINE)
    assert "1 classes with older sessions are not shown." in out
    names = re.findall(r"^João \d +T\d +2026-11-25 \d\d:\d\d", out, re.MULTILINE)
    assert [name[:6] for name in names] == ["João 5", "João 4", "João 3"]
    for option in ("--since", "--class", "--student", "--all", "--html"):
        assert option in out
    assert len(out.splitlines()) < 25


def test_all_prints_every_session(many, capsys):
    report(many, "--all")
    out = capsys.readouterr().out
    assert "This is a summary" not in out
    assert len(re.findall(r"^(?:João|Só) \d +[TK]\d +2026", out, re.MULTILINE)) == 27


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--class", "t0"], 12),
        (["--class", "quimica"], 12),
        (["--class", HOSTILE], 13),
        (["--student", "joao 4"], 4),
        (["--student", "JOÃO 4", "--student", "só 1"], 5),
        (["--student", "s4"], 4),
        (["--student", "joao"], 0),
        (["--since", "2026-11-25"], 6),
        (["--until", "2026-11-13"], 3),
        (["--since", "2026-11-23", "--until", "2026-11-24", "--class", "T1", "--student", "João 3"], 2),
    ],
)
def test_what_is_asked_for_is_printed_in_full(many, capsys, words, count):
    """Names are compared without case and accents; the days include the last one."""
    assert report(many, *words) == 0
    out = capsys.readouterr().out
    assert "This is a summary" not in out
    assert len(re.findall(r"^(?:João|Só) \d +[TK]\d +2026-11-\d\d \d\d:\d\d:\d\d +\d:", out, re.MULTILINE)) == count


def test_wrong_values_are_said(many, capsys):
    assert report(many, "--since", "yesterday", "--until", "2026-13-01") == 2
    assert [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines()] == ["--since", "--until"]
    assert report(many, "--since", "2026-11-22", "--from", "2026-11-22") == 2
    assert "--from and --since: are the same, give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "file"), [("r.html", "r.html"), ("new/", "new/index.html"), ("", "index.html")])
def test_many_sessions_have_an_index_and_pages(many, tmp_path, target, file):
    """Every student is on the page of each of their classes; names and classes are text; all links stay beside it."""
    assert report(many, "--html", f"{tmp_path}/{target}") == 0
    index_file = tmp_path / file
    index = Links(index_file.read_text(encoding="utf-8"))
    assert index.tags.isdisjoint({"script", "img"})
    assert HOSTILE in index.words
    linked = [index_file.parent / unquote(link) for link in index.targets]
    folder = index_file.with_name(f"{index_file.stem}-pages")
    assert sorted(linked) == sorted(folder.iterdir())
    words = ""
    for page_file in linked:
        page = Links(page_file.read_text(encoding="utf-8"))
        assert page.targets == [f"../{index_file.name}"]
        assert page.tags.isdisjoint({"script", "img", "link"})
        words += page.words
    for number in range(6):
        assert words.count(f"João {number}") == 1
    assert words.count("all sessions") == 6
    assert "students without a class" in index.words
    assert "T0 (page 2/2)" in index.words


def test_a_small_report_removes_older_pages(many, tmp_path):
    """A student who was forgotten must not stay in an old page; files of others stay."""
    target = tmp_path / "r.html"
    report(many, "--html", target)
    folder = tmp_path / "r-pages"
    (folder / "mine.txt").write_text("mine", encoding="ascii")
    assert len(list(folder.iterdir())) > 3
    report(many, "--html", target, "--student", "joao 1")
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]
    assert "João 1" in target.read_text(encoding="utf-8")


def test_class_names_that_differ_in_case_have_two_files(tmp_path):
    """Some systems store both as one."""
    for number, group in enumerate(("abc", "ABC")):
        for student in range(2):
            start = NOON + timedelta(minutes=2 * number + student)
            write_session(tmp_path, f"N{student}", group, f"s{student}", start, reading_rows(3, start))
    files = [part.file.casefold() for part in pages.parts(make(find([tmp_path])))]
    assert len(set(files)) == 2
    assert all(pages.FILE.match(each) for each in files)


def test_a_time_before_all_clocks_is_reported(tmp_path, capsys):
    """West of Greenwich the year 1 has no local time; it is shown in UTC, and all others are reported."""
    (row,) = reading_rows(1)
    content = row.replace(b"2026-11-22T18", b"0001-01-01T00")[:-9]
    write_session(tmp_path, "Ana", source="ana", readings=reading_rows(70))
    folder = write_session(tmp_path, "Bia", source="bia", readings=reading_rows(1))
    path = folder / "readings.csv"
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n" + content + b"%08x\n" % crc32(content))
    assert main(["report", str(tmp_path), "--language", "en", "--timezone", "America/Sao_Paulo"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^Ana +ABC123 +2026-11-22 15:20:31", out, re.MULTILINE)
    assert re.search(r"^Bia +ABC123 +0*1-01-01 00:20:31", out, re.MULTILINE)


def test_a_selection_of_nothing_is_all():
    assert Selection().is_all
    assert not Selection(students=frozenset({"a"})).is_all
