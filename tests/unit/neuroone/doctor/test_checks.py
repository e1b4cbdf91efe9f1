"""Tests of the checks of `neuroone doctor`: from observations to findings."""

import json
from typing import Any

import pytest

from neuroone.contract import hints
from neuroone.contract.messages import BANDS, Kind, Link, ServiceStatus, StreamStatus
from neuroone.contract.shards import Shard
from neuroone.doctor import checks, forwarders, recorders
from neuroone.doctor.checks import (
    BrokerAnswer,
    Directory,
    Finding,
    Instance,
    Status,
)
from neuroone.doctor.command import as_json, as_text, sentences
from tests.support.findings import codes
from tests.support.messages import reading, stream_state


def test_a_server_without_adapters_has_no_problem() -> None:
    assert [each.status for each in checks.ports([], [], frozenset())] == [Status.SKIPPED]


@pytest.mark.parametrize(
    ("loopback", "address", "works", "code"),
    [
        (True, "192.168.1.5", True, "network_ok"),
        (True, "192.168.1.5", False, "network_closed"),
        (False, "192.168.1.5", False, "network_skipped"),
        (True, "127.0.0.1", True, "network_skipped"),
    ],
)
def test_a_port_that_only_this_machine_reaches_is_closed(loopback: bool, address: str, works: bool, code: str) -> None:
    assert codes(checks.network(loopback, address, works, 8080)) == [code]


def test_a_disk_that_is_nearly_full_is_a_problem() -> None:
    assert codes(checks.recordings(Directory("d", True, True, checks.SPACE_MIN_BYTES - 1))) == ["csv_no_space"]


def test_a_disk_on_which_the_broker_cannot_save_is_a_problem() -> None:
    assert codes(checks.broker_disk("d", checks.SPACE_MIN_BYTES - 1)) == ["broker_disk_full"]
    assert codes(checks.broker_disk("d", checks.SPACE_MIN_BYTES)) == ["broker_disk_ok"]


def test_a_variable_that_nobody_reads_is_a_problem() -> None:
    """With the setting that is meant, where one is near."""
    found = checks.variables({"NEUROONE_SIET": "NEUROONE_SITE", "NEUROONE_QQQ": ""})
    assert codes(found) == ["variable_mistyped", "variable_useless"]
    assert "NEUROONE_SITE" in str(sentences(found[0], "pt-BR"))
    assert codes(checks.variables({})) == ["variable_ok"]


def test_a_program_that_linux_killed_for_memory_is_a_problem() -> None:
    found = checks.memory(10**10, ["mosquitto", "mosquitto"])
    assert (found.code, found.facts["programs"]) == ("memory_killed", "mosquitto")


def instance(service: str, status: ServiceStatus = ServiceStatus.ONLINE, **changes: Any) -> Instance:
    return Instance(service, "a", status, **changes)


def test_a_service_is_online_offline_or_was_never_seen() -> None:
    found = checks.services([instance("ws_gateway"), instance("monitor_gui", ServiceStatus.OFFLINE)])
    assert {each.facts["service"]: each.code for each in found} == {
        "csv_recorder": "service_never",
        "ws_gateway": "service_ok",
    }
    gone = checks.services([instance("ws_gateway", ServiceStatus.OFFLINE), instance("csv_recorder")])
    assert codes(gone) == ["service_ok", "service_offline"]


def test_nothing_that_others_say_commands_the_terminal() -> None:
    """What a service logs, what a topic or a variable is called."""
    finding = checks.Finding("unit_restarts", dict.fromkeys(("service", "restarts", "tail"), "a\x1b[2J\x9b1m\n\u202eb"))
    for text in sentences(finding, "en"):
        assert text is None or text.isprintable()
    assert "\x1b" not in as_text(finding, "pt-BR")


def test_an_offline_copy_is_no_problem_while_another_is_online() -> None:
    """A container that is made anew leaves its old name behind."""
    gone = Instance("ws_gateway", "old", ServiceStatus.OFFLINE)
    assert codes(checks.services([instance("ws_gateway"), gone]))[1] == "service_ok"


def test_a_recorder_reports_a_failing_disk_in_its_health() -> None:
    assert codes(recorders.recorder_disk([instance("csv_recorder", disk_works=False)])) == ["recorder_disk"]
    assert codes(recorders.recorder_disk([instance("csv_recorder", disk_works=True)])) == ["recorder_ok"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "forwarder_ok"),
        ({"district_connected": 0}, "forwarder_away"),
        ({"district_connected": 0, "district_login_refused": 1}, "forwarder_login"),
        ({"district_connected": 0, "district_refuses": 1}, "forwarder_refused"),
        ({"spool_full": 1}, "forwarder_full"),
        ({"disk_works": 0}, "forwarder_disk"),
        ({"district_records": 0}, "forwarder_unrecorded"),
        ({"oldest_waiting_age_seconds": forwarders.LATE_S + 1}, "forwarder_late"),
    ],
)
def test_a_forwarder_reports_whether_the_district_has_what_happens(changes: dict[str, float], code: str) -> None:
    healthy = {"district_connected": 1, "district_login_refused": 0, "district_refuses": 0, "disk_works": 1}
    healthy |= {"district_records": 1}
    gauges = {**healthy, "spool": 7, "spool_full": 0, "oldest_waiting_age_seconds": 60, **changes}
    assert codes(forwarders.forwarders([instance("forwarder", gauges=gauges)])) == [code]


def test_a_forwarder_that_is_off_is_a_problem_and_a_school_without_one_has_none() -> None:
    assert codes(forwarders.forwarders([instance("forwarder", ServiceStatus.OFFLINE)])) == ["forwarder_offline"]
    assert codes(forwarders.forwarders([instance("forwarder")])) == ["forwarder_unknown"]
    assert forwarders.forwarders([instance("csv_recorder")]) == []


def test_each_shard_of_the_streams_needs_its_recorder():
    def found(*shards: str | None, status: ServiceStatus = ServiceStatus.ONLINE) -> list[Finding]:
        return recorders.recorder_shards(
            [instance("csv_recorder", status, shard=each and Shard.parse(each)) for each in shards]
        )

    assert found(None) == found("1/3", status=ServiceStatus.OFFLINE) == []
    assert codes(found("1/2", "2/2")) == ["shards_ok"]
    assert codes(found("1/3", "3/3")) == ["shards_missing"]
    assert found("1/3", "3/3")[0].facts["missing"] == "2/3"
    assert codes(found("1/2", "2/2", "3/3")) == codes(found("1/2", None)) == ["shards_differ"]


def test_a_clock_that_differs_from_ours_is_a_problem() -> None:
    assert codes(checks.clocks([instance("ws_gateway", skew_s=-61.0), instance("x", skew_s=0.1)])) == ["clock_skew"]
    assert codes(checks.clocks([instance("ws_gateway", skew_s=0.4)])) == ["clock_ok"]
    assert codes(checks.clocks([instance("ws_gateway")])) == ["clock_unknown"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"poor_signal": 0}, "values_ok"),
        ({"poor_signal": None}, "values_ok"),
        ({"poor_signal": 51}, "signal_poor"),
        ({"poor_signal": 200}, "signal_off"),
        ({"attention": 0, "meditation": 0, **dict.fromkeys(BANDS, 0)}, "values_zero"),
        ({"poor_signal": None, **dict.fromkeys(BANDS, 0)}, "values_no_bands"),
        ({"poor_signal": None, **dict.fromkeys(BANDS, 99)}, "values_ok"),
    ],
)
def test_values_show_poor_contact_a_bare_headset_zeros_and_missing_bands(changes: dict[str, Any], code: str) -> None:
    assert codes(checks.values({"A/x": stream_state()}, {"A/x": reading(**changes)})) == [code]


def test_a_headset_without_a_link_is_reported_with_the_bridges_hint() -> None:
    state = stream_state(status=StreamStatus.OFFLINE, link=Link.NO_PERMISSION, hint="You may not open it.")
    [found] = checks.values({"A/x": state}, {})
    assert (found.code, found.facts["hint"]) == ("stream_link", "You may not open it.")


@pytest.mark.parametrize(("language", "hint"), [("en", hints.NO_SERVER.english), ("pt-BR", hints.NO_SERVER.portuguese)])
def test_the_bridges_hint_is_shown_in_the_readers_language(language: str, hint: str) -> None:
    """The facts, for programs, keep what the bridge published."""
    published = hints.NO_SERVER.text("x:1")
    state = stream_state(link=Link.NO_PORT, hint=published, device="x:1")
    [found] = checks.values({"A/x": state}, {})
    assert hint.format(device="x:1") in as_text(found, language)
    assert json.loads(as_json(found, language))["facts"]["hint"] == published


def test_a_student_who_went_home_is_no_problem() -> None:
    state = stream_state(status=StreamStatus.OFFLINE, link=Link.ENDED, kind=Kind.CLIENT)
    assert codes(checks.values({"A/x": state}, {})) == ["values_none"]


def test_a_login_that_may_not_read_and_an_old_broker_are_problems() -> None:
    assert codes(checks.broker(BrokerAnswer("a", may_read=False))) == ["broker_acl"]
    assert codes(checks.broker(BrokerAnswer("a", version="mosquitto version 1.6.9"))) == ["broker_old"]
    assert codes(checks.broker(BrokerAnswer("a", version="mosquitto version 2.1.2"))) == ["broker_ok"]


def test_what_the_window_lacks_is_a_problem_where_there_is_a_screen() -> None:
    lacks, install = ["libxcb-cursor.so.0"], "sudo apt install libxcb-cursor0"
    found = checks.window(lacks, install, has_screen=True)
    assert (found.code, found.status, found.check) == ("window_libraries", Status.PROBLEM, "window")
    assert "libxcb-cursor0" in str(sentences(found, "pt-BR"))
    without = checks.window(lacks, install, has_screen=False)
    assert without.status is Status.SKIPPED
    assert "libxcb-cursor0" in str(sentences(without, "en"))
    assert checks.window([], "", has_screen=True).code == "window_ok"
    assert checks.window(None, "", has_screen=True).code == "window_none"
