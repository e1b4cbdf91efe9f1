"""Settings of the recorder's commands, and the parsers of their values."""

import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import ClassVar, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from csv_recorder.offline.report.texts import BY, BY_LESSON
from neuroone.contract.errors import SettingsError
from neuroone.contract.shards import SHARDS_MAX, Shard
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.identity import Identity
from neuroone.service.language import parse_language
from neuroone.service.settings import KEEP_MAX_DAYS, MetricsSettings, one_of, setting, switch, topic_id, whole

PARQUET: Final = "parquet"
S3: Final = "s3://"
EDF: Final = "edf"
BIDS: Final = "bids"
NEEDED_BY: Final = {PARQUET: ("pyarrow",), "xlsx": ("openpyxl",), EDF: ("edfio",), BIDS: ("edfio",), "csv-ptbr": ()}
"""The formats of an export, each with the packages that it needs."""


def moment(value: str) -> datetime:
    """Parse a date, or a date and a time; without a zone, that of ``--timezone`` or of this computer holds."""
    try:
        found = datetime.fromisoformat(value)
        if 1970 < found.year < 3000:
            return found
    except ValueError:
        pass
    raise ValueError("must be a time like 2026-11-22 or 2026-11-22T14:30 or 2026-11-22T17:30Z")


def time_zone(value: str) -> tzinfo:
    """Parse a time zone."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone like America/Sao_Paulo or UTC") from None


def last_moment(value: str) -> datetime:
    """Parse the end of a span; a date alone includes that day."""
    found = moment(value)
    return found + timedelta(days=1) if len(value) <= len("2026-11-22") else found


def page_file(value: str) -> Path:
    """Parse the file of a page, or the directory of its ``index.html``: one that is there, or ends with a slash."""
    is_directory = value.endswith(("/", os.sep)) or Path(value).is_dir()
    return Path(value, "index.html") if is_directory else Path(value)


def target(value: str) -> str:
    """Parse a folder, or a place in S3."""
    if value.startswith(S3) and "@" in value:
        raise ValueError("holds credentials: they belong into the environment (AWS_ACCESS_KEY_ID and others)")
    if value.startswith(S3) and not value.removeprefix(S3).partition("?")[0].strip("/"):
        raise ValueError("must be like s3://BUCKET/PREFIX")
    return value


def stream_name(value: str) -> str:
    """Parse GROUP/SOURCE."""
    group, slash, source = value.partition("/")
    if not slash:
        raise ValueError("must be GROUP/SOURCE")
    return f"{topic_id(group)}/{topic_id(source)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings(MetricsSettings):
    """Settings of `csv-recorder run`."""

    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR")
    csv: bool = setting(True, switch, "Also write {Nome}.csv, as the first server did.")
    raw: bool = setting(
        False, switch, "Also record the raw samples of serial headsets (512 Hz, about 9 MB an hour each)."
    )
    rotate_mb: int = setting(64, whole(1, 4096), "Size in MB at which a session continues in a new file.")
    keep_days: int = setting(
        0, whole(0, KEEP_MAX_DAYS), "Remove sessions so many days after their end, without a question. 0: never."
    )
    rotate_h: int = setting(24, whole(1, 24 * 365), "Age in hours at which a session continues in a new file.")
    shard: Shard | None = setting(
        None,
        Shard.parse,
        "Record share K of M of the students and headsets, beside M - 1 other recorders with directories of their "
        "own. Gives the instance.",
        metavar="K/M",
    )

    def identity(self, service: str, now_s: float, instance: str | None = None) -> Identity:
        """Name this run of the recorder. The shard gives the instance: two of one shard have one client id."""
        if self.shard is None:
            return MetricsSettings.identity(self, service, now_s, instance)
        if self.instance:
            raise SettingsError([f"--instance: is shard-{self.shard.number} with --shard; leave it out"])
        named = MetricsSettings.identity(self, service, now_s, f"shard-{self.shard.number}")
        return replace(named, shard=self.shard)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSettings:
    """Settings that choose recordings."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    paths: tuple[Path, ...] = setting(
        (),
        Path,
        "Directories of recordings, dates or sessions, or single files; by default all of --dir.",
        positional=True,
        many=True,
        metavar="PATHS",
    )
    # Containers and services set this one for the recorder, and for all commands that only read.
    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR", variable="DIR")

    def chosen(self) -> tuple[Path, ...]:
        """Return the paths to read."""
        return self.paths or (self.dir,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings(RecordedSettings):
    """Settings of `csv-recorder report`."""

    from_: datetime | None = setting(None, moment, "Only readings from this time on.", metavar="TIME")
    to: datetime | None = setting(
        None, last_moment, "Only readings before this time; a date alone includes that day.", metavar="TIME"
    )
    since: datetime | None = setting(None, moment, "The same as --from.", metavar="DATE")
    until: datetime | None = setting(None, last_moment, "The same as --to.", metavar="DATE")
    timezone: tzinfo | None = setting(
        None,
        time_zone,
        "Time zone of the report and of --from and --to; by default this computer's.",
        metavar="ZONE",
        variable="TIMEZONE",
    )
    group: tuple[str, ...] = setting(
        (), str, "Only this group (its id or code); may be given several times.", many=True
    )
    class_: tuple[str, ...] = setting(
        (), str, "Only this class (its name, code or id); may be given several times.", many=True, metavar="NAME"
    )
    student: tuple[str, ...] = setting(
        (), str, "Only the students of this name; may be given several times.", many=True, metavar="NAME"
    )
    by: str = setting(
        BY_LESSON,
        one_of(*BY),
        "What a class is: a lesson (where there was none, a code on a day), a code on a day, or a day.",
    )
    all: bool = setting(False, switch, "Print every session, also if there are more than 200.")
    language: str | None = setting(
        None,
        parse_language,
        "Language of the report, en or pt-BR; by default this computer's.",
        variable="LANGUAGE",
    )
    html: Path | None = setting(
        None,
        page_file,
        "Write the report as a page with plots; for more than 1000 sessions, as an index with a page for each class.",
        metavar="FILE or DIR/",
    )
    csv: Path | None = setting(None, Path, "Write the figures as CSV, comma and dot, times in UTC.", metavar="FILE")
    xlsx: Path | None = setting(None, Path, "Write the figures as a workbook, times in UTC.", metavar="FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonsSettings(RecordedSettings):
    """Settings of `csv-recorder lessons`."""

    timezone: tzinfo | None = setting(
        None, time_zone, "Time zone of the times; by default this computer's.", metavar="ZONE", variable="TIMEZONE"
    )
    language: str | None = setting(
        None, parse_language, "Language of the list, en or pt-BR; by default this computer's.", variable="LANGUAGE"
    )
    json: bool = setting(False, switch, "Print each lesson as one line of JSON, times in UTC.")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings(RecordedSettings):
    """Settings of `csv-recorder verify`."""

    CHANGES_WITH: ClassVar[str] = "repair"

    repair: bool = setting(False, switch, "Cut off torn last rows, which a crash leaves. No recorder may run.")
    verbose: bool = setting(False, switch, "Print a line for every file, also for those in order.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings(RecordedSettings):
    """Settings of `csv-recorder export`."""

    to: str = setting(..., one_of(*NEEDED_BY), f"The format: {', '.join(NEEDED_BY)}.", metavar="FORMAT")
    out: str = setting(
        ...,
        target,
        "Directory of the new files; files of the same names are replaced. With --follow also s3://BUCKET/PREFIX.",
        secret=True,
        metavar="DIR",
    )
    group: tuple[str, ...] = setting(
        (), str, "Only this group (its id or code); may be given several times.", many=True
    )
    names: bool = setting(False, switch, "With --to bids: write who the participants are.")
    partitioned: bool = setting(False, switch, "With --to parquet: write into folders by day (UTC) and class.")
    follow: bool = setting(
        False, switch, "With --to parquet: keep a lake. Write closed sessions by site, day and class, until stopped."
    )
    every: int = setting(60, whole(1, 86_400), "With --follow: look for closed sessions after so many seconds.")
    instance: str = setting(
        "part", topic_id, "With --follow: the beginning of the files' names; another one for each exporter of a site."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetSettings:
    """Settings of `csv-recorder forget`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR")
    name: str | None = setting(None, str, "Everything that is recorded under this name.")
    source: str | None = setting(None, stream_name, "Everything of one source.", metavar="GROUP/SOURCE")
    broker: BrokerAddresses | None = setting(
        None,
        BrokerAddresses.parse,
        "Remove it from this broker, too: the recorder's --broker. Default: what is there stays.",
        secret=True,
        metavar="URL",
    )
    broker_ca: Path | None = setting(None, Path, "The recorder's --broker-ca.")
    site: str = setting("local", topic_id, "The recorder's --site.")
    instance: str = setting("", topic_id, "The recorder's --instance.")
    shard: Shard | None = setting(None, Shard.parse, "The recorder's --shard.", metavar="K/M")
    lake: str | None = setting(
        None, target, "Remove it from this lake, too: the --out of export --follow.", secret=True, metavar="DIR"
    )
    spool: Path | None = setting(
        None, Path, "Remove it from this spool of a forwarder that is stopped, too.", metavar="DIR"
    )
    yes: bool = setting(False, switch, "Do not ask.")

    def as_recorder(self) -> RunSettings | None:
        """Return the settings of the recorder that is connected to the broker; None without a broker."""
        if self.broker is None:
            return None
        return RunSettings(
            dir=self.dir,
            broker=self.broker,
            broker_ca=self.broker_ca,
            site=self.site,
            instance=self.instance,
            shard=self.shard,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshardSettings:
    """Settings of `csv-recorder reshard`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    paths: tuple[Path, ...] = setting(
        (),
        Path,
        "The directories of all recorders of now and of then: the first is that of shard 1 from now on, and so on. "
        "Those beyond the new number record no more; what is recorded there stays.",
        positional=True,
        many=True,
        metavar="DIR",
    )
    shards: int = setting(
        ..., whole(1, SHARDS_MAX), "Among how many recorders the streams are divided from now on.", metavar="M"
    )
    site: str = setting("local", topic_id, "The recorders' --site.")
    broker: BrokerAddresses | None = setting(
        None,
        BrokerAddresses.parse,
        "Let this broker forget the recorders that do not come again; else it keeps all readings for them.",
        secret=True,
        metavar="URL",
    )
    broker_ca: Path | None = setting(None, Path, "The recorders' --broker-ca.")
    instance: str = setting("", topic_id, "The --instance of the recorder that recorded all streams.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveSettings:
    """Settings of `csv-recorder give`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR", variable="DIR")
    name: str | None = setting(None, str, "Everything that is recorded under this name.")
    source: str | None = setting(None, stream_name, "Everything of one source.", metavar="GROUP/SOURCE")
    out: Path | None = setting(
        None, Path, "The new archive. Default: NAME.zip in the current directory.", metavar="ZIP"
    )
    force: bool = setting(False, switch, "Replace the archive if it is there already.")
    language: str | None = setting(
        None,
        parse_language,
        "Language of the report and the explanation, en or pt-BR; by default this computer's.",
        variable="LANGUAGE",
    )
    timezone: tzinfo | None = setting(
        None, time_zone, "Time zone of the report; by default this computer's.", metavar="ZONE", variable="TIMEZONE"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneSettings:
    """Settings of `csv-recorder prune`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    older_than: int = setting(
        ..., whole(1, KEEP_MAX_DAYS), "Days since the end of a session after which it goes.", metavar="DAYS"
    )
    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings. No recorder may run.", metavar="DIR")
    yes: bool = setting(False, switch, "Do not ask.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """Settings of `csv-recorder backup`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    archive: Path = setting(
        ..., Path, "The new archive, a .tar.gz; - for the standard output.", positional=True, metavar="ARCHIVE"
    )
    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR")
    force: bool = setting(False, switch, "Replace the archive if it is there already.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSettings:
    """Settings of `csv-recorder restore`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    archive: Path = setting(
        ..., Path, "An archive that backup made; - for the standard input.", positional=True, metavar="ARCHIVE"
    )
    dir: Path = setting(..., Path, "The directory to restore into; it must be empty, or not there.", metavar="DIR")
    replace: bool = setting(
        False, switch, "Move what the directory holds into a hidden folder in it first. No recorder may run."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildSettings:
    """Settings of `csv-recorder rebuild`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    dir: Path = setting(..., Path, "Directory of the recordings. No recorder may run.", metavar="DIR")
    force: bool = setting(False, switch, "Also if the inbox is in order.")
