"""What benchmarks share: a stack of their own, the machine's description, and where results go."""

from __future__ import annotations

import json
import os
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from milo.ports import free_port
from milo.settings import Settings
from milo.stack import environment, note_of

RESULTS = Path(__file__).parent / "results"


@contextmanager
def running_stack(home: Path, **values: Any) -> Iterator[Settings]:
    """`milo up` on free ports with an empty home, until the block ends."""
    port = free_port()
    settings = Settings(
        home=home,
        port=port,
        url=f"http://127.0.0.1:{port}",
        flower_port=free_port(),
        redis_port=free_port(),
        api_key=secrets.token_urlsafe(24),
        rate_limit="",
        **values,
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}
    log = (home / "stack.log").open("wb")
    command = [sys.executable, "-m", "milo.cli", "up"]
    process = subprocess.Popen(command, env=clean | environment(settings), stdout=log, stderr=log)
    try:
        while (note := note_of(settings)) is None:
            if process.poll() is not None:
                raise SystemExit((home / "stack.log").read_text()[-3000:])
            time.sleep(0.1)
        yield settings.model_copy(update={"redis_url": note["redis_url"]})
    finally:
        process.terminate()
        process.wait()
        log.close()


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
