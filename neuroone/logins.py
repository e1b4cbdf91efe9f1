"""`neuroone secrets`: make the logins of a production server, one MQTT identity per service, and the dashboards' token.

They are made once, in a directory of their own, from the system's random numbers; a second call keeps what exists.
What each identity may do on the broker follows from the contract's topics and their owners.
"""

import base64
import contextlib
import hashlib
import logging
import os
import platform
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from neuroone.contract.errors import SettingsError
from neuroone.contract.topics import LESSON, ROOT, STREAM_STATE, TOPICS, TopicRule, is_id
from neuroone.mqtt.address import SITE_LOGIN, BrokerAddress, BrokerAddresses
from neuroone.service.lifecycle import OK, Stop
from neuroone.service.local_address import host_in_url
from neuroone.service.logs import LEVELS
from neuroone.service.settings import one_of, port_number, setting, switch, topic_id
from neuroone.service.site_address import ip, name_in_network

SERVICES: Final = ("ws_gateway", "csv_recorder", "serial_bridge", "monitor_gui", "lsl_outlet", "forwarder")
DOCTOR: Final = "doctor"
READER: Final = "reader"
IDENTITIES: Final = (*SERVICES, READER, DOCTOR)
"""One for each service; ``reader`` only reads, for third parties; ``doctor`` also reads the broker's own topics, for
`neuroone doctor` and the broker's health check."""
UP: Final = "neuroone_up"
"""The identity of `neuroone up`, which has these logins for a broker of its own that others reach."""
UP_CHECK: Final = "neuroone-up/check"
"""Where `neuroone up` tries its broker out: outside the contract's topics, so that nobody else gets what it sends."""
CLEARS: Final = (("csv_recorder", STREAM_STATE), ("csv_recorder", LESSON))
"""`csv-recorder forget --broker` removes a student's states, with the recorder's login (docs/decisions/0042)."""
BROKER: Final = "broker"
"""The directory of the broker's files, and the name of their owner in ``--owner``."""
PASSWORDS: Final = "passwords"
ACL: Final = "acl"
TOKEN: Final = "dashboard-token"  # noqa: S105 (the file's name)
PASSWORD_BYTES: Final = 24
"""192 random bits: nobody can guess them, so the password file needs no slow hash."""
PBKDF2_ITERATIONS: Final = 101
"""The number that mosquitto_passwd 2.0 uses; the password's own randomness protects it."""
SALT_BYTES: Final = 12
"""The size that Mosquitto 2.0 makes; every 2.x reads it."""
_LISTENER: Final = re.compile(r"^listener \d+(?: ([0-9a-f.:]+))?$", re.MULTILINE)
"""The first one is that of programs."""

log = logging.getLogger(__name__)


def owner(given: str) -> tuple[str, str]:
    """Parse ``--owner``. Raises ValueError."""
    name, equals, user = given.partition("=")
    if not (name in (*IDENTITIES, BROKER) or site_of(name)) or not equals or not user:
        raise ValueError(f"must be NAME=USER, with NAME one of {', '.join((*IDENTITIES, BROKER))}")
    return name, user


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """Options of the commands that make logins."""

    owner: tuple[tuple[str, str], ...] = setting(
        (), owner, "NAME=USER: the user (name or number) who owns the files of an identity; needs root.", many=True
    )
    site_login: tuple[str, ...] = setting(
        (),
        topic_id,
        "Site of a school of this district: it gets a login, for its own topics alone, and a token.",
        many=True,
    )
    log_level: str = setting("info", one_of(*LEVELS), f"One of {', '.join(LEVELS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsSettings(LoginSettings):
    """Options of `neuroone secrets`."""

    dir: Path = setting(
        Path("secrets"),
        Path,
        "Directory of the secrets; each file is readable by its owner only.",
        metavar="DIR",
        variable="",  # NEUROONE_DIR is the recordings'
    )
    broker: BrokerAddress = setting(
        BrokerAddress("127.0.0.1", 1883), BrokerAddress.parse, "The broker that the services log in to.", metavar="URL"
    )
    show: bool = setting(False, switch, "Print the dashboards' address and the logins for programs; make nothing.")
    host: str = setting(
        "localhost",
        str,
        "This server's name or address, in what --show prints. localhost stands for its name in the local network.",
    )
    public_url: str | None = setting(
        None,
        str,
        "Address of the dashboards, in what --show prints. Default: made of host and port.",
        metavar="URL",
    )
    mqtt_address: str | None = setting(
        None,
        ip,
        "Address that the broker listens on, in what --show prints. Default: that of DIR/mosquitto.conf, or every one.",
        metavar="ADDRESS",
    )
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server, in what --show prints.")
    mqtt_port: int = setting(1883, port_number, "Port of the broker, in what --show prints.")


def run(given: SecretsSettings, stop: Stop) -> int:
    """Make the missing secrets, or print the existing ones. Raises SettingsError."""
    try:
        if given.show:
            print(overview(given))
        else:
            make(given.dir, given.broker, dict(given.owner), given.site_login)
            log.info("dashboards are at %s, with the token that --show prints", dashboards(given))
    except (OSError, LookupError) as error:
        raise SettingsError([f"--dir, --owner: {error}"]) from None
    return OK


def make(folder: Path, broker: BrokerAddress, owners: Mapping[str, str], sites: Sequence[str] = ()) -> None:
    """Make every missing secret, and the broker's password file from all of them; ``sites`` get a login of their own.

    Every user may enter the directory, so that each service reaches its own file; only its owner may read a file.
    Raises OSError, and LookupError for an owner that this machine does not know.
    """
    logins = make_logins(folder, broker, identities_in(folder, sites), owners)
    make_tokens(folder, logins, owners)
    # mosquitto_sub finds its options in a file of its own name: the broker's health check logs in with them.
    options = f"-u {DOCTOR}\n-P {logins[DOCTOR].password}\n"
    write(folder / BROKER / "mosquitto_sub", options, owners.get(BROKER))


def identities_in(folder: Path, sites: Sequence[str] = ()) -> tuple[str, ...]:
    """Return who has a login: the services, the schools whose logins are in the folder, and those of ``sites``."""
    known = {file.stem for file in folder.glob(f"{SITE_LOGIN}*.url") if site_of(file.stem)}
    return (*IDENTITIES, *sorted(known | {f"{SITE_LOGIN}{each}" for each in sites}))


def site_of(name: str) -> str | None:
    """Return the site of a school's login; None for any other login."""
    site = name.removeprefix(SITE_LOGIN)
    return site if site != name and is_id(site) else None


def make_logins(
    folder: Path, broker: BrokerAddress, identities: Sequence[str], owners: Mapping[str, str]
) -> dict[str, BrokerAddress]:
    """Make every missing login, and Mosquitto's files from all of them; return the address of each identity.

    Raises OSError and LookupError.
    """
    logins = make_urls(folder, broker, identities, owners)
    make_folder(folder / BROKER)
    passwords = [password_line(name, login.password or "", os.urandom(SALT_BYTES)) for name, login in logins.items()]
    write(folder / BROKER / PASSWORDS, "".join(passwords), owners.get(BROKER))
    write(folder / BROKER / ACL, acl(identities), owners.get(BROKER))
    return logins


def make_urls(
    folder: Path, broker: BrokerAddress, identities: Sequence[str], owners: Mapping[str, str]
) -> dict[str, BrokerAddress]:
    """Make every missing login; return the address of each identity. Raises OSError and LookupError."""
    make_folder(folder)
    for name in identities:
        login = replace(broker, user=name, password=secrets.token_urlsafe(PASSWORD_BYTES))
        _write_missing(folder / f"{name}.url", f"{login.url}\n", owners.get(name))
    return {name: login_in(folder, name) for name in identities}


def make_tokens(folder: Path, identities: Iterable[str], owners: Mapping[str, str]) -> None:
    """Make the first token of dashboards, and that of each school, if missing. Raises OSError and LookupError."""
    for name in (TOKEN, *(f"{each}.token" for each in identities if site_of(each))):
        _write_missing(folder / name, secrets.token_urlsafe(PASSWORD_BYTES) + "\n", owners.get("ws_gateway"))


def make_folder(folder: Path) -> None:
    """Make a folder that every user may enter. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)


def login_in(folder: Path, name: str) -> BrokerAddress:
    """Read the broker's address with the login of an identity. Raises OSError, also for an invalid file."""
    try:
        return BrokerAddresses.parse(f"file:{folder / f'{name}.url'}")[0]
    except ValueError as error:
        raise OSError(f"{name}.url: {error}") from None


def password_line(user: str, password: str, salt: bytes) -> str:
    """Return a line of Mosquitto's password file: PBKDF2 with SHA-512, as its mosquitto_passwd 2.x writes it."""
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ITERATIONS)
    return f"{user}:$7${PBKDF2_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}\n"


def acl(identities: Sequence[str] = IDENTITIES) -> str:
    """Return Mosquitto's access list: each identity reads every topic and writes only those that it owns.

    A school's login reads and writes the topics of its site.
    """
    lines = []
    for name in identities:
        lines += [f"user {name}", f"topic read {root_of(name)}/#"]
        lines += ["topic read $SYS/broker/#"] if name == DOCTOR else []
        lines += [f"topic read {UP_CHECK}/#"] if name == UP else []
        lines += [f"topic write {each}" for each in writes(name)]
    return "\n".join(lines) + "\n"


def root_of(name: str) -> str:
    """Return the topic below which an identity may read everything."""
    site = site_of(name)
    return ROOT if site is None else f"{ROOT}/{site}"


def writes(name: str) -> list[str]:
    """Return the filters of the topics that an identity may publish on."""
    if site_of(name) is not None:
        return [f"{root_of(name)}/#"]
    own = [f"{ROOT}/+/{_shape_of(rule, name)}" for rule in TOPICS if owns(name, rule) or (name, rule) in CLEARS]
    return [*own, f"{UP_CHECK}/#"] if name == UP else own


def owns(name: str, rule: TopicRule) -> bool:
    """Return True if an identity publishes on the topics of a rule."""
    return name in (*SERVICES, UP) and (name in rule.owner or rule.owner.startswith("each service"))


def _shape_of(rule: TopicRule, name: str) -> str:
    """Return the filter for a rule's topics; if they name a service, only for this one."""
    return re.sub(r"\{\w+\}", "+", rule.shape.replace("{service}", name))


def dashboards(given: SecretsSettings) -> str:
    """Return the address of the teacher's page for other devices, without the token."""
    if given.public_url:
        return f"{given.public_url.rstrip('/')}/"
    return f"http://{host_in_url(_host(given))}:{given.ws_port}/"


def listening_at(folder: Path) -> str:
    """Return where the broker listens, by the configuration that deploy/install.sh keeps beside the logins."""
    found = None
    with contextlib.suppress(OSError):
        found = _LISTENER.search((folder / "mosquitto.conf").read_text(encoding="utf-8"))
    return found[1] if found and found[1] else "0.0.0.0"  # noqa: S104 (what others may reach)


def _host(given: SecretsSettings) -> str:
    return name_in_network(platform.node()) if given.host == "localhost" else given.host


def overview(given: SecretsSettings) -> str:
    """Return the addresses and logins that an operator hands out."""
    token = (given.dir / TOKEN).read_text(encoding="ascii").strip()
    schools = [(name, site) for name in identities_in(given.dir) if (site := site_of(name)) is not None]
    broker = ip_address(given.mqtt_address or listening_at(given.dir))
    broker_host = _host(given) if broker.is_unspecified else "localhost" if broker.is_loopback else str(broker)

    def address(name: str) -> str:
        return replace(login_in(given.dir, name), host=broker_host, port=given.mqtt_port).url

    return "\n".join(
        (
            f"Dashboards:             {dashboards(given)}#token={token}",
            f"Programs that read:     {address(READER)}",
            f"The monitor (--broker): {address('monitor_gui')}",
            f"A bridge (--broker):    {address('serial_bridge')}",
            f"lsl-outlet (--broker):  {address('lsl_outlet')}",
            *(f"{name + ':':24}{dashboards(given)}{site}/#token={_token(given.dir, name)}" for name, site in schools),
            *(f"{name}, --district: {address(name)}" for name, _ in schools),
        )
    )


def _token(folder: Path, name: str) -> str:
    return (folder / f"{name}.token").read_text(encoding="ascii").strip()


def _write_missing(file: Path, text: str, user: str | None) -> None:
    """Write a file if it is missing; one that is there gets its owner back, as after a restored backup."""
    if file.exists():
        _give(file, user)
    else:
        write(file, text, user)


def write(file: Path, text: str, user: str | None) -> None:
    """Write a file completely or not at all, for ``user``."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    closed = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
    with os.fdopen(closed, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    _give(new, user)
    new.replace(file)


def _give(file: Path, user: str | None) -> None:
    """Make a user, given by name or number, and the user's own group the owners of a file. Raises LookupError.

    Mosquitto warns of a password file of another group, and future versions refuse it. A number that this machine does
    not know, as that of a container's user, is the group's number too.
    """
    if user is None:
        return
    import pwd  # Windows has none

    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        owners = entry.pw_uid, entry.pw_gid
    except KeyError:
        if not user.isdecimal():
            raise LookupError(f"no such user: {user!r}") from None
        owners = int(user), int(user)
    stat = file.stat()
    if (stat.st_uid, stat.st_gid) != owners:
        os.chown(file, *owners)
