"""Serve the pages of teachers and students and downloads of recordings."""

import hashlib
import io
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from websockets.http11 import Request, Response

from ws_gateway.access import Grant
from ws_gateway.http import brazilian_csv, responses
from ws_gateway.http.access_log import AccessLog
from ws_gateway.http.conditions import Version
from ws_gateway.http.converter import Busy, Converter, Failed
from ws_gateway.http.formats import Chosen, Format, Made, make
from ws_gateway.http.pieces import of_file
from ws_gateway.http.recordings import Recordings, utc_offset_min, wanted
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.connection import StreamedResponse

PAGE: Final = Path(__file__).parents[1] / "page"
CLIENTS: Final = Path(__file__).parents[3] / "clients"
"""Folder of the clients in a checkout; an installed package has them among the page's files."""
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
WORKER: Final = "/page/student-worker.js"
ENTRANCES: Final = {
    "/": "/page/index.html",
    "/student": "/page/student.html",
    "/student-worker.js": WORKER,
    "/trust": "/page/trust.html",
}
TRY: Final = "/page/try.html"
"""What `/student?test` shows."""
FOLDER: Final = "/page/folder.js"
INLINE: Final = "page/again.js"
"""The script that loads a page again: the only one that stands in the pages themselves."""
_PARTS: Final = re.compile(rb'''(?:src|href)="page/([^"]+)"|\b(?:from|import) "\./([^"]+)"''')
"""What a page or a module loads from the folder of the pages."""
_LANGUAGES: Final = ("/page/en.json", "/page/pt-BR.json")


@dataclass(frozen=True, slots=True)
class _Page:
    kind: str
    body: bytes
    version: Version

    @property
    def hash(self) -> str:
        return self.version.etag.strip('"')


class Pages:
    """The page's files, in memory. An unchanged one is not sent again: its ETag is its hash.

    Those of a district know that it ``has_schools``, and that what a device keeps is of one of them.
    """

    def __init__(self, folder: Path = PAGE, *, has_schools: bool = False) -> None:
        found = (file for file in folder.rglob("*") if file.suffix in TYPES)
        files = {f"/page/{file.relative_to(folder).as_posix()}": file for file in found}
        files |= {f"/page/{file.name}": file for file in CLIENTS.glob("*.js")}
        inline = files[f"/{INLINE}"].read_bytes()
        self._policy = responses.policy(inline)
        self._pages = {path: _page(path, _with(inline, file), file.stat().st_mtime) for path, file in files.items()}
        if has_schools:
            page = self._pages[FOLDER]
            body = page.body.replace(b"HAS_SCHOOLS = false", b"HAS_SCHOOLS = true", 1)
            self._pages[FOLDER] = _page(FOLDER, body, page.version.changed_s)
        self._pages[WORKER] = self._worker()

    def get(self, path: str, request: Request) -> Response | None:
        """Return what a request gets of the page at a path; None if there is no such page."""
        is_test = path == "/student" and "test" in parse_qs(urlsplit(request.path).query, keep_blank_values=True)
        page = self._pages.get(TRY if is_test else ENTRANCES.get(path, path))
        if page is None:
            return None

        def answer(status: HTTPStatus, part: slice, headers: Mapping[str, str]) -> Response:
            return responses.of_bytes(status, page.kind, page.body[part], headers)

        more = {"Cache-Control": "no-cache", "Content-Security-Policy": self._policy}
        return responses.of_version(request, page.version, answer, more)

    def _worker(self) -> _Page:
        """Fill in which files the student's page consists of: with another file the worker is another one too."""
        entrance = ENTRANCES["/student"]
        files: dict[str, _Page] = {}
        waiting = [entrance, *_LANGUAGES]
        while waiting:
            path = waiting.pop()
            if path not in files:
                files[path] = self._pages[path]
                parts = (b"".join(found) for found in _PARTS.findall(files[path].body))
                waiting += [f"/page/{part.decode()}" for part in parts]
        hashes = {"student" if path == entrance else path[1:]: files[path].hash for path in sorted(files)}
        worker = self._pages[WORKER]
        body = worker.body.replace(b"FILES = {}", b"FILES = " + json.dumps(hashes).encode(), 1)
        body = body.replace(b'VERSION = ""', b'VERSION = "%b"' % _hash(body).encode(), 1)
        return _page(WORKER, body, max(each.version.changed_s for each in (worker, *files.values())))


class Downloads:
    """Recordings, for teachers: ``/recordings`` lists them, the files and sessions are below it.

    ``recordings`` is None if this gateway cannot read the recorder's directory; ``grant_of`` tells what a visitor may.
    ``access_log`` notes who has loaded what.
    """

    def __init__(
        self,
        recordings: Recordings | None,
        grant_of: Callable[[Visitor], Grant | None],
        access_log: AccessLog | None = None,
    ) -> None:
        self._recordings = recordings
        self._grant_of = grant_of
        self._access_log = access_log
        self.converter = Converter()
        self._listing = threading.Lock()
        """One list is made at a time: it takes the processor from everybody else in this process."""

    def refuse(self, visitor: Visitor) -> Response | None:
        """Return the answer to a client that may not download; None for one that may."""
        return responses.unless_teacher(self._grant_of(visitor), "Only the teacher's token opens recordings.\n")

    def load_noted(self, request: Request, visitor: Visitor) -> Response:
        """Do as `load`, and note who has loaded a recording; the list of them is none."""
        response = self.load(request)
        if self._access_log is not None and urlsplit(request.path).path.strip("/").partition("/")[2]:
            self._access_log.note(request, visitor, response.status_code)
        return response

    def close(self) -> None:
        """End what is being made: nobody waits for it."""
        self.converter.close()
        if self._access_log is not None:
            self._access_log.close()

    def load(self, request: Request) -> Response:
        """Return what a client that may download asks for. Reads files: call it in a thread."""
        path, _, query = request.path.partition("#")[0].partition("?")
        if self._recordings is None:
            return responses.of_text(HTTPStatus.NOT_FOUND, "Recordings are not available here.\n")
        asked = {key: values[-1] for key, values in parse_qs(query).items()}
        try:
            match unquote(path, errors="strict").split("/")[2:]:
                case []:
                    return self._list(self._recordings, asked)
                case ["files", name] if asked.get("format") == Format.CSV_PTBR:
                    pieces = brazilian_csv.of_student_file(self._recordings.file_path(name))
                    return _made(Made("text/csv; charset=utf-8", name, pieces))
                case ["files", name]:
                    return _file(request, name, *self._recordings.file(name))
                case ["lessons", key]:
                    return _made(make(_chosen(self._recordings, key, asked), self.converter))
                case ["sessions", date, name] if name.endswith(".zip"):
                    return _made(Made("application/zip", f"{date}_{name}", self._recordings.session(date, name[:-4])))
        except (KeyError, UnicodeDecodeError):
            pass
        except ValueError as error:
            return responses.of_text(HTTPStatus.BAD_REQUEST, f"{error}\n")
        except Busy:
            later = {"Retry-After": "10"}
            text = "Other workbooks and reports are being made: try again.\n"
            return responses.of_text(HTTPStatus.SERVICE_UNAVAILABLE, text, later)
        except Failed as error:
            text = f"The workbook or report could not be made: {error.strerror}.\n"
            return responses.of_text(HTTPStatus.INTERNAL_SERVER_ERROR, text)
        except OSError as error:
            return responses.of_text(HTTPStatus.INTERNAL_SERVER_ERROR, f"It cannot be read ({error.strerror}).\n")
        return responses.of_text(HTTPStatus.NOT_FOUND, "There is no such recording.\n")

    def _list(self, recordings: Recordings, asked: Mapping[str, str]) -> Response:
        of_page = wanted(asked)
        with self._listing:
            body = recordings.listing() if of_page is None else recordings.page(of_page)
        return responses.of_pieces("application/json", of_file(io.BytesIO(body), 0, len(body)), len(body))


def _with(inline: bytes, file: Path) -> bytes:
    """Read a file of the page, with the script that stands in it."""
    return file.read_bytes().replace(b'<script src="%b"></script>' % INLINE.encode(), b"<script>%b</script>" % inline)


def _page(path: str, body: bytes, modified_s: float) -> _Page:
    etag = f'"{_hash(body)}"'
    return _Page(TYPES[PurePosixPath(path).suffix], body, Version(etag, len(body), modified_s, time.time()))


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _file(request: Request, name: str, version: Version, opened: BinaryIO) -> Response:
    """Return what a request gets of a file, and close the file unless it is sent."""

    def answer(status: HTTPStatus, part: slice, headers: Mapping[str, str]) -> Response:
        pieces = of_file(opened, part.start, part.stop)
        return responses.of_pieces("text/csv; charset=utf-8", pieces, part.stop - part.start, headers, status)

    response = responses.of_version(request, version, answer, _saved_as(name))
    if not isinstance(response, StreamedResponse):
        opened.close()
    return response


def _chosen(recordings: Recordings, key: str, asked: Mapping[str, str]) -> Chosen:
    """Read what of a lesson is asked for. Raises KeyError, and ValueError with a sentence."""
    offset_min = utc_offset_min(asked)
    lesson, students = recordings.of_lesson(key, asked.get("student", ""), offset_min)
    name = asked.get("tz", "UTC")
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError("tz must be a time zone like America/Sao_Paulo or UTC.") from None
    title = " ".join([lesson.day, lesson.name or "", *(students if asked.get("student") else ())])
    language = "pt-BR" if asked.get("language", "").startswith("pt") else "en"
    wanted = asked.get("format", Format.STORED)
    if wanted not in list(Format):
        raise ValueError(f"format must be one of {', '.join(Format)}.")
    return Chosen(" ".join(title.split()), students, Format(wanted), zone, name, language)


def _made(made: Made) -> Response:
    more = {**_saved_as(made.name), "Accept-Ranges": "none"}  # it is made while it is sent
    return responses.of_pieces(made.kind, made.pieces, more=more)


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
