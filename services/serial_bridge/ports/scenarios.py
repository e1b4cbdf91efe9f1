"""What a simulated head does: phases one after the other, again and again."""

from collections.abc import Mapping
from typing import Final, NamedTuple

EVERYDAY: Final = "everyday"


class Phase(NamedTuple):
    """What is steady for some time.

    ``rhythms`` are the amplitudes of delta, theta, alpha and beta in counts of the ADC, 0.22 microvolts each; ``step``
    is the height of what each step of a walk leaves in the signal. ``poor_share`` of the seconds with good contact
    begin a time of poor contact.
    """

    seconds: int
    rhythms: tuple[float, float, float, float]
    blinks_hz: float = 0.3
    step: float = 0.0
    poor_share: float = 0.0


class Scenario(NamedTuple):
    """The phases; the rhythms follow them in about ``settles_s``. ``wanders``: alpha and beta also change by chance."""

    phases: tuple[Phase, ...]
    settles_s: float = 2.0
    wanders: bool = False

    def phase(self, t_s: float) -> Phase:
        """Return the phase at a time since the beginning."""
        left_s = t_s % sum(phase.seconds for phase in self.phases)
        for phase in self.phases:
            left_s -= phase.seconds
            if left_s < 0:
                return phase
        return self.phases[-1]


SCENARIOS: Final[Mapping[str, Scenario]] = {
    EVERYDAY: Scenario((Phase(60, (0, 0, 20, 12), poor_share=0.02),), wanders=True),
    "eyes-closed": Scenario((Phase(30, (0, 4, 8, 14)), Phase(30, (0, 4, 70, 8), blinks_hz=0.01))),
    "attention-task": Scenario((Phase(30, (0, 4, 40, 8)), Phase(60, (0, 6, 8, 30), blinks_hz=0.1))),
    "falling-asleep": Scenario(
        (
            Phase(90, (0, 4, 60, 10), blinks_hz=0.1),
            Phase(150, (20, 45, 20, 5), blinks_hz=0.01),
            Phase(360, (80, 50, 5, 3), blinks_hz=0.01),
        ),
        settles_s=20.0,
    ),
    "bad-contact": Scenario((Phase(60, (0, 4, 30, 12), poor_share=0.2),)),
    "walking": Scenario((Phase(20, (0, 4, 30, 12)), Phase(60, (0, 8, 15, 18), step=120, poor_share=0.03))),
}
"""What ``--scenario`` names; docs/headsets.md describes them."""
