"""The errors of NeuroOne.

::

    NeuroOneError
    ├── ContractError
    │   ├── BadTopic        a topic that the contract does not know, or an id that is none
    │   └── BadMessage      a payload, or a message, with a field out of its type or range
    └── SettingsError       wrong flags or environment variables, all of them at once
"""

from collections.abc import Sequence


class NeuroOneError(Exception):
    """Any error that NeuroOne raises on purpose."""


class ContractError(NeuroOneError):
    """Something that came from a wire, or is about to go to one, breaks the contract."""


class BadTopic(ContractError):
    """A topic that the contract does not know, or an id that cannot stand in one."""


class BadMessage(ContractError):
    """A payload or message with a fault in one field.

    ``field`` is the name on the wire ("" when the payload as a whole is at fault) and ``fault`` says in
    plain words what is wrong with it. Neither quotes the value: it may be a child's.
    """

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(field, fault)
        self.field = field
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.field}: {self.fault}" if self.field else self.fault


class SettingsError(NeuroOneError):
    """One or more settings are wrong; ``faults`` has one sentence for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(*faults)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join(self.faults)
