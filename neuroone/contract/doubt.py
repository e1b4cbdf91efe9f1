"""Tell which readings of a stream do not mean what their numbers look like, and why.

Whoever shows or averages readings asks here, with the readings of one stream in their order; a doubt does not travel.
The teacher's page has the same rule and words in ``doubt.js``, reports and exports have the rule for arrays; tests hold
all of them to ``tests/golden/doubt.json``. docs/doubts.md describes it for readers.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple

from neuroone.contract.messages import BANDS, Reading

FROZEN_AFTER: Final = timedelta(seconds=10)
"""An app whose headset is gone repeats its last values for ever; no honest headset repeats ten numbers for so long."""
SAME_HONEST_MAX: Final = 4
"""The longest honest run of equal readings that was seen. As clipped bands are all equal, a few that lie far apart may
be chance."""
CLIPPED_AT: Final = 99
"""The production phone app reads band powers with their bytes in the wrong order, and cuts them off here."""
_values_of: Final = attrgetter("attention", "meditation", *BANDS)


class Doubt(StrEnum):
    """Why a reading is doubtful. Of several reasons the first one in this list is told.

    What the headset says itself comes first; then what the numbers show, from nothing measured to partly wrong. Each
    reason touches at least what the later ones touch.
    """

    POOR_CONTACT = "poor_contact"
    ZEROS = "zeros"
    NO_BANDS = "no_bands"
    FROZEN = "frozen"
    CLIPPED = "clipped"
    NO_QUALITY = "no_quality"

    @property
    def touches_esense(self) -> bool:
        """Return True if attention and meditation mean nothing. Clipped bands say nothing about them."""
        return self not in (Doubt.CLIPPED, Doubt.NO_QUALITY)

    @property
    def touches_bands(self) -> bool:
        """Return True if the band powers mean nothing. Without a quality they may be good: nobody knows."""
        return self is not Doubt.NO_QUALITY

    def words(self, language: str) -> "Words":
        """Return what people read about it; Portuguese if the language's code begins with ``pt``."""
        return (PORTUGUESE if language.startswith("pt") else ENGLISH)[self]


class Words(NamedTuple):
    """A ``word`` beside a doubtful value, and a ``sentence`` that says why it is doubtful and what to do."""

    word: str
    sentence: str


DOUBTS: Final = (None, *Doubt)
"""The doubts as numbers, for tables: each is its place here."""


class Doubts:
    """The doubts of one stream, whose readings are added in their order.

    ``same`` is the number of readings with the same ten numbers up to the newest. If the newest is frozen, all of them
    are, also those that had no doubt when they came.
    """

    def __init__(self) -> None:
        self.same = 0
        self._values: tuple[int, ...] = ()
        self._since = self._time = datetime.min.replace(tzinfo=UTC)
        self._clips = False

    def add(self, reading: Reading) -> Doubt | None:
        """Return the doubt of the stream's next reading; None if there is none."""
        values: tuple[int, ...] = _values_of(reading)
        if values != self._values or reading.time < self._time:  # a clock that was set back begins anew
            self.same, self._since = 0, reading.time
        self.same += 1
        self._values, self._time = values, reading.time
        bands = values[2:]
        highest = max(bands)
        self._clips |= highest == CLIPPED_AT and {*bands} <= {0, CLIPPED_AT}
        if reading.poor_signal:
            return Doubt.POOR_CONTACT
        if not highest:
            return Doubt.NO_BANDS if any(values) else Doubt.ZEROS
        if self.same > SAME_HONEST_MAX and reading.time - self._since >= FROZEN_AFTER:
            return Doubt.FROZEN
        if self._clips and highest == CLIPPED_AT:  # also where the wrong order of bytes gave a few lower values
            return Doubt.CLIPPED
        return Doubt.NO_QUALITY if reading.poor_signal is None else None


ENGLISH: Final[Mapping[Doubt, Words]] = {
    Doubt.POOR_CONTACT: Words(
        "poor contact",
        "The headset reports poor contact: attention and meditation keep their last values, and the bands are noise. "
        "Adjust the sensor.",
    ),
    Doubt.ZEROS: Words(
        "only zeros", "The app sends only zeros: it has no data yet. Is the headset switched on and connected?"
    ),
    Doubt.NO_BANDS: Words(
        "no bands",
        "All bands are 0, but attention or meditation is not: the app has never decoded a row of bands, and the other "
        "numbers are chance.",
    ),
    Doubt.FROZEN: Words(
        "frozen",
        "No number has changed for 10 s: the app repeats its last values. Is the headset switched on, near and "
        "connected?",
    ),
    Doubt.CLIPPED: Words(
        "clipped bands",
        "All bands are cut off at 99, so that their shares mean nothing. Attention and meditation are not affected.",
    ),
    Doubt.NO_QUALITY: Words(
        "quality unknown", "The app does not send the signal quality: nobody can tell how good the contact is."
    ),
}
PORTUGUESE: Final[Mapping[Doubt, Words]] = {
    Doubt.POOR_CONTACT: Words(
        "mau contato",
        "O headset informa mau contato: atenção e meditação ficam no último valor e as bandas são ruído. Ajuste o "
        "sensor.",
    ),
    Doubt.ZEROS: Words("só zeros", "O app envia só zeros: ainda não tem dados. O headset está ligado e conectado?"),
    Doubt.NO_BANDS: Words(
        "sem bandas",
        "Todas as bandas são 0, mas a atenção ou a meditação não: o app nunca decodificou uma linha de bandas, e os "
        "outros números são acaso.",
    ),
    Doubt.FROZEN: Words(
        "congelado",
        "Nenhum número mudou por 10 s: o app repete os últimos valores. O headset está ligado, por perto e conectado?",
    ),
    Doubt.CLIPPED: Words(
        "bandas cortadas",
        "Todas as bandas estão cortadas em 99, e suas proporções não significam nada. Atenção e meditação não são "
        "afetadas.",
    ),
    Doubt.NO_QUALITY: Words(
        "qualidade desconhecida",
        "O app não envia a qualidade do sinal: não dá para saber se o contato é bom.",
    ),
}
