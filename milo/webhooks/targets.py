"""Where a callback may go. A callback URL comes from a client, so it is untrusted (SSRF): the name is resolved once,
private and special addresses are refused unless the operator allowed them by name, and the connection goes to exactly
the address that was checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from milo.addresses import Address, is_among, is_network, numeric_host, special_purpose
from milo.errors import Invalid
from milo.settings import Settings

MAX_URL = 2048


class Refused(Invalid):
    code, title = "callback_refused", "The callback address is not allowed"


def check_url(settings: Settings, url: str) -> None:
    """What can be told from the text alone. Raises `Refused` with the reason."""
    if len(url) > MAX_URL:
        raise Refused(f"the callback URL has {len(url)} characters; {MAX_URL} is the most")
    import httpx  # which imports much of its own; most requests name no callback

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
    if not url.isprintable() or "%" in host:
        raise Refused(f"{url!r}: a callback URL has no control characters, and its host no percent sign or zone")
    try:
        address = numeric_host(parts.raw_host.decode())
    except ValueError as error:
        raise Refused(f"{url!r} is not a URL: {error}") from None
    if address is None:
        return
    if str(address) != str(_plain(host)):
        raise Refused(f"{host} is another spelling of the address {address}; write that one")
    _check_address(settings, host, address)


def _plain(host: str) -> Address | None:
    """The address that the text is in its usual spelling."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_address(settings: Settings, host: str, address: Address) -> None:
    special = special_purpose(address)
    if special is None or _is_allowed(settings, host, address):
        return
    raise Refused(
        f"{host} is the private or special address {address}: {special}; the operator can allow it in"
        " MILO_WEBHOOK_ALLOW"
    )


def _is_allowed(settings: Settings, host: str, address: Address) -> bool:
    """Whether the operator named the host, or a network that the address lies in."""
    names = {allowed.lower().rstrip(".") for allowed in settings.webhook_allow}
    networks = [allowed for allowed in settings.webhook_allow if is_network(allowed)]
    return host.lower().rstrip(".") in names or is_among(str(address), networks)


async def resolve(settings: Settings, host: str, port: int) -> str:
    """One address of the host, checked. If any of its addresses is refused, the host is."""
    import httpx

    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"the name {host} can't be resolved: {error}") from error
    addresses = [str(entry[4][0]) for entry in infos]
    for address in addresses:
        _check_address(settings, host, ipaddress.ip_address(address))
    return addresses[0]
