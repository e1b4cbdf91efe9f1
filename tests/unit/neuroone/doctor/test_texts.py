"""Tests of the texts of `neuroone doctor`."""

import re
import string
from pathlib import Path

from neuroone.doctor import checks, command, fixes, forwarders, recorders, runners
from neuroone.doctor.checks import Finding, Status
from neuroone.doctor.command import read_texts
from neuroone.service.language import LANGUAGES


def test_every_code_has_texts_in_every_language_with_the_same_facts() -> None:
    """Every key is used; problems have advice, other findings have none."""

    def facts_of(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english, portuguese = map(read_texts, LANGUAGES)
    assert list(english) == list(portuguese)
    for key, text in english.items():
        assert text
        assert portuguese[key]
        assert facts_of(text) == facts_of(portuguese[key]), key

    source = "".join(
        Path(str(each.__file__)).read_text(encoding="utf-8")
        for each in (checks, recorders, forwarders, runners, command, fixes)
    )
    of_faults = {f"{what}_{fault}" for what in ("ws", "broker") for fault in ("refused", "timeout", "name", "tls")}
    of_faults |= {f"ws_{each}" for each in ("ok", "no_upgrade", "no_broker", "too_many", "proxy", "certificate")} | {
        "broker_login"
    }
    of_faults |= {
        f"certificate_{each}" for each in ("ok", "unknown", "clock", "authority", "damaged", "ends", "address")
    }
    codes = of_faults | set(re.findall(r'"((?:[a-z]+)_(?:[a-z_]+))"', source)) & set(english)
    words = {key for key in codes if key.startswith("fix_") or key.endswith("_of_up")}
    codes -= words
    advice = {f"{code}.do" for code in codes if Finding(code).status is Status.PROBLEM}
    assert set(english) == codes | words | advice | set(Status) | {"do"}
