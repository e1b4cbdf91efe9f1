"""Which part of a file a request gets, by the rules of RFC 9110."""

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from ws_gateway.http.conditions import SETTLED_S, Selection, Version, select

SIZE: Final = 100
CHANGED_S: Final = 1_700_000_000
VERSION: Final = Version('"new"', SIZE, CHANGED_S + 0.5, CHANGED_S + 3600.0)
NOW, BEFORE, AFTER = (formatdate(CHANGED_S + each, usegmt=True) for each in (0, -60, 60))
WHOLE: Final = Selection(HTTPStatus.OK, 0, SIZE)
UNCHANGED: Final = Selection(HTTPStatus.NOT_MODIFIED)
CHANGED: Final = Selection(HTTPStatus.PRECONDITION_FAILED)
NONE: Final = Selection(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


_DATE: Final = (
    *(st.integers(-1, 40), st.sampled_from(["Jan", "Feb", "Xxx"]), st.integers(-1, 100_000)),
    *(st.integers(-1, 30), st.integers(-1, 70), st.sampled_from(["GMT", "-0000", "+9999", "+0000000000000000000", ""])),
)


def part(start: int, stop: int) -> Selection:
    return Selection(HTTPStatus.PARTIAL_CONTENT, start, stop)


def selected(headers: dict[str, str], version: Version = VERSION, method: str = "GET") -> Selection:
    return select(Request("/", Headers(headers), method), version)


@pytest.mark.parametrize(
    ("asked", "selection"),
    [
        ("bytes=0-9", part(0, 10)),
        ("bytes=0-0", part(0, 1)),
        ("bytes=90-", part(90, 100)),
        ("bytes=99-", part(99, 100)),
        ("bytes=-10", part(90, 100)),
        ("bytes=-500", part(0, 100)),
        ("bytes=50-500", part(50, 100)),
        ("bytes=50-" + "9" * 4000, part(50, 100)),
        ("BYTES=007-008", part(7, 9)),
        (" bytes= 1-2 ", part(1, 3)),
        ("bytes=100-", NONE),
        ("bytes=100-200", NONE),
        ("bytes=-0", NONE),
        ("bytes=0-1,5-6", WHOLE),
        ("bytes=9-5", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=1-2x", WHOLE),
        ("bytes=--5", WHOLE),
        ("bytes=\xb2-\xb3", WHOLE),
        ("bytes=" + "9" * 5000 + "-", WHOLE),
        ("lines=0-1", WHOLE),
        ("", WHOLE),
    ],
)
def test_a_range_is_a_part_of_the_file(asked: str, selection: Selection) -> None:
    """What is no range, and several of them, get the whole file."""
    assert selected({"Range": asked}) == selection
    assert selected({"Range": asked}, method="HEAD") == WHOLE


def test_an_empty_file_has_no_part() -> None:
    empty = Version('"e"', 0, CHANGED_S, CHANGED_S)
    assert selected({}, empty) == Selection(HTTPStatus.OK, 0, 0)
    for asked in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        assert selected({"Range": asked}, empty) == NONE


@pytest.mark.parametrize(
    ("if_range", "selection"),
    [
        ('"new"', part(0, 10)),
        ('"old"', WHOLE),
        ('W/"new"', WHOLE),
        ("*", WHOLE),
        (NOW, part(0, 10)),
        (BEFORE, WHOLE),
        (AFTER, WHOLE),
        ("yesterday", WHOLE),
    ],
)
def test_the_rest_of_another_version_is_not_sent(if_range: str, selection: Selection) -> None:
    assert selected({"Range": "bytes=0-9", "If-Range": if_range}) == selection
    assert selected({"If-Range": if_range}) == WHOLE


def test_a_date_names_no_file_that_may_change_again_within_its_second() -> None:
    for age_s, selection in ((SETTLED_S - 0.1, WHOLE), (SETTLED_S, part(0, 10))):
        version = Version('"new"', SIZE, CHANGED_S, CHANGED_S + age_s)
        assert selected({"Range": "bytes=0-9", "If-Range": NOW}, version) == selection


@pytest.mark.parametrize(
    ("headers", "selection"),
    [
        ({"If-None-Match": '"new"'}, UNCHANGED),
        ({"If-None-Match": 'W/"new"'}, UNCHANGED),
        ({"If-None-Match": '"a,b", "new"'}, UNCHANGED),
        ({"If-None-Match": "*"}, UNCHANGED),
        ({"If-None-Match": '"old"'}, WHOLE),
        ({"If-None-Match": '"newer", "ne w"'}, WHOLE),
        ({"If-None-Match": "new"}, WHOLE),
        ({"If-None-Match": ""}, WHOLE),
        ({"If-Modified-Since": NOW}, UNCHANGED),
        ({"If-Modified-Since": AFTER}, UNCHANGED),
        ({"If-Modified-Since": BEFORE}, WHOLE),
        ({"If-Modified-Since": "never"}, WHOLE),
        ({"If-None-Match": '"old"', "If-Modified-Since": AFTER}, WHOLE),
        ({"If-None-Match": '"new"', "If-Modified-Since": BEFORE, "Range": "bytes=0-1"}, UNCHANGED),
        ({"If-Match": '"new"'}, WHOLE),
        ({"If-Match": "*", "Range": "bytes=0-9"}, part(0, 10)),
        ({"If-Match": '"old", "new"', "Range": "bytes=0-9"}, part(0, 10)),
        ({"If-Match": '"old"', "Range": "bytes=0-9"}, CHANGED),
        ({"If-Match": 'W/"new"'}, CHANGED),
        ({"If-Match": '"old"', "If-None-Match": '"new"'}, CHANGED),
        ({"If-Unmodified-Since": NOW}, WHOLE),
        ({"If-Unmodified-Since": BEFORE, "Range": "bytes=0-9"}, CHANGED),
        ({"If-Unmodified-Since": "never"}, WHOLE),
        ({"If-Match": '"new"', "If-Unmodified-Since": BEFORE}, WHOLE),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_condition_decides_before_a_range(headers: dict[str, str], selection: Selection, method: str) -> None:
    """An ETag counts more than a date."""
    if method == "HEAD" and selection.status is HTTPStatus.PARTIAL_CONTENT:
        selection = WHOLE
    assert selected(headers, method=method) == selection


def test_a_list_of_etags_may_be_spread_over_headers() -> None:
    headers = Headers([("If-None-Match", '"old"'), ("If-None-Match", '"new"')])
    assert select(Request("/", headers), VERSION) == UNCHANGED


@pytest.mark.parametrize("changed_s", [-1e12, -1.0, 0.0, 9e12, 1e18])
def test_a_file_has_a_date_whatever_the_clock_that_wrote_it(changed_s: float) -> None:
    """Never one in the future."""
    headers = Version('"x"', 1, changed_s, CHANGED_S).headers
    assert headers["Last-Modified"] == (NOW if changed_s > 0 else formatdate(0, usegmt=True))


@given(
    st.dictionaries(
        st.sampled_from(["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]),
        st.text('bytes=0123456789-, "W/*\xff', max_size=20)
        | st.builds("bytes={}-{}".format, st.integers(0, 200), st.integers(0, 200))
        | st.builds("Mon, {} {} {} {}:{}:00 {}".format, *_DATE),
    ),
    st.integers(0, 200),
)
def test_any_header_has_an_answer(headers: dict[str, str], size_bytes: int) -> None:
    """And a part lies within the file."""
    found = select(Request("/", Headers(headers)), Version('"x"', size_bytes, 0.0, 9.0))
    assert 0 <= found.start <= found.stop <= size_bytes
    assert (found.status is HTTPStatus.PARTIAL_CONTENT) <= (found.start < found.stop)
