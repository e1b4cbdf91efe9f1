"""One gateway for the sites of a district: each connection belongs to the site that its path names, and to no other.

The sites have nothing in common but the port, the certificate and the files of the pages: each has its own students,
dashboards, lessons, tokens and recordings, and its own login to the broker (docs/decisions/0048).
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from itertools import permutations
from pathlib import Path
from typing import Any, Final

from websockets.http11 import Request, Response

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.contract.topics import is_id
from neuroone.service.settings import host_id
from ws_gateway.http.access_log import STANDARD_OUTPUT
from ws_gateway.http.front_pages import FrontPages
from ws_gateway.http.pages import Pages
from ws_gateway.settings import Settings
from ws_gateway.site import Shared, SiteGateway, token_files
from ws_gateway.visitors import Visitor, Visitors
from ws_gateway.websocket.admission import Admission as Connections
from ws_gateway.websocket.certificate import Https
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.server import Server, is_handshake

NEEDED: Final = ("broker", "token_file")
OWN: Final = (*NEEDED, "recordings", "join_codes", "site_key", "pseudonyms", "access_log", "osc")
"""What each site has for itself: settings of these names, of which all must have some."""
TITLE: Final = "name"
"""What people read in place of the site's id."""
RESTART_S: Final = 60.0
"""A site whose place on the broker another program has taken is tried again after this time; the others go on."""
TAKEN: Final = ("page", "sites", "healthz", "readyz")
"""What the front answers itself: a site of such a name could not be opened, or hide the files of the pages."""
_SITE: Final = re.compile(r"/([A-Za-z0-9_-]{1,64})((?:[/?#].*)?)", re.DOTALL)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """A site of the file."""

    title: str
    given: Settings


class FrontServer(Server):
    """Accept every connection, and hand it to the site that its path names; old apps, which name none, to one of them.

    The address of a site that is not there names none either, but what its students send belongs nowhere else; only
    where the default site has a key may it be that.

    What fails before a request, like TLS, is counted at the first site.
    """

    def __init__(self, given: Settings, sites: Mapping[str, SiteGateway], shared: Shared, *, has_key: bool) -> None:
        first = next(iter(sites.values()))
        super().__init__(
            first.hub,
            FrontPages(shared.pages, sites.keys(), shared.sites, self._readiness),
            connections=shared.connections,
            visitors=Visitors(given.trusted_proxies, given.origin),
            https=shared.https,
        )
        self._sites = sites
        self._default = sites.get(given.site)
        self._has_key = has_key

    def on_request(self, connection: Connection, request: Request) -> Awaitable[Response | None] | Response | None:
        """Hand a connection to its site, which answers; answer those that name none."""
        if connection.is_plain_on_tls:
            return super().on_request(connection, request)
        is_client = is_handshake(request.headers)
        named = _SITE.fullmatch(request.path)
        site = self._sites.get(named[1]) if named else None
        if named and site is not None and (is_client or named[2].startswith("/")):
            request.path = named[2] if named[2].startswith("/") else f"/{named[2]}"
        else:
            is_bare = request.path.partition("?")[0] in ("", "/")
            site = self._default if is_client and (is_bare or self._has_key) else None
        if site is not None:
            connection.move_to(site.server)
            return site.server.on_request(connection, request)
        if is_client:
            text = "The address must name a school, like wss://SERVER/SCHOOL/.\n"
            return connection.text_response(HTTPStatus.NOT_FOUND, text)
        return super().on_request(connection, request)

    def stop_accepting(self) -> None:
        """Refuse new clients, and ignore messages from the present ones."""
        super().stop_accepting()
        for site in self._sites.values():
            site.server.stop_accepting()

    def _readiness(self) -> tuple[HTTPStatus, str]:
        ready = [site.readiness.answer()[0] is HTTPStatus.OK for site in self._sites.values()]
        status = HTTPStatus.OK if any(ready) else HTTPStatus.SERVICE_UNAVAILABLE
        return status, f"{sum(ready)} of {len(ready)} sites are ready\n"


def wire(given: Settings, https: Https, connections: Connections) -> tuple[list[SiteGateway], FrontServer]:
    """Make the sites of a district and the server that listens for all of them. Raises SettingsError."""
    listed = sites_in(given)
    sites: dict[str, SiteGateway] = {}

    def sites_of(visitor: Visitor) -> list[dict[str, Any]]:
        granted = {name: site.access.grant_of(visitor) for name, site in sites.items()}
        return [{"site": name, "name": listed[name].title} for name, grant in granted.items() if grant is not None]

    shared = Shared(https, connections, Pages(has_schools=True), restart, is_district=True, sites=sites_of)
    for name, each in listed.items():
        tokens = [token_files(each.given)]
        if given.token is not None or given.token_file is not None:  # these open every site
            tokens.append(token_files(given))
        sites[name] = SiteGateway(each.given, tokens, shared)
    has_key = given.site in listed and listed[given.site].given.site_key is not None
    return list(sites.values()), FrontServer(given, sites, shared, has_key=has_key)


def restart(site: SiteGateway, error: NeuroOneError) -> None:
    """Begin anew with the broker of a site later: what is wrong there must not end the others."""
    log.error("site %s: %s; the next try is in %.0f s", site.client.identity.site, error, RESTART_S)
    asyncio.get_running_loop().call_later(RESTART_S, site.client.start)


def sites_in(given: Settings) -> dict[str, Listed]:
    """Read the sites from the file that --sites names. Raises SettingsError with all faults."""
    of_one = [each for each in ("open_dashboards", *OWN[2:]) if each != "access_log" and getattr(given, each)]
    faults = [f"--{each.replace('_', '-')}: with --sites it belongs to a site, in that file" for each in of_one]
    if given.access_log not in (None, STANDARD_OUTPUT):
        faults.append("--access-log: with --sites a file belongs to a site, in that file; - is for all")
    try:
        found = json.loads(Path(given.sites or "").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError([*faults, f"--sites: {given.sites} cannot be read ({error})"]) from None
    if not isinstance(found, dict) or not found:
        raise SettingsError([*faults, f"--sites: {given.sites} must hold a JSON object of sites"])
    listed = {}
    for name, own in found.items():
        try:
            listed[name] = _listed(given, name, own)
        except ValueError as fault:
            faults.append(f"--sites: {name}: {fault}")
    faults += _shared_places([each.given for each in listed.values()])
    all_open = given.token_file and given.token_file.resolve()
    faults += [
        f"--sites: {name}: its token_file is that of --token-file, whose tokens open every site"
        for name, each in listed.items()
        if each.given.token_file and each.given.token_file.resolve() == all_open
    ]
    if faults:
        raise SettingsError(faults)
    return listed


def _listed(given: Settings, name: str, own: object) -> Listed:
    """Return a site with its settings. Raises ValueError."""
    if name in TAKEN:
        raise ValueError("this address is the gateway's own: choose another id")
    if not is_id(name):
        raise ValueError("a site is 1 to 64 of the characters A-Z a-z 0-9 _ -")
    if not isinstance(own, dict) or not all(isinstance(text, str) and text for text in own.values()):
        raise ValueError("must be a JSON object of texts")
    unknown = own.keys() - {TITLE, *OWN}
    if unknown or not own.keys() >= {*NEEDED}:
        raise ValueError(f"must have {' and '.join(NEEDED)}, and may have {', '.join((TITLE, *OWN[2:]))}")
    declared = {each.name: each.metadata["setting"] for each in fields(Settings)}
    values: dict[str, Any] = {}
    for key in own.keys() - {TITLE}:
        try:
            parsed = declared[key]["parse"](own[key])
        except ValueError as fault:
            raise ValueError(f"{key}: {fault}") from None
        values[key] = (parsed,) if declared[key]["many"] else parsed
    if given.public_url is not None:
        values["public_url"] = f"{given.public_url}{name}/"
    instance = given.instance or f"district-{host_id()}"[:64]  # a school's own gateway may have the host's name
    return Listed(own.get(TITLE, name), replace(given, site=name, instance=instance, token=None, **values))


def _shared_places(sites: Sequence[Settings]) -> list[str]:
    """Say which files or directories two sites would have in common."""
    faults = []
    for key in ("token_file", "recordings", "access_log"):
        places = [place for each in sites if (place := getattr(each, key)) not in (None, STANDARD_OUTPUT)]
        for one, other in permutations([Path(each).resolve() for each in places], 2):
            if one.is_relative_to(other):
                faults.append(f"--sites: two sites have {other} as {key}")
    return list(dict.fromkeys(faults))
