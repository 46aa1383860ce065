"""TCP ports of this machine: are those that the services need free, and if not, who has them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress

from milo.errors import Unavailable
from milo.stack.services import Service


def check_ports(services: Sequence[Service]) -> None:
    """Raises `Unavailable` with one sentence a port that a service can't have."""
    wanted: dict[int, Service] = {}
    problems = []
    for service in services:
        if service.port is None:
            continue
        twin = wanted.setdefault(service.port, service)
        if twin is not service:
            problems.append(
                f"Port {service.port} is wanted by {twin.name} and by {service.name}: change {service.port_setting}."
            )
            continue
        problem = _why_not(service.host, service.port)
        if problem:
            problems.append(f"{service.name} needs port {service.port}, {problem}, or set {service.port_setting}.")
    if problems:
        raise Unavailable(" ".join(problems), code="port_taken")


def _why_not(host: str, port: int) -> str | None:
    if not 0 < port < 65536:
        return "but ports go from 1 to 65535: choose one that is free"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return f"but {host!r} is not an address: correct the host"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"which is taken{_holder(port)}: stop what listens there"
        if error.errno == errno.EADDRNOTAVAIL:
            return f"but {host} is not an address of this machine: correct the host"
        return f"which can't be opened ({error}): use one from 1024 to 65535"
    return None


def _holder(port: int) -> str:
    """` (process 123, nginx)` when we may know."""
    import psutil

    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" (by process {connection.pid}, {psutil.Process(connection.pid).name()})"
    return ""


def free_port() -> int:
    """A TCP port that nothing uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
