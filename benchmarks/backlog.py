"""What a backlog costs: submit, claim, list, `/status` and the reconciler against the number of queued jobs.

`python -m benchmarks.backlog [--rows 100000]` writes `results/backlog.json` and `results/backlog.png`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import insert

from benchmarks.common import RESULTS, machine, save
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.ledger.database import writing
from milo.ledger.schema import jobs
from milo.monitoring import document
from milo.settings import Settings

SIZES = (0, 1_000, 10_000, 30_000, 100_000)
REPEATS = 30
AT_ONCE = 5_000
KINDS = {"stt": {"source": {"blob": "0" * 64}, "model": "m"}, "tts": {"text": "Salama", "model": "espeak"}}


def fill(ledger: Ledger, count: int) -> None:
    """Queue so many jobs of mixed kinds and owners, as an archive and a bot would."""
    kinds = list(KINDS)
    for start in range(0, count, AT_ONCE):
        rows = []
        for index in range(start, min(start + AT_ONCE, count)):
            kind = kinds[index % len(kinds)]
            new = NewJob(kind=kind, payload=KINDS[kind], owner=f"key-{index % 5}", priority="batch")
            stage = {"stage": "transcribe", "queue": "gpu.batch"} if kind == "stt" else {}
            rows.append(ledger._row(new) | stage)
        with writing(ledger.engine) as tx:
            tx.execute(insert(jobs), rows)


def measures(ledger: Ledger) -> dict[str, Callable[[], Any]]:
    """Each as a client or a worker does it; `claim` takes a job of a kind that is rare in the queue."""
    rare = NewJob(kind="ping", payload={"seconds": 0}, owner="rare", priority="batch")
    waiting = NewJob(kind="ping", payload={"seconds": 1}, owner="rare", priority="interactive")

    def claim() -> None:
        job = ledger.create(rare)
        taken = ledger.claim(job.id, "w")
        assert taken is not None
        ledger.claim_like(taken.job, "w", 16)
        ledger.finish(taken, {})

    newest = ledger.create(rare)
    return {
        "submit": lambda: ledger.create(waiting),
        "claim, like ones and finish": claim,
        "list": lambda: ledger.jobs(limit=50),
        "list of one key": lambda: ledger.jobs(owner="key-1", limit=50),
        "list of failed ones": lambda: ledger.jobs(state="failed", limit=50),
        "list of a rare kind": lambda: ledger.jobs(kind="ping", limit=50),
        "place in the queue": lambda: ledger.ahead(newest),
        "/status": lambda: document.build(ledger.settings, ledger, {}),  # no Redis here: the ledger is what may grow
        "counts for /metrics": ledger.counts,
        "decoded ahead": ledger.decoded_ahead_s,
        "reap": ledger.reap,
        "unpublished": lambda: ledger.unpublished({"gpu.batch": 100_000, "cpu": 0, "cpu.batch": 0}),
        "speed of a kind": lambda: ledger.seconds_per_job("tts"),
    }


def run(rows: int) -> dict[str, Any]:
    """Milliseconds, the median of `REPEATS`, by measure and size of the backlog."""
    found: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Settings(home=Path(folder), _env_file=None))
        have = 0
        for size in [one for one in SIZES if one <= rows]:
            fill(ledger, size - have)
            have = size
            for name, act in measures(ledger).items():
                took = []
                for _ in range(REPEATS):
                    started = time.perf_counter()
                    act()
                    took.append((time.perf_counter() - started) * 1000)
                found.setdefault(name, {})[size] = round(median(took), 3)
        ledger.engine.dispose()
    return {"milliseconds": found, "machine": machine()}


def plot(found: dict[str, dict[int, float]], path: Path) -> None:
    """One line a measure, both axes logarithmic; flat is good."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5))
    for name, times in found.items():
        axes.plot([max(1, size) for size in times], list(times.values()), marker="o", label=name)
    axes.set(
        xscale="log", yscale="log", xlabel="queued jobs", ylabel="milliseconds (median)", title="Cost of a backlog"
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=SIZES[-1])
    report = run(parser.parse_args().rows)
    sizes = list(next(iter(report["milliseconds"].values())))
    print(f"{'ms':30}" + "".join(f"{size:>10}" for size in sizes))
    for name, times in report["milliseconds"].items():
        print(f"{name:30}" + "".join(f"{times[size]:>10.2f}" for size in sizes))
    save("backlog", report)
    plot(report["milliseconds"], RESULTS / "backlog.png")


if __name__ == "__main__":
    main()
