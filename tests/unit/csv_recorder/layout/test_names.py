"""File names from what students type."""

import re
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv_recorder.layout.names import STEM_MAX_BYTES, file_key, safe_stem, with_hash


@pytest.mark.parametrize("name", ["Joao_Silva", "João Silva", "Ana", "山田太郎", "a.b", "Zoë-2", "'quoted'", "😀"])
def test_a_safe_name_stays(name: str) -> None:
    """The old server's files go on under their names."""
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
    """What is dangerous becomes an underscore or goes; the hash keeps it apart from its neighbours."""
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
    """Case and composition do not make two files on Windows or macOS."""
    assert file_key("JOÃO.csv") == file_key("joa\u0303o.csv")
    assert file_key("Ana.csv") != file_key("Ana2.csv")
    assert with_hash("ana", "ANA") != with_hash("ana", "ana")
