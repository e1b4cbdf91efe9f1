"""Tests of what `neuroone doctor` knows of services that die, and of the commands that it names."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from neuroone.doctor import machine, runners
from neuroone.doctor.checks import Finding
from neuroone.doctor.command import read_texts, sentences
from neuroone.doctor.runners import Runner
from neuroone.service.language import LANGUAGES
from neuroone.service.run_record import Record, Run
from tests.support.findings import codes
from tests.support.waiting import wait_for

NOW_S = datetime(2026, 11, 26, 20, 0, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


def silent(command: Sequence[str]) -> str:
    return ""


CONTAINERS = json.dumps(
    [
        {"Name": "/neuroone-a-1", "RestartCount": 0, "State": {"Running": True, "OOMKilled": False, "ExitCode": 0}},
        {"Name": "/neuroone-b-1", "RestartCount": 9, "State": {"Running": True, "OOMKilled": False, "ExitCode": 0}},
        {"Name": "/neuroone-c-1", "RestartCount": 1, "State": {"Running": True, "OOMKilled": True, "ExitCode": 137}},
        {"Name": "/neuroone-d-1", "RestartCount": 0, "State": {"Running": False, "OOMKilled": False, "ExitCode": 2}},
        {
            "Name": "/neuroone-secrets-1",
            "RestartCount": 0,
            "State": {"Running": False, "OOMKilled": False, "ExitCode": 0},
        },
    ]
)


def test_containers_are_read_from_docker_inspect() -> None:
    """Healthy, restarted again and again, out of memory, ended with a fault, and one whose work is done."""
    units = runners.containers(CONTAINERS, lambda command: "first\nfirst\nlast words\n", NOW_S)
    found = runners.judge(units)
    assert codes(found) == ["unit_ok", "unit_restarts", "unit_out_of_memory", "unit_failed", "unit_ok"]
    assert found[3].facts["tail"] == "first | last words"


SYSTEMD = """\
Id=neuroone-gateway.service
LoadState=loaded
ActiveState=active
NRestarts=12
Result=success
ExecMainStatus=0

Id=neuroone-recorder.service
LoadState=loaded
ActiveState=failed
NRestarts=0
Result=oom-kill
ExecMainStatus=9

Id=neuroone-none.service
LoadState=not-found
ActiveState=inactive
"""


def test_units_are_read_from_systemctl_show() -> None:
    units = runners.systemd_units(SYSTEMD, lambda command: "words\n", NOW_S, 60.0)
    assert codes(runners.judge(units)) == ["unit_restarts", "unit_out_of_memory"]
    assert codes(runners.judge([])) == ["unit_none"]


def test_restarts_of_long_ago_are_over() -> None:
    """A unit or container that has run for more than an hour since."""
    calm = SYSTEMD.replace("NRestarts=12", "NRestarts=12\nActiveEnterTimestampMonotonic=60000000")
    assert codes(runners.judge(runners.systemd_units(calm, silent, NOW_S, 60.0 + HOUR_S + 1)))[0] == "unit_ok"
    assert codes(runners.judge(runners.systemd_units(calm, silent, NOW_S, 60.0 + HOUR_S - 1)))[0] == "unit_restarts"
    state = {"Running": True, "OOMKilled": False, "ExitCode": 0, "StartedAt": "2026-11-26T19:00:01.123456789Z"}
    inspected = json.dumps([{"Name": "/neuroone-b-1", "RestartCount": 9, "State": state}])
    for now_s, code in ((NOW_S, "unit_restarts"), (NOW_S + 2, "unit_ok")):
        assert codes(runners.judge(runners.containers(inspected, silent, now_s))) == [code]


def test_the_journal_tells_of_memory_that_ran_out_before_this_run() -> None:
    """systemd itself forgets why the run before ended."""

    def ask(command: Sequence[str]) -> str:
        return "neuroone-gateway.service: Failed with result 'oom-kill'." if "--grep=oom-kill" in command else ""

    assert codes(runners.judge(runners.systemd_units(SYSTEMD, ask, NOW_S, 60.0)))[0] == "unit_out_of_memory"


def test_last_words_are_those_of_the_service_that_died() -> None:
    """Not what systemd says of it, and not what the next run says that is fine."""
    asked: list[Sequence[str]] = []
    began = SYSTEMD.replace("NRestarts=12", "NRestarts=12\nExecMainStartTimestampMonotonic=50000000")

    def ask(command: Sequence[str]) -> str:
        asked.append(command)
        return ""

    runners.systemd_units(began, ask, NOW_S, 60.0)
    words = [command for command in asked if "--lines=3" in command]
    assert [command[-1] for command in words] == [
        "_SYSTEMD_UNIT=neuroone-gateway.service",
        "_SYSTEMD_UNIT=neuroone-recorder.service",
    ]
    assert f"--until=@{NOW_S - 10:.0f}" in words[0]
    assert not any("--until" in word for word in words[1])


SUPERVISORD = """
[unix_http_server]
file=%(here)s/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/socket
[supervisord]
logfile=%(here)s/supervisord.log
pidfile=%(here)s/pid
childlogdir=%(here)s
nodaemon=true
[program:neuroone-gateway]
command=sh -c "echo --ws-port: must be a number; sleep 0.2; exit 2"
startsecs=0
[program:neuroone-recorder]
command=sleep 60
startsecs=0
[program:neuroone-bridge]
command=sleep 60
autostart=false
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[runners.Ask]:
    """Run a real supervisor whose gateway dies at each start; give what asks it."""
    programs = Path(sys.executable).parent
    conf = tmp_path / "supervisord.conf"
    conf.write_text(SUPERVISORD, encoding="utf-8")
    running = subprocess.Popen([programs / "supervisord", "-c", conf], stdout=subprocess.DEVNULL)

    def ask(command: Sequence[str]) -> str:
        if command[0] != "supervisorctl":
            return ""
        return machine.run([str(programs / command[0]), "-c", str(conf), *command[1:]])

    try:
        yield ask
    finally:
        running.terminate()
        running.wait(30)


@pytest.mark.skipif(sys.platform == "win32", reason="supervisor needs POSIX")
def test_a_program_that_dies_under_supervisor_is_named_with_its_last_words(
    supervisor: runners.Ask, tmp_path: Path
) -> None:
    """One that runs and one that was never started are no problem, and none of the advice is for systemd."""
    log = tmp_path / "supervisord.log"

    def deaths() -> int:
        return log.read_text(encoding="utf-8").count("exited: neuroone-gateway") if log.exists() else 0

    wait_for(lambda: deaths() > runners.RESTARTS_MAX, "deaths of the gateway", 30)
    found = {each.facts["service"]: each for each in runners.judge(runners.units(supervisor, [], time.time()))}
    assert found.keys() == {"neuroone-gateway", "neuroone-recorder"}
    assert found["neuroone-recorder"].code == "unit_ok"
    finding = found["neuroone-gateway"]
    assert finding.code in ("unit_failed", "unit_restarts")
    assert finding.facts["code"] == "2"
    assert finding.facts["tail"].endswith("--ws-port: must be a number")
    _, do = sentences(finding, "en", Runner.SUPERVISOR)
    assert "supervisorctl tail -5000 neuroone-gateway" in str(do)


SUPERVISOR_LOG = """{0},123 INFO exited: neuroone-recorder (terminated by SIGKILL; not expected)
{0},200 INFO stopped: neuroone-gateway (exit status 0)
{0},300 INFO exited: neuroone-gateway (exit status 0; expected)
"""


@pytest.mark.parametrize(("age_s", "code"), [(60, "unit_restarts"), (2 * HOUR_S, "unit_ok")])
def test_deaths_under_supervisor_count_for_an_hour(age_s: float, code: str) -> None:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW_S - age_s))
    status = "neuroone-gateway   RUNNING   pid 7, uptime 0:00:03\nneuroone-recorder  RUNNING   pid 8, uptime 0:00:03\n"
    log = SUPERVISOR_LOG.format(at) * 3
    units = runners.supervisor_programs(status, log, lambda command: "", NOW_S)
    assert codes(runners.judge(units)) == ["unit_ok", code]
    assert codes(runners.judge([], is_closed=True)) == ["unit_unknown"]


def runs(*given: tuple[float, int | None], memory_kills: Sequence[int] = (), boots: str = "") -> Record:
    """Describe runs by how long ago they began and by their exit codes, None for a run without an end."""
    kills, names = list(memory_kills) or [0] * len(given), boots or "a" * len(given)
    return Record(
        service="csv_recorder",
        runs=tuple(
            Run(
                began_s=NOW_S - age_s, code=code, words="the disk is gone" if code else "", boot=boot, memory_kills=kill
            )
            for (age_s, code), kill, boot in zip(given, kills, names, strict=True)
        ),
    )


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (runs((30 * HOUR_S, None)), "unit_ok"),
        (runs((9, 0), (8, 0), (7, 0), (6, 0), (5, None)), "unit_ok"),
        (runs((9, None), (8, None), (7, None), (6, None), boots="abcd"), "unit_ok"),
        (runs((9, 1), (8, None), (7, None)), "unit_ok"),
        (runs((9, 1), (8, None), (7, 1), (6, None)), "unit_restarts"),
        (runs((9, 2), (8, 2), (7, 2), (6, 2)), "unit_failed"),
        (runs((9 * HOUR_S, 1), (8 * HOUR_S, 1), (7 * HOUR_S, 1), (6 * HOUR_S, None)), "unit_ok"),
        (runs((9, None), (8, None), memory_kills=(3, 4)), "unit_out_of_memory"),
        (runs((9, None), (8, None), memory_kills=(3, 0), boots="ab"), "unit_ok"),
        (runs((9, 1), (8, None), memory_kills=(3, 4)), "unit_ok"),
        (runs((90 * HOUR_S, None), (80 * HOUR_S, None), memory_kills=(3, 4)), "unit_ok"),
        (runs((80 * HOUR_S, 1)), "unit_ok"),
    ],
    ids=[
        "runs", "stopped and started", "the machine was started again", "died twice", "dies again and again",
        "wrong settings", "died this morning", "no memory", "no memory before the machine's start",
        "another program had no memory", "no memory days ago", "a container that is no more",
    ],
)  # fmt: skip
def test_the_record_that_a_service_keeps_tells_why_it_died(record: Record, code: str) -> None:
    [finding] = runners.judge(runners.recorded([record], NOW_S))
    assert finding.code == code
    if code in ("unit_restarts", "unit_failed"):
        assert finding.facts["tail"] == "the disk is gone"
        assert "csv_recorder" in str(sentences(finding, "en", Runner.COMPOSE)[1])


def test_containers_that_were_replaced_hide_no_fault_of_the_one_that_runs() -> None:
    """And neither does a wrong setting of one that was replaced look like one of today's."""
    dies, works, failed = runs((9, 1), (8, 1), (7, 1), (6, None)), runs((3, None)), runs((5, 2))
    found = runners.recorded([works, dies, runs((99, None))], NOW_S)
    assert codes(runners.judge(found)) == ["unit_ok", "unit_restarts"]
    assert codes(runners.judge(runners.recorded([works, failed], NOW_S))) == ["unit_ok"]
    assert codes(runners.judge(runners.recorded([runs((9, 2), (8, 2), (7, 2), (6, 2), (5, 0))], NOW_S))) == ["unit_ok"]


KERNEL_LOG = """2026-11-26T19:00:00,123456+00:00 eth0: link up
2026-11-26T19:59:00,123456+00:00 Memory cgroup out of memory: Killed process 812 (csv-recorder) total-vm:9kB
2026-11-26T19:59:00,123456+00:00 Out of memory: Killed process 813 (firefox) total-vm:9kB, anon-rss:8kB
2026-11-24T19:59:00,123456+00:00 Out of memory: Killed process 9 (mosquitto) total-vm:9kB
rubbish Killed process 9 (mosquitto)
"""


def test_what_the_kernel_killed_today_is_named() -> None:
    assert runners.memory_kills(KERNEL_LOG, NOW_S) == ["csv-recorder"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("runner", "foreign"),
    [
        (Runner.SUPERVISOR, ("systemctl", "journalctl", "docker")),
        (Runner.SYSTEMD, ("supervisorctl", "docker")),
        (Runner.COMPOSE, ("systemctl", "supervisorctl", "journalctl")),
        (Runner.UP, ("systemctl", "supervisorctl", "journalctl", "docker")),
    ],
)
def test_advice_names_the_commands_of_what_runs_the_services_alone(runner, foreign, language) -> None:
    facts = dict.fromkeys("address service user file dir device driver usb_id program group url port".split(), "x")
    facts |= dict.fromkeys("detail status hint tail near variable install firewall folder days count".split(), "x")
    facts |= dict.fromkeys(
        "free_mb seconds code restarts programs libraries stream link hours poor_signal".split(), "x"
    )
    facts |= dict.fromkeys("names instances version usb missing topic minutes".split(), "x")
    problems = [Finding(key[:-3], facts) for key in read_texts(language) if key.endswith(".do")]
    assert len(problems) > 40
    for finding in problems:
        for text in sentences(finding, language, runner):
            assert not [word for word in foreign if word in str(text)], finding.code


@pytest.mark.parametrize(
    ("service", "start"),
    [
        ("csv_recorder/main", "sudo systemctl start neuroone-recorder"),
        ("neuroone-gateway.service", "sudo systemctl start neuroone-gateway"),
        ("neuroone-ws_gateway-12", "sudo systemctl start neuroone-gateway"),
        ("neuroone-broker", "sudo systemctl start neuroone-broker"),
        ("neuroone-broker-watch.service", "sudo systemctl start neuroone-broker-watch"),
        ("neuroone-proxy-1", "sudo systemctl start neuroone-proxy"),
    ],
)
def test_a_service_is_known_by_each_of_its_names(service: str, start: str) -> None:
    assert runners.commands_for(Runner.SYSTEMD, "services", {"service": service})["start"] == start


def test_what_runs_the_services_is_found(tmp_path: Path) -> None:
    assert runners.runner_of(tmp_path, silent) is Runner.UP
    assert (
        runners.runner_of(tmp_path, lambda command: "4f2a" if command[:2] == ["docker", "ps"] else "") is Runner.COMPOSE
    )
    unit = tmp_path / "etc/systemd/system/neuroone-gateway.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    assert runners.runner_of(tmp_path, silent) is Runner.SYSTEMD
    programs = tmp_path / "etc/supervisor/conf.d/neuroone.conf"
    programs.parent.mkdir(parents=True)
    programs.touch()
    assert runners.runner_of(tmp_path, silent) is Runner.SUPERVISOR
