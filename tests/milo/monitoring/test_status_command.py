"""`milo status`: for people and for programs, from the API or from the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from milo.cli import cli
from milo.ledger import Ledger
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
