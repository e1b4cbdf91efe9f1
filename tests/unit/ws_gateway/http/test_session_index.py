"""The gateway's list of very many sessions: paged, searched, and read once."""

import json
import os
import threading
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import pytest

from tests.support.recordings import write_index, write_session
from tests.unit.ws_gateway.http.test_recordings import get
from ws_gateway.http import recordings, session_index
from ws_gateway.http.recordings import Recordings, Wanted
from ws_gateway.http.session_index import SessionIndex

NAMES = ("João", "Ana", "Zoë", "<b>&\"'", "Ana")


@pytest.fixture
def folder(tmp_path):
    """Five sessions on five days, the newest last, and their students' files."""
    for number, name in enumerate(NAMES):
        start = datetime(2026, 11, 20 + number, 2, 30, tzinfo=UTC)
        about: dict[str, Any] = {"class": "Química" if number % 2 else "Biologia"}
        write_session(tmp_path, name, f"T{number % 2}", f"s{number}", start, **about)
        (tmp_path / f"s{number}.csv").write_bytes(b"Att\n1\n")
    write_index(tmp_path, {name: f"s{number}.csv" for number, name in enumerate(NAMES[:4])})
    return tmp_path


def listed(folder, query: str):
    page = get(folder, f"/recordings?{query}")
    assert page.status_code == HTTPStatus.OK
    return json.loads(page.body)


def test_pages_reach_every_session_and_file(folder, monkeypatch):
    """A page that is not there is the nearest one."""
    monkeypatch.setattr(recordings, "PAGE", 2)
    found = [listed(folder, f"page={number}&files_page={4 - number}") for number in (1, 2, 3)]
    folders = [session["folder"][:10] for page in found for session in page["sessions"]]
    assert folders == [f"2026-11-{day}" for day in (24, 23, 22, 21, 20)]
    assert [(page["page"], page["pages"], page["total"]) for page in found] == [(n, 3, 5) for n in (1, 2, 3)]
    assert [file["file"] for page in found[::-1] for file in page["files"]] == [f"s{n}.csv" for n in range(5)]
    assert (listed(folder, "page=99")["page"], listed(folder, "page=-1")["page"]) == (3, 1)


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("ana", [24, 21]),
        ("ANA biologia", [24]),
        ("joao", [20]),
        ("zoe quimica", []),
        ("t1", [23, 21]),
        ("s3", [23]),
        ("22/11/2026", [22]),
        ("11/22/26", [22]),
        ("2026-11-22", [22]),
        ("22/11", [22]),
        ("11/2026", [24, 23, 22, 21, 20]),
        ("2026 ana", [24, 21]),
        ("2026-1", []),
        ("<b>", [23]),
        ("99/99/9999", []),
        ("   ", [24, 23, 22, 21, 20]),
    ],
)
def test_a_search_finds_names_classes_and_dates(folder, query, days):
    found = Recordings(folder).page(Wanted(query))
    assert [int(session["folder"][8:10]) for session in json.loads(found)["sessions"]] == days


def test_a_day_is_that_of_the_clients_clock(folder):
    """At 02:30 UTC it is still the day before in Brazil."""
    index = SessionIndex(folder)
    assert [each[:10] for each in index.search("21/11/2026", -180)] == ["2026-11-22"]
    assert [each[:10] for each in index.search("21/11/2026", 0)] == ["2026-11-21"]


def test_a_search_is_decoded_from_the_address(folder):
    assert listed(folder, "q=Jo%C3%A3o")["total"] == 1
    assert listed(folder, "q=ana+biologia&utc_offset_min=-180")["total"] == 1
    assert [file["file"] for file in listed(folder, "q=zo%C3%AB")["files"]] == ["s2.csv"]
    assert listed(folder, "q=%ff")["total"] == 0
    assert listed(folder, f"q={'a' * 5000}")["total"] == 0


@pytest.mark.parametrize(
    "query", ["page=x", "page=1.5", "files_page=%C2%B2", "page=1" + "0" * 50, "q=a&utc_offset_min=841"]
)
def test_wrong_values_are_refused_in_words(folder, query):
    page = get(folder, f"/recordings?{query}")
    assert page.status_code == HTTPStatus.BAD_REQUEST
    assert b"must be" in page.body


def test_the_list_of_older_pages_is_as_before(folder):
    """Without a page or a search; the token in the address is no search."""
    assert sorted(listed(folder, "token=t")) == ["files", "older", "sessions"]


def test_only_what_changed_is_read_again(folder, monkeypatch):
    """Files that have settled: a search reads each sidecar once, and a new or changed one when it is there."""
    read = []
    original = session_index.read_sidecar

    def counted(file):
        read.append(file.parent.name)
        return original(file)

    monkeypatch.setattr(session_index, "read_sidecar", counted)
    index = SessionIndex(folder, lambda: 4e9)
    assert len(index.search("ana", 0)) == 2
    assert len(read) == 5
    assert len(index.search("ana", 0)) == 2
    assert len(read) == 5
    write_session(folder, "Ana", "T9", "new")
    (sidecar,) = folder.glob("sessions/2026-11-24/*/session.json")
    content = sidecar.read_bytes().replace(b'"Ana"', b'"Bia"')
    sidecar.write_bytes(content)
    assert [each[:10] for each in index.search("ana", 0)] == ["2026-11-22", "2026-11-21"]
    assert len(read) == 7


@pytest.mark.parametrize("status", ["open", "recording", None])
def test_the_sidecar_of_a_session_that_is_not_closed_is_read_in_every_search(folder, status):
    """Also one of long ago, and one that changed within the same tick of the clock."""
    index = SessionIndex(folder, lambda: 4e9)
    path = write_session(folder, "Caio", "T9", "new", status=status) / "session.json"
    assert len(index.search("caio", 0)) == 1
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"Caio"', b'"Caia"'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(index.search("caia", 0)) == 1


def test_a_folder_that_changes_within_a_tick_of_the_clock_is_listed_again(folder):
    index = SessionIndex(folder)
    day = folder / "sessions" / "2026-11-24"
    stat = day.stat()
    before = len(index.folders())
    (day / "235959_T1_new").mkdir()
    os.utime(day, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(index.folders()) == before + 1


def test_removed_sessions_are_found_no_more(folder):
    index = SessionIndex(folder, lambda: 4e9)
    assert len(index.search("ana", 0)) == 2
    (path,) = folder.glob("sessions/2026-11-24/*")
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    assert len(index.search("ana", 0)) == 1
    assert len(index._known) == 4


def test_beyond_the_limit_sessions_are_found_by_their_folder(folder, monkeypatch):
    """The memory of names is bounded; dates, groups and sources are in the folder's name."""
    monkeypatch.setattr(session_index, "INDEXED_MAX", 2)
    index = SessionIndex(folder)
    assert [each[:10] for each in index.search("ana", 0)] == ["2026-11-24"]
    assert [each[:10] for each in index.search("s1", 0)] == ["2026-11-21"]
    assert [each[:10] for each in index.search("20/11/2026", 0)] == ["2026-11-20"]


def test_hostile_sidecars_are_searched_without_a_fault(folder):
    """Wrong types, half characters, endless names, and times that are none."""
    sidecars = sorted(folder.glob("sessions/*/*/session.json"))
    hostile = [
        b'{"name": ["ana"], "class": {"a": 1}, "start": 5, "status": []}',
        b'{"name": "\\ud800ana", "start": "0001-01-01T00:00:00Z"}',
        b'{"name": "' + b"a" * 100_000 + b'"}',
        b"[" * 100_000,
        b'{"start": "9999-12-31T23:59:59.999999Z", "name": "ana"}',
    ]
    for path, content in zip(sidecars, hostile, strict=True):
        path.write_bytes(content)
    for query in ("ana", "22/11/2026", "2026-11-20"):
        assert get(folder, f"/recordings?q={query}&utc_offset_min=-180").status_code == HTTPStatus.OK
        assert get(folder, f"/recordings?q={query}&utc_offset_min=840").status_code == HTTPStatus.OK
    assert len(listed(folder, "q=ana")["sessions"]) == 2


def test_a_list_does_not_wait_for_the_first_reading(folder, monkeypatch):
    """Sidecars are read in the background; a search waits for them, a page without words does not."""
    goes_on, original = threading.Event(), session_index.read_sidecar

    def slow(file):
        goes_on.wait(10)
        return original(file)

    monkeypatch.setattr(session_index, "read_sidecar", slow)
    found = Recordings(folder)
    assert json.loads(found.page(Wanted()))["total"] == 5
    assert json.loads(found.page(Wanted()))["total"] == 5
    goes_on.set()
    assert json.loads(found.page(Wanted("ana")))["total"] == 2
