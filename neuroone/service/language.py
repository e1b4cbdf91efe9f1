"""The language of the system's settings, for programs that speak English and Portuguese."""

from collections.abc import Mapping


def language_of(environ: Mapping[str, str]) -> str:
    """Return the language of the system's settings: pt-BR or, for all others, en."""
    wanted = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "pt-BR" if wanted.lower().startswith("pt") else "en"
