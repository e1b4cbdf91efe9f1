"""CSV that a Brazilian spreadsheet program opens: separators, local times, doubts, and no formula."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from neuroone.contract.files import EVENTS, HEADERS, READINGS
from tests.support.recordings import checked, event_row, reading_rows, time_text
from ws_gateway.http import brazilian_csv

NOON = datetime(2026, 11, 22, 15, 0, 0, 250_000, UTC)
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


def written(file: Path, kind: str, rows: list[bytes]) -> Path:
    file.write_bytes(HEADERS[kind] + b"".join(rows))
    return file


def table(pieces: object) -> list[dict[str, str]]:
    content = b"".join(pieces)  # type: ignore[arg-type]
    assert content.startswith("\ufeff".encode())
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))


def row(second: int, values: list[int], poor: str = "") -> bytes:
    valid = "" if poor == "" else int(poor == "0")
    return checked([time_text(NOON + timedelta(seconds=second)), "s", second, poor, valid, *values])


def test_readings_have_local_times_portuguese_columns_and_doubts(tmp_path):
    """Twelve equal readings are frozen, also the first of them; poor contact is told before."""
    rows = [row(0, [50] * 10, "0"), *[row(1 + each, [60] * 10) for each in range(12)], row(13, [61] * 10, "80")]
    found = table(brazilian_csv.of_readings([written(tmp_path / "readings.csv", READINGS, rows)], SAO_PAULO))
    assert found[0]["horario"] == "22/11/2026 12:00:00,250"
    assert list(found[0])[1:5] == ["sinal_ruim", "valido", "atencao", "meditacao"]
    assert [each["duvida"] for each in found] == ["", *["congelado"] * 12, "mau contato"]


def test_a_session_in_parts_is_one_table_without_damaged_rows(tmp_path):
    first = written(tmp_path / "readings.csv", READINGS, [*reading_rows(3), b"torn,row\n", b"\xff\n"])
    second = written(tmp_path / "readings-2.csv", READINGS, [*reading_rows(2), b"2026-11-22T"])
    assert len(table(brazilian_csv.of_readings([first, second], SAO_PAULO))) == 5


def test_equal_readings_at_one_moment_are_not_kept_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(brazilian_csv, "UNDECIDED_MAX", 10)
    rows = [row(0, [60] * 10, "0")] * 35
    pieces = [*brazilian_csv.of_readings([written(tmp_path / "readings.csv", READINGS, rows)], SAO_PAULO)]
    assert len(table(pieces)) == 35
    assert pieces[-1].count(b"\r\n") <= 10, "what was kept until the end"


def test_a_note_that_looks_like_a_formula_is_text(tmp_path):
    rows = [event_row(NOON, "marker", '=HYPERLINK("http://x");"a"'), event_row(NOON, "online")]
    found = table(brazilian_csv.of_events([written(tmp_path / "events.csv", EVENTS, rows)], SAO_PAULO))
    assert [each["texto"] for each in found] == ['\'=HYPERLINK("http://x");"a"', ""]


def test_a_students_file_has_the_same_rows_with_semicolons(tmp_path):
    file = tmp_path / "Ana.csv"
    file.write_bytes(b"Att,Med,Delta\r\n1,2,3\n4,5,6\r\n=1+1,2\n7,8")
    content = b"".join(brazilian_csv.of_student_file(file)).decode("utf-8-sig")
    assert content.splitlines()[0].startswith("Att;Med;Delta;")
    assert content.splitlines()[1:] == ["1;2;3", "4;5;6"]
