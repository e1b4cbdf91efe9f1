"""Names become pseudonyms by a file that only the teacher writes."""

from pathlib import Path

import pytest

from neuroone.contract.errors import SettingsError
from neuroone.service.pseudonyms import NotListed, Pseudonyms


def opened(file: Path, content: bytes) -> Pseudonyms:
    file.write_bytes(content)
    found = Pseudonyms(file)
    found.open()
    return found


@pytest.mark.parametrize(
    "content",
    [
        "name;pseudonym\nAna Íris;A01\nJoão;A02\n".encode(),
        "\ufeffNAME,Pseudonym\r\n Ana I\u0301ris , A01 \r\n\r\nJoão,A02,8A\r\n".encode(),
        "Ana Íris;A01\nJoão;A02".encode("cp1252"),
        'name;pseudonym\n"Ana Íris";"A01"\nJoão;A02\nJoao;A02\n'.encode(),
    ],
)
def test_a_listed_name_has_its_pseudonym_however_it_is_composed_or_saved(tmp_path: Path, content: bytes) -> None:
    """As Excel saves it too; what is no name passes, and a pseudonym stands for itself."""
    found = opened(tmp_path / "names.csv", content)
    assert [found.of(each) for each in ("Ana Íris", "Ana I\u0301ris", " João ", "A02", None)] == [
        "A01",
        "A01",
        "A02",
        "A02",
        None,
    ]
    for name in ("Ana", "ana íris", "A03", ""):
        with pytest.raises(NotListed):
            found.of(name)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"name;pseudonym\nAna\n", "line 2 must be a name and a pseudonym"),
        (b"Ana;A 01\n", "line 1: a pseudonym has"),
        (b"Ana;A01\nBia;A02\nAna;A03\n", "line 3: this name has another pseudonym above"),
        (b'"Ana\n' + b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_a_fault_of_the_file_is_told_by_its_line_and_names_nobody(tmp_path: Path, content: bytes, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as told:
        opened(tmp_path / "names.csv", content)
    assert "Ana" not in str(told.value)
    with pytest.raises(SettingsError, match="No such file"):
        Pseudonyms(tmp_path / "missing.csv").open()


def test_a_changed_file_counts_and_a_faulty_one_leaves_what_was_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, now_s = tmp_path / "names.csv", 0.0
    file.write_bytes(b"Ana;A01\n")
    found = Pseudonyms(file, lambda: now_s)
    found.open()
    file.write_bytes(b"Ana;A01\nBia;A02\n")
    with pytest.raises(NotListed):
        found.of("Bia")
    now_s = 1.0
    assert found.of("Bia") == "A02"
    new = tmp_path / "new"
    new.write_bytes(b"Ana\n")
    Path(new).replace(file)
    now_s = 2.0
    assert found.of("Bia") == "A02"
    assert "what was read before still holds" in caplog.text
    file.write_bytes(b"Ana;A07\n")
    now_s = 3.0
    assert found.of("Ana") == "A07"
