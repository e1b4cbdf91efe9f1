"""The languages of the window."""

import ast
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroone.contract.messages import Link
from tests.support.messages import stream_state

pytestmark = pytest.mark.gui
FOLDER = Path(__file__).parents[3] / "services" / "monitor_gui"


def messages(source: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """The texts of a translation source: (context, English) to (translation, "unfinished" or "")."""
    root = ElementTree.parse(source).getroot()
    found = {}
    for context in root.iter("context"):
        for message in context.iter("message"):
            translation = message.find("translation")
            assert translation is not None
            key = (context.findtext("name", ""), message.findtext("source", ""))
            found[key] = (translation.text or "", translation.get("type", ""))
    return found


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the code of the window, with the name of its file."""
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield file.name, node


def name_of(call: ast.Call) -> str:
    """Return the name of the called function."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_every_text_is_gathered_and_translated(tmp_path: Path) -> None:
    """pt_BR.ts has the texts of the code, and a translation for each."""
    from monitor_gui import languages

    fresh = tmp_path / "pt_BR.ts"
    languages.gather_texts(fresh)
    stored = messages(languages.SOURCE)
    assert messages(fresh).keys() == stored.keys(), "run: python -m monitor_gui.languages"
    assert not [key for key, (text, kind) in stored.items() if kind or not text]


def test_translations_have_the_same_placeholders_and_mnemonics() -> None:
    from monitor_gui import languages

    for (_, english), (text, _) in messages(languages.SOURCE).items():
        assert english.count("{0}") == text.count("{0}")
        assert english.count("{1}") == text.count("{1}")
        assert english.count("&") == text.count("&"), english


def test_the_compiled_translations_are_up_to_date(tmp_path: Path) -> None:
    from monitor_gui import languages

    fresh = tmp_path / "pt_BR.qm"
    languages.compile_translations(into=fresh)
    assert fresh.read_bytes() == languages.COMPILED.read_bytes(), "run: python -m monitor_gui.languages"


def test_hints_are_shown_in_the_language_of_the_window(qapp: object) -> None:
    from monitor_gui import languages, texts

    state = stream_state(link=Link.UNPLUGGED, hint="COM4 went away", device="COM4")
    language = languages.Language()
    assert (texts.of_hint(state) or "").startswith("COM4 went away: plug")
    language.choose("pt_BR")
    try:
        assert (texts.of_hint(state) or "").startswith("COM4 foi desconectado: conecte")
        known = {texts.of_hint(stream_state(link=link, hint="?")) for link in Link if link is not Link.ENDED}
        assert len(known) == len(Link) - 1
        assert "?" not in known
        assert texts.of_hint(stream_state(hint=None)) is None
    finally:
        language.choose("en")


LOOKED_UP = {"QCoreApplication.translate('texts', str(TEXTS[name]))"}
"""Looks up a literal that QT_TRANSLATE_NOOP has marked."""


def test_texts_to_translate_are_literals() -> None:
    """Linguist finds only literals: no variable, no f-string, and none inside an f-string."""
    marking = ("tr", "translate", "QT_TRANSLATE_NOOP")
    for file, call in calls():
        if name_of(call) in marking and ast.unparse(call) not in LOOKED_UP:
            for argument in call.args:
                assert isinstance(argument, ast.Constant), f"{file}:{call.lineno}"
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                inside = [each for each in ast.walk(node) if isinstance(each, ast.Call) and name_of(each) == "tr"]
                assert not inside, f"{path.name}:{node.lineno}"


SHOWING = {
    "setText",
    "setTitle",
    "setWindowTitle",
    "setToolTip",
    "setPlaceholderText",
    "setLabelText",
    "setAccessibleName",
    "setOkButtonText",
    "setCancelButtonText",
    "showMessage",
    "addRow",
    "setStatusTip",
}
SAME_EVERYWHERE = {"mqtt://127.0.0.1:1883"}


def test_every_shown_text_can_be_translated() -> None:
    """No method that shows text is given a bare string with words in it."""
    for file, call in calls():
        if name_of(call) in SHOWING or name_of(call) in ("QLabel", "QPushButton", "QCheckBox", "QGroupBox", "QAction"):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    is_word = any(each.isalpha() for each in argument.value)
                    assert not is_word or argument.value in SAME_EVERYWHERE, f"{file}:{call.lineno} {argument.value!r}"
