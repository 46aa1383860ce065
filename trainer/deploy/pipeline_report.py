"""What a pipeline tells at its end: `report.json`, `report.txt` and `report.png` in its folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from milo.models.files import read_json, write_durably
from milo.recipes import Recipe
from milo.training.runs import Run
from trainer.data.replay import told as replayed

Document = dict[str, Any]


def write(folder: Path, recipe: Recipe, run: Run, state: Document) -> Document:
    """Write the three files. Returns the JSON. A plot that fails is left out, with the reason in `plot`."""
    document = summarise(recipe, run, state)
    try:
        draw(folder / "report.png", document, run.metrics())
        document["plot"] = "report.png"
    except ImportError as error:
        document["plot"] = f"not drawn: {error}"
    document["text"] = as_text(document)
    write_durably(folder / "report.txt", document["text"])
    write_durably(folder / "report.json", json.dumps(document, indent=1, ensure_ascii=False))
    return document


def summarise(recipe: Recipe, run: Run, state: Document) -> Document:
    """All that the stages found, as one document."""
    trained = run.summary()
    dataset = run.path / "dataset.json"
    chosen = state["judge"]["chosen"]
    judged: Document = next((one for one in state["judge"]["checkpoints"] if one["checkpoint"] == chosen), {})
    return {
        "recipe": recipe.name,
        "task": recipe.task,
        "model": recipe.model,
        "run": run.id,
        "baseline": state["baseline"],
        "training": {
            name: trained.get(name) for name in ("state", "step", "total_steps", "epoch", "last_loss", "best", "last")
        },
        "replay": read_json(dataset).get("replay") if dataset.is_file() else None,
        "checkpoints": state["judge"]["checkpoints"],
        "chosen": chosen,
        "verdict": judged.get("against", {}).get("base", {}).get("verdict"),
        "deploy": state["deploy"],
        "duration_s": round(time.time() - state["started_at"], 1) if "started_at" in state else None,
    }


def as_text(document: Document) -> str:
    """A page for people. Rates in percent."""
    lines = [f"{document['recipe']}: {document['task']} from {document['model']} (run {document['run']})", ""]
    for name, label in (("base", "before"), ("serving", "serving")):
        if name in document["baseline"]:
            lines.append(f"{label:10} {_score(document['baseline'][name])}")
    training = document["training"]
    if training["step"] is not None:
        loss = training["last_loss"]
        lines.append(f"training   {training['step']} steps" + (f", last loss {loss:.4g}" if loss is not None else ""))
    if document["replay"]:
        lines.append(f"replay     {replayed(document['replay'])}")
    for one in document["checkpoints"]:
        told = _score(one["report"]) if "report" in one else one.get("broken", "not scored")
        lines.append(f"{one['name']:10} {told}  [{one['checkpoint']}]")
        lines += [f"{'':10} against {name}: {_verdict(found)}" for name, found in one.get("against", {}).items()]
    deploy = document["deploy"]
    lines += _guard_lines(deploy.get("guard") or {})
    if deploy["deployed"]:
        lines.append(f"deployed   {deploy['name']} {deploy['version']} (before: {deploy['before'] or 'nothing'})")
    else:
        lines.append(f"deployed   no: {deploy['reason']}")
    return "\n".join(lines) + "\n"


def _guard_lines(guard: Document) -> list[str]:
    """What each guard set said, or why none was asked."""
    lines = [f"guard      {one['name']}: {one['verdict']}, {one['reason']}" for one in guard.get("sets", [])]
    if guard and not lines:
        lines = [f"guard      {guard['verdict']}: {guard.get('reason', 'no other set than its own data')}"]
    if guard.get("added"):
        lines.append(f"guard      grown by {guard['added']}, the data it was judged on")
    return lines


def _score(report: Document) -> str:
    interval = report.get("interval")
    if report.get("metric") == "chrf" and report.get("chrf") is not None:
        return f"chrF {report['chrf']:.1f}, BLEU {report['bleu']:.1f}  {report['model']}"
    if report.get("wer") is None:
        return f"{report['status']}: {report.get('reason')}  {report['model']}"
    sure = "too few speakers or utterances for an interval"
    if interval is not None:
        sure = f"{interval['low']:.1%} to {interval['high']:.1%} over {interval['units']} {interval['over']}"
    raw = f", raw {report['raw_wer']:.1%}" if report.get("raw_wer") is not None else ""
    return f"WER {report['wer']:.1%} ({sure}){raw}, CER {report['cer']:.1%}  {report['model']}"


def _verdict(found: Document) -> str:
    if "interval" not in found:
        return f"{found['verdict']} ({found.get('reason')})"
    interval = found["interval"]
    return (
        f"{found['verdict']} ({found['difference']:+.1%}, {interval['low']:+.1%} to {interval['high']:+.1%};"
        f" probability of improvement {found['probability_of_improvement']:.1%})"
    )


def draw(path: Path, document: Document, metrics: list[Document]) -> None:
    """Error rates with their intervals, and the loss by step. Raises `ImportError` without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    scored = [(name, one) for name, one in document["baseline"].items() if isinstance(one, dict)]
    scored += [(one["name"], one["report"]) for one in document["checkpoints"] if "report" in one]
    scored = [(name, one) for name, one in scored if one.get("interval")]
    rate = "WER" if all(one.get("metric") == "wer" for _, one in scored) else "chrF"
    for at, (name, one) in enumerate(scored):
        factor = 100 if rate == "WER" else 1
        value = factor * one["wer"] if rate == "WER" else one["chrf"]
        low, high = (factor * one["interval"][side] for side in ("low", "high"))
        colour = "tab:grey" if name in ("base", "serving") else "tab:blue"
        spread = [[max(0.0, value - low)], [max(0.0, high - value)]]
        left.bar(at, value, yerr=spread, capsize=5, color=colour)
    left.set_xticks(range(len(scored)), [name for name, _ in scored])
    left.set_ylabel("WER in percent, 95 % interval" if rate == "WER" else "chrF, 95 % interval of sentences")
    losses = [(row["step"], row["train/loss"]) for row in metrics if "train/loss" in row]
    if losses:
        right.plot(*zip(*losses, strict=True))
    right.set_xlabel("step")
    right.set_ylabel("training loss")
    figure.suptitle(f"{document['recipe']}: {document['verdict'] or 'not compared'}")
    temporary = path.with_suffix(".tmp.png")
    FigureCanvasAgg(figure).print_png(str(temporary))
    temporary.replace(path)
