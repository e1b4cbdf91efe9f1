"""The settings of `neuroone up` that it hands on to the gateway."""

import pytest

from neuroone.contract.errors import SettingsError
from neuroone.service import settings
from neuroone.up.command import UpSettings


def test_a_wrong_key_or_address_is_named_before_anything_starts() -> None:
    """By the name under which it was given, and the key is not repeated."""
    argv = ["--site-key", "secret!", "--public-url", "school.example"]
    with pytest.raises(SettingsError) as fault:
        settings.read(UpSettings, argv, {}, program="neuroone up")
    key, address = fault.value.faults
    assert key == "--site-key: must have 8 to 64 of the characters A-Z a-z 0-9 _ -"
    assert address.startswith("--public-url: must be an address like https://school.example")


def test_an_address_is_handed_on_as_the_gateway_reads_it() -> None:
    argv = ["--site-key", "site-key", "--public-url", "https://school.example/eeg"]
    given = settings.read(UpSettings, argv, {}, program="neuroone up")
    assert (given.site_key, given.public_url) == ("site-key", "https://school.example/eeg/")
