"""The language of the system's settings."""

from neuroone.service.language import language_of


def test_the_language_is_the_systems() -> None:
    """Portuguese if the system speaks it, else English."""
    assert language_of({"LANG": "pt_BR.UTF-8"}) == "pt-BR"
    assert language_of({"LC_ALL": "C", "LANG": "pt_BR.UTF-8"}) == "en"
    assert language_of({}) == "en"
