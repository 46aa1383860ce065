"""What a run directory says about how it came to be, and the trackers that follow it. None of them stops a training."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from milo import __version__
from milo.models.files import write_durably
from milo.recipes import Recipe
from milo.training.runs import Run

log = logging.getLogger(__name__)


def describe(run: Run, recipe: Recipe) -> None:
    """Write config.yaml, cmd.txt, git.json and env.txt."""
    document = recipe.model_dump(mode="json")
    write_durably(run.path / "config.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    write_durably(run.path / "cmd.txt", f"milo train config.yaml\n# ran as: {shlex.join(sys.argv)}\n")
    write_durably(run.path / "git.json", json.dumps(_git(), indent=1))
    head = [f"milo {__version__}", f"python {platform.python_version()}", platform.platform(), _gpu(), ""]
    write_durably(run.path / "env.txt", "\n".join([*head, *_packages()]) + "\n")


@cache
def _packages() -> list[str]:
    """What is installed. Read once: it takes longer than a step, and this process goes on with what it has imported."""
    read = [one.metadata for one in distributions()]
    return sorted(f"{one['Name']}=={one['Version']}" for one in read)


def _git() -> dict[str, Any]:
    """The commit of Milo's own source, where it runs from a clone."""

    def ask(*words: str) -> str:
        folder = Path(__file__).parent
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "changed": None, "why": "Milo does not run from a git clone"}


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


class Tracker:
    """Writes metrics.jsonl and TensorBoard events. A tracker that fails is left out from then on, with an alert."""

    def __init__(self, run: Run, first_step: int = 0) -> None:
        self.run = run
        self.first_step = first_step
        self._board: Any = None
        self._failed: set[str] = set()

    def log(self, step: int, **metrics: float) -> None:
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._try("metrics.jsonl", step, lambda: self.run.log(step, **finite))
        self._try("TensorBoard", step, lambda: self._to_board(step, finite))

    def _to_board(self, step: int, metrics: dict[str, float]) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.run.path / "tensorboard"), purge_step=self.first_step + 1)
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)

    def _try(self, name: str, step: int, work: Any) -> None:
        if name in self._failed:
            return
        try:
            work()
        except Exception as error:
            self._failed.add(name)
            log.warning("run %s: %s failed: %s", self.run.id, name, error)
            with contextlib.suppress(OSError):
                seen = f"{name} can't be written: {type(error).__name__}: {error}"
                self.run.alert("tracker", seen, "training goes on without it", step)

    def close(self) -> None:
        if self._board is not None:
            with contextlib.suppress(Exception):
                self._board.close()
            self._board = None


Panel = tuple[tuple[str, ...], float, str]
"""Metrics drawn in one panel, what they are multiplied by, and their unit."""
PANELS: tuple[Panel, ...] = ((("train/loss", "eval/loss"), 1, "loss"), (("eval/wer", "eval/cer"), 100, "%"))


def curves(run: Run, panels: Sequence[Panel] = PANELS) -> None:
    """curves.png: loss and error rates over steps. Nothing is drawn when matplotlib is missing."""
    with contextlib.suppress(Exception):
        _draw(run, panels)


def _draw(run: Run, panels: Sequence[Panel]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = run.metrics()
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    found = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (names, factor, unit) in zip(found, panels, strict=True):
        for name in names:
            points = [(row["step"], row[name] * factor) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 40 else None)
        axes.set_xlabel("step")
        axes.set_ylabel(unit)
        if axes.lines:
            axes.legend()
    figure.suptitle(run.id)
    FigureCanvasAgg(figure).print_png(str(run.path / "curves.png"))


def card(run: Run, recipe: Recipe, base: str, data: dict[str, Any]) -> None:
    """README.md: a model card as the hub reads it. https://huggingface.co/docs/hub/model-cards"""
    best = run.summary().get("best") or {}
    head = {
        "language": recipe.data.language,
        "base_model": base,
        "tags": ["milo", recipe.task],
        "library_name": "transformers",
    }
    splits = [
        f"| {name} | {one['items']} | {one['seconds'] / 3600:.2f} | `{one['sha256'][:12]}` |"
        for name, one in data["splits"].items()
    ]
    value = (
        f"{best['metric']} {best['value']:.4f} at step {best['step']}"
        if best.get("value") is not None
        else "not judged"
    )
    lines = [
        *("---", yaml.safe_dump(head, sort_keys=False).strip(), "---", f"# {recipe.name}", ""),
        f"{base}, fine-tuned on `{data['source']}` by Milo {__version__}.",
        *("", f"Best checkpoint: {value} on the validation split.", ""),
        *("| split | examples | hours | sha256 |", "| --- | --- | --- | --- |", *splits, ""),
        "How it was trained: `config.yaml`; every step: `metrics.jsonl`; what was mended on the way: `alerts.jsonl`.",
    ]
    write_durably(run.path / "README.md", "\n".join(lines) + "\n")
