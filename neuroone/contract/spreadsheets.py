"""How tables for spreadsheet programs are written: Portuguese names of columns, and text that begins like a formula."""

import re
from collections.abc import Mapping
from typing import Final

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a formula; an apostrophe before them makes it text (OWASP, CSV injection)."""
_NOT_IN_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
PORTUGUESE_COLUMNS: Final[Mapping[str, str]] = {
    "time": "horario_utc",
    "seconds": "segundos",
    "group": "grupo",
    "source": "fonte",
    "name": "nome",
    "session": "sessao",
    "poor_signal": "sinal_ruim",
    "valid": "valido",
    "attention": "atencao",
    "meditation": "meditacao",
    "theta": "teta",
    "low_alpha": "alfa_baixa",
    "high_alpha": "alfa_alta",
    "low_beta": "beta_baixa",
    "high_beta": "beta_alta",
    "low_gamma": "gama_baixa",
    "mid_gamma": "gama_media",
    "doubt": "duvida",
    "event": "evento",
    "first_seq": "primeiro_seq",
    "last_seq": "ultimo_seq",
    "text": "texto",
    "simulated": "simulado",
}


def guarded(text: str) -> str:
    """Put an apostrophe before a text that begins like a formula, and replace what a workbook cannot hold."""
    text = _NOT_IN_XML.sub("�", text)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
