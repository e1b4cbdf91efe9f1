"""The rows of ``{Nome}.csv``, to the byte those of the server that went before."""

from typing import Final

from neuroone.contract.messages import BANDS, Reading

HEADER: Final = b"Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
_FIELDS: Final = ("attention", "meditation", *BANDS)


def row(reading: Reading) -> bytes:
    """One reading as a row, with its end of line."""
    return (",".join(str(getattr(reading, field)) for field in _FIELDS) + "\n").encode("ascii")
