"""Make invitations for a teacher: the student page's address for a class or a student, and its QR code."""

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from websockets.http11 import Request, Response

from neuroone.service.local_address import ANY_ADDRESS, host_in_url, local_ip
from neuroone.service.site_address import DEFAULT_PORTS
from ws_gateway.access import Access
from ws_gateway.http import responses
from ws_gateway.visitors import Visitor, is_local, site_asked
from ws_gateway.websocket.certificate import Authority

FIELD_MAX_CHARS: Final = 200
"""Characters of a name or a class code, as in the fields of the pages."""
QUIET_ZONE_MODULES: Final = 4
"""White on each side of a QR code (ISO/IEC 18004)."""
_FOLDER: Final = re.compile(r"/(?:[A-Za-z0-9._~%-]{1,100}/){0,8}")
_DENSE: Final = re.compile(r"([0-9A-Z$%*+./:-]{16,})")
"""Characters that take 5.5 bits in a QR code instead of 8. To change the mode costs as much as 16 of them save."""


@dataclass(frozen=True, slots=True)
class Site:
    """How others reach this gateway.

    ``hosts`` are the addresses that it listens on. ``public_url`` is what the operator says, and wins.
    """

    hosts: Sequence[str]
    port: int
    tls_port: int | None = None
    public_url: str | None = None

    def address(self, request: Request, visitor: Visitor, folder: str = "/") -> str:
        """Return the address of the pages for other devices; ``folder`` is their path, where a proxy has them in one.

        It is the address by which this request came. One that is good on this machine only becomes that of the local
        network.
        """
        if self.public_url is not None:
            return self.public_url
        scheme, host, port = site_asked(request.headers, is_proxied=visitor.is_proxied)
        if not visitor.is_proxied:
            if not host or is_local(host):
                host, port = self._host_elsewhere() or host, self.port
            if self.tls_port is not None:
                scheme, port = "https", self.tls_port
        return _address(scheme, host, port, folder)

    def plain_address(self, request: Request, visitor: Visitor, folder: str = "/") -> str:
        """Return the address for devices that do not trust this server yet: over http, if there is such."""
        address = self.address(request, visitor, folder)
        if self.public_url is not None or visitor.is_proxied:
            return address
        return _address("http", urlsplit(address).hostname, self.port, folder)

    def _host_elsewhere(self) -> str | None:
        """Return an address of this machine that others may reach; None if the gateway listens on none."""
        if any(host in ANY_ADDRESS for host in self.hosts):
            return local_ip()
        return next((host for host in self.hosts if not is_local(host)), None)


class Invitations:
    """Answer ``/invitation``, for teachers.

    Args:
        site: How others reach this gateway.
        access: Who is a teacher, and which keys students need.
        authority: Whom devices must trust before they open the student page over https.
    """

    def __init__(self, site: Site, access: Access, authority: Authority) -> None:
        self._site = site
        self._access = access
        self._authority = authority

    def refuse(self, visitor: Visitor) -> Response | None:
        """Return the answer to a client that may not invite; None for one that may."""
        return responses.unless_teacher(self._access.grant_of(visitor), "Only the teacher's token makes invitations.\n")

    def make(self, request: Request, visitor: Visitor) -> Response:
        """Return an address and its QR code as JSON. Drawing takes CPU: call it in a thread."""
        asked = {key: values[-1].strip() for key, values in parse_qs(urlsplit(request.path).query).items()}
        for field in ("code", "name"):
            if len(asked.get(field, "")) > FIELD_MAX_CHARS:
                text = f"{field} must have at most {FIELD_MAX_CHARS} characters.\n"
                return responses.of_text(HTTPStatus.BAD_REQUEST, text)
        folder = asked.get("folder", "/")
        if not _FOLDER.fullmatch(folder):
            return responses.of_text(HTTPStatus.BAD_REQUEST, "folder must be a path like /neuroone/\n")
        address = self._site.address(request, visitor, folder)
        must_trust = self._authority.pem is not None
        if asked.get("to") == "trust" and must_trust:
            url = self._site.plain_address(request, visitor, folder) + "trust"
        else:
            url = self._url(address, asked.get("name", ""), asked.get("code", ""))
        is_here_only = is_local(urlsplit(address).hostname or "")
        made = {"url": url, "qr": qr_code(url), "is_here_only": is_here_only, "must_trust": must_trust}
        body = json.dumps(made).encode()
        return responses.of_bytes(HTTPStatus.OK, "application/json", body)

    def _url(self, address: str, name: str, code: str) -> str:
        """Add to an address who comes, and the key behind ``#``, which browsers send to no server."""
        who = "&".join(f"{key}={quote(text, safe='')}" for key, text in (("name", name), ("code", code)) if text)
        key = self._access.invitation_key(code or None)
        return address + "student" + (f"?{who}" if who else "") + (f"#key={quote(key, safe='')}" if key else "")


def _address(scheme: str, host: str | None, port: int | None, folder: str) -> str:
    shown = "" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}"
    return f"{scheme}://{host_in_url(host or 'localhost')}{shown}{folder}"


def qr_code(text: str) -> str | None:
    """Draw a text of ASCII characters as SVG, black on white; None if it is too long for a QR code."""
    import segno  # takes 0.1 s, and many a gateway never draws
    from segno.consts import MODE_ALPHANUMERIC, MODE_BYTE

    modes = (MODE_BYTE, MODE_ALPHANUMERIC)
    parts = [(part, modes[at % 2]) for at, part in enumerate(_DENSE.split(text)) if part]
    drawn = io.BytesIO()
    try:
        code = segno.make(parts, error="m", micro=False)  # type: ignore[arg-type]  # it takes parts, its types do not
    except segno.DataOverflowError:
        return None
    code.save(drawn, kind="svg", border=QUIET_ZONE_MODULES, light="#fff", xmldecl=False, omitsize=True)
    return drawn.getvalue().decode()
