"""Headsets for pages in Chromium: fakes at the browser's own interfaces, and what the bridge makes of their bytes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from neuroone.contract.messages import BANDS, Reading
from neuroone.service.wearers import Owner
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.stream import Stream

FAKES: Final = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
KEYS: Final = ("poor_signal", "attention", "meditation", *BANDS)


def readings_of(*streams: bytes) -> list[dict[str, Any]]:
    """Return the readings that the bridge makes of the streams, each a connection of its own."""
    found = []
    for stream in streams:
        maker, decoder = Stream(Owner()), Decoder()
        for events in (decoder.feed(stream), decoder.flush()):
            made = maker.on_events(events, datetime.now(UTC))
            found += [{key: getattr(each, key) for key in KEYS} for each in made if isinstance(each, Reading)]
    return found
