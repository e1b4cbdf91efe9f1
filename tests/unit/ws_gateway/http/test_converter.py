"""What a program that makes workbooks and reports may do to a download: hang, be killed, fail, or leave halves."""

import json
import os
import re
import sys
import tempfile
import threading
import tomllib
from http import HTTPStatus
from pathlib import Path

import psutil
import pytest
from websockets.http11 import Response

from tests.support.recordings import NOON, reading_rows, time_text, write_session
from tests.support.waiting import wait_for
from tests.unit.ws_gateway.http.test_recordings import asked, grant_of
from ws_gateway.http import converter
from ws_gateway.http.pages import Downloads
from ws_gateway.http.recordings import Recordings
from ws_gateway.websocket.connection import StreamedResponse

ROOT = Path(__file__).parents[4]
HALF = "import os, signal, sys, tempfile, time\nopen('half.xlsx', 'w').write('half')\ntempfile.mkstemp()\n"
LASTS = f"{HALF}open(os.environ['IS_RUNNING'], 'w').close()\ntime.sleep(600)\n"
CHILD = """
pid = os.fork()
if pid == 0:
    signal.signal(15, signal.SIG_IGN)
    time.sleep(60)
    os._exit(0)
open(os.environ["IS_RUNNING"], "w").write(str(pid))
"""
UNREADABLE = "open('whole.xlsx', 'w').write('whole')\nraise SystemExit(1)"
"""As the recorder's program does: a session cannot be read, the others are there."""


class Served:
    """Downloads of one lesson, made by a program in the recorder's place."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._program = folder / "program" / "csv_recorder.py"
        self._program.parent.mkdir()
        self.made = folder / "made"
        self.made.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(self.made))
        monkeypatch.setenv("TMPDIR", str(self.made))
        monkeypatch.setenv("PYTHONPATH", str(self._program.parent))
        self.is_running = folder / "running"
        monkeypatch.setenv("IS_RUNNING", str(self.is_running))
        lesson = {"group": "_all", "name": "Ciências", "began": time_text(NOON), "ended": None}
        write_session(folder / "kept", "Ana", "5A", "Ana", NOON, reading_rows(2), lessons=[lesson])
        self.downloads = Downloads(Recordings(folder / "kept"), grant_of)
        (listed,) = json.loads(self.get("/recordings?by=lesson").body)["lessons"]
        self._path = f"/recordings/lessons/{listed['key']}"

    def get(self, path: str) -> Response:
        response = self.downloads.load(asked(path))
        if isinstance(response, StreamedResponse):
            response.body = b"".join(response.pieces)
        return response

    def download(self, program: str, query: str = "format=xlsx") -> Response:
        self._program.write_text(program, encoding="utf-8")
        return self.get(f"{self._path}?{query}")

    def numbers(self) -> tuple[int, int]:
        counters = self.downloads.converter.counters
        return counters["conversions"], counters["conversions_failed"]


def is_over(pid: int) -> bool:
    """Nobody may have waited for it."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def served(tmp_path, monkeypatch):
    return Served(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        pytest.param(f"{HALF}time.sleep(600)", "it took longer than 0 s", id="hangs"),
        pytest.param(f"{HALF}signal.signal(15, signal.SIG_IGN)\n{CHILD}time.sleep(600)",
                     "it took longer than 0 s", id="hangs with a child"),
        pytest.param(f"{HALF}os.kill(os.getpid(), 9)", "its program was ended by signal 9", id="killed"),
        pytest.param(f"{HALF}raise MemoryError", "its program failed", id="fails in the middle"),
        pytest.param(f"{HALF}sys.stderr.write('é' * 10**6)\nraise SystemExit(2)", "its program failed", id="refuses"),
        pytest.param("raise SystemExit(1)", "none of the sessions can be read", id="reads nothing"),
    ],
)  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_program_that_fails_costs_its_download_alone(served, monkeypatch, program, reason):
    """One sentence says why, it is counted, nothing of it stays, and the next download is made."""
    with monkeypatch.context() as patched:
        if reason.startswith("it took longer"):
            patched.setattr(converter, "CONVERT_TIMEOUT_S", 0.3)
        failed = served.download(program)
    assert failed.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert failed.body.decode() == f"The workbook or report could not be made: {reason}.\n"
    assert served.numbers() == (1, 1)
    for _ in range(converter.CONVERSIONS_MAX + 1):
        assert served.download(UNREADABLE).body == b"whole"
        assert list(served.made.iterdir()) == []
    assert served.numbers() == (2 + converter.CONVERSIONS_MAX, 1)


@pytest.mark.parametrize("end", ["time.sleep(600)", "raise MemoryError", "open('half.xlsx')"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not know whose child a program is")
def test_what_a_program_has_started_ends_with_it(served, monkeypatch, end):
    """Whether it hangs, fails or is through."""
    monkeypatch.setattr(converter, "CONVERT_TIMEOUT_S", 3.0)
    served.download(f"{HALF}{CHILD}{end}")
    child = int(served.is_running.read_text(encoding="ascii"))
    wait_for(lambda: is_over(child), "end of the program's child")


def test_a_program_that_cannot_be_started_is_a_failure_too(served, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert served.download("").body == b"The workbook or report could not be made: No such file or directory.\n"
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    for _ in range(converter.CONVERSIONS_MAX + 1):
        assert served.download("").status_code == HTTPStatus.INTERNAL_SERVER_ERROR


def test_one_that_hangs_leaves_a_place_and_the_end_of_the_gateway_ends_it(served):
    """A third is asked to come again; who stops the gateway waits for none."""
    answers: list[Response] = []
    hung = [threading.Thread(target=lambda: answers.append(served.download(LASTS))) for _ in range(2)]
    try:
        hung[0].start()
        wait_for(served.is_running.exists, "first program")
        assert served.download(UNREADABLE).body == b"whole"
        served.is_running.unlink()
        hung[1].start()
        wait_for(served.is_running.exists, "second program")
        if sys.platform == "linux":
            (program, _) = served.downloads.converter._programs
            assert os.getpriority(os.PRIO_PROCESS, program.pid) >= converter.NICENESS
            badness = Path(f"/proc/{program.pid}/oom_score_adj").read_text(encoding="ascii")
            assert badness.strip() == converter.DIES_FIRST
        refused = served.download("")
        assert (refused.status_code, refused.headers["Retry-After"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "10")
    finally:
        served.downloads.converter.close()
    for each in hung:
        each.join(10)
    assert [each.status_code for each in answers] == [HTTPStatus.INTERNAL_SERVER_ERROR] * 2
    assert served.download(LASTS).status_code == HTTPStatus.INTERNAL_SERVER_ERROR, "nor does it wait for a new one"


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "x" * 300, "../../etc/passwd", "/etc/localtime", "America", "%00", "%ff", "-3", "%20"]
)
def test_a_time_zone_that_does_not_exist_is_named_as_the_fault(served, zone):
    for format in ("csv-ptbr", "report"):
        refused = served.download("", f"format={format}&tz={zone}&utc_offset_min=-180")
        assert refused.status_code == HTTPStatus.BAD_REQUEST
        assert refused.body == b"tz must be a time zone like America/Sao_Paulo or UTC.\n"


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "America/Buenos_Aires", "Asia/Calcutta", "Etc/GMT%2B3", ""])
def test_the_time_zones_of_browsers_are_known(served, zone):
    """Old names too, which the systems of servers no longer have."""
    assert served.download("", f"format=csv-ptbr&tz={zone}").status_code == HTTPStatus.OK


def test_the_extra_of_the_gateways_image_is_what_is_needed():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    packages = {re.match(r"[a-z]+", each)[0] for each in extras["ws-gateway-downloads"]}  # type: ignore[index]
    assert {"csv_recorder", *packages} == set(converter.NEEDED)
