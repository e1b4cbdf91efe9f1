"""Estimate blinks in what a headset sends, while its contact is good: without contact every sample swings."""

from neuroone.contract.blinks import BlinkEstimator
from serial_bridge.headsets.events import Event, Frame, Quantity, raw_samples


class HeadsetBlinks:
    """Find blinks in the events of a headset."""

    def __init__(self) -> None:
        self._estimator = BlinkEstimator()
        self._has_contact = True  # some headsets never send their signal quality

    def find_in(self, event: Event) -> list[int]:
        """Return the strengths of the blinks that end in this event; note what it says of the contact."""
        if isinstance(event, Frame):
            for row in event.rows:
                if row.quantity is Quantity.POOR_SIGNAL:
                    self._has_contact = row.value == 0
        samples = raw_samples(event)
        if not self._has_contact:
            self._estimator.skip(len(samples))
            return []
        return [blink.strength for blink in self._estimator.find(samples)]
