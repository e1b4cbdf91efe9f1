"""The languages of the window: translations of Qt Linguist, which can be switched while it runs.

``pt_BR.ts`` is the source, ``pt_BR.qm`` is what `compile_translations` makes of it; English is in the code.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QTranslator

FOLDER: Final = Path(__file__).parent / "translations"
SOURCE: Final = FOLDER / "pt_BR.ts"
COMPILED: Final = FOLDER / "pt_BR.qm"


class Language:
    """The current language: "pt_BR" or "en"."""

    def __init__(self) -> None:
        self.name = "en"
        self._installed: list[QTranslator] = []

    def choose(self, name: str) -> None:
        """Use a language; the window gets a LanguageChange and writes every text again."""
        for translator in self._installed:
            QCoreApplication.removeTranslator(translator)
        self.name = name
        self._installed = []
        QLocale.setDefault(QLocale(name))
        if name != "en":
            qt_folder = Path(QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath))
            for file in (qt_folder / f"qtbase_{name}.qm", FOLDER / f"{name}.qm"):
                translator = QTranslator()
                if translator.load(str(file)):
                    QCoreApplication.installTranslator(translator)
                    self._installed.append(translator)


def of_system() -> str:
    """Return the language of this computer, or English if the window does not have it."""
    return "pt_BR" if QLocale.system().language() == QLocale.Language.Portuguese else "en"


def gather_texts(into: Path = SOURCE) -> None:
    """Copy the texts of the code into the translations' source, for a person to translate."""
    code = sorted(str(file) for file in Path(__file__).parent.glob("*.py"))
    _run("pyside6-lupdate", "-no-obsolete", "-locations", "none", "-target-language", "pt_BR", *code, "-ts", str(into))


def compile_translations(source: Path = SOURCE, into: Path = COMPILED) -> None:
    """Compile the translations into the file that the window loads."""
    _run("pyside6-lrelease", str(source), "-qm", str(into))


def _run(program: str, *arguments: str) -> None:
    found = shutil.which(program, path=str(Path(sys.executable).parent)) or program
    subprocess.run([found, *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    gather_texts()
    compile_translations()
