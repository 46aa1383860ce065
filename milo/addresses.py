"""Which machine is an address: this one, one of a list of networks, or one that the public internet does not reach?"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

SPECIAL_V4: dict[IPv4Network, str] = {
    IPv4Network(block): name
    for block, name in (
        ("0.0.0.0/8", "this network (RFC 791)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.64.0.0/10", "shared by the customers of a provider (RFC 6598)"),
        ("127.0.0.0/8", "this machine (RFC 1122)"),
        ("169.254.0.0/16", "link-local (RFC 3927)"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", "for protocols of the IETF (RFC 6890)"),
        ("192.0.2.0/24", "for documentation (RFC 5737)"),
        ("192.31.196.0/24", "AS112 (RFC 7535)"),
        ("192.52.193.0/24", "AMT (RFC 7450)"),
        ("192.88.99.0/24", "a relay of 6to4 (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("192.175.48.0/24", "AS112 (RFC 7534)"),
        ("198.18.0.0/15", "for benchmarks (RFC 2544)"),
        ("198.51.100.0/24", "for documentation (RFC 5737)"),
        ("203.0.113.0/24", "for documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("240.0.0.0/4", "reserved or broadcast (RFC 1112, RFC 8190)"),
    )
}
"""IANA's special-purpose addresses of IPv4, and multicast."""
SPECIAL_V6: dict[IPv6Network, str] = {
    IPv6Network(block): name
    for block, name in (
        ("::/128", "no address (RFC 4291)"),
        ("::1/128", "this machine (RFC 4291)"),
        ("::/96", "an IPv4-compatible address (RFC 4291)"),
        ("::ffff:0:0:0/96", "an IPv4-translated address (RFC 2765)"),
        ("64:ff9b:1::/48", "a NAT64 of a network's own (RFC 8215)"),
        ("100::/64", "discard-only (RFC 6666)"),
        ("100:0:0:1::/64", "a dummy prefix (RFC 9780)"),
        ("2001::/32", "Teredo (RFC 4380)"),
        ("2001::/23", "for protocols of the IETF (RFC 2928)"),
        ("2001:db8::/32", "for documentation (RFC 3849)"),
        ("2002::/16", "6to4 (RFC 3056)"),
        ("2620:4f:8000::/48", "AS112 (RFC 7534)"),
        ("3fff::/20", "for documentation (RFC 9637)"),
        ("5f00::/16", "segment routing (RFC 9602)"),
        ("fc00::/7", "private (RFC 4193)"),
        ("fe80::/10", "link-local (RFC 4291)"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast (RFC 4291)"),
    )
}
"""The same of IPv6. An IPv4 address that is mapped, or in the well-known NAT64, is judged by itself."""
_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""The interface identifier of an address that tunnels to the IPv4 address in its last 32 bits (RFC 5214)."""


def _parse(host: str) -> Address:
    """An address; IPv4 written as IPv6 is IPv4. Raises `ValueError` for a name."""
    address = ipaddress.ip_address(host.strip("[]").split("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def special_purpose(address: Address) -> str | None:
    """What an address is for when no machine of the public internet has it; None: an ordinary public address.

    By IANA's special-purpose registries and what IPv6 has allocated; an embedded IPv4 address is judged too.
    """
    if isinstance(address, IPv4Address):
        return next((name for block, name in SPECIAL_V4.items() if address in block), None)
    inside = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.ipv4_mapped:
        return special_purpose(inside)
    if address in _NAT64:
        special = special_purpose(inside)
        return special and f"NAT64 (RFC 6052) of {inside}, which is {special}"
    bare = IPv6Address(int(address))  # without a zone
    for block, name in SPECIAL_V6.items():
        if bare in block:
            return name
    if bare not in _GLOBAL_V6:
        return "not allocated to anybody"
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP and special_purpose(inside):
        return f"ISATAP (RFC 5214) of {inside}, which is {special_purpose(inside)}"
    return None


def numeric_host(host: str) -> Address | None:
    """The address that a host of a URL is, in whatever spelling the resolver takes (`0x7f.1`, `2130706433`, a zone, a
    dot at the end); None: a name. Raises `ValueError` for what is neither.
    """
    bare = host.rstrip(".").split("%")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    last = bare.rpartition(".")[2].lower()
    if not (last.isdigit() or last.startswith("0x")):
        return None
    try:
        return IPv4Address(socket.inet_aton(bare))
    except OSError:
        raise ValueError("a name does not end in a number, and it is no IPv4 address") from None


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
        if not is_network(network):
            raise ValueError(f"{network!r} is neither an address nor a network such as 172.16.0.0/12 or ::1")
    return networks


def is_network(text: str) -> bool:
    """Whether this is an address or a CIDR block, not a name."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_among(host: str | None, networks: Iterable[str]) -> bool:
    """Whether an address is one of these addresses or lies in one of these networks. A name never does."""
    try:
        address = _parse(host or "")
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
