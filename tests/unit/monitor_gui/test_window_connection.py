"""The site and the broker's certificate authority in the window."""

import os
import sys
from pathlib import Path

import pytest

from neuroone.contract.messages import StreamState
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.threaded import ThreadedClient
from tests.support.monitor_windows import Wearer, client_of, monitor_window
from tests.support.waiting import wait_for

pytestmark = pytest.mark.gui
SHOWS_ARGUMENTS = """#!{0}
import os, sys
with open({1!r}, "w") as file:
    print(*sys.argv[1:], os.environ.get("NEUROONE_BROKER_CA", "not set"), sep="\\n", file=file)
"""


def test_the_site_is_shown_and_can_be_changed(qapp: object, tmp_path: Path) -> None:
    """Streams of the other site appear, those of the first go, and the next run begins with it."""
    with monitor_window(tmp_path) as window:
        Wearer(window, "h1", "Ana")
        window.show_page("connection")
        box = window.broker_page.broker
        assert box.site.text() == "local"
        assert "local" in window.connection.text()
        box.site.setText("escola-2")
        box.connect_button.click()
        assert window.feed.site == "escola-2"
        assert "escola-2" in window.connection.text()
        assert all("/escola-2/" in filter for filter in client_of(window).subscriptions)
        assert window.feed.states() == {}
        Wearer(window, "h2", "Bia")
        assert [state.name for state in window.feed.states().values()] == ["Bia"]
        assert isinstance(next(iter(window.feed.states().values())), StreamState)
        assert window.preferences.site() == "escola-2"


@pytest.mark.parametrize("site", ["não é", "a/b", "x" * 65, "+", "#"])
def test_a_site_that_fits_no_topic_is_explained(site: str, qapp: object, tmp_path: Path) -> None:
    with monitor_window(tmp_path) as window:
        box = window.broker_page.broker
        box.site.setText(site)
        box.connect_button.click()
        assert "site must have" in box.state.text()
        assert window.feed.site == "local"
        box.site.setText("")
        box.connect_button.click()
        window.refresh()
        assert "Connected" in box.state.text()


@pytest.mark.skipif(sys.platform == "win32", reason="the bridge is a script here")
def test_the_authority_of_the_broker_is_used_and_passed_to_the_bridge(
    qapp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority of the environment counts no more once another one, or none, was chosen."""
    bridge, seen = tmp_path / "bridge", tmp_path / "seen"
    bridge.write_text(SHOWS_ARGUMENTS.format(sys.executable, str(seen)))
    bridge.chmod(0o755)
    monkeypatch.setattr("monitor_gui.local_bridge.command", lambda *arguments: [str(bridge), *arguments])
    monkeypatch.setenv("NEUROONE_BROKER_CA", "/of/the/environment.crt")
    authority = str(tmp_path / "ca of the school.crt")
    with monitor_window(tmp_path) as window:
        box = window.broker_page.broker
        for ca_file in (authority, ""):
            box.address.setText("mqtts://broker.school")
            box.ca_file.setText(ca_file)
            box.site.setText("escola")
            box.connect_button.click()
            assert window.feed.broker == BrokerAddress("broker.school", 8883, tls=True)
            assert str(client_of(window).options.get("ca_file", "")) == ca_file
            assert str(window.preferences.broker_ca() or "") == ca_file
            window.broker_page.headset.chosen.emit("sim", "", "")
            assert window.bridge._run.waitForFinished(10_000)
            assert seen.read_text().splitlines() == ["run", "--port", "sim", "--site", "escola", ca_file]
    assert os.environ["NEUROONE_BROKER_CA"]


def test_the_program_connects_with_the_chosen_site_and_authority(qapp: object, tmp_path: Path) -> None:
    from monitor_gui.feed import Feed
    from monitor_gui.service import _new_client
    from monitor_gui.settings import Settings
    from neuroone.service.settings import read

    made: list[ThreadedClient] = []

    def new_client(broker: BrokerAddress, **options: object) -> object:
        settings = read(Settings, [], {"NEUROONE_SITE": feed.site}, program="monitor-gui")
        made.append(_new_client(settings, broker, **options))
        return made[-1]

    feed = Feed(new_client, "local", lambda: 0.0)  # type: ignore[arg-type]
    authority = tmp_path / "ca.crt"
    feed.connect(BrokerAddress("127.0.0.1", 9, tls=True), "escola", authority)
    wait_for(lambda: made[0].fault, "a fault", 10)
    feed.close()
    assert made[0].identity.site == "escola"
    assert isinstance(getattr(made[0].fault, "__cause__", None), FileNotFoundError)  # there is no such authority
