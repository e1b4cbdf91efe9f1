"""Tests of the texts of `neuroone doctor`."""

import re
import string
from pathlib import Path

from neuroone.doctor import checks
from neuroone.doctor.texts import HEADINGS, LANGUAGES, WORDS


def test_every_code_has_texts_in_every_language_with_the_same_facts() -> None:
    """Problems have advice; other findings have none."""

    def facts_of(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert set(WORDS) == set(HEADINGS) == set(LANGUAGES)
    source = Path(checks.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r'"((?:[a-z]+)_(?:[a-z_]+))"', source)) & set(WORDS["en"])
    of_faults = {f"{what}_{fault}" for what in ("ws", "broker") for fault in ("refused", "timeout", "name", "tls")}
    assert set(WORDS["en"]) == set(WORDS["pt-BR"]) == used | of_faults | {"broker_login"}
    for code in WORDS["en"]:
        english, portuguese = WORDS["en"][code], WORDS["pt-BR"][code]
        assert facts_of(english.says) == facts_of(portuguese.says), code
        assert facts_of(english.do) == facts_of(portuguese.do), code
        is_problem = not re.search(rf'_(?:ok|skipped)\([^)]*"{code}"', source)
        assert bool(english.do) == bool(portuguese.do) == is_problem, code
