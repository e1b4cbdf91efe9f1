"""Names and rows of recorded files."""

import re
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract.files import (
    HEADERS,
    READINGS,
    STEM_MAX_BYTES,
    STUDENT_HEADER,
    Rows,
    checked_rows,
    file_key,
    reading_row,
    safe_stem,
    student_row,
    student_rows,
)
from neuroone.contract.topics import with_hash
from tests.support.messages import reading


@pytest.mark.parametrize("name", ["Joao_Silva", "João Silva", "Ana", "山田太郎", "a.b", "Zoë-2", "'quoted'", "😀"])
def test_a_safe_name_stays(name: str) -> None:
    assert safe_stem(name) == name


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a/b", "a_b"),
        ("C:\\temp", "C__temp"),
        ("CON", "_CON"),
        ("com1.txt", "_com1.txt"),
        ("ponto.", "ponto"),
        ("  espaço ", "espaço"),
        (".hidden", "hidden"),
        ("..", "_"),
        ("", "_"),
        ("linha\r\nnova", "linha__nova"),
        ("\u202eexe.csv", "_exe.csv"),
        ("Jose\u0301", "José"),
        ("a" * 300, "a" * STEM_MAX_BYTES),
    ],
)
def test_any_other_name_is_made_safe_and_gets_a_hash(name: str, stem: str) -> None:
    """Dangerous characters become an underscore or go; the hash tells similar names apart."""
    assert re.fullmatch(re.escape(stem) + "-[0-9a-f]{6}", safe_stem(name))


@given(st.text())
def test_a_file_name_is_one_component_everywhere(name: str) -> None:
    """On POSIX and on Windows, within the length that file systems take, and always the same."""
    file = f"{safe_stem(name)}.csv"
    assert PurePosixPath(file).name == PureWindowsPath(file).name == file
    assert not PureWindowsPath(file).is_reserved()
    assert len(file.encode()) <= 255
    assert not file.startswith(".")
    assert safe_stem(name) == safe_stem(name)


def test_keys_tell_what_is_one_file_somewhere() -> None:
    """Windows and macOS ignore case and composition."""
    assert file_key("JOÃO.csv") == file_key("joa\u0303o.csv")
    assert file_key("Ana.csv") != file_key("Ana2.csv")
    assert with_hash("ana", "ANA") != with_hash("ana", "ana")


@given(
    seqs=st.lists(st.integers(0, 2**53 - 1), max_size=5), session=st.text(min_size=1, max_size=64), torn=st.booleans()
)
def test_rows_are_read_back_as_they_were_written(seqs: list[int], session: str, torn: bool) -> None:
    rows = [reading_row(reading(seq=seq, session=session)) for seq in seqs]
    found = checked_rows(HEADERS[READINGS] + b"".join(rows) + b"2026" * torn)
    assert found == Rows(HEADERS[READINGS][:-1], [row[:-1] for row in rows], [], 4 * torn)
    of_student = student_rows(STUDENT_HEADER + b"".join(student_row(reading(seq=seq)) for seq in seqs))
    assert (len(of_student.lines), of_student.faulty) == (len(seqs), [])


def test_a_changed_row_is_named_by_its_line() -> None:
    row = reading_row(reading())
    assert checked_rows(HEADERS[READINGS] + row + row.replace(b"85", b"86", 1)).faulty == [3]
    assert student_rows(STUDENT_HEADER + b"1,2,3\n").faulty == [2]
