"""What benchmarks share: a stack of their own, the machine's description, and where results go."""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from milo.settings import Settings
from milo.stack.temporary import own_stack
from milo.stack.up import note_of

RESULTS = Path(__file__).parent / "results"


@contextmanager
def running_stack(home: Path, roots: Sequence[Path] = (), **values: Any) -> Iterator[Settings]:
    """A Milo of the benchmark's own on free ports, Flower included, until the block ends."""
    settings = Settings(home=home, api_key=secrets.token_urlsafe(24), **values)
    with own_stack(settings, roots, without=()) as url:
        note = note_of(settings)
        assert note is not None
        here = {"url": url, "redis_url": note["redis_url"], "audio_roots": [str(root) for root in roots]}
        yield settings.model_copy(update=here)


def machine() -> dict[str, Any]:
    """The machine and the versions that a figure belongs to."""
    from importlib.metadata import version

    import psutil

    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    packages = ("celery", "redis", "ctranslate2", "torch", "faster-whisper", "transformers")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def save(name: str, report: dict[str, Any]) -> None:
    """Write the figures to `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    dated = {"date": datetime.now(timezone.utc).date().isoformat()} | report
    (RESULTS / f"{name}.json").write_text(json.dumps(dated, indent=2) + "\n")
