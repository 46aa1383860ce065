"""`milo status`: for people and for programs, from the API or from the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from milo.cli import cli
from milo.cli.status import _lines
from milo.ledger import Ledger
from milo.models import registry
from milo.monitoring.document import build
from milo.settings import Settings
from milo.stack.ports import free_port
from tests.milo.monitoring.conftest import alive, checkpoint, new_training, run_of
from tests.support.servers import api_in_thread
from workers import watching

KEY = "the-operators-key-of-the-tests"


@pytest.fixture
def training(
    settings: Settings, ledger: Ledger, heat: Callable[[float | None], None], redis_client: redis.Redis
) -> Settings:
    heat(71)
    alive(redis_client)
    job = new_training(ledger)
    checkpoint(run_of(settings, job, 20), 15)
    assert ledger.claim(job.id, "gpu@here/0")
    return settings.model_copy(update={"api_key": KEY})


def milo(settings: Settings, url: str, *words: str) -> Result:
    env = {"MILO_HOME": str(settings.home), "MILO_URL": url, "MILO_API_KEY": KEY, "MILO_REDIS_URL": settings.redis_url}
    env["COLUMNS"] = "400"
    return CliRunner().invoke(cli, ["status", *words], env=env, standalone_mode=False)


def test_the_api_is_asked(training: Settings) -> None:
    with api_in_thread(training) as url:
        done = milo(training, url)
        as_json = milo(training, url, "--json")
    assert done.exit_code == 0 and done.return_value == 0, done.output
    text = " ".join(done.output.split())
    for wanted in (
        "phase training",
        "step 20/100 (20.0 %), 1.00 s/it, 3:25:10 to go, loss 0.2500",
        "checkpoint-15",
        "97 %, 15800/16303 MB, 71 C",
        "orchestrator runs",
        "gpu@here",
        url,
    ):
        assert wanted in text, text
    assert json.loads(as_json.output)["training"]["step"] == 20 and json.loads(as_json.output)["source"] == url


def test_without_the_api_the_file_is_read_and_says_how_old_it_is(training: Settings, ledger: Ledger) -> None:
    watching.watch(training, ledger)
    done = milo(training, f"http://127.0.0.1:{free_port()}")
    text = " ".join(done.output.split())
    assert "step 20/100" in text and "status.json, for the API does not answer" in text and "T" in text


def test_without_either_it_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    done = milo(settings, f"http://127.0.0.1:{free_port()}")
    assert done.exception and "no status was ever written" in str(done.exception)


def test_a_critical_alert_is_shown_and_is_the_exit_code(settings: Settings, ledger: Ledger) -> None:
    keyed = settings.model_copy(update={"api_key": KEY})
    with api_in_thread(keyed) as url:
        done = milo(keyed, url)
    assert done.return_value == 1 and "critical orchestrator_down" in " ".join(done.output.split())
    assert "DOES NOT RUN" in done.output


def test_an_empty_queue_is_not_called_old(settings: Settings, ledger: Ledger) -> None:
    document = build(settings, ledger)
    document["queues"]["gpu.batch"] |= {"depth": 0, "oldest_s": 90.0}
    document["queues"]["cpu"] |= {"depth": 2, "oldest_s": 90.0}
    lines = dict(_lines(document))
    assert lines["queues"] == "gpu.batch none ready, the first waits for its time since 1:30, cpu 2 (oldest 1:30)"


def test_it_says_whose_error_rates_it_shows(settings: Settings, ledger: Ledger) -> None:
    serves = registry.resolve(settings, settings.stt_model)
    for number, label in enumerate((serves.label, "run@checkpoint-15")):
        folder = settings.home / "evaluations" / f"{number:032x}"
        folder.mkdir(parents=True)
        report = {"status": "ok", "wer": 0.1 + number, "cer": 0.05, "model": {"label": label}}
        (folder / "report.json").write_text(json.dumps(report))
        os.utime(folder / "report.json", (1000 + number, 1000 + number))
    document = build(settings, ledger)
    assert document["eval"]["serves"] and document["eval"]["results"]["wer_pct"] == 10.0
    assert dict(_lines(document))["eval"] == f"WER 10.0 %, CER 5.0 % of {serves.label}, which serves"
