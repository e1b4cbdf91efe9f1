"""Who wears which headset, by the order of the ports, names and codes that are given."""

import pytest

from neuroone.service.wearers import Owner, faults, owners


@pytest.mark.parametrize(
    ("ports", "names", "codes", "named", "searched"),
    [
        ("A", "", "", [Owner()], [Owner()]),
        ("A B", "Ana Bia", "6A 6B", [Owner("Ana", "6A"), Owner("Bia", "6B")], [Owner()]),
        ("A B", "Ana Bia", "6A", [Owner("Ana", "6A"), Owner("Bia", "6A")], [Owner()]),
        ("auto", "Ana Bia", "6A", [], [Owner("Ana", "6A"), Owner("Bia", "6A"), Owner(None, "6A")]),
        (
            "auto B",
            "Ana Bia Caio",
            "6A 6B",
            [Owner("Bia", "6B")],
            [Owner("Ana", "6A"), Owner("Caio", "6A"), Owner(None, "6A")],
        ),
    ],
)
def test_owners_follow_the_order_of_the_ports(ports, names, codes, named, searched):
    given = ports.split(), names.split(), codes.split()
    assert faults(*given) == []
    assert owners(*given) == (named, searched)


@pytest.mark.parametrize(
    ("ports", "names", "codes"),
    [("A B", "Ana", ""), ("A", "Ana Bia", ""), ("A auto", "Ana", ""), ("A B C", "", "6A 6B"), ("auto", "", "6A 6B")],
)
def test_a_mismatch_is_told(ports, names, codes):
    assert len(faults(ports.split(), names.split(), codes.split())) == 1
