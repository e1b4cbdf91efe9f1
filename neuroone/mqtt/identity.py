"""Who a service is on the broker."""

from dataclasses import dataclass

from neuroone.contract.shards import Shard


@dataclass(frozen=True, slots=True)
class Identity:
    """Name one run of a service on the broker.

    ``run`` is a random id of this run, compared for equality only: no clock decides which of two runs is the newer one.
    ``epoch`` is the start of this run in ms since 1970, for people who read the states. ``shard`` is the share of the
    streams that a recorder records, if it does not record all.
    """

    site: str
    service: str
    instance: str
    version: str
    epoch: int
    run: str
    shard: Shard | None = None

    @property
    def client_id(self) -> str:
        """The MQTT client id of all runs: the broker keeps a session under it, for one connection at a time."""
        return f"neuroone-{self.site}-{self.service}-{self.instance}"

    @property
    def run_client_id(self) -> str:
        """The MQTT client id of this run alone: the broker throws out no other run for it."""
        return f"{self.client_id}-{self.run[:8]}"
