"""`milo train` and `milo runs`: recipes to the server, run folders to the screen."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from milo.cli.evaluations import _report_line
from milo.ledger import Ledger
from milo.models import registry
from milo.settings import Settings
from milo.training import runs
from milo.training.runs import Run
from tests.api.conftest import KEY, MODEL
from tests.milo.cli.test_cli import run as milo
from tests.support.servers import wait_until


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "speech.csv").write_text("audio,text\na.wav,salama\n")
    (tmp_path / "a.wav").touch()
    document = {"name": "mine", "task": "whisper", "model": MODEL, "data": {"source": str(tmp_path / "speech.csv")}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**document, "training": {"max_steps": 5}}))
    return path


@pytest.fixture
def env(settings: Settings, url: str) -> dict[str, str]:
    return {"MILO_HOME": str(settings.home), "MILO_API_KEY": KEY, "MILO_URL": url}


def queued(ledger: Ledger) -> dict[str, Any]:
    return ledger.jobs(kind="training", limit=1)[0].payload["recipe"]


def test_a_recipe_is_sent_with_the_fields_that_were_set(recipe: Path, env: dict[str, str], ledger: Ledger) -> None:
    done = milo("train", str(recipe), "--set", "training.max_steps=50", "--set", "data.limit=7", **env)
    assert done.returncode == 0 and done.stdout.split()[1] == "queued", done.stderr
    sent = queued(ledger)
    assert sent["training"]["max_steps"] == 50 and sent["data"]["limit"] == 7


def test_a_field_that_does_not_exist_is_wrong_usage(recipe: Path, env: dict[str, str]) -> None:
    done = milo("train", str(recipe), "--set", "training.max_step=50", **env)
    assert done.returncode == 2 and "training.max_step: there is no such field" in done.stderr
    assert milo("train", str(recipe), "--set", "nonsense", **env).returncode == 2


def test_resume_auto_takes_the_last_checkpoint_of_the_last_run_of_that_name(
    recipe: Path, env: dict[str, str], settings: Settings, ledger: Ledger
) -> None:
    done = milo("train", str(recipe), "--resume", "auto", **env)
    assert done.returncode == 0 and "it begins anew" in done.stderr and queued(ledger)["resume"] is None
    old = runs.folder_for(settings, "mine", "job_a", 0)
    for step in (500, 1000):
        (old.path / f"checkpoint-{step}").mkdir()
    assert milo("train", str(recipe), "--resume", "auto", **env).returncode == 0
    runs.folder_for(settings, "mine", "job_b", 1e9)  # a later one that failed before it saved anything
    (runs.folder_for(settings, "mine_too", "job_c", 2e9).path / "checkpoint-9000").mkdir()
    assert milo("train", str(recipe), "--resume", "auto", **env).returncode == 0
    assert queued(ledger)["resume"] == str(old.path / "checkpoint-1000")


def test_paths_are_sent_as_the_one_who_types_means_them(
    recipe: Path, env: dict[str, str], settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, model = recipe.parent / "clips", recipe.parent / "made" / "checkpoint-3"
    clips.mkdir()
    (recipe.parent / "speech.csv").rename(clips / "metadata.csv")
    (recipe.parent / "a.wav").rename(clips / "a.wav")
    shutil.copytree(registry.resolve(settings, MODEL).path, model)
    monkeypatch.chdir(recipe.parent)
    sent = milo("train", str(recipe), "--set", "data.source=clips", **env)
    assert sent.returncode == 0 and queued(ledger)["data"]["source"] == str(clips), sent.stderr
    sent = milo("eval", "made/checkpoint-3", "--data", "clips", "--detach", **env)
    assert sent.returncode == 0, sent.stderr
    assert ledger.jobs(kind="evaluation", limit=1)[0].payload["model"] == str(model)


def test_what_an_evaluation_could_not_read_is_said() -> None:
    words = "wer cer substitutions deletions insertions"
    report: dict[str, Any] = {"status": "ok", "key": "k", "items": 12, "scored": 6, "failed_items": 6, "ref_words": 9}
    report |= dict.fromkeys(words.split(), 0) | {"model": {"label": "m"}, "data": {"source": "s", "split": "test"}}
    report["interval"] = {"low": 0, "high": 0, "over": "utterances", "units": 6}
    assert "6 of 12 items could not be read and are left out" in _report_line(report)


def test_a_run_whose_name_holds_an_underscore_is_found_by_it(env: dict[str, str], settings: Settings) -> None:
    run = runs.folder_for(settings, "mine_too", "job_c", 0)
    assert run.id in milo("runs", "show", "mine_too", **env).stdout
    assert milo("runs", "show", "mine", **env).returncode == 1


def test_a_damaged_run_does_not_hide_the_others(env: dict[str, str], settings: Settings) -> None:
    runs.folder_for(settings, "good", "job_a", 0).summarise(state="done", step=3, last_loss=0.5)
    odd = runs.folder_for(settings, "odd", "job_b", 1).path
    (odd / "summary.json").write_text('{"best": {"value": "x"}, "last_loss": "y", "eta_s": [], "step": {}, "last": 3}')
    (odd / "metrics.jsonl").write_text('{"eval/wer": 0.1}\n{"step": 1, "eval/wer": 0.25}\n{"step"')
    (odd / "alerts.jsonl").write_text('{}\n{"kind": "x"}\n')
    listed = milo("runs", "list", **env)
    assert listed.returncode == 0 and "0.5000" in listed.stdout and "odd" in listed.stdout, listed.stderr
    shown = milo("runs", "show", "odd", **env)
    assert shown.returncode == 0 and "25.00" in shown.stdout, shown.stderr
    assert milo("runs", "compare", "good", "odd", **env).returncode == 0


def test_follow_shows_how_far_it_is_and_ends_with_the_training(
    recipe: Path, env: dict[str, str], settings: Settings, ledger: Ledger
) -> None:
    def work() -> None:
        wait_until(lambda: bool(ledger.jobs(kind="training", limit=1)), "nothing was queued")
        job = ledger.jobs(kind="training", limit=1)[0]
        run = runs.folder_for(settings, "mine", job.id, job.created_at)
        best = {"step": 4, "metric": "eval/wer", "value": 0.125, "path": "x"}
        run.summarise(state="done", step=5, total_steps=5, last_loss=1.5, best=best)
        run.alert("nan", "the loss of step 2 is nan", "skipped the batch", 2)
        claim = ledger.claim(job.id, "w")
        assert claim is not None
        ledger.finish(claim, {})

    worker = threading.Thread(target=work)
    worker.start()
    done = milo("train", str(recipe), "--follow", **env)
    worker.join()
    assert done.returncode == 0, done.stderr
    assert "succeeded step 5 of 5 loss 1.5000 best wer 12.5 % at step 4" in done.stdout
    assert "the loss of step 2 is nan; skipped the batch" in done.stderr


def made(settings: Settings, name: str, rate: float, wer: float) -> Run:
    run = runs.folder_for(settings, name, f"job_{name}", 0)
    config = {"name": name, "training": {"learning_rate": rate, "seed": 1}}
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    run.log(10, **{"eval/loss": 1.0, "eval/wer": wer, "eval/cer": wer / 2})
    run.summarise(state="done", step=10, total_steps=10, best={"step": 10, "metric": "eval/wer", "value": wer})
    return run


def test_runs_are_listed_shown_and_compared(settings: Settings, env: dict[str, str]) -> None:
    one, two = made(settings, "one", 0.1, 0.5), made(settings, "two", 0.2, 0.25)
    listed = milo("runs", "list", **env)
    assert milo("runs", **env).stdout == listed.stdout
    assert one.id in listed.stdout and "wer 25.0 %" in listed.stdout
    shown = milo("runs", "show", "two", **env)
    assert two.id in shown.stdout and "12.50" in shown.stdout
    compared = milo("runs", "compare", "one", "two", **env)
    assert "training.learning_rate  0.1  0.2" in compared.stdout and "training.seed" not in compared.stdout
    documents = json.loads(milo("runs", "compare", "one", "two", "--json", **env).stdout)
    assert [one["differs"] for one in documents] == [{"training.learning_rate": rate} for rate in (0.1, 0.2)]
    absent = milo("runs", "show", "three", **env)
    assert absent.returncode == 1 and "there is no run three" in absent.stderr
