"""The health file."""

from pathlib import Path

from neuroone.service.healthcheck import FRESH_S, is_fresh


def test_a_file_is_fresh_for_ten_seconds(tmp_path: Path) -> None:
    """A missing file is not fresh."""
    file = tmp_path / "health"
    assert not is_fresh(file, 0)
    file.touch()
    touched_s = file.stat().st_mtime
    assert is_fresh(file, touched_s + FRESH_S)
    assert not is_fresh(file, touched_s + FRESH_S + 1)
