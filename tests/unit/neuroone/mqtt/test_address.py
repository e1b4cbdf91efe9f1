"""Addresses of brokers, as ``--broker`` has them."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from neuroone.contract.errors import SettingsError
from neuroone.mqtt.address import BrokerAddress, BrokerAddresses
from neuroone.service import settings
from neuroone.service.settings import BusSettings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mqtt://h", BrokerAddress("h", 1883)),
        ("mqtt://H/", BrokerAddress("h", 1883)),
        ("mqtts://h", BrokerAddress("h", 8883, tls=True)),
        ("mqtt://neuroone_broker-1.school.example.:99", BrokerAddress("neuroone_broker-1.school.example.", 99)),
        ("mqtt://escola-são-joão.example", BrokerAddress("escola-são-joão.example", 1883)),
        ("mqtt://u@h", BrokerAddress("h", 1883, user="u")),
        ("mqtt://u:p%40ss@h:99", BrokerAddress("h", 99, user="u", password="p@ss")),
        ("mqtt://u:p@s:s,@h:99", BrokerAddress("h", 99, user="u", password="p@s:s,")),
        ("mqtt://u%3A:%23%2F%3F%20%25@h", BrokerAddress("h", 1883, user="u:", password="#/? %")),
        ("mqtt://jos%C3%A9:100%@h", BrokerAddress("h", 1883, user="josé", password="100%")),
        ("mqtt://u:@h", BrokerAddress("h", 1883, user="u", password="")),
        ("mqtt://[::1]:1883", BrokerAddress("::1", 1883)),
        ("mqtt://[FE80::1%eth0]", BrokerAddress("fe80::1%eth0", 1883)),
        ("mqtt://[fe80::1%25eth0]", BrokerAddress("fe80::1%eth0", 1883)),
    ],
)
def test_the_url_is_the_inverse_and_what_is_printed_has_no_password(text: str, address: BrokerAddress) -> None:
    assert BrokerAddress.parse(text) == address
    assert BrokerAddress.parse(address.url) == address
    assert list(BrokerAddresses.parse(text)) == [address]
    if address.password:
        assert address.password not in f"{address}{address!r}"


FORM = "must be like mqtt://host:1883 or mqtts://user:password@host:8883"
HOST = "must have a host of letters, digits, - and _ between single dots"
PORT = "must have a port from 1 to 65535"
CHARACTERS = "must not hold spaces, # or ?: in a password, write %20, %23 and %3F"
FAULTS = [
    ("", FORM),
    ("h:1883", FORM),
    ("http://h", FORM),
    ("MQTT//h", FORM),
    ("mqtt://", FORM),
    ("mqtt://:1883", FORM),
    ("mqtt://h:", FORM),
    ("mqtt://h:18x", FORM),
    ("mqtt://h/path", FORM),
    ("mqtt://u:secret/@h", FORM),
    ("mqtt://::1", FORM),
    ("mqtt://[::1", FORM),
    ("mqtt://::1]", FORM),
    ("mqtt://[::1]]", FORM),
    ("mqtt://[::1]x", FORM),
    ("mqtt://[1.2.3.4]", "must have an IPv6 address between [ and ]"),
    ("mqtt://[]", "must have an IPv6 address between [ and ]"),
    ("mqtt://h:0", PORT),
    ("mqtt://h:65536", PORT),
    ("mqtt://u:secret@h:99999999999999999999", PORT),
    ("mqtt://a..b", HOST),
    ("mqtt://.a", HOST),
    ("mqtt://a!", HOST),
    ("mqtt://" + "a" * 64, HOST),
    ("mqtt://u:12#34@h", CHARACTERS),
    ("mqtt://u:12?34@h", CHARACTERS),
    ("mqtt://h?x=1", CHARACTERS),
    ("mqtt://u:se cret@h", CHARACTERS),
    (" mqtt://h", CHARACTERS),
    ("mqtt://h\n", CHARACTERS),
    ("mqtt://u:%ff@h", "must have a login of printable characters, its %-escapes in UTF-8"),
    ("mqtt://u:%00@h", "must have a login of printable characters, its %-escapes in UTF-8"),
    (",", f"{FORM}, also behind each comma"),
    ("mqtt://a,", f"{FORM}, also behind each comma"),
    ("mqtt://a,b", f"{FORM}, also behind each comma"),
    (",mqtt://a", f"(address 1 of 2) {FORM}"),
    ("mqtt://a,,mqtt://b", f"(address 1 of 2) {FORM}, also behind each comma"),
    ("mqtt://a,mqtt://u:secret@b:0", f"(address 2 of 2) {PORT}"),
    ("mqtt://a, mqtt://b", CHARACTERS),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_faulty_address_is_refused_in_words_that_quote_no_password(text: str, fault: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared below)
        BrokerAddresses.parse(text)
    assert str(caught.value) == fault


def test_several_addresses_stand_between_commas_each_with_its_login() -> None:
    text = "mqtt://ana:se,cret@a:1,mqtts://b,mqtt://[::1]:2"
    addresses = BrokerAddresses.parse(text)
    assert list(addresses) == [
        BrokerAddress("a", 1, user="ana", password="se,cret"),
        BrokerAddress("b", 8883, tls=True),
        BrokerAddress("::1", 2),
    ]
    assert BrokerAddresses.parse(addresses.url) == addresses
    assert str(addresses) == "mqtt://a:1,mqtts://b:8883,mqtt://[::1]:2"
    assert "cret" not in repr(addresses)


def test_shuffling_keeps_every_address_and_follows_the_generator() -> None:
    addresses = BrokerAddresses.parse(",".join(f"mqtt://h{number}" for number in range(20)))
    shuffled = addresses.shuffled(random.Random(1))
    assert isinstance(shuffled, BrokerAddresses)
    assert shuffled != addresses
    assert sorted(shuffled, key=str) == sorted(addresses, key=str)
    assert shuffled == addresses.shuffled(random.Random(1))


def test_addresses_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "broker"
    file.write_text("mqtt://u:secret@h,mqtt://b\n", encoding="utf-8")
    login = BrokerAddress("h", 1883, user="u", password="secret")
    assert list(BrokerAddresses.parse(f"file:{file}")) == [login, BrokerAddress("b", 1883)]
    file.write_text("secret", encoding="utf-8")
    with pytest.raises(ValueError, match="the file's text must be like mqtt://") as caught:
        BrokerAddresses.parse(f"file:{file}")
    assert "secret" not in str(caught.value)
    file.write_bytes(b"mqtt://\xff")
    for unreadable in (file, tmp_path / "nowhere", tmp_path / "nul\0"):
        with pytest.raises(ValueError, match="cannot be read"):
            BrokerAddresses.parse(f"file:{unreadable}")


def test_a_wrong_broker_is_a_fault_of_the_settings_without_its_text() -> None:
    with pytest.raises(SettingsError) as caught:
        settings.read(BusSettings, ["--broker", "mqtt://ana:secret@a..b"], {}, program="example")
    assert caught.value.faults == (f"--broker: {HOST}",)


@pytest.mark.parametrize("program", ["csv_recorder", "ws_gateway", "serial_bridge"])
def test_a_service_with_a_wrong_broker_exits_with_2_in_words(program: str, capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", program, "--broker", "mqtt://ana:secret@a..b"]
    assert subprocess.run(command, check=False, timeout=50).returncode == 2
    printed = capfd.readouterr().err
    assert HOST in printed
    assert "secret" not in printed
