"""How tables for spreadsheet programs are written: Portuguese names of columns, and text that they would change."""

import re
from collections.abc import Mapping
from typing import Final

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a formula; an apostrophe before them makes it text (OWASP, CSV injection)."""
_MONTHS: Final = (
    "jan(?:uary|eiro)? feb(?:ruary)? fev(?:ereiro)? mar(?:ch|ço|co)? apr(?:il)? abr(?:il)? may mai(?:o)? june? "
    "jun(?:ho)? july? jul(?:ho)? aug(?:ust)? ago(?:sto)? sept?(?:ember)? set(?:embro)? oct(?:ober)? out(?:ubro)? "
    "nov(?:ember|embro)? dec(?:ember)? dez(?:embro)?"
).replace(" ", "|")
_READ_AS_NUMBER: Final = re.compile(
    r"(?!(?:0|[1-9]\d{0,14})\Z)(?=.*\d)\s*"
    rf"(?:\d[\d.,:/ -]*(?:e[+-]?\d+)?\s*%?|(?:\d{{1,4}}[-/. ]*)?(?:{_MONTHS})[-/. ]*(?:\d{{1,4}}[-/. ]*){{0,2}})\s*",
    re.IGNORECASE,
)
"""A text that Excel or LibreOffice, in English or Portuguese, takes for a date, a time or a number when it opens CSV:
6-1, 10:30, 007, 5e55, MAR1, 1-dez-26. A plain number stays what it is."""
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


def guarded_exactly(text: str) -> str:
    """Put an apostrophe before a text that begins like a formula, also behind apostrophes; `unguarded` takes it off."""
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded_exactly` wrote; a text that it did not write is as it stands."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA_STARTS) else text


def guarded_cell(text: str) -> str:
    """Guard a text of a CSV file: also one that would become a date or a number, as the class ``6-1`` does."""
    text = guarded(text)
    return f"'{text}" if _READ_AS_NUMBER.fullmatch(text) else text
