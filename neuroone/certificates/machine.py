"""Find the names and the addresses by which others reach this machine."""

import platform
from ipaddress import ip_address
from typing import Final

import psutil

from neuroone.certificates.making import Names, is_private, valid_hosts
from neuroone.service.local_address import local_ip

ADDRESSES_MAX: Final = 64
"""A machine with containers has one for each of their networks; the first is always the one of the local network."""


def names() -> Names:
    """Return the names of this machine, also in ``.local``, its private addresses, and that of the local network."""
    name = platform.node()
    first = name.partition(".")[0]
    hosts = valid_hosts((f"{first}.local", first, name, "localhost"))
    shown = [
        each.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family.name in ("AF_INET", "AF_INET6")
    ]
    mine = ip_address(local_ip())
    private = filter(is_private, map(ip_address, ("127.0.0.1", "::1", *sorted(shown))))
    return Names(hosts, tuple(dict.fromkeys((mine, *private)))[:ADDRESSES_MAX])
