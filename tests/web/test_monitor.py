"""A training as the monitor shows it: rows that a run wrote, what it heard on the way, and what was deployed."""

from __future__ import annotations

import io
import json
import shutil
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from milo.errors import Conflict
from milo.jobs import NewJob
from milo.models import registry
from milo.training import runs
from milo.training.runs import Run
from tests.api.conftest import MODEL
from tests.web.conftest import Site, Visit

pytestmark = pytest.mark.timeout(120)


def training(site: Site) -> tuple[str, Run]:
    """One that is in the middle of its work."""
    recipe = {"name": "nature", "task": "whisper", "data": {"language": "mg"}}
    job = site.ledger.create(
        NewJob(kind="training", payload={"recipe": recipe}, owner="operator", priority="background")
    )
    assert site.ledger.claim(job.id, "test-worker")
    run = runs.folder_for(site.settings, "nature", job.id, job.created_at)
    run.summarise(state="training", step=0, total_steps=400, eta_s=1500)
    return job.id, run


def looked_at(run: Run, step: int, heard: str) -> None:
    folder = run.path / "preds"
    folder.mkdir(exist_ok=True)
    rows = [{"id": str(at), "ref": "Manidina ny vorona", "hyp": heard} for at in range(20)]
    (folder / f"step-{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def spoken(run: Run, step: int) -> None:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    (run.path / "samples").mkdir(exist_ok=True)
    (run.path / "samples" / f"step-{step}.wav").write_bytes(content.getvalue())


def test_a_training_is_watched_as_it_goes_on(visit: Callable[..., Visit], site: Site) -> None:
    job_id, run = training(site)
    for step in (10, 20, 30):
        run.log(step, **{"train/loss": 3 - step / 20, "train/learning_rate": 1e-5})
    visitor = visit()
    page = visitor.go("/monitor")
    page.click(f"a[href='/monitor/{job_id}']")
    page.wait_for_selector("text=0 / 400")
    page.wait_for_selector("text=25 min")
    page.wait_for_selector("text=Loss")

    run.log(50, **{"eval/loss": 0.4, "eval/wer": 1 / 3})
    run.alert("nan", "the loss of step 51 is not a number", "the batch was skipped", 51)
    looked_at(run, 50, "manidina vorona be")
    spoken(run, 50)
    run.summarise(step=50, eta_s=720, best={"step": 50, "metric": "wer", "value": 0.33, "path": ""})
    page.wait_for_selector("text=Errors, %")
    page.wait_for_selector("text=50 / 400")
    page.wait_for_selector("text=12 min")
    page.wait_for_selector("text=the batch was skipped")
    card = page.locator("section:has(h3:has-text('Step 50'))").last
    card.wait_for()
    assert "WER 66.7 %" in card.inner_text() and "95 %: 66.7 % to 66.7 %" in card.inner_text()
    assert card.locator("del").first.inner_text() == "ny" and card.locator("ins").first.inner_text() == "be"
    page.click("button[aria-label='Hear step 50']")
    visitor.until("document.querySelector('audio')?.readyState >= 2")
    assert not visitor.axe()


def test_deploys_are_told_with_their_reason_and_rolled_back(
    visit: Callable[..., Visit], site: Site, whisper_folder: Path, tmp_path: Path
) -> None:
    before = registry.resolve(site.settings, MODEL).version
    later = tmp_path / "later"
    shutil.copytree(whisper_folder, later)
    (later / "tokenizer.json").write_text('{"later": true}')
    registry.deploy(site.settings, MODEL, later)
    payload = {"model": MODEL, "path": str(later)}
    job = site.ledger.create(NewJob(kind="deploy", payload=payload, owner="operator", priority="background"))
    claim = site.ledger.claim(job.id, "test-worker")
    assert claim
    site.ledger.fail(claim, Conflict("it hears 4 % more words wrong than what serves", code="deploy_refused"))
    visitor = visit()
    page = visitor.go("/monitor")
    page.wait_for_selector("text=it hears 4 % more words wrong than what serves")
    page.click("section:has(h2:has-text('Deploys')) button:has-text('Roll back')")
    page.click("dialog[open] button:has-text('Roll back')")
    page.wait_for_selector("dialog[open]", state="detached")
    assert registry.resolve(site.settings, MODEL).version == before
    guest = visit(key=site.keys.create("reader", ("read",)).secret).go("/monitor")
    guest.wait_for_selector("h2:has-text('Deploys')")
    assert guest.locator("button:has-text('Roll back')").count() == 0
