"""Where a callback may go. A callback URL comes from a client, so it is untrusted (SSRF): the name is resolved once,
private and special addresses are refused unless the operator allowed them by name, and the connection goes to exactly
the address that was checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import httpx

from milo.errors import Invalid
from milo.settings import Settings

MAX_URL = 2048


class Refused(Invalid):
    code, title = "callback_refused", "The callback address is not allowed"


def check_url(settings: Settings, url: str) -> None:
    """What can be told from the text alone. Raises `Refused` with the reason."""
    if len(url) > MAX_URL:
        raise Refused(f"the callback URL has {len(url)} characters; {MAX_URL} is the most")
    try:
        parts = httpx.URL(url)  # as the one that will call it reads it
        host = parts.host  # raises for a name that is ill encoded
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Refused(f"{url!r}: a callback is an http:// or https:// URL")
    if parts.port is not None and not 0 < parts.port < 65536:
        raise Refused(f"{url!r} is not a URL: a port is a number from 1 to 65535")
    if parts.userinfo:
        raise Refused("a callback URL must not carry a user name or password; the signature authenticates Milo")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return
    _check_address(settings, host, literal)


def _check_address(settings: Settings, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_global and not address.is_multicast:
        return
    for allowed in settings.webhook_allow:
        if allowed.lower() == host.lower():
            return
        try:
            if address in ipaddress.ip_network(allowed, strict=False):
                return
        except ValueError:
            continue
    raise Refused(
        f"{host} is the private or special address {address}; the operator can allow it in MILO_WEBHOOK_ALLOW"
    )


async def resolve(settings: Settings, host: str, port: int) -> str:
    """One address of the host, checked. If any of its addresses is refused, the host is."""
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"the name {host} can't be resolved: {error}") from error
    addresses = [str(entry[4][0]) for entry in infos]
    for address in addresses:
        _check_address(settings, host, ipaddress.ip_address(address.split("%")[0]))
    return addresses[0]
