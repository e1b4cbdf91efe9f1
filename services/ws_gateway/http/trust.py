"""Say where https is, and show the certificate of the authority that devices must trust for it."""

import json
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from websockets.http11 import Request, Response

from neuroone.service.local_address import host_in_url
from ws_gateway.http import responses
from ws_gateway.http.invitations import Site
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.certificate import Authority

CERTIFICATE_TYPE: Final = "application/x-x509-ca-cert"
"""Browsers offer to install such a file, or save it."""


class Trust:
    """Answer ``/ca.crt`` and ``/page/where.json``. ``site`` is how others reach this gateway."""

    def __init__(self, site: Site, authority: Authority) -> None:
        self._site = site
        self._authority = authority

    def get(self, path: str, request: Request, visitor: Visitor) -> Response | None:
        """Return the answer to a request; None if it is about something else."""
        if path == "/page/where.json":
            return self._where(request, visitor)
        if path != "/ca.crt":
            return None
        if self._authority.pem is None:
            text = "This server has no authority of its own: there is nothing to install.\n"
            return responses.of_text(HTTPStatus.NOT_FOUND, text)
        return responses.of_bytes(HTTPStatus.OK, CERTIFICATE_TYPE, self._authority.pem)

    def _where(self, request: Request, visitor: Visitor) -> Response:
        address = self._site.address(request, visitor)
        has_authority = self._authority.pem is not None
        https = address if address.startswith("https:") else None
        if https is None and has_authority:  # a proxy in front signs certificates; --public-url names another port
            https = f"https://{host_in_url(urlsplit(address).hostname or '')}/"
        body = json.dumps({"https": https, "ca": has_authority}).encode()
        return responses.of_bytes(HTTPStatus.OK, "application/json", body)
