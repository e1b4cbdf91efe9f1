"""Who has loaded which recordings is noted, in a bounded number of files."""

import json
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from neuroone.contract.errors import SettingsError
from neuroone.service.token_files import Role, Token
from ws_gateway.access import Access
from ws_gateway.http import access_log
from ws_gateway.http.access_log import AccessLog
from ws_gateway.http.pages import Downloads
from ws_gateway.http.recordings import Recordings
from ws_gateway.settings import Settings
from ws_gateway.visitors import Visitor

ACCESS = Access([Token("t-secret", Role.TEACHER, "Bia"), Token("w-secret", Role.WATCH)], {}, lambda: 0.0)
BIA = Visitor("192.0.2.7", "t-secret")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "João.csv").write_bytes(b"Att\n85\n")
    return folder


def load(folder: Path, log: AccessLog, path: str, visitor: Visitor = BIA) -> None:
    downloads = Downloads(Recordings(folder), ACCESS.grant_of, log)
    request = Request(path, Headers())
    response = downloads.refuse(visitor) or downloads.load_noted(request, visitor)
    b"".join(getattr(response, "pieces", ()))
    downloads.converter.close()


def test_a_download_is_noted_with_token_address_and_time_and_without_the_secret(folder: Path, tmp_path: Path) -> None:
    """The list, and what is refused, is no download; a name can end no line."""
    file = tmp_path / "log" / "downloads.jsonl"
    file.parent.mkdir()
    log = AccessLog(str(file), ACCESS.token_name)
    load(folder, log, "/recordings/files/Jo%C3%A3o.csv?token=t-secret&format=stored")
    load(folder, log, "/recordings?by=lesson")
    load(folder, log, "/recordings/files/Jo%C3%A3o.csv", Visitor("192.0.2.8", "w-secret"))
    load(folder, log, "/recordings/files/a%0Ab\n.csv", Visitor("::1", "t-secret"))
    log.close()
    lines = [json.loads(line) for line in file.read_text(encoding="ascii").splitlines()]
    assert [line.pop("time")[-1] for line in lines] == ["Z", "Z"]
    assert lines[0] == {
        "role": "teacher",
        "token": "Bia",
        "address": "192.0.2.7",
        "what": "GET /recordings/files/Jo%C3%A3o.csv?format=stored",
        "status": 200,
    }
    assert lines[1]["status"] == 404
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_files_are_bounded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "FILE_MAX_BYTES", 1000)
    monkeypatch.setattr(access_log, "FILES_KEPT", 2)
    log = AccessLog(str(tmp_path / "log"), ACCESS.token_name)
    for _ in range(50):
        log.note(Request("/recordings/files/" + "x" * 5000, Headers()), BIA, 200)
        log.note(Request("/recordings/files/x", Headers()), BIA, 200)
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("log*")}
    assert sizes.keys() == {"log", "log.1", "log.2"}
    assert max(sizes.values()) < 2000


def test_without_a_writable_place_everything_else_works(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor may it stand where `forget` looks for names."""
    load(folder, AccessLog(str(tmp_path / "missing" / "log"), ACCESS.token_name), "/recordings/files/Jo%C3%A3o.csv")
    assert "nobody notes who loads recordings" in caplog.text
    load(folder, AccessLog("-", ACCESS.token_name), "/recordings/files/Jo%C3%A3o.csv")
    assert json.loads(capsys.readouterr().out)["status"] == 200
    with pytest.raises(SettingsError, match="must not be in the directory of the recordings"):
        Settings(recordings=folder, access_log=str(folder / "log")).check_places()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog("/dev/full", ACCESS.token_name)
    for _ in range(2):
        load(folder, log, "/recordings/files/Jo%C3%A3o.csv")
    assert caplog.text.count("could not be noted in /dev/full") == 1
    with suppress(OSError):
        log.close()
