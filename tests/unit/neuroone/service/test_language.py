"""The language of the system's settings."""

import locale

import pytest

from neuroone.service.language import language_of, parse_language


def test_the_language_is_the_systems() -> None:
    """Portuguese if the system speaks it, else English."""
    assert language_of({"LANG": "pt_BR.UTF-8"}) == "pt-BR"
    assert language_of({"LC_ALL": "C", "LANG": "pt_BR.UTF-8"}) == "en"
    assert language_of({}) == "en"


def test_windows_calls_its_language_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has none of these variables."""
    monkeypatch.setattr(locale, "getlocale", lambda: ("Portuguese_Brazil", "1252"))
    assert language_of({}) == "pt-BR"
    assert language_of({"LANG": "en_US.UTF-8"}) == "en"


@pytest.mark.parametrize("text", ["pt-BR", "pt_BR"])
def test_a_language_may_be_written_as_systems_do(text: str) -> None:
    assert parse_language(text) == "pt-BR"


def test_another_language_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of en, pt-BR"):
        parse_language("pt")
