"""The language of the system's settings, for programs that speak English and Portuguese."""

import json
import locale
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

LANGUAGES: Final = ("en", "pt-BR")


def parse_language(text: str) -> str:
    """Parse the name of a language, also as systems write it: pt_BR. Raises ValueError."""
    language = text.replace("_", "-")
    if language not in LANGUAGES:
        raise ValueError(f"must be one of {', '.join(LANGUAGES)}")
    return language


def language_of(environ: Mapping[str, str]) -> str:
    """Return the language of the system's settings: pt-BR or, for all others, en."""
    # Windows has none of these variables, and calls its languages by name: Portuguese_Brazil.
    wanted = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or locale.getlocale()[0] or ""
    return "pt-BR" if wanted.lower().startswith(("pt", "portuguese")) else "en"


@cache
def texts_in(folder: Path, language: str) -> Mapping[str, str]:
    """Return the texts of a language, by key, from the JSON file in ``folder`` that has its name."""
    texts: dict[str, str] = json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))
    return texts
