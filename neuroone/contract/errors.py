"""The errors of NeuroOne. Those of the contract and of the settings are here, the others where they are raised.

::

    NeuroOneError
    ├── ContractError
    │   ├── BadTopic        the contract does not know the topic, or an id cannot stand in one
    │   └── BadMessage      a field of a payload or message is missing, or out of its type or range
    ├── SettingsError       flags or environment variables are wrong; lists all of them at once
    ├── BadPacket           neuroone.mqtt: the broker broke the rules of MQTT
    ├── ConnectionLost      neuroone.mqtt: the connection ended or is of no more use
    │   ├── HungUp          neuroone.mqtt: the broker closed it without giving a reason
    │   ├── NoAnswer        neuroone.mqtt: the broker stopped answering
    │   └── LoginRefused    neuroone.mqtt: the broker does not accept the user name and the password
    ├── Replaced            neuroone.mqtt: another living run of this service and instance is on the broker
    ├── PortFault           serial_bridge: a port cannot be opened, or was lost
    ├── BadCapture          serial_bridge: a line of a capture is invalid
    ├── RecordingFault      serial_bridge: no headset was recorded, or a capture cannot be written
    ├── Unplayable          monitor_gui: a recording cannot be played
    ├── BadFrame            ws_gateway: a client's frame does not follow its dialect
    │   └── NotAllowed      ws_gateway: the client may not do this; its connection is closed
    ├── CertificateFault    neuroone.certificates and ws_gateway each: there is no certificate for https to serve
    ├── TokenFault          neuroone.service: the files of the tokens cannot be read or changed
    ├── NotListed           neuroone.service: the file of the pseudonyms does not have this name
    └── Refused             ws_gateway: too much waits for the broker; the client sends again later
        ├── TooManyNames    ws_gateway: one address brings too many new names; the client may come again
        └── DoorIsFull      ws_gateway: too many students wait at the door; the client may come again
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
