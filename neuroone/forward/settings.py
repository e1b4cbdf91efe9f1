"""Settings of `neuroone forward`."""

from dataclasses import dataclass
from pathlib import Path

from neuroone.contract.errors import SettingsError
from neuroone.logins import site_of
from neuroone.mqtt.address import BrokerAddresses
from neuroone.service.settings import MetricsSettings, metrics_port_of, setting, switch, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardSettings(MetricsSettings):
    """Options of `neuroone forward`."""

    district: BrokerAddresses | None = setting(
        None,
        BrokerAddresses.parse,
        "The district's broker, mqtts://site-SITE:password@host:8883, or several of a cluster between commas. "
        "file:PATH reads this text from a file.",
        secret=True,
        metavar="URL",
    )
    district_ca: Path | None = setting(
        None, Path, "File with the authorities to trust for --district. Default: the system's.", metavar="FILE"
    )
    spool: Path = setting(
        Path("spool"), Path, "Directory for what the district does not have yet; names are in it.", metavar="DIR"
    )
    spool_mb: int = setting(10_000, whole(1, 10_000_000), "Size in MB that the spool may reach.")
    metrics_port: int = metrics_port_of("FORWARD_METRICS_PORT")
    with_raw: bool = setting(False, switch, "Also forward raw samples (512 Hz, about 9 MB an hour each headset).")

    def check(self) -> BrokerAddresses:
        """Return the district's brokers. Raises SettingsError."""
        if self.district is None:
            raise SettingsError(["--district: is missing"])
        own = {(each.host, each.port) for each in self.broker}
        if any((each.host, each.port) in own for each in self.district):
            raise SettingsError(["--district: is this school's own broker"])
        for site in filter(None, (site_of(each.user or "") for each in self.district)):
            if site != self.site:  # NATS would acknowledge all that is sent, and drop it
                raise SettingsError([f"--district: is the login of {site}, and --site is {self.site}"])
        return self.district
