"""What to do about a link, in two languages."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from neuroone.contract import hints
from neuroone.contract.hints import Hint
from neuroone.contract.messages import Link
from tests.support.messages import stream_state

PAGE = Path(__file__).parents[4] / "services" / "ws_gateway" / "page"
ALL = {name: hint for name, hint in vars(hints).items() if isinstance(hint, Hint)}


def test_every_link_but_a_finished_one_has_a_hint() -> None:
    assert hints.GENERAL.keys() == set(Link) - {Link.ENDED}


def test_no_two_hints_are_equal() -> None:
    for language in ("en", "pt_BR"):
        assert len({hint.text("X", language) for hint in ALL.values()}) == len(ALL)


@pytest.mark.parametrize("name", ALL)
def test_both_languages_name_the_device(name: str) -> None:
    english, portuguese = ALL[name].english, ALL[name].portuguese
    assert set(re.findall(r"\{.*?\}", english)) == set(re.findall(r"\{.*?\}", portuguese)) <= {"{device}"}


@pytest.mark.parametrize(("key", "table"), [("hint.", hints.GENERAL), ("headset.", hints.IN_PAGE)])
def test_the_pages_of_teachers_and_students_say_the_same(key: str, table: Mapping[Link, Hint]) -> None:
    for language in ("en", "pt-BR"):
        words = json.loads((PAGE / f"{language}.json").read_text(encoding="utf-8"))
        on_page = {name.removeprefix(key): text for name, text in words.items() if name.startswith(key)}
        assert on_page == {str(link): hint.text("{device}", language) for link, hint in table.items()}


@pytest.mark.parametrize(("link", "hint"), [(link, each) for link, known in hints.SPECIFIC.items() for each in known])
def test_a_hint_of_the_bridge_is_shown_in_both_languages(link: Link, hint: Hint) -> None:
    state = stream_state(link=link, hint=hint.text("COM4 {0}"), device="COM4 {0}")
    assert hints.of_state(state, "en") == state.hint
    assert hints.of_state(state, "pt_BR") == hint.text("COM4 {0}", "pt_BR")


def test_a_hint_of_another_version_becomes_the_general_one_of_its_link() -> None:
    state = stream_state(link=Link.UNPLUGGED, hint="COM4 is gone", device="COM4")
    assert hints.of_state(state, "en") == hints.UNPLUGGED.text("COM4")
    assert hints.of_state(stream_state(link=Link.ENDED, hint="new", device=None), "pt_BR") == "new"
    assert hints.of_state(stream_state(link=Link.UNPLUGGED, hint=None), "en") is None
