"""Raw samples of a student's headset, from its bytes in an app to the recordings, beside a bridge's."""

import asyncio
import base64
import csv
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neuroone.contract.messages import RawBlock
from neuroone.data import raw_runs, recordings
from neuroone.up import brokers
from serial_bridge.captures.files import EXAMPLE, CaptureWriter, parts
from tests.support.bad_network import CLIENTS, node
from tests.support.brokers import LOOPBACK
from tests.support.captures import BASELINE
from tests.support.gateways import happens, running_gateway
from tests.support.lesson_door import App, Teacher
from tests.support.messages import SESSION
from tests.support.recorder_process import RecorderProcess
from tests.support.relay import Relay

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

SECOND_BYTES = 512 * 8 + 36
RATE_HZ = 512
BLOCK_SAMPLES = 64
LOST_BLOCKS = range(45, 61)
SAMPLE = {"type": "raw", "first_sample": 0, "rate_hz": 512, "samples": [1, -1]}


def with_a_gap(folder: Path) -> Path:
    """Write 30 s of a real capture, or the simulated one, with the times of its samples; two seconds are lost."""
    stream = (BASELINE if BASELINE.exists() else EXAMPLE).read_bytes()[: 30 * SECOND_BYTES]
    heads = [found.start() for found in re.finditer(b"\xaa\xaa\x04\x80\x02", stream)][::BLOCK_SAMPLES]
    file = folder / "gap.capture"
    with file.open("w", encoding="ascii") as opened:
        writer = CaptureWriter(opened, "thinkgear")
        for n, (begin, end) in enumerate(itertools.pairwise([*heads, len(stream)])):
            if n not in LOST_BLOCKS:
                writer.write(stream[begin:end], n * BLOCK_SAMPLES / RATE_HZ)
    return file


def raw_rows(folder: Path, name: str) -> list[list[str]]:
    """Return seq, first_sample, rate_hz and samples of what is recorded of a student."""
    rows = []
    for file in sorted(folder.glob(f"sessions/*/*_{name}*/raw.csv")):
        with file.open(encoding="ascii", newline="") as opened:
            rows += [
                [row[key] for key in ("seq", "first_sample", "rate_hz", "samples")] for row in csv.DictReader(opened)
            ]
    return rows


@pytest.mark.parametrize("broker", [brokers.KINDS[0]], indirect=True)
async def test_raw_samples_of_an_app_are_recorded_as_those_of_a_bridge(broker, tmp_path):
    """Also those of an outage; the teacher who switched them on watches them."""
    capture, folder = with_a_gap(tmp_path), tmp_path / "recordings"
    with (
        running_gateway(broker) as (gateway, peer),
        RecorderProcess(broker.url, folder, "--raw") as recorder,
        Relay(gateway.port) as relay,
    ):
        await happens(lambda: peer.services("csv_recorder"))
        replay = [
            sys.executable,
            "-m",
            "serial_bridge",
            "replay",
            str(capture),
            "--speed",
            "20",
            "--broker",
            broker.url,
        ]
        bridge = await asyncio.create_subprocess_exec(*replay, "--source", "Ponte", "--name", "Ponte", "--code", "A")
        async with Teacher(gateway) as teacher:
            words = [*node(), str(CLIENTS / "headset.raw.test.mjs"), f"ws://{LOOPBACK}:{relay.port}", "Aluna"]
            app = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert app.stdin
            assert app.stdout
            assert await app.stdout.readline() == b"here\n"
            await teacher.begin()
            await teacher.say(type="watch", group="A", source="Aluna")
            await teacher.say(type="raw_wanted", wanted=True)
            await teacher.hears(lambda said: said["type"] == "lesson" and said["raw"])

            arrivals = [[at_s * 1000, base64.b64encode(part).decode()] for at_s, part in parts(capture)]
            half = len(arrivals) // 2
            for each in (*arrivals[:half], "cut"):
                app.stdin.write(json.dumps(each).encode() + b"\n")
            assert await app.stdout.readline() == b"cut\n"
            relay.cut()
            relay.refuse()
            for each in (*arrivals[half:], "end"):
                app.stdin.write(json.dumps(each).encode() + b"\n")
            counted = json.loads(await app.stdout.readline())
            relay.heal()
            assert await bridge.wait() == 0
            await happens(lambda: len(raw_rows(folder, "Aluna")) >= counted["raw_blocks"])
            app.stdin.close()
            await app.wait()
            shown = [said for said in teacher.heard if said["type"] == "raw"]
        recorder.stop()
    expected = raw_rows(folder, "Ponte")
    assert raw_rows(folder, "Aluna") == expected
    assert sum(len(row[3].split()) for row in expected) == counted["raw_samples"] > 4000
    assert counted["dropped"] == 0
    firsts = [int(row[1]) for row in expected]
    ends = [first + len(row[3].split()) for first, row in zip(firsts, expected, strict=True)]
    gaps = [after - end for end, after in zip(ends, [*firsts[1:], ends[-1]], strict=True)]
    assert max(gaps) == counted["raw_samples_missing"] == len(LOST_BLOCKS) * BLOCK_SAMPLES
    assert [*dict.fromkeys(said["first_sample"] for said in shown)] == firsts, "those of an outage may come twice"
    by_name = {each.name: each for each in recordings.find([folder])}
    assert by_name["Aluna"].about["rates_hz"] == by_name["Ponte"].about["rates_hz"]
    ours, theirs = ([*raw_runs.runs(by_name[name])] for name in ("Aluna", "Ponte"))
    assert [each.counts.tolist() for each in ours] == [each.counts.tolist() for each in theirs]
    assert [each.has_holes for each in ours] == [True]


async def test_raw_samples_come_in_only_from_students_of_a_lesson_that_wants_them(broker, tmp_path):
    """Whoever asks for them is a teacher; whoever waits at the door sends none; what is bad is named.

    They are recorded, also where those of headsets are not.
    """
    with running_gateway(broker) as (gateway, peer), RecorderProcess(broker.url, tmp_path):
        await happens(lambda: peer.services("csv_recorder"))
        async with Teacher(gateway) as teacher, App(gateway, "Ana", "A", SESSION) as ana:
            await ana.is_welcome()
            await teacher.say(type="raw_wanted", wanted=True)
            await teacher.until_errors(1, "no_lesson")
            await teacher.say(**SAMPLE)
            await teacher.until_errors(1, "not_a_student")
            await ana.say(type="raw_wanted", wanted=True)
            await ana.until_errors(1, "not_a_teacher")
            await ana.say(**SAMPLE)
            await teacher.begin()
            await teacher.say(type="raw_wanted", wanted=True)
            await ana.hears(lambda said: said["type"] == "raw_wanted" and said["wanted"])
            await teacher.set_door("ask")
            async with App(gateway, "Bia", "B", "b" * 8) as bia:
                await bia.is_told("ask")
                await bia.say(**SAMPLE)
                await teacher.until(lambda: teacher.waiting)
                await teacher.say(type="admit", id=teacher.board["students"][0]["id"])
                await bia.hears(lambda said: said["type"] == "raw_wanted")
                kinds = [said["type"] for said in bia.heard if said["type"] != "door"]
                assert kinds[:3] == ["welcome", "raw_wanted", "link"]
            await ana.say(**{**SAMPLE, "samples": [1, 40000]})
            fault = await ana.hears(lambda said: said.get("field") == "samples")
            assert fault["code"] == "bad_value"
            await ana.say(**SAMPLE)
            await ana.send(0)
            await ana.hears(lambda said: said["type"] == "ack" and said.get("seq") == 0)
            await happens(lambda: any(isinstance(each, RawBlock) for _, each in peer.heard))
            sources = [topic["source"] for topic, each in peer.heard if isinstance(each, RawBlock)]
            assert sources == ["Ana"], "neither Bia nor what came before the lesson"
            await happens(lambda: raw_rows(tmp_path, "Ana"))
