"""What to do about a link, in two languages."""

import json
import re
from pathlib import Path

import pytest

from neuroone.contract import hints
from neuroone.contract.hints import Hint
from neuroone.contract.messages import Link
from tests.support.messages import stream_state

SERVICES = Path(__file__).parents[4] / "services"
PAGE = SERVICES / "ws_gateway" / "page"
GENERAL = set(Link) - {Link.ENDED}
ALL: set[Link | Hint] = {*GENERAL, *Hint}


@pytest.mark.parametrize("language", hints.TEXTS)
def test_every_hint_and_every_link_but_a_finished_one_has_a_text(language: str) -> None:
    assert hints.TEXTS[language].keys() == ALL


def test_the_bridge_uses_every_hint_for_its_link() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (SERVICES / "serial_bridge").rglob("*.py"))
    for hint in Hint:
        assert f"Hint.{hint.name}" in source
        assert hint.partition(".")[0] in GENERAL


@pytest.mark.parametrize("language", ["en", "pt_BR"])
def test_no_two_hints_are_equal(language: str) -> None:
    assert len({hints.text(hint, "X", language) for hint in ALL}) == len(ALL)


@pytest.mark.parametrize("hint", sorted(ALL))
def test_both_languages_name_the_device(hint: Link | Hint) -> None:
    english, portuguese = hints.TEXTS["en"][hint], hints.TEXTS["pt-BR"][hint]
    assert set(re.findall(r"\{.*?\}", english)) == set(re.findall(r"\{.*?\}", portuguese)) <= {"{device}"}


def test_the_page_says_the_same() -> None:
    for language in ("en", "pt-BR"):
        words = json.loads((PAGE / f"{language}.json").read_text(encoding="utf-8"))
        on_page = {key.removeprefix("hint."): text for key, text in words.items() if key.startswith("hint.")}
        assert on_page == {str(link): hints.text(link, "{device}", language) for link in GENERAL}


@pytest.mark.parametrize("hint", Hint)
def test_a_hint_of_the_bridge_is_shown_in_both_languages(hint: Hint) -> None:
    link = Link(hint.partition(".")[0])
    state = stream_state(link=link, hint=hints.text(hint, "COM4 {0}"), device="COM4 {0}")
    assert hints.of_state(state, "en") == state.hint
    assert hints.of_state(state, "pt_BR") == hints.text(hint, "COM4 {0}", "pt_BR")


def test_a_hint_of_another_version_becomes_the_general_one_of_its_link() -> None:
    state = stream_state(link=Link.UNPLUGGED, hint="COM4 is gone", device="COM4")
    assert hints.of_state(state, "en") == hints.text(Link.UNPLUGGED, "COM4")
    assert hints.of_state(stream_state(link=Link.ENDED, hint="new", device=None), "pt_BR") == "new"
    assert hints.of_state(stream_state(link=Link.UNPLUGGED, hint=None), "en") is None
