"""csv-recorder as a program with a fault of ours in one of its parts: it ends in words, never in silence."""

import contextlib
import sys
from pathlib import Path

import pytest

from neuroone.up import brokers
from tests.support.brokers import Broker
from tests.support.recorded_class import QUICK, RecordedClass, waiting_class
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(brokers.find(brokers.MOSQUITTO) is None, reason="Mosquitto is not installed on this machine"),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
BREAK = f"""
{QUICK}
def fail(*arguments, **keys):
    raise RuntimeError("broken by a test")
async def serve(service, *arguments, real=s.Service._serve):
    target = s
    for name in "{{part}}".split("."):
        owner, target = target, getattr(target, name)
    setattr(owner, name, property(fail) if isinstance(target, property) else fail)
    await real(service, *arguments)
s.Service._serve = serve
"""
"""Python that breaks a part once the recorder has opened its directory."""
PARTS = (
    "Recorder.accept",
    "Recorder.write",
    "Recorder.receipts",
    "Recorder.begin_settling",
    "Recorder.sync",
    "Recorder.finish_settling",
    "Recorder.begin_describing",
    "Recorder.write_sidecars",
    "Recorder.finish_describing",
    "Recorder.counters",
    "Receipts.send",
    "Receipts.on_link",
    "Service._health",
    "AsyncClient.ack",
    "AsyncClient.report_fault",
    "Recorder.replace_filters",
)
END_S = 40.0


@pytest.mark.parametrize("parts", [PARTS[start::4] for start in range(4)], ids=lambda parts: parts[0])
def test_no_fault_in_any_part_ends_or_hinders_it_in_silence(
    mosquitto: Broker, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    """Each recorder ends with exit code 1 and a line in the log; what was not acknowledged is recorded by the next."""
    with contextlib.ExitStack() as opened:
        lessons: dict[str, RecordedClass] = {}
        for part in parts:
            folder = tmp_path / part
            folder.mkdir()
            lesson = lessons[part] = opened.enter_context(waiting_class(mosquitto, folder))
            lesson.launch(BREAK.format(part=part))
        for part, lesson in lessons.items():
            wait_for(lambda each=lesson: each.is_online or each.process.poll(), f"start of {part}", END_S)  # type: ignore[misc]
            if lesson.process.poll() is None:
                lesson.send_good()
        for part, lesson in lessons.items():
            wait_for(lambda each=lesson: each.process.poll() is not None, f"end after a fault in {part}", END_S)  # type: ignore[misc]
            assert lesson.process.returncode == 1, part
            assert " ERROR " in lesson.log, part
            assert "broken by a test" in lesson.log, part
            lesson.start()
            lesson.good_are()
            assert lesson.stop() == 0
