"""Which files of the recorder's directory are listed and served."""

import io
import json
import os
import zipfile
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.http11 import Response

from ws_gateway.access import TEACH, WATCH_ALL, Grant
from ws_gateway.http import recordings
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


def get(folder: Path | None, path: str) -> Response:
    downloads = Downloads(None if folder is None else Recordings(folder), grant_of)
    response = downloads.refuse(Visitor("::1", "t")) or downloads.load(path)
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
        response = downloads.load(path)
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
