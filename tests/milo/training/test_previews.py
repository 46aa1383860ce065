"""What is shown of a step: the rows that trainings write, their error rate with its interval, and samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from milo.errors import NotFound
from milo.training import previews
from milo.training.runs import Run


def written(run: Run, step: int, rows: list[dict[str, object]]) -> None:
    folder = run.path / "preds"
    folder.mkdir(exist_ok=True)
    (folder / f"step-{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_error_rate_of_a_step_comes_with_its_interval(tmp_path: Path) -> None:
    run = Run(tmp_path)
    heard = ["salama tompoko", "salama ianao", "veloma tompoko", *["salama tompoko"] * 17]
    written(run, 50, [{"id": str(at), "ref": "Salama, tompoko!", "hyp": text} for at, text in enumerate(heard)])
    (run.path / "preds" / "step-x.jsonl").touch()
    assert previews.steps(run) == [50]
    found = previews.preview(run, 50, "mg")
    assert found.wer == 2 / 40 and found.count == 20 and len(found.rows) == previews.ROWS
    assert found.interval and found.interval.low <= 0.05 <= found.interval.high and not found.spoken
    written(run, 60, [{"ref": "salama", "hyp": ""}])
    assert previews.preview(run, 60, "mg").interval is None, "one sentence tells nothing"


def test_a_translation_has_no_word_error_rate_and_a_voice_is_heard(tmp_path: Path) -> None:
    run = Run(tmp_path)
    written(run, 5, [{"source": "Salama", "ref": "Bonjour", "hyp": "Salut"}])
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step-7.wav").write_bytes(b"RIFF")
    assert previews.steps(run) == [5, 7]
    translated = previews.preview(run, 5, "mg")
    assert translated.wer is None and translated.rows[0].source == "Salama"
    assert previews.preview(run, 7, "mg").spoken and previews.sample(run, 7) == b"RIFF"
    with pytest.raises(NotFound):
        previews.sample(run, 5)
