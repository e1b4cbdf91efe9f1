"""Which files of the recorder's directory are listed and served."""

import io
import json
import os
import zipfile
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ws_gateway.access import TEACH, WATCH_ALL, Grant
from ws_gateway.http import recordings
from ws_gateway.http.conditions import Version
from ws_gateway.http.pages import Downloads
from ws_gateway.http.pieces import PIECE_BYTES
from ws_gateway.http.recordings import Recordings
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.connection import StreamedResponse

SIDECAR = {
    "schema": 1,
    "group": "A",
    "source": "Ana",
    "name": "Ana",
    "code": "A",
    "class": "Aula",
    "start": "2026-11-22T18:20:31.000000Z",
    "end": None,
    "status": "open",
    "counts": {"readings": 3, "missing": 1},
    "bids": {},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recorder's directory, and files in it and beside it that must not be served."""
    folder = tmp_path / "recordings"
    session = folder / "sessions" / "2026-11-22" / "182031_A_Ana"
    session.mkdir(parents=True)
    (session / "session.json").write_text(json.dumps(SIDECAR), encoding="utf-8")
    (session / "readings.csv").write_bytes(b"time,check\n1,abcd\n")
    (session / ".session.json.tmp").write_bytes(b"half")
    (session / "elsewhere.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "sessions" / "not-a-date" / "x").mkdir(parents=True)
    (folder / "sessions" / "2026-11-21" / "090000_A_Ana").mkdir(parents=True)
    (folder / "Joao_Silva.csv").write_bytes(b"Att\n85\n")
    (folder / "names.csv").write_text("name,file\nJoão Silva,Joao_Silva.csv\n", encoding="utf-8")
    (folder / ".token").write_text("secret", encoding="utf-8")
    (folder / ".inbox.sqlite").write_bytes(b"secret")
    (tmp_path / "secret.csv").write_bytes(b"secret")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    return folder


def grant_of(visitor: Visitor) -> Grant | None:
    return {"t": TEACH, "w": WATCH_ALL}.get(visitor.token or "")


def asked(path: str, **headers: str) -> Request:
    return Request(path, Headers({name.replace("_", "-"): value for name, value in headers.items()}))


def get(folder: Path | None, path: str, **headers: str) -> Response:
    downloads = Downloads(None if folder is None else Recordings(folder), grant_of)
    response = downloads.refuse(Visitor("::1", "t")) or downloads.load(asked(path, **headers))
    if isinstance(response, StreamedResponse):
        response.body = b"".join(response.pieces)
    return response


def test_the_list_shows_sessions_and_files(folder):
    """Sessions newest first with what their sidecar says, and files with the names that students gave."""
    listed = json.loads(get(folder, "/recordings").body)
    assert [session["folder"] for session in listed["sessions"]] == [
        "2026-11-22/182031_A_Ana",
        "2026-11-21/090000_A_Ana",
    ]
    first, second = listed["sessions"]
    assert (first["name"], first["class"], first["status"], first["counts"]) == (
        "Ana",
        "Aula",
        "open",
        {"readings": 1},
    )
    assert first["bytes"] == len(json.dumps(SIDECAR)) + 18
    assert (second["name"], second["bytes"]) == (None, 0)
    assert [(file["name"], file["file"], file["bytes"]) for file in listed["files"]] == [
        ("João Silva", "Joao_Silva.csv", 7)
    ]


def test_files_and_sessions_can_be_downloaded(folder):
    """A CSV is the file, a ZIP has the session's files; both are saved under their name and kept by no cache."""
    csv = get(folder, "/recordings/files/Joao_Silva.csv")
    assert (csv.status_code, csv.body) == (HTTPStatus.OK, b"Att\n85\n")
    assert csv.headers["Content-Disposition"] == "attachment; filename*=UTF-8''Joao_Silva.csv"
    assert csv.headers["Cache-Control"] == "no-store"
    session = get(folder, "/recordings/sessions/2026-11-22/182031_A_Ana.zip")
    packed = zipfile.ZipFile(io.BytesIO(session.body))
    assert packed.namelist() == ["182031_A_Ana/readings.csv", "182031_A_Ana/session.json"]
    assert packed.read("182031_A_Ana/readings.csv") == b"time,check\n1,abcd\n"
    assert session.headers["Accept-Ranges"] == "none"
    assert (
        get(folder, "/recordings/sessions/2026-11-22/182031_A_Ana.zip", Range="bytes=0-1").status_code == HTTPStatus.OK
    )


@pytest.mark.parametrize(
    "path",
    [
        "/recordings/files/.token",
        "/recordings/files/names.csv",
        "/recordings/files/link.csv",
        "/recordings/files/..%2Fsecret.csv",
        "/recordings/files/../secret.csv",
        "/recordings/files/%2e%2e/secret.csv",
        "/recordings/files/nobody.csv",
        "/recordings/files/Joao_Silva.csv%00",
        "/recordings/files/%ff.csv",
        "/recordings/files/",
        "/recordings/sessions/2026-11-22/..%2F182031_A_Ana.zip",
        "/recordings/sessions/../2026-11-22.zip",
        "/recordings/sessions/not-a-date/x.zip",
        "/recordings/sessions/2026-11-22/182031_A_Ana",
        "/recordings/sessions/2026-11-22/182031_A_Ana.zip/readings.csv",
        "/recordings/",
    ],
)
def test_nothing_else_is_served(folder, path):
    """No hidden file, no link, no path out of the directory."""
    page = get(folder, path)
    assert page.status_code == HTTPStatus.NOT_FOUND
    assert b"secret" not in page.body


def test_downloads_need_the_teachers_token(folder):
    downloads = Downloads(Recordings(folder), grant_of)
    for token, status in (
        (None, HTTPStatus.UNAUTHORIZED),
        ("wrong", HTTPStatus.UNAUTHORIZED),
        ("w", HTTPStatus.FORBIDDEN),
    ):
        page = downloads.refuse(Visitor("::1", token))
        assert page is not None
        assert page.status_code == status
    assert downloads.refuse(Visitor("::1", "t")) is None


def test_a_closed_session_has_the_counts_of_its_sidecar(folder):
    session = folder / "sessions" / "2026-11-22" / "182031_A_Ana"
    (session / "readings-2.csv").write_bytes(b"time,check\n2,abcd\n3,abcd\n")
    (session / "raw.csv").write_bytes(b"time,check\n2,abcd\n")
    assert json.loads(get(folder, "/recordings").body)["sessions"][0]["counts"] == {"readings": 3}
    (session / "session.json").write_text(json.dumps(SIDECAR | {"status": "closed"}), encoding="utf-8")
    assert json.loads(get(folder, "/recordings").body)["sessions"][0]["counts"] == SIDECAR["counts"]


def test_a_gateway_without_recordings():
    assert get(None, "/recordings").status_code == HTTPStatus.NOT_FOUND


def test_an_empty_directory(tmp_path):
    """A missing directory is the same."""
    for folder in (tmp_path, tmp_path / "none"):
        assert json.loads(get(folder, "/recordings").body) == {"sessions": [], "older": 0, "files": []}


def test_the_list_is_bounded(folder, monkeypatch):
    """Sessions beyond the limit are counted."""
    monkeypatch.setattr(recordings, "SESSIONS_MAX", 1)
    listed = json.loads(get(folder, "/recordings").body)
    assert (len(listed["sessions"]), listed["older"]) == (1, 1)


def test_a_large_download_comes_in_pieces(folder):
    """A file, and a session as a ZIP: neither is held in memory."""
    large = b"0123456789" * 100_000
    (folder / "Large.csv").write_bytes(large)
    session = folder / "sessions" / "2026-11-22" / "182031_A_Ana"
    (session / "raw.csv").write_bytes(os.urandom(1_000_000))
    downloads = Downloads(Recordings(folder), grant_of)
    for path in ("/recordings/files/Large.csv", "/recordings/sessions/2026-11-22/182031_A_Ana.zip"):
        response = downloads.load(asked(path))
        assert isinstance(response, StreamedResponse)
        sizes = [len(piece) for piece in response.pieces]
        assert len(sizes) > 10
        assert max(sizes) <= 2 * PIECE_BYTES
        assert response.headers.get("Content-Length") in (None, str(sum(sizes)))


def test_a_session_with_a_broken_sidecar_is_listed(folder):
    sidecar = folder / "sessions" / "2026-11-22" / "182031_A_Ana" / "session.json"
    for broken in (b"{", b"[1]", b"\xff", b'{"a":' * 100_000):
        sidecar.write_bytes(broken)
        first = json.loads(get(folder, "/recordings").body)["sessions"][0]
        assert (first["folder"], first["name"]) == ("2026-11-22/182031_A_Ana", None)


CSV = "/recordings/files/Joao_Silva.csv"
ZIP = "/recordings/sessions/2026-11-22/182031_A_Ana.zip"


def test_a_download_is_resumed_where_it_ended(folder):
    """As long as the file is the same; else it begins anew."""
    whole = get(folder, CSV)
    assert (whole.headers["Accept-Ranges"], whole.headers["Content-Length"]) == ("bytes", "7")
    etag = whole.headers["ETag"]
    rest = get(folder, CSV, Range="bytes=4-", If_Range=etag)
    assert (rest.status_code, rest.body) == (HTTPStatus.PARTIAL_CONTENT, b"85\n")
    assert (rest.headers["Content-Range"], rest.headers["Content-Length"]) == ("bytes 4-6/7", "3")
    assert rest.headers["ETag"] == etag
    beyond = get(folder, CSV, Range="bytes=7-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "bytes */7",
    )
    assert get(folder, CSV, If_None_Match=etag).status_code == HTTPStatus.NOT_MODIFIED
    with (folder / "Joao_Silva.csv").open("ab") as file:
        file.write(b"86\n")
    grown = get(folder, CSV, Range="bytes=4-", If_Range=etag)
    assert (grown.status_code, grown.body) == (HTTPStatus.OK, b"Att\n85\n86\n")
    assert get(folder, CSV, If_Match=etag).status_code == HTTPStatus.PRECONDITION_FAILED


def test_an_etag_tells_apart_what_has_the_same_size_or_the_same_time(folder):
    """Also a file that was replaced by one of the same size and time, as a restored one."""
    file, other = folder / "Joao_Silva.csv", folder / "other"
    seen = {get(folder, CSV).headers["ETag"]}
    file.write_bytes(b"Att\n86\n")
    os.utime(file, ns=(10**18, 10**18))
    seen.add(get(folder, CSV).headers["ETag"])
    file.write_bytes(b"Att\n86\n87\n")
    os.utime(file, ns=(10**18, 10**18))
    seen.add(get(folder, CSV).headers["ETag"])
    other.write_bytes(b"Att\n88\n89\n")
    os.utime(other, ns=(10**18, 10**18))
    other.replace(file)
    seen.add(get(folder, CSV).headers["ETag"])
    assert len(seen) == 4


def test_an_answer_without_the_file_closes_it(folder, monkeypatch):
    opened: list[BinaryIO] = []
    file = Recordings.file

    def watched(self: Recordings, name: str) -> tuple[Version, BinaryIO]:
        version, stream = file(self, name)
        opened.append(stream)
        return version, stream

    monkeypatch.setattr(Recordings, "file", watched)
    for headers in ({"If_None_Match": "*"}, {"If_Match": '"x"'}, {"Range": "bytes=99-"}, {}):
        get(folder, CSV, **headers)
    assert [each.closed for each in opened] == [True] * 4


@pytest.mark.parametrize("path", [CSV, ZIP])
def test_what_is_written_during_a_download_is_not_in_it(folder, path):
    """A file is as it was at the start."""
    session = folder / "sessions" / "2026-11-22" / "182031_A_Ana"
    content = os.urandom(500_000)
    files = [folder / "Joao_Silva.csv", session / "a.csv", session / "readings.csv"]
    for file in files:
        file.write_bytes(content)
    response = Downloads(Recordings(folder), grant_of).load(asked(path))
    assert isinstance(response, StreamedResponse)
    first = next(response.pieces)
    for file in files:
        with file.open("ab") as opened:
            opened.write(b"1,abcd\n" * 100_000)
    body = first + b"".join(response.pieces)
    if path == CSV:
        assert body == content
    else:
        packed = zipfile.ZipFile(io.BytesIO(body))
        assert packed.testzip() is None
        assert [packed.read(f"182031_A_Ana/{name}") for name in ("a.csv", "readings.csv")] == [content] * 2


def test_a_sidecar_that_is_written_again_during_a_download_is_whole(folder):
    session = folder / "sessions" / "2026-11-22" / "182031_A_Ana"
    (session / "a.csv").write_bytes(os.urandom(500_000))
    response = Downloads(Recordings(folder), grant_of).load(asked(ZIP))
    assert isinstance(response, StreamedResponse)
    first = next(response.pieces)
    closed = json.dumps(SIDECAR | {"status": "closed", "end": "2026-11-22T18:20:32.000000Z"})
    (session / "new").write_text(closed, encoding="utf-8")
    (session / "new").replace(session / "session.json")
    packed = zipfile.ZipFile(io.BytesIO(first + b"".join(response.pieces)))
    assert packed.read("182031_A_Ana/session.json").decode() == closed


def test_a_session_of_a_computer_whose_clock_begins_in_1970_can_be_downloaded(folder):
    readings = folder / "sessions" / "2026-11-22" / "182031_A_Ana" / "readings.csv"
    os.utime(readings, (60, 60))
    packed = zipfile.ZipFile(io.BytesIO(get(folder, ZIP).body))
    assert packed.read("182031_A_Ana/readings.csv") == b"time,check\n1,abcd\n"


def test_a_folder_of_shards_is_listed_as_one(folder: Path) -> None:
    """Sessions of all recorders, the newest first; files of one name are told apart by the shard's folder."""
    session = folder.parent / "shard-2" / "sessions" / "2026-11-22" / "182032_B_Joao_Silva"
    session.mkdir(parents=True)
    (session / "session.json").write_text(json.dumps({**SIDECAR, "name": "Joao_Silva"}), encoding="utf-8")
    (session / "readings.csv").write_bytes(b"time,check\n1,abcd\n2,abcd\n")
    (folder.parent / "shard-2" / "Joao_Silva.csv").write_bytes(b"Att\n86\n")
    (folder.parent / "shard-2" / "names.csv").write_text("name,file\nJo Silva,Joao_Silva.csv\n", encoding="utf-8")
    both = Recordings(folder.parent)
    listed = json.loads(both.listing())
    days = ["2026-11-22/182032_B_Joao_Silva", "2026-11-22/182031_A_Ana", "2026-11-21/090000_A_Ana"]
    assert [each["folder"] for each in listed["sessions"]] == days
    assert listed["sessions"][0]["counts"]["readings"] == 2
    files = {each["file"]: each["name"] for each in listed["files"] if each["file"] != "secret.csv"}
    assert files == {"recordings__Joao_Silva.csv": "João Silva", "shard-2__Joao_Silva.csv": "Jo Silva"}
    _, opened = both.file("shard-2__Joao_Silva.csv")
    with opened:
        assert opened.read() == b"Att\n86\n"
    packed = zipfile.ZipFile(io.BytesIO(b"".join(both.session("2026-11-22", "182032_B_Joao_Silva"))))
    assert "182032_B_Joao_Silva/readings.csv" in packed.namelist()
    for date, name in (("2026-11-22", "../.."), ("..", "shard-2"), ("2026-11-22", "none")):
        with pytest.raises(KeyError):
            both.session(date, name)
    found = json.loads(both.page(recordings.Wanted("joao", by=recordings.By.SESSION)))
    assert [each["folder"] for each in found["sessions"]] == days[:1]
