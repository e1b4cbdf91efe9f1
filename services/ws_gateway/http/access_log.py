"""Note who has loaded which recordings: one line of JSON each, in files of a bounded size."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from logging.handlers import RotatingFileHandler
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from websockets.http11 import Request

from neuroone.service.private_files import private
from ws_gateway.visitors import Visitor

FILE_MAX_BYTES: Final = 5 * 2**20
"""25,000 downloads of 200 bytes: a month of a school in which everybody loads everything."""
FILES_KEPT: Final = 12
"""Earlier files, ``FILE.1`` the newest: 65 MB in all, a year of that school."""
WHAT_MAX_CHARS: Final = 1000
"""Characters of what is asked for; a path to a session has 200."""
STANDARD_OUTPUT: Final = "-"

log = logging.getLogger(__name__)


class AccessLog:
    """Append a line for each download. ``name_of`` tells the name of the token that a visitor shows."""

    def __init__(self, place: str, name_of: Callable[[Visitor], str | None]) -> None:
        self._name_of = name_of
        self._handler: logging.Handler | None = None
        try:
            self._handler = logging.StreamHandler(sys.stdout) if place == STANDARD_OUTPUT else _PrivateFiles(place)
        except OSError as error:
            log.warning("nobody notes who loads recordings: %s cannot be written (%s)", place, error.strerror)

    def note(self, request: Request, visitor: Visitor, status: HTTPStatus | int) -> None:
        """Note a download by a teacher, from any thread. What was asked for has no token in it."""
        if self._handler is None:
            return
        path, _, query = request.path.partition("#")[0].partition("?")
        asked = urlencode([(key, value) for key, value in parse_qsl(query) if key != "token"])
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "role": "teacher",
            "token": self._name_of(visitor),
            "address": visitor.address,
            "what": f"{request.method} {path}{'?' if asked else ''}{asked}"[:WHAT_MAX_CHARS],
            "status": int(status),
        }
        self._handler.handle(logging.makeLogRecord({"msg": json.dumps(line)}))

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._handler, RotatingFileHandler):
            self._handler.close()


class _PrivateFiles(RotatingFileHandler):
    """Files that only their owner may read."""

    def __init__(self, place: str) -> None:
        super().__init__(place, maxBytes=FILE_MAX_BYTES, backupCount=FILES_KEPT, encoding="ascii")
        self._has_failed = False

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=private)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that a line is lost: a full disk keeps no teacher from a recording."""
        if not self._has_failed:
            log.error("a download could not be noted in %s: %r", self.baseFilename, sys.exception())
        self._has_failed = True
