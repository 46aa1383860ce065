"""A tiny NLLB by a recipe: the loss falls, the result translates, and a stopped training goes on exactly."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from milo.engines.nllb import hf
from milo.errors import Invalid, MiloError
from milo.models.registry import resolve
from milo.recipes import Data, Recipe, check
from milo.settings import Settings
from milo.training.data.pairs import TextPair, load_pairs
from milo.training.runs import Run
from tests.milo.engines.nllb.nllb_models import make_checkpoint
from trainer.nllb import train

PAIRS = [
    (f"{left} {name}", f"{right} {name}")
    for left, right in (
        ("salama", "bonjour"),
        ("misaotra", "merci"),
        ("veloma", "au revoir"),
        ("tongasoa", "bienvenue"),
    )
    for name in ("Rabe", "Soa", "Koto", "Lala", "Naivo", "Fara")
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nllb")
    make_checkpoint(folder / "base")
    lines = [json.dumps({"source": mg, "target": fr}) for mg, fr in PAIRS]
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def settings_of(place: Path) -> Settings:
    return Settings(_env_file=None, home=place / "home", device="cpu", offline=True, cpu_threads=1)


def recipe_of(place: Path, **training: Any) -> Recipe:
    options = {"max_steps": 6, "batch_tokens": 200, "learning_rate": 3e-3, "log_steps": 1, "weight_decay": 0.01}
    options |= {"eval_steps": 4, "save_steps": 2, "gradient_accumulation": 2, "warmup_steps": 2}
    data = {"source": str(place / "pairs.jsonl"), "language": "mg", "target_language": "fr"}
    recipe = {"name": "tiny-nllb", "task": "nllb", "model": str(place / "base"), "data": data}
    return check({**recipe, "training": options | training})


def steps_of(place: Path, run: Run, **training: Any) -> Iterator[Any]:
    return train.train(settings_of(place), recipe_of(place, **training), run)


def rows(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k == "step" or k.startswith(("train/", "eval/"))} for row in run.metrics()]


@pytest.fixture(scope="module")
def whole(place: Path) -> Run:
    run = Run(place / "whole")
    assert sorted({step.step for step in steps_of(place, run)}) == list(range(7))
    return run


def test_the_loss_falls_and_the_result_is_a_model_that_serves(place: Path) -> None:
    run = Run(place / "long")
    summary = None
    steps = steps_of(place, run, max_steps=30, eval_steps=30, save_steps=30, gradient_accumulation=1)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            summary = end.value
            break
    losses = [row["train/loss"] for row in rows(run) if row["step"]]
    assert losses[-1] < 0.8 * losses[0]
    assert summary["best"]["metric"] == "eval/chrf" and summary["base"]["metric"] == "eval/chrf"
    folder = Path(summary["best"]["path"])
    translator = hf.load(settings_of(place), resolve(settings_of(place), str(folder)))
    assert len(translator.translate(["salama Rabe"], "mg", "fr")) == 1
    assert (run.path / "preds" / "step-30.jsonl").read_text(encoding="utf-8").count("\n") >= 1


def test_a_training_that_was_sliced_and_broken_off_gives_the_same_losses(place: Path, whole: Run) -> None:
    run = Run(place / "broken-off")
    for stop in (2, 6):
        steps = steps_of(place, run)
        for _ in range(stop):
            next(steps)
            torch.manual_seed(3)
        steps.close()
    assert max(run.checkpoints()) >= 2
    for _ in steps_of(place, run):
        pass
    assert rows(run) == rows(whole)


def test_columns_may_have_any_name_in_csv_tsv_and_jsonl(tmp_path: Path) -> None:
    expected = [TextPair(("mg", "fr"), ("salama", "bonjour, vous")), TextPair(("mg", "fr"), ("veloma", "au revoir"))]
    texts = [pair.texts for pair in expected]
    for name, dialect in (("a.csv", "excel"), ("a.tsv", "excel-tab")):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, dialect=dialect).writerows([("gasy", "id", "frantsay"), *((a, 1, b) for a, b in texts)])
    lines = [json.dumps({"gasy": a, "frantsay": b, "id": 1}) for a, b in texts]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    columns = {"source": "gasy", "target": "frantsay"}
    for name in ("a.csv", "a.tsv", "a.jsonl"):
        assert load_pairs(Data(source=str(tmp_path / name), columns=columns)) == expected
    (tmp_path / "by-language.csv").write_text("mg,fr\nveloma,au revoir\n", encoding="utf-8")
    assert load_pairs(Data(source=str(tmp_path / "by-language.csv"))) == expected[1:]
    with pytest.raises(Invalid, match="no column 'source'"):
        load_pairs(Data(source=str(tmp_path / "a.csv")))


def test_a_translation_trained_at_an_absurd_rate_does_not_end_as_if_it_had_succeeded(place: Path) -> None:
    run = Run(place / "absurd")
    with pytest.raises(MiloError) as caught:
        list(steps_of(place, run, learning_rate=0.99, warmup_steps=0, max_steps=4))
    assert caught.value.code in ("training_diverged", "training_spike", "training_nan")
    assert run.summary()["state"] == "failed"
