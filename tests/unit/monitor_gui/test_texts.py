"""The texts of the window in its languages."""

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from neuroone.contract.messages import Kind, Link, StreamStatus
from tests.support.messages import stream_state

pytestmark = pytest.mark.gui
FOLDER = Path(__file__).parents[3] / "services" / "monitor_gui"
KEY = re.compile(
    r"(window|toolbar|class|contact|big|plots|axis|raw|panel|marker|save|connection|broker|streams|headset|shortcuts|start|"
    r"play|record|system)\.[a-z_]+"
)


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node in the code of the window, with the name of its file."""
    for file in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            yield file.name, node


def name_of(call: ast.Call) -> str:
    """Return the name of the called function."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def keys_in_tables() -> set[str]:
    """The keys that the code makes of a prefix and a name."""
    from monitor_gui.actions import CHOICES, KEYS, MENUS
    from monitor_gui.broker_page import COLUMNS
    from monitor_gui.contact_guide import STEPS
    from monitor_gui.signal_bar import CHOICES as RAW_CHOICES
    from monitor_gui.view import ESENSES, LINES, Density, Signal

    choices = [f"{choice} {value}" for choice, values in CHOICES.items() for value in values]
    tables: dict[str, Iterable[str]] = {
        "action": (*KEYS, *choices),
        "menu": (*MENUS, *CHOICES),
        "line": LINES,
        "contact": STEPS,
        "class": ESENSES,
        "signal": Signal,
        "status": (*StreamStatus, "no_broker"),
        "link": Link,
        "streams": (*COLUMNS, *Kind),
        "raw": RAW_CHOICES,
        "about": RAW_CHOICES,
        "axis": Density,
        "toolbar": ("stream", "compared", "window"),
    }
    return {f"{prefix}.{name}" for prefix, names in tables.items() for name in names}


def keys_in_code() -> set[str]:
    """The keys that stand in the code as they are, like "broker.connect"."""
    strings = {str(node.value) for _, node in nodes() if isinstance(node, ast.Constant)}
    return {each for each in strings if KEY.fullmatch(each)}


def test_every_text_is_translated_and_used() -> None:
    from monitor_gui import texts

    english, portuguese = texts.TEXTS["en"], texts.TEXTS["pt-BR"]
    assert list(english) == list(portuguese)
    assert all(chain(english.values(), portuguese.values()))
    assert set(english) == keys_in_code() | keys_in_tables()


def test_translations_have_the_same_placeholders_and_mnemonics() -> None:
    from monitor_gui import texts

    for key, english in texts.TEXTS["en"].items():
        text = texts.TEXTS["pt-BR"][key]
        assert english.count("{0}") == text.count("{0}"), key
        assert english.count("{1}") == text.count("{1}"), key
        assert english.count("&") == text.count("&"), key


def test_hints_are_shown_in_the_language_of_the_window(qapp: object) -> None:
    from monitor_gui import texts

    state = stream_state(link=Link.UNPLUGGED, hint="COM4 went away", device="COM4")
    assert (texts.of_hint(state) or "").startswith("COM4 went away: plug")
    texts.choose("pt-BR")
    try:
        assert (texts.of_hint(state) or "").startswith("COM4 foi desconectado: conecte")
        known = {texts.of_hint(stream_state(link=link, hint="?")) for link in Link if link is not Link.ENDED}
        assert len(known) == len(Link) - 1
        assert "?" not in known
        assert texts.of_hint(stream_state(hint=None)) is None
    finally:
        texts.choose("en")


def test_widgets_and_actions_are_written_again_in_another_language(qapp: object) -> None:
    """A text goes to the property that is named: some widgets have several."""
    from PySide6.QtGui import QAction
    from PySide6.QtWidgets import QGroupBox, QLineEdit

    from monitor_gui import texts

    box = texts.translated(QGroupBox(), title="streams.title")
    edit = texts.translated(QLineEdit(box), placeholderText="headset.code_placeholder", accessibleName="streams.name")
    action = texts.translated(QAction(box), text="action.quit")
    assert (box.title(), edit.placeholderText(), edit.accessibleName(), action.text()) == (
        "Streams",
        "may be empty",
        "Name",
        "&Quit",
    )
    texts.choose("pt-BR")
    try:
        texts.retranslate(box)
        assert (box.title(), edit.placeholderText(), edit.accessibleName(), action.text()) == (
            "Fluxos",
            "pode ficar vazio",
            "Nome",
            "&Sair",
        )
    finally:
        texts.choose("en")


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
    for file, call in nodes():
        if not isinstance(call, ast.Call):
            continue
        if name_of(call) in SHOWING or name_of(call) in ("QLabel", "QPushButton", "QCheckBox", "QGroupBox", "QAction"):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    is_word = any(each.isalpha() for each in argument.value)
                    assert not is_word or argument.value in SAME_EVERYWHERE, f"{file}:{call.lineno} {argument.value!r}"
