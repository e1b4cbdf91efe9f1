"""The messages that wait on a school's disk for the district."""

import contextlib
import sqlite3
import stat
import sys
import time
from pathlib import Path

import pytest

from neuroone.contract.errors import SettingsError
from neuroone.forward.settings import ForwardSettings
from neuroone.forward.spool import MESSAGE_BYTES, Spool
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.delivery import Delivery


def delivery(number: int) -> Delivery:
    return Delivery("neuroone/v1/a/groups/6B/event", b"%d" % number, retained=False, packet_id=1, connection=1)


def opened(file: Path, max_bytes: int = 10_000) -> Spool:
    spool = Spool(file, max_bytes)
    spool.open()
    return spool


def test_messages_outlive_the_program_in_order(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool" / "spool.db")
    spool.add(map(delivery, range(6)))
    spool.remove(2)
    before = spool.length, spool.size_bytes
    spool.close()
    spool = opened(tmp_path / "spool" / "spool.db")
    assert (spool.length, spool.size_bytes) == before == (4, 4 * (len(delivery(0).topic) + 1 + MESSAGE_BYTES))
    assert [(each.id, each.payload) for each in spool.after(3, 2)] == [(4, b"3"), (5, b"4")]
    spool.close()


def test_the_age_of_the_oldest_message_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s)
    spool = opened(tmp_path / "spool.db")
    assert spool.oldest_age_s() == 0
    spool.add([delivery(0)])
    now_s += 60
    spool.add([delivery(1)])
    now_s += 5
    assert spool.oldest_age_s() == 65
    spool.remove(1)
    assert spool.oldest_age_s() == 5
    now_s -= 3600  # the clock is set
    assert spool.oldest_age_s() == 0
    spool.close()


def test_a_spool_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as before:
        before.execute(
            "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL)"
        )
        before.execute("INSERT INTO messages (topic, payload) VALUES ('neuroone/v1/a/groups/6B/event', x'30')")
        before.commit()
    spool = opened(tmp_path / "spool.db")
    spool.add([delivery(1)])
    assert [each.payload for each in spool.after(0, 9)] == [b"0", b"1"]
    assert spool.oldest_age_s() == 0  # it is not known
    spool.close()


def test_no_id_is_used_twice(tmp_path: Path) -> None:
    """Else a message behind the last one that was sent would never be found."""
    spool = opened(tmp_path / "spool.db")
    spool.add([delivery(0)])
    spool.remove(1)
    spool.add([delivery(1)])
    assert [each.id for each in spool.after(1, 9)] == [2]
    spool.close()


def test_a_full_spool_has_room_again_once_something_is_sent(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool.db", max_bytes=200)
    assert not spool.is_full
    spool.add(map(delivery, range(3)))
    assert spool.is_full
    spool.remove(2)
    assert not spool.is_full
    spool.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool.db")
    spool.add([delivery(0)])
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    spool.close()


def test_two_forwarders_have_no_spool_in_common(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool.db")
    spool.add([delivery(0)])
    with pytest.raises(SettingsError, match="locked"):
        opened(tmp_path / "spool.db")
    spool.close()


def test_a_damaged_spool_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database" * 1000)
    with pytest.raises(SettingsError, match="cannot be used"):
        opened(tmp_path / "spool.db")


def test_a_school_does_not_forward_to_itself(tmp_path: Path) -> None:
    here = BrokerAddresses.parse("mqtt://127.0.0.1:1883")
    with pytest.raises(SettingsError, match="own broker"):
        ForwardSettings(broker=here, district=here).check()
    with pytest.raises(SettingsError, match="is missing"):
        ForwardSettings().check()
