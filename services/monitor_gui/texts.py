"""The texts of the window, in a JSON file for each language. The language can be switched while it runs."""

import json
from pathlib import Path
from typing import Final, TypeVar

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QObject, QTranslator

from neuroone.contract import hints
from neuroone.contract.messages import StreamState, StreamStatus
from neuroone.service.language import LANGUAGES

FOLDER: Final = Path(__file__).parent / "translations"
TEXTS: Final[dict[str, dict[str, str]]] = {
    language: json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8")) for language in LANGUAGES
}
KEYS: Final = "textKeys"
"""Qt's dynamic property that holds the keys of an object's texts."""
QT_TEXTS: Final = QTranslator()
"""The texts of Qt's own dialogs, which Qt brings."""

Object = TypeVar("Object", bound=QObject)


def language(locale: QLocale | None = None) -> str:
    """Return the language of a locale, by default of the window: English if the window does not have it."""
    locale = QLocale() if locale is None else locale
    return "pt-BR" if locale.language() == QLocale.Language.Portuguese else "en"


def choose(language: str) -> None:
    """Use a language from now on, also in Qt's own dialogs."""
    locale = language.replace("-", "_")  # as Qt writes it
    QLocale.setDefault(QLocale(locale))
    QCoreApplication.removeTranslator(QT_TEXTS)
    if QT_TEXTS.load(f"qtbase_{locale}", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
        QCoreApplication.installTranslator(QT_TEXTS)


def of(key: str) -> str:
    """Return a text in the current language."""
    return TEXTS[language()][key]


def of_status(status: StreamStatus | None) -> str:
    """Return a stream's status in words; None while the broker is away."""
    return of("status.no_broker" if status is None else f"status.{status}")


def of_hint(state: StreamState) -> str | None:
    """Return what to do about the link to the headset; None if there is nothing to do."""
    return hints.of_state(state, language())


def translated(target: Object, **keys: str) -> Object:
    """Show texts on a widget, action or menu, by Qt's name of the property (text, title); return it."""
    target.setProperty(KEYS, keys)
    _write(target, keys)
    return target


def retranslate(root: QObject) -> None:
    """Write every text of `translated` below ``root`` in the current language."""
    for target in (root, *root.findChildren(QObject)):
        if keys := target.property(KEYS):
            _write(target, keys)


def _write(target: QObject, keys: dict[str, str]) -> None:
    for name, key in keys.items():
        target.setProperty(name, of(key))
