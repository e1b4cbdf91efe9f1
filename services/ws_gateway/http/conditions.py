"""Decide what a request gets of a file: all of it, a part, or only the news that it is unchanged.

The rules are those of RFC 9110, sections 13 (conditions) and 14 (ranges). A request for several ranges at once, or for
one that cannot be read, gets the whole file, as section 14.2 allows.
"""

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request

SETTLED_S: Final = 2.0
"""A time of change counts whole seconds: only after the second a file cannot change again at the same time."""
_RANGE: Final = re.compile(r"bytes=\s*(?:(\d{1,4000})-(\d{0,4000})|-(\d{1,4000}))", re.ASCII | re.IGNORECASE)
"""From one byte to another, from one to the end, or so many at the end. Python reads numbers of up to 4300 digits."""
_ETAGS: Final = re.compile(r'(?:W/)?"[^"]*"')


@dataclass(frozen=True, slots=True)
class Version:
    """What a file was at one moment, ``seen_s``. When the file changes, so does its ETag."""

    etag: str
    size_bytes: int
    changed_s: float
    seen_s: float

    @property
    def last_modified_s(self) -> int:
        """When it was changed, in whole seconds; never in the future, whatever the clocks of other computers say."""
        return int(max(0.0, min(self.changed_s, self.seen_s)))

    @property
    def headers(self) -> dict[str, str]:
        """The headers by which a client asks for it again, or for the rest of it."""
        last_modified = formatdate(self.last_modified_s, usegmt=True)
        return {"ETag": self.etag, "Last-Modified": last_modified, "Accept-Ranges": "bytes"}


@dataclass(frozen=True, slots=True)
class Selection:
    """The status of an answer, and which bytes it holds: from ``start`` to before ``stop``."""

    status: HTTPStatus
    start: int = 0
    stop: int = 0


def select(request: Request, version: Version) -> Selection:
    """Return what a GET or HEAD request gets."""
    headers = request.headers
    refusal = _check(headers, version)
    if refusal is not None:
        return Selection(refusal)
    whole = Selection(HTTPStatus.OK, 0, version.size_bytes)
    asked = _RANGE.fullmatch(headers.get("Range", "").strip())
    if asked is None or request.method != "GET" or not _is_of(headers.get("If-Range"), version):
        return whole
    first, last, at_end = asked.groups()
    if at_end:
        start, stop = max(0, version.size_bytes - int(at_end)), version.size_bytes
    else:
        start, stop = int(first), min(int(last) + 1, version.size_bytes) if last else version.size_bytes
        if last and int(last) < start:
            return whole
    if start >= stop:
        return Selection(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return Selection(HTTPStatus.PARTIAL_CONTENT, start, stop)


def _check(headers: Headers, version: Version) -> HTTPStatus | None:
    """Return why a request gets nothing: a download that changed meanwhile cannot be resumed, a copy is still right."""
    since_s = _seconds(headers.get("If-Unmodified-Since"))
    if "If-Match" in headers:
        is_stale = not _has(headers, "If-Match", version.etag)
    else:
        is_stale = since_s is not None and version.last_modified_s > since_s
    if is_stale:
        return HTTPStatus.PRECONDITION_FAILED
    since_s = _seconds(headers.get("If-Modified-Since"))
    if "If-None-Match" in headers:
        is_known = _has(headers, "If-None-Match", version.etag, f"W/{version.etag}")
    else:
        is_known = since_s is not None and version.last_modified_s <= since_s
    return HTTPStatus.NOT_MODIFIED if is_known else None


def _has(headers: Headers, name: str, *etags: str) -> bool:
    """Return True if a list of ETags has one of these, or is the star that stands for any."""
    text = ",".join(headers.get_all(name))
    return text.strip() == "*" or not set(etags).isdisjoint(_ETAGS.findall(text))


def _is_of(if_range: str | None, version: Version) -> bool:
    """Return True if the part that a client has already is of this version."""
    if if_range is None or if_range.strip() == version.etag:
        return True
    is_settled = version.seen_s - version.changed_s >= SETTLED_S
    return is_settled and _seconds(if_range) == version.last_modified_s


def _seconds(date: str | None) -> float | None:
    """Read a date of HTTP; None for anything else."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
