"""Explain why the window cannot open. Works without Qt: a library that Qt needs may be what is missing."""

import json
import os
from pathlib import Path
from typing import Final

from neuroone.service import qt_libraries
from neuroone.service.language import language_of

FOLDER: Final = Path(__file__).parent / "translations"


def explain(detail: str, language: str | None, package: str = "PySide6") -> str:
    """Return what keeps the window from opening and what to do.

    ``detail`` is what Qt or the import says; ``package`` is what could not be imported.
    """
    name = language or language_of(os.environ).replace("-", "_")
    of = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    lacks = qt_libraries.missing(os.environ)
    if lacks is None or package != "PySide6":
        text: str = of["start.not_installed"].format(package)
    elif lacks:
        text = of["start.no_library"].format(", ".join(lacks), qt_libraries.install_command(lacks))
    else:
        text = of["start.no_screen"].format(" ".join(detail.split()))
    return text
