"""The pages of a district before a school is chosen: the list of those that a token opens."""

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.http11 import Request, Response

from ws_gateway.http import responses
from ws_gateway.http.pages import Pages
from ws_gateway.visitors import Visitor

DISTRICT: Final = "/page/district.html"


class FrontPages:
    """Answer requests that name no site, or a ``names``d one without the slash behind it.

    ``sites`` lists the sites that a visitor may open; ``readiness`` answers ``/readyz``.
    """

    def __init__(
        self,
        pages: Pages,
        names: Collection[str],
        sites: Callable[[Visitor], list[dict[str, Any]]],
        readiness: Callable[[], tuple[HTTPStatus, str]],
    ) -> None:
        self._pages = pages
        self._names = names
        self._sites = sites
        self._readiness = readiness
        self.counters: dict[str, int] = {}

    def on_request(self, request: Request, visitor: Visitor) -> Response:
        """Answer a request."""
        refused = responses.unless_page(request)
        if refused is not None:
            return refused
        path, query = urlsplit(request.path)[2:4]
        if path == "/healthz":
            return responses.of_text(HTTPStatus.OK, "ok\n")
        if path == "/readyz":
            return responses.of_text(*self._readiness())
        if path == "/sites":
            return responses.of_json(self._sites(visitor))
        if path[1:] in self._names:  # relative to this server, which a proxy may have in a folder
            slash = {"Location": f"{path[1:]}/{f'?{query}' if query else ''}"}
            return responses.of_text(HTTPStatus.PERMANENT_REDIRECT, "This page has a slash behind it.\n", slash)
        wanted = DISTRICT if path == "/" else path
        page = self._pages.get(wanted, request) if wanted.startswith("/page/") else None
        return page or responses.of_text(HTTPStatus.NOT_FOUND, "There is no such page.\n")

    def close(self) -> None:
        """Do nothing: nothing is being made."""
