"""Translations judged by the engine that serves; and the gate of a voice. Random weights, real engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from milo.errors import Invalid
from milo.recipes import Data, Evaluation
from milo.settings import Settings
from milo.training import evaluations
from milo.training.compare import compare
from tests.milo.engines.nllb.nllb_models import make_checkpoint
from tests.milo.engines.speech.vits_models import write_vits
from trainer.deploy.gated import Candidate, gated_deploy
from trainer.deploy.smoke import Refused
from trainer.evaluation.engines import own_engines
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.text import load, summarise


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", device="cpu", cpu_threads=1, translate_beam_size=1, _env_file=None)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    lines = [f"teny faha-{n} eto\tle mot numéro {n} ici" for n in range(150)]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(["mg\tfr", *lines]))
    return Data(source=str(path))


def run(steps: Any) -> dict[str, Any]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: dict[str, Any] = end.value
            return result


def test_held_out_pairs_are_translated_scored_and_compared(settings: Settings, data: Data, tmp_path: Path) -> None:
    import sacrebleu

    reports, rows = [], []
    for seed in (0, 1):
        folder = make_checkpoint(tmp_path / f"model{seed}", seed=seed)
        report = run(evaluate(settings, str(folder), data, task="nllb"))
        reports.append(report)
        rows.append(evaluations.find(settings, report["key"]).rows())
    assert reports[0]["items"] == len(load(settings, data, Evaluation()).items) > 4
    texts, references = [row["hyp"] for row in rows[0].values()], [row["ref"] for row in rows[0].values()]
    assert reports[0]["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, [references]).score)
    assert reports[0]["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, [references]).score)
    assert reports[0]["interval"]["low"] <= reports[0]["mean_sentence_chrf"] <= reports[0]["interval"]["high"]
    found = compare(reports[0], rows[0], reports[1], rows[1])
    means = [np.mean([row["chrf"] for row in part.values()]) for part in rows]
    assert found["metric"] == "chrf" and found["difference"] == pytest.approx((means[0] - means[1]) / 100)


def test_an_exact_translation_scores_100() -> None:
    row = {"ref": "le mot", "hyp": "le mot", "chrf": 100.0, "chrf_loss": 0.0, "one": 1, "exact": True, "speaker": None}
    found = summarise([row] * 4)
    assert found["chrf"] == pytest.approx(100) and found["exact"] == 1
    assert summarise([])["status"] == "insufficient_data" and summarise([])["chrf"] is None


def test_languages_that_the_file_does_not_have_are_said(settings: Settings, data: Data) -> None:
    with pytest.raises(Invalid) as caught:
        load(settings, data.model_copy(update={"target_language": "de"}), Evaluation())
    assert "mg and fr" in caught.value.detail


def test_a_voice_is_tried_out_before_it_serves(settings: Settings, tmp_path: Path) -> None:
    good = write_vits(tmp_path / "voice")
    done = run(gated_deploy(settings, Candidate(good, "voice", "vits"), own_engines(settings)))
    assert done["deployed"] and done["comparison"]["verdict"] == "not compared"
    tensors = load_file(good / "model.safetensors")
    for name, tensor in tensors.items():
        if name.startswith("decoder.conv_post"):
            tensors[name] = np.full_like(tensor, np.nan)
    save_file(tensors, good / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Refused):
        run(gated_deploy(settings, Candidate(good, "voice", "vits"), own_engines(settings)))
