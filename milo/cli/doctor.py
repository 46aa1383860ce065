"""`milo doctor`: is this machine fit, and does the server that runs here do its work?"""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import click

from milo.cli.common import colours, find_url, json_option, load_settings, make_client, print_json
from milo.cli.screen import say
from milo.errors import MiloError, Unavailable

if TYPE_CHECKING:
    from milo.settings import Settings

PING_S = 20
FREE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    check: str
    state: Literal["ok", "warning", "problem"]
    detail: str


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check this machine and the running server. Exit code 1 when something is broken."""
    settings = load_settings()
    findings = []
    for check in (*CHECKS, _server):
        for finding in _safely(check, settings):
            findings.append(finding)
            if not as_json:
                _show(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    return 1 if any(finding.state == "problem" for finding in findings) else 0


def _safely(check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:

    try:
        yield from check(settings)
    except MiloError as error:
        yield Finding(check.__name__.strip("_"), "problem", error.detail)
    except Exception as error:  # a check that fails is a finding, and the next one still runs
        yield Finding(check.__name__.strip("_"), "problem", f"{type(error).__name__}: {error}")


def _show(finding: Finding) -> None:
    mark = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}[finding.state]
    colour = {"ok": "green", "warning": "yellow", "problem": "red"}[finding.state]
    say(f"{mark:<8}", colour if colours(sys.stdout) else None, f"{finding.check:<8} {finding.detail}")


# --- this machine ---------------------------------------------------------------------------------------------------


def _python(_settings: Settings) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _redis(settings: Settings) -> Iterator[Finding]:
    from milo.stack.redis_server import find_redis_server, warnings_about

    if "redis_url" in settings.model_fields_set and settings.redis_url:
        warnings = warnings_about(settings)
        yield from (Finding("redis", "warning", sentence) for sentence in warnings)
        if not warnings:
            yield Finding("redis", "ok", "the one of MILO_REDIS_URL answers, with AOF and noeviction")
        return
    yield Finding("redis", "ok", find_redis_server())


def _media(_settings: Settings) -> Iterator[Finding]:
    import av

    missing = [name for name in ("mp3", "flac", "vorbis", "opus", "aac", "pcm_s16le") if not _can_decode(av, name)]
    versions = ", ".join(f"{name} {'.'.join(map(str, v))}" for name, v in sorted(av.library_versions.items()))
    if missing:
        yield Finding("media", "problem", f"PyAV has no decoder for {', '.join(missing)}")
    else:
        yield Finding("media", "ok", f"PyAV {av.__version__} ({versions})")


def _can_decode(av: object, name: str) -> bool:
    try:
        av.Codec(name, "r")  # type: ignore[attr-defined]
    except ValueError:
        return False
    return True


def _gpu(settings: Settings) -> Iterator[Finding]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        state: Literal["ok", "problem"] = "problem" if settings.device == "cuda" else "ok"
        yield Finding("gpu", state, "no NVIDIA GPU is visible: engines run on the CPU")
        return
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        free, total = memory.free / 1e9, memory.total / 1e9
        yield Finding("gpu", "ok", f"{pynvml.nvmlDeviceGetName(handle)}: {free:.1f} of {total:.1f} GB free")
    pynvml.nvmlShutdown()


def _settings(_settings: Settings) -> Iterator[Finding]:
    from milo.variables import notices

    for notice in notices():
        yield Finding("settings", "warning" if notice.level == "warning" else "ok", notice.text)


def _model(settings: Settings) -> Iterator[Finding]:
    """What the settings name for each engine."""
    from milo.configured import look, unmet_wishes

    for one in look(settings):
        state: Literal["ok", "warning", "problem"] = "warning" if one.usable else "problem"
        problem = f"{one.variable}={one.name}: {one.problem}"
        yield Finding("model", state, problem) if one.problem else Finding("model", "ok", f"{one.part}: {one.name}")
    yield from (Finding("model", "warning", sentence) for sentence in unmet_wishes(settings))


def _disk(settings: Settings) -> Iterator[Finding]:
    from milo.storage.secrets import exposure

    home = settings.home.expanduser()
    there = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    state: Literal["ok", "warning"] = "ok" if free > FREE_BYTES else "warning"
    yield Finding("disk", state, f"{free / 1e9:.1f} GB free for {home}")
    if there == home and (open_to := exposure(settings)):
        yield Finding("disk", "warning", open_to)


def _ports(settings: Settings) -> Iterator[Finding]:
    from milo.stack.ports import check_ports
    from milo.stack.services import all_services
    from milo.stack.up import is_up

    if is_up(settings):
        yield Finding("ports", "ok", f"Milo is up on {settings.home}")
        return
    for service in all_services(settings):
        if service.port is None or (service.name == "redis" and "redis_url" in settings.model_fields_set):
            continue
        try:
            check_ports([service])
        except Unavailable as error:
            yield Finding("ports", "warning", error.detail)
        else:
            yield Finding("ports", "ok", f"{service.port} is free for {service.name}")


CHECKS = (_python, _settings, _redis, _media, _gpu, _model, _disk, _ports)


# --- the server -----------------------------------------------------------------------------------------------------


def _server(settings: Settings) -> Iterator[Finding]:

    url = find_url(settings)
    with make_client(settings, url) as client:
        try:
            health = client.health(patience_s=0)
        except Unavailable as error:
            if error.code == "unreachable":
                yield Finding("server", "ok", f"none answers at {url}; `milo up` starts one")
            else:
                yield Finding("server", "warning", error.detail)
            return
        yield Finding(
            "server",
            "problem" if health.get("status") == "down" else "ok",
            f"{url} is {health.get('status')}, version {health.get('version')}",
        )
        for name, check in health.get("checks", {}).items():
            if not check.get("ok", True):
                yield Finding("server", "warning", f"{name}: {check.get('detail')}")
        began = time.monotonic()
        try:
            client.wait(client.submit_job("ping", {}).id, timeout_s=PING_S).check()
        except TimeoutError:
            yield Finding("queue", "problem", f"a ping job was not done in {PING_S} s: is a GPU worker running?")
        except MiloError as error:
            yield Finding("queue", "problem", error.detail)
        else:
            yield Finding("queue", "ok", f"a ping job went through in {(time.monotonic() - began) * 1000:.0f} ms")
