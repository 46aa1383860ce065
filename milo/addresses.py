"""Which machine is an address: this one, or one of a list of networks?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def _parse(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; IPv4 written as IPv6 is IPv4. Raises `ValueError` for a name."""
    address = ipaddress.ip_address(host.strip("[]").split("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(host: str | None) -> bool:
    """Whether an address or name is this machine alone. A Unix socket (None) is."""
    if host is None or host == "localhost":
        return True
    try:
        return _parse(host).is_loopback
    except ValueError:
        return False


def check_networks(networks: list[str]) -> list[str]:
    """The same list. Raises `ValueError` with a sentence for what is neither an address nor a CIDR block."""
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ValueError(f"{network!r} is neither an address nor a network such as 172.16.0.0/12 or ::1") from None
    return networks


def is_among(host: str | None, networks: Iterable[str]) -> bool:
    """Whether an address is one of these addresses or lies in one of these networks. A name never does."""
    try:
        address = _parse(host or "")
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
