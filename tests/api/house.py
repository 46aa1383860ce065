"""A whole house for tests: Redis, the API, a GPU worker and a CPU worker, each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from milo.models.registry import embedded_path
from milo.settings import Settings
from tests.support.servers import api_process, celery_worker, redis_server

KEY = "a-key-of-the-house"
GPU = "gpu.realtime,gpu.interactive,gpu.batch,gpu.background"


@dataclass(frozen=True)
class House:
    url: str
    settings: Settings

    @contextmanager
    def client(self, timeout_s: float = 90) -> Iterator[httpx.Client]:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout_s, trust_env=False) as opened:
            yield opened

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels."""
        text = httpx.get(f"{self.url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False).text
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}


@contextmanager
def open_house(folder: Path) -> Iterator[House]:
    """The embedded engines, and counters that all processes share."""
    counters = folder / "counters"
    counters.mkdir(parents=True)
    with ExitStack() as stack:
        url = stack.enter_context(redis_server())
        settings = Settings(home=folder / "home", redis_url=url, api_key=KEY, _env_file=None)
        with pytest.MonkeyPatch.context() as patch:  # the workers' environment is made of this one
            patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(counters))
            api, _ = stack.enter_context(api_process(settings))
            stack.enter_context(celery_worker(settings, GPU))
            stack.enter_context(celery_worker(settings, "cpu,cpu.batch"))
        yield House(api, settings)


def has_model(name: str) -> bool:
    """Whether the package carries this model."""
    return embedded_path(name) is not None
