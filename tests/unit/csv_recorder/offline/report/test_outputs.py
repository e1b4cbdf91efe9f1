"""A report as text, page, CSV and workbook: every name is text and nothing else."""

import csv
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from csv_recorder import __main__ as recorder_commands
from csv_recorder.__main__ import main
from csv_recorder.offline.report import texts
from neuroone.contract.files import ESENSE, student_row_of
from neuroone.contract.messages import BANDS
from neuroone.service.language import LANGUAGES
from tests.support.recordings import NOON, SEED_FILE, SEED_HEADER, reading_rows, write_session

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\x1b[31mred",
    "&lt;b&gt;",
    "João Õ",
    "a,b;c",
)


class Page(HTMLParser):
    """What a browser would find on the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


@pytest.fixture
def recordings(tmp_path):
    """A class of hostile names."""
    for number, name in enumerate(HOSTILE):
        readings = reading_rows(70, seed=number, poor=lambda n: 51 if n % 10 == 9 else 0)
        write_session(tmp_path / "recordings", name=name, source=f"s{number}", readings=readings)
    return tmp_path / "recordings"


def report(*words):
    return main(["report", *map(str, words), "--language", "en", "--timezone", "UTC"])


def test_the_page_holds_names_as_text_and_asks_nobody(recordings, tmp_path):
    """It has no script, no handler and no address; every name is readable."""
    assert report(recordings, "--html", tmp_path / "r.html") == 0
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "link", "iframe", "object", "form"})
    assert not any(key.startswith("on") or key in ("src", "href") for _, keys in page.tags for key in keys)
    assert all(name in page.words for name in HOSTILE)
    assert "url(" not in page.words
    assert "@import" not in page.words
    policy = [keys["content"] for tag, keys in page.tags if keys.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_page_has_a_plot_for_every_student_and_class(recordings, tmp_path):
    report(recordings, "--html", tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    plots = [keys for tag, keys in page.tags if tag == "svg"]
    assert len(plots) == len(HOSTILE) + 1
    assert all(keys["role"] == "img" and keys["aria-label"] for keys in plots)
    assert sum(keys.get("class") == "attention" for tag, keys in page.tags if tag == "path") == len(plots)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


def test_a_line_is_broken_where_nothing_is_valid(tmp_path):
    """A gap in the recording and a time of poor signal are seen in the plot."""
    readings = reading_rows(600, lost=range(100, 200), poor=lambda n: 200 if 300 <= n < 400 else 0)
    write_session(tmp_path / "recordings", readings=readings)
    report(tmp_path / "recordings", "--html", tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    line = next(str(keys["d"]) for tag, keys in page.tags if tag == "path" and keys.get("class") == "attention")
    assert line.count("M") == 3


def test_a_page_without_a_reading(tmp_path):
    write_session(tmp_path / "recordings")
    assert report(tmp_path / "recordings", "--html", tmp_path / "r.html") == 0
    assert "No readings match" in Page((tmp_path / "r.html").read_text(encoding="utf-8")).words


def test_the_text_steers_no_terminal(recordings, capsys):
    """Control characters of a name are not printed."""
    assert report(recordings) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "�[31mred" in out
    line = next(line for line in out.splitlines() if line.startswith("João"))
    assert re.search(r"ABC123 +2026-11-22 18:20:31 +0:01:09 +70 +0 +90.0 %", line)


def test_the_csv_is_read_back_and_runs_no_formula(recordings, tmp_path):
    """A name that begins like a formula gets an apostrophe, a negative number does not."""
    report(recordings, "--csv", tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    guarded = {f"'{name}" if name[0] in "=+-@\t" else name.replace("\x1b", "�") for name in HOSTILE}
    assert {row["name"] for row in rows} == guarded
    frame = pd.read_csv(tmp_path / "r.csv")
    assert frame[[f"{band}_share" for band in BANDS]].sum(axis=1).round(9).eq(1).all()
    assert (pd.to_datetime(frame["start"]) == pd.Timestamp(NOON)).all()
    assert pd.api.types.is_float_dtype(frame["meditation_trend_per_min"])


def test_the_workbook_is_read_back_and_holds_no_formula(recordings, tmp_path):
    """Sessions and classes; every cell of text is text."""
    report(recordings, "--xlsx", tmp_path / "r.xlsx")
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    assert book.sheetnames == ["Sessions", "Classes"]
    assert not any(cell.data_type == "f" for sheet in book for row in sheet.iter_rows() for cell in row)
    head, *rows = book["Sessions"].iter_rows(values_only=True)
    row = dict(zip(head, next(row for row in rows if "João Õ" in row), strict=True))
    assert (row["rows"], row["attention_n"], row["valid_share"]) == (70, 63, 0.9)
    assert isinstance(row["start"], datetime)
    assert abs(row["start"] - NOON.replace(tzinfo=None)) < timedelta(milliseconds=1)


def test_portuguese(tmp_path, capsys):
    write_session(tmp_path, readings=reading_rows(70))
    main(["report", str(tmp_path), "--language", "pt-BR", "--html", str(tmp_path / "r.html")])
    out = capsys.readouterr().out
    assert "Indicadores experimentais, não são diagnóstico" in out
    assert "100,0 %" in out
    assert '<html lang="pt-BR">' in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variable", "value", "language"),
    [
        ("LANG", "pt_BR.UTF-8", "pt-BR"),
        ("LANG", "en_US.UTF-8", "en"),
        ("LC_ALL", "pt_PT", "pt-BR"),
        ("LANG", "C", "en"),
    ],
)
def test_the_language_of_the_computer(monkeypatch, variable, value, language):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert texts.of_system() == language


def test_both_languages_have_every_text_with_the_same_places():
    """A text has the same number of values in both languages; every text is used."""
    english, portuguese = (texts.load(language) for language in LANGUAGES)
    assert english.keys() == portuguese.keys()
    for key, text in english.items():
        assert text
        assert portuguese[key]
        assert re.findall(r"\{\d\}", text) == re.findall(r"\{\d\}", portuguese[key])
    sources = [*Path(texts.__file__).parent.glob("*.py"), Path(recorder_commands.__file__)]
    written = " ".join(each.read_text(encoding="utf-8") for each in sources)
    used = {key for key in english if re.search(rf"""["']{key}["']""", written)}
    assert english.keys() - used == {*ESENSE, *BANDS}


def test_the_old_servers_file_says_that_its_quality_is_unknown(tmp_path, capsys):
    path = tmp_path / "Joao_Silva.csv"
    path.write_text(SEED_FILE, encoding="ascii")
    assert report(path, "--html", tmp_path / "r.html") == 0
    assert re.search(r"Joao_Silva +– +– +– +1 +– +unknown +85.0", capsys.readouterr().out)
    words = Page((tmp_path / "r.html").read_text(encoding="utf-8")).words
    assert "signal quality unknown" in words
    assert "no times" in words


@pytest.mark.parametrize("is_older", [True, False])
def test_a_file_that_the_recorder_went_on_with_is_named(tmp_path, capsys, is_older):
    """Its first rows are the first server's, and in no session; a file that the recorder began has none."""
    rows = reading_rows(10)
    write_session(tmp_path, readings=[rows[1], rows[0], *rows[2:]])
    begun = SEED_FILE if is_older else SEED_HEADER
    (tmp_path / "Joao_Silva.csv").write_bytes(begun.encode() + b"".join(map(student_row_of, rows)))
    assert report(tmp_path, "--html", tmp_path / "r.html") == 0
    said = f"shows them: {tmp_path / 'Joao_Silva.csv'}"
    assert (said in capsys.readouterr().out) == is_older
    assert (said in Page((tmp_path / "r.html").read_text(encoding="utf-8")).words) == is_older


def test_a_span_in_the_time_zone_of_the_report(tmp_path, capsys):
    """A date alone means that day in the time zone."""
    write_session(tmp_path, readings=reading_rows(70))
    day = ["--from", "2026-11-23", "--to", "2026-11-23", "--language", "en"]
    assert main(["report", str(tmp_path), *day, "--timezone", "Asia/Tokyo"]) == 0
    assert "2026-11-23 03:20:31" in capsys.readouterr().out
    assert main(["report", str(tmp_path), *day, "--timezone", "UTC"]) == 0
    assert "No readings match" in capsys.readouterr().out


def test_every_wrong_setting_is_said_at_once(tmp_path, capsys):
    assert main(["report", "--from", "yesterday", "--timezone", "Mars", "--language", "tlh"]) == 2
    faults = capsys.readouterr().err.splitlines()
    assert [fault.split(":")[1].strip() for fault in faults] == ["--from", "--timezone", "--language"]
    assert main(["report", str(tmp_path / "gone")]) == 2
    assert "is not there" in capsys.readouterr().err


def test_a_file_that_cannot_be_written(tmp_path, capsys):
    write_session(tmp_path, readings=reading_rows(5))
    assert main(["report", str(tmp_path), "--html", str(tmp_path / "no" / "r.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_session_that_cannot_be_read_makes_the_exit_code_1(tmp_path, capsys):
    """The rest is reported."""
    broken = write_session(tmp_path, source="broken")
    (broken / "readings.csv").write_bytes(b"a,b\n1,2\n")
    write_session(tmp_path, readings=reading_rows(5))
    assert report(tmp_path) == 1
    out = capsys.readouterr().out
    assert "Joao_Silva" in out
    assert "Could not be read: " in out


def test_recording_imports_no_pandas():
    """A command imports heavy packages itself."""
    import subprocess
    import sys

    code = (
        "import sys, csv_recorder.__main__; print(sorted({'pandas', 'numpy', 'openpyxl', 'edfio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
