"""What a browser may ask of the three ports: by which names a server is asked, and pages of which origins may change
anything.

A page of a stranger reaches this machine by its visitor's browser: by a name of its own that it lets point here (DNS
rebinding; the `Host` header tells), or by sending what a browser sends to any site (the `Origin` header, or
`Sec-Fetch-Site`, tells). Programs that are no browsers send neither of the last two.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from milo.addresses import is_loopback
from milo.errors import Forbidden, MiloError
from milo.settings import Settings

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
EVERY_ADDRESS = ("", "0.0.0.0", "::", "*")
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{0,5})?")


class ForeignHost(MiloError):
    code, status, title = "foreign_host", 421, "This server is not known by that name"


class BrowserRules:
    """The rules of one port. `bound` is the address it listens on."""

    def __init__(self, settings: Settings, bound: str) -> None:
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        names = {"localhost", own, short, f"{short}.local", bound.lower()} - set(EVERY_ADDRESS)
        listed = {name.lower() for name in settings.allowed_hosts}
        self._names = frozenset(names | {name for name in listed if not name.startswith("*")})
        self._below = tuple(name[1:] for name in listed if name.startswith("*.")) + (".localhost",)
        self._any = "*" in listed
        self._by_address = bound in EVERY_ADDRESS
        """Whoever listens on every address is asked by any: no page can make an address point elsewhere."""
        self._origins = frozenset(settings.cors_origins)

    def check(self, method: str | None, headers: Mapping[str, Sequence[str]]) -> None:
        """Raises `ForeignHost` or `Forbidden`. `headers`: values by lower-case name. `method` None: a WebSocket."""
        for host in headers.get("host", ()):
            if not self._is_own(host):
                raise ForeignHost(
                    f"this server is not known as {host[:200]!r}; if it is to be, name it in MILO_ALLOWED_HOSTS"
                )
        if method is None or method not in READING:
            self._check_origin(headers)

    def _is_own(self, host: str) -> bool:
        name = _name_of(host)
        if self._any or name in self._names or is_loopback(name) or name.endswith(self._below):
            return True
        return self._by_address and _is_address(name)

    def _check_origin(self, headers: Mapping[str, Sequence[str]]) -> None:
        origins, sites = headers.get("origin", ()), headers.get("sec-fetch-site", ())
        if "*" in self._origins or list(sites) == ["same-origin"]:
            return
        own = {_place(f"http://{host}") for host in headers.get("host", ())}
        own |= {_place(f"https://{host}") for host in headers.get("host", ())}
        foreign = [origin for origin in origins if origin not in self._origins and _place(origin) not in own]
        if not origins and sites and list(sites) != ["none"]:
            foreign = ["another origin"]
        if foreign:
            raise Forbidden(
                f"a web page of {foreign[0][:200]} may change nothing here; if it may, name its origin in "
                "MILO_CORS_ORIGINS",
                code="foreign_origin",
            )


def _name_of(host: str) -> str:
    """The host of a `Host` header, without its port and the dot that may end it; empty for what is none."""
    found = _HOST.fullmatch(host.strip().lower())
    return (found[1] or found[2]).rstrip(".") if found else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _place(origin: str) -> tuple[str, int] | None:
    """Host and port of an origin; None for one that has none (`null`)."""
    try:
        parts = urlsplit(origin)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname.rstrip("."), port) if parts.hostname and port else None
