"""Tests of the logins of a server, also with a real Mosquitto."""

import base64
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from neuroone import logins
from neuroone.contract import topics
from neuroone.contract.errors import SettingsError
from neuroone.contract.topics import TOPICS
from neuroone.logins import IDENTITIES, TOKEN, SecretsSettings, login_in, make, owner, owns, password_line
from neuroone.mqtt.address import BrokerAddress
from neuroone.service.lifecycle import Stop
from tests.support.brokers import LOOPBACK
from tests.support.closed_broker import closed_broker
from tests.support.waiting import wait_for

BROKER = BrokerAddress("mosquitto", 1883)


def test_every_identity_has_a_login_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, BROKER, {})
    logins = [login_in(tmp_path, name) for name in IDENTITIES]
    assert [(login.host, login.port, login.user) for login in logins] == [
        ("mosquitto", 1883, name) for name in IDENTITIES
    ]
    assert len({login.password for login in logins}) == len(IDENTITIES)
    assert min(len(login.password or "") for login in logins) == 32


def test_a_second_run_makes_only_what_is_missing(tmp_path: Path) -> None:
    """It changes no login; one whose file was deleted gets a new password."""
    make(tmp_path, BROKER, {})
    before = {name: login_in(tmp_path, name) for name in IDENTITIES}
    token = (tmp_path / TOKEN).read_text(encoding="ascii")
    (tmp_path / "reader.url").unlink()
    make(tmp_path, BROKER, {})
    after = {name: login_in(tmp_path, name) for name in IDENTITIES}
    assert {name for name in IDENTITIES if before[name] != after[name]} == {"reader"}
    assert (tmp_path / TOKEN).read_text(encoding="ascii") == token


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
def test_only_its_owner_may_read_a_file(tmp_path: Path) -> None:
    make(tmp_path, BROKER, {})
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == len(IDENTITIES) + 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("user", ["nobody", "65534", "4711"])
def test_files_belong_to_the_user_and_its_own_group(tmp_path: Path, user: str) -> None:
    """Mosquitto warns of a password file of another group, and future versions refuse it.

    That holds for files that are there, too: after a restored backup they are root's.
    """
    import pwd

    known = {str(each.pw_uid): (each.pw_uid, each.pw_gid) for each in pwd.getpwall()}
    wanted = known.get("65534" if user == "nobody" else user, (4711, 4711))
    owners = dict.fromkeys((*IDENTITIES, "broker"), user)

    def found() -> set[tuple[int, int]]:
        return {(file.stat().st_uid, file.stat().st_gid) for file in tmp_path.rglob("*") if file.is_file()}

    make(tmp_path, BROKER, owners)
    assert found() == {wanted}
    for file in tmp_path.rglob("*"):
        os.chown(file, 0, 0)
    make(tmp_path, BROKER, owners)
    assert found() == {wanted}


def test_an_owner_that_this_machine_does_not_know_is_named(tmp_path: Path) -> None:
    given = SecretsSettings(dir=tmp_path, owner=(("broker", "nobody-here"),))
    with pytest.raises(SettingsError, match="no such user: 'nobody-here'"):
        logins.run(given, Stop())


def test_a_password_line_is_what_mosquitto_passwd_writes(tmp_path: Path) -> None:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed on this machine")
    file = tmp_path / "passwords"
    subprocess.run([program, "-c", "-b", file, "ana", "secret"], check=True, capture_output=True)
    line = file.read_text(encoding="ascii")
    salt = base64.b64decode(line.split("$")[3])
    assert password_line("ana", "secret", salt) == line


@pytest.mark.parametrize("rule", TOPICS, ids=lambda rule: rule.shape)
def test_only_its_owners_may_write_a_topic(rule: topics.TopicRule) -> None:
    owners = {
        "streams/{group}/{source}/reading": {"ws_gateway", "serial_bridge"},
        "streams/{group}/{source}/raw": {"ws_gateway", "serial_bridge"},
        "streams/{group}/{source}/state": {"ws_gateway", "serial_bridge"},
        "groups/{group}/event": {"ws_gateway", "serial_bridge", "monitor_gui", "lsl_outlet"},
        "groups/{group}/lesson": {"ws_gateway"},
        "services/{service}/{instance}/state": {
            *("ws_gateway", "csv_recorder", "serial_bridge", "monitor_gui", "lsl_outlet", "forwarder")
        },
        "services/{service}/{instance}/health": {
            *("ws_gateway", "csv_recorder", "serial_bridge", "monitor_gui", "lsl_outlet", "forwarder")
        },
        "services/csv_recorder/{instance}/recorded": {"csv_recorder"},
        "services/ws_gateway/{instance}/waiting": {"ws_gateway"},
        "services/ws_gateway/{instance}/admission": {"ws_gateway"},
    }
    assert {name for name in IDENTITIES if owns(name, rule)} == owners[rule.shape]


def test_the_recorder_may_remove_what_the_broker_keeps_of_a_student() -> None:
    may_write = logins.writes("csv_recorder")
    assert {"neuroone/v1/+/streams/+/+/state", "neuroone/v1/+/groups/+/lesson"} <= {*may_write}
    assert "neuroone/v1/+/streams/+/+/reading" not in may_write


def test_a_school_keeps_its_login_until_its_file_is_gone(tmp_path: Path) -> None:
    """Every start of compose calls this again, without the schools."""
    make(tmp_path, BROKER, {}, ["school-a", "school-b"])
    login = login_in(tmp_path, "site-school-a")
    make(tmp_path, BROKER, {})
    assert login_in(tmp_path, "site-school-a") == login
    for name in ("passwords", "acl"):
        assert "site-school-b" in (tmp_path / "broker" / name).read_text(encoding="ascii")
    shown = logins.overview(SecretsSettings(dir=tmp_path, host="district.example")).splitlines()
    token = (tmp_path / "site-school-a.token").read_text(encoding="ascii").strip()
    assert f"site-school-a:          http://district.example:8080/school-a/#token={token}" in shown
    assert f"site-school-a, --district: mqtt://site-school-a:{login.password}@district.example:1883" in shown
    (tmp_path / "site-school-b.url").unlink()
    make(tmp_path, BROKER, {})
    for name in ("passwords", "acl"):
        text = (tmp_path / "broker" / name).read_text(encoding="ascii")
        assert "site-school-a" in text
        assert "school-b" not in text


@pytest.mark.parametrize("given", ["ws_gateway", "nobody=1", "reader=", "=1", "site-=1", "site-a b=1"])
def test_a_faulty_owner_is_refused_with_the_form(given: str) -> None:
    with pytest.raises(ValueError, match="must be NAME=USER"):
        owner(given)


def test_the_overview_has_the_servers_own_name_and_ports(tmp_path: Path) -> None:
    make(tmp_path, BROKER, {})
    given = SecretsSettings(dir=tmp_path, show=True, host="escola.local", ws_port=80, mqtt_port=99)
    token = (tmp_path / TOKEN).read_text(encoding="ascii").strip()
    dashboards, reader, *_ = logins.overview(given).splitlines()
    assert dashboards.endswith(f"http://escola.local:80/#token={token}")
    assert reader.endswith(f"mqtt://reader:{login_in(tmp_path, 'reader').password}@escola.local:99")


@pytest.mark.parametrize(
    ("listener", "broker"),
    [
        ("listener 1883 127.0.0.1", "localhost"),
        ("listener 1883", "lab-3.local"),
        ("listener 1883 ::1", "localhost"),
        ("listener 1883\nlistener 9001 127.0.0.1", "lab-3.local"),
    ],
)
def test_the_overview_knows_where_an_installed_broker_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: str, broker: str
) -> None:
    """By the configuration that deploy/install.sh keeps beside the logins; --mqtt-address goes first."""
    monkeypatch.setattr("platform.node", lambda: "Lab-3")
    make(tmp_path, BROKER, {})
    (tmp_path / "mosquitto.conf").write_text(f"# listener 1883 10.0.0.1\n{listener}\nautosave_interval 30\n")
    lines = logins.overview(SecretsSettings(dir=tmp_path)).splitlines()
    assert [line.endswith(f"@{broker}:1883") for line in lines[1:]] == [True] * 4
    lines = logins.overview(SecretsSettings(dir=tmp_path, mqtt_address="192.168.0.7")).splitlines()
    assert lines[1].endswith("@192.168.0.7:1883")


@pytest.mark.parametrize(
    ("given", "dashboards", "broker"),
    [
        ({}, "http://lab-3.local:8080/", "lab-3.local"),
        ({"mqtt_address": "127.0.0.1"}, "http://lab-3.local:8080/", "localhost"),
        ({"mqtt_address": "0.0.0.0"}, "http://lab-3.local:8080/", "lab-3.local"),
        ({"mqtt_address": "192.168.0.7"}, "http://lab-3.local:8080/", "192.168.0.7"),
        ({"host": "192.168.0.7"}, "http://192.168.0.7:8080/", "192.168.0.7"),
        ({"host": "a", "public_url": "https://school.example/eeg"}, "https://school.example/eeg/", "a"),
    ],
)
def test_the_overview_has_addresses_that_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], dashboards: str, broker: str
) -> None:
    """From other machines for dashboards; for programs where the broker listens."""
    monkeypatch.setattr("platform.node", lambda: "Lab-3")
    make(tmp_path, BROKER, {})
    lines = logins.overview(SecretsSettings(dir=tmp_path, **given)).splitlines()  # type: ignore[arg-type]
    assert lines[0].split()[1].startswith(f"{dashboards}#token=")
    assert [line.endswith(f"@{broker}:1883") for line in lines[1:]] == [True] * 4


def test_showing_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another user than the owner may call it; without any files, an error names the reason."""
    with pytest.raises(SettingsError, match="dashboard-token"):
        logins.run(SecretsSettings(dir=tmp_path, show=True), Stop())
    logins.run(SecretsSettings(dir=tmp_path), Stop())
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert logins.run(SecretsSettings(dir=tmp_path, show=True), Stop()) == 0
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    assert "mqtt://reader:" in capsys.readouterr().out


@pytest.mark.broker
def test_the_broker_accepts_each_login_and_no_other(tmp_path: Path) -> None:
    with closed_broker(tmp_path) as (folder, address):
        tries = [(name, login_in(folder, name).password) for name in IDENTITIES]
        answers = {name: _answer(address.port, name, password) for name, password in tries}
        assert answers == dict.fromkeys(IDENTITIES, "Success")
        assert _answer(address.port, "reader", "wrong") == _answer(address.port, None, None) == "Not authorized"


def _answer(port: int, user: str | None, password: str | None) -> str:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    answers: list[str] = []
    client.on_connect = lambda client, userdata, flags, reason, properties: answers.append(str(reason))
    if user is not None:
        client.username_pw_set(user, password)
    client.connect(LOOPBACK, port)
    client.loop_start()
    try:
        return wait_for(lambda: answers, "answer")[0]
    finally:
        client.disconnect()
        client.loop_stop()
