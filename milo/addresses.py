"""Is an address this machine alone?"""

from __future__ import annotations

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Whether an address or name is this machine alone. A Unix socket (None) is."""
    if host is None or host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
