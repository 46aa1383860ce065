"""Many clients of all kinds at once: what they are answered, how long it takes, and whether anything grows.

`python -m benchmarks.load [--clients 200] [--minutes 10] [--upload-mb 100]` writes `results/load.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis
import websockets

from benchmarks.common import machine, running_stack, save
from milo.settings import Settings

ROOT = Path(__file__).parent.parent
VOICE = ROOT / "samples" / "05-voice-note.opus"
SAMPLE_EVERY_S = 5.0
WARM_UP = 0.3
"""Share of the time in which caches, pools and models fill; growth is judged after it."""
MAY_GROW = 1.15
SHARES = {"poll": 80, "blocking speech": 15, "blocking job": 45, "events": 30, "socket": 20, "upload": 10}
"""Clients of each kind among 200."""


class Load:
    """The clients, and what they saw."""

    def __init__(self, settings: Settings, until: float, upload_bytes: int) -> None:
        self.settings, self.until, self.upload_bytes = settings, until, upload_bytes
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        headers = {"Authorization": f"Bearer {settings.api_key}"}
        self.client = httpx.AsyncClient(
            base_url=f"{settings.url}/api/v1", headers=headers, timeout=120, limits=limits, trust_env=False
        )
        self.took_s: dict[str, list[float]] = defaultdict(list)
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []
        self.jobs: list[str] = []

    async def ask(self, kind: str, method: str, path: str, **options: Any) -> httpx.Response | None:
        """One request, timed and counted; None when it was not answered."""
        started = time.perf_counter()
        try:
            answer = await self.client.request(method, path, **options)
        except httpx.HTTPError as error:
            self.faults.append(f"{kind}: {error!r}")
            return None
        self.took_s[kind].append(time.perf_counter() - started)
        self.answers[f"{kind} {answer.status_code}"] += 1
        if answer.status_code >= 500:
            self.faults.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        return answer

    async def poll(self) -> None:
        if self.jobs:
            await self.ask("poll", "GET", f"/jobs/{random.choice(self.jobs[-500:])}")
        await asyncio.sleep(1)

    async def blocking_job(self) -> None:
        answer = await self.ask("submit", "POST", "/jobs", json={"kind": "ping", "payload": {"seconds": 0.01}})
        if answer is not None and answer.status_code == 202:
            self.jobs.append(answer.json()["id"])
            await self.ask("wait for a job", "GET", f"/jobs/{self.jobs[-1]}?wait=60")

    async def blocking_speech(self) -> None:
        files = {"file": (VOICE.name, VOICE.read_bytes())}
        await self.ask("blocking speech", "POST", "/stt", files=files, headers={"Prefer": "wait=100"})

    async def events(self) -> None:
        body = {"kind": "ping", "payload": {"seconds": 0.05}}
        answer = await self.ask("submit", "POST", "/jobs", json=body)
        if answer is None or answer.status_code != 202:
            return
        started = time.perf_counter()
        try:
            async with self.client.stream("GET", f"/jobs/{answer.json()['id']}/events") as stream:
                async for _ in stream.aiter_lines():
                    pass
            self.took_s["events to the end"].append(time.perf_counter() - started)
        except httpx.HTTPError as error:
            self.faults.append(f"events: {error!r}")

    async def socket(self) -> None:
        url = f"{self.settings.url.replace('http', 'ws', 1)}/api/v1/conversation"
        headers = {"Authorization": f"Bearer {self.settings.api_key}"}
        started = time.perf_counter()
        try:
            async with websockets.connect(url, additional_headers=headers, proxy=None) as socket:
                await asyncio.wait_for(socket.recv(), 30)
                self.took_s["socket opened"].append(time.perf_counter() - started)
                await asyncio.sleep(5)
        except (OSError, TimeoutError, asyncio.TimeoutError, websockets.WebSocketException) as error:
            self.faults.append(f"socket: {error!r}")

    async def upload(self) -> None:
        seed = random.randbytes(1 << 20)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(self.upload_bytes >> 20):
                yield seed

        await self.ask("upload", "POST", "/blobs", content=body())
        await asyncio.sleep(5)

    async def client_of(self, act: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < self.until:
            await act()


def sizes(settings: Settings, client: redis.Redis) -> dict[str, float]:
    """What may leak: resident memory and file descriptors of the processes, keys and connections of Redis."""
    found: dict[str, float] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("MILO_HOME") != str(settings.home):
                continue
            name = "api" if "api.app:app" in process.cmdline() else "others"
            found[f"{name} MB"] = found.get(f"{name} MB", 0) + process.memory_info().rss / 1e6
            found[f"{name} files"] = found.get(f"{name} files", 0) + process.num_fds()
        except psutil.Error:
            continue
    keys = list(client.scan_iter(count=1000))
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.pttl(key)
    found["redis keys"] = float(len(keys))
    found["redis keys that never expire"] = float(sum(ttl == -1 for ttl in pipe.execute()))
    found["redis connections"] = float(client.info("clients")["connected_clients"])  # type: ignore[index]
    return {name: round(value, 1) for name, value in found.items()}


async def drive(settings: Settings, clients: int, seconds: float, upload_mb: int) -> dict[str, Any]:
    """All clients until the time is over; what grew between the end of the warm-up and the end."""
    load = Load(settings, time.monotonic() + seconds, upload_mb << 20)
    acts = {
        "poll": load.poll,
        "blocking job": load.blocking_job,
        "blocking speech": load.blocking_speech,
        "events": load.events,
        "socket": load.socket,
        "upload": load.upload,
    }
    tasks = [
        asyncio.create_task(load.client_of(acts[kind]))
        for kind, share in SHARES.items()
        for _ in range(max(1, round(share * clients / sum(SHARES.values()))))
    ]
    broker = redis.Redis.from_url(settings.redis_url)
    seen: list[dict[str, float]] = []
    while time.monotonic() < load.until:
        seen.append(await asyncio.to_thread(sizes, settings, broker))
        await asyncio.sleep(min(SAMPLE_EVERY_S, max(0.1, load.until - time.monotonic())))
    kinds = Counter(key.decode(errors="replace").rpartition(":")[0] or "other" for key in broker.scan_iter(count=1000))
    await asyncio.gather(*tasks)
    await load.client.aclose()
    settled = seen[int(len(seen) * WARM_UP) :]
    third = max(1, len(settled) // 3)
    growth = {
        name: [
            round(sum(one.get(name, 0) for one in part) / len(part), 1) for part in (settled[:third], settled[-third:])
        ]
        for name in settled[0]
    }
    return {
        "clients": len(tasks),
        "seconds": seconds,
        "latency_ms": {kind: _percentiles(times) for kind, times in load.took_s.items()},
        "answers": dict(load.answers),
        "faults": load.faults[:50],
        "fault_count": len(load.faults),
        "redis_keys": dict(kinds.most_common(12)),
        "growth": growth,
        "grew": [name for name, (first, last) in growth.items() if last > first * MAY_GROW + 5],
    }


def _percentiles(times_s: list[float]) -> dict[str, float]:
    ordered = sorted(times_s)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * q))] for name, q in (("p50", 0.5), ("p99", 0.99))}
    return {"n": len(ordered), **{name: round(value * 1000, 1) for name, value in at.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--upload-mb", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder) / "home") as settings:
        report = asyncio.run(drive(settings, asked.clients, asked.minutes * 60, asked.upload_mb))
    save("load", report | {"machine": machine()})
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
