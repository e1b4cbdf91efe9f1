"""The texts of a report, and its formats of numbers and times, in English and Brazilian Portuguese."""

import locale
import math
import os
import re
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

ENGLISH: Final = "en"
PORTUGUESE: Final = "pt-BR"
LANGUAGES: Final = (ENGLISH, PORTUGUESE)
UNKNOWN: Final = "–"

_STEERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "title": ("NeuroOne report", "Relatório NeuroOne"),
    "made": ("Made on {0} from {1} recordings.", "Gerado em {0} a partir de {1} gravações."),
    "zone": ("Times: {0}.", "Horários: {0}."),
    "notice": (
        "Experimental indicators, not a diagnosis. They vary from person to person: compare a student with their own "
        "earlier values, not with other students.",
        "Indicadores experimentais, não são diagnóstico. Variam de pessoa para pessoa: compare cada aluno com os "
        "próprios valores anteriores, não com os de outros alunos.",
    ),
    "valid_only": (
        "Attention and meditation: only samples with good signal and a value above 0. Mean, median, standard deviation "
        "(sd) and trend (change per minute). A ? means that the signal quality is known only in part.",
        "Atenção e meditação: só amostras com sinal bom e valor acima de 0. Média, mediana, desvio padrão (dp) e "
        "tendência (variação por minuto). Um ? indica que a qualidade do sinal só é conhecida em parte.",
    ),
    "classes": ("classes", "turmas"),
    "students": ("students", "alunos"),
    "sessions": ("sessions", "sessões"),
    "no_group": ("without a group", "sem grupo"),
    "class": ("class", "turma"),
    "date": ("date", "data"),
    "name": ("name", "nome"),
    "group": ("group", "grupo"),
    "start": ("start", "início"),
    "duration": ("duration", "duração"),
    "rows": ("rows", "linhas"),
    "missing": ("missing", "faltam"),
    "good_signal": ("good signal", "sinal bom"),
    "quality_unknown": ("signal quality unknown", "qualidade do sinal desconhecida"),
    "quality_partly": ("signal quality known only in part", "qualidade do sinal conhecida só em parte"),
    "unknown_short": ("unknown", "desconh."),
    "mean": ("mean", "média"),
    "median": ("median", "mediana"),
    "sd": ("sd", "dp"),
    "trend_per_min": ("/min", "/min"),
    "attention": ("attention", "atenção"),
    "meditation": ("meditation", "meditação"),
    "together": ("all sessions", "todas as sessões"),
    "bands": ("Band powers (no unit)", "Potências das bandas (sem unidade)"),
    "band": ("band", "banda"),
    "share": ("share", "proporção"),
    "log": ("log10", "log10"),
    "over_time": ("{0} over time, 0 to 100", "{0} ao longo do tempo, de 0 a 100"),
    "no_time": (
        "This file has no times: no plot, no duration, no trend.",
        "Este arquivo não tem horários: não há gráfico, duração nem tendência.",
    ),
    "no_valid": ("No valid samples.", "Nenhuma amostra válida."),
    "missing_readings": ("{0} readings missing", "faltam {0} leituras"),
    "longest_step": ("longest pause {0} s", "maior pausa: {0} s"),
    "left_out": ("{0} damaged or unfinished rows left out", "{0} linhas danificadas ou incompletas foram ignoradas"),
    "not_read": ("Could not be read", "Não foi possível ler"),
    "nothing": ("No readings match this selection.", "Nenhuma leitura corresponde a esta seleção."),
    "samples": ("samples", "amostras"),
    "delta": ("delta", "delta"),
    "theta": ("theta", "teta"),
    "low_alpha": ("low alpha", "alfa baixa"),
    "high_alpha": ("high alpha", "alfa alta"),
    "low_beta": ("low beta", "beta baixa"),
    "high_beta": ("high beta", "beta alta"),
    "low_gamma": ("low gamma", "gama baixa"),
    "mid_gamma": ("mid gamma", "gama média"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """One language and one time zone (None: this computer's)."""

    language: str = ENGLISH
    zone: tzinfo | None = None

    def __call__(self, key: str, *values: object) -> str:
        """Return a text with values in it."""
        return _WORDS[key][LANGUAGES.index(self.language)].format(*values)

    def number(self, value: Any, decimals: int = 1, *, sign: bool = False) -> str:
        """Write a number; a dash if there is none."""
        if value is None or math.isnan(value):
            return UNKNOWN
        written = f"{value:{'+' if sign else ''}.{decimals}f}"
        return written.replace(".", ",") if self.language == PORTUGUESE else written

    def percent(self, share: Any, decimals: int = 1) -> str:
        """Write a share of one as a percentage."""
        return UNKNOWN if share is None or math.isnan(share) else f"{self.number(100 * share, decimals)} %"

    def time(self, time: Any, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        """Write a time of pandas; a dash if there is none."""
        return UNKNOWN if time != time else f"{time.to_pydatetime().astimezone(self.zone):{form}}"

    def zone_name(self, at: Any) -> str:
        """Write the difference to UTC at a time of pandas."""
        return UNKNOWN if at != at else f"UTC{at.to_pydatetime().astimezone(self.zone).isoformat()[-6:]}"


def duration(seconds: Any) -> str:
    """Write hours, minutes and seconds; a dash if there are none."""
    if seconds is None or math.isnan(seconds):
        return UNKNOWN
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}"


def of_system() -> str:
    """Return the language of this computer if a report has it, else English."""
    told = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), None)
    return PORTUGUESE if (told or locale.getlocale()[0] or "").lower().startswith("pt") else ENGLISH


def printable(text: str) -> str:
    """Replace characters that would control a terminal, change the text direction or break its lines."""
    return _STEERS.sub("�", text)
