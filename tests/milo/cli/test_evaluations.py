"""`milo eval` and `milo compare`: what is asked for, and what is printed with a rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from milo.cli import cli, common
from milo.cli.evaluations import _report_line, _verdict_lines
from milo.recipes import TASKS

INTERVAL = {"low": 0.1, "high": 0.2, "over": "speakers", "units": 8}
REPORT: dict[str, Any] = {
    **{"status": "ok", "key": "k" * 32, "metric": "wer", "items": 20, "scored": 20, "ref_words": 100},
    **{"substitutions": 9, "deletions": 3, "insertions": 3, "wer": 0.15, "cer": 0.05, "raw_wer": 0.31},
    **{"model": {"label": "m@1"}, "data": {"source": "set", "split": "test"}, "interval": INTERVAL},
    "decode": {"language": "fr", "beam_size": 5},
}


class Server:
    """What a client asks, and nothing that answers but with a queued job."""

    def __init__(self) -> None:
        self.http = self
        self.sent: dict[str, Any] = {}

    def post(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        self.sent = request
        return {"id": "job_1", "kind": "evaluation", "state": "queued"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()

    @contextmanager
    def client(*_: object) -> Iterator[Server]:
        yield made

    monkeypatch.setattr(common, "make_client", client)
    return made


def milo(*words: str) -> Result:
    return CliRunner().invoke(cli, ["eval", "milo-tiny-mg", "--detach", *words], standalone_mode=False)


def test_the_language_is_sent_with_a_source_and_instead_of_a_recipes(server: Server, tmp_path: Path) -> None:
    assert milo("--data", "owner/set", "--language", "fr").exit_code == 0
    assert server.sent["data"] == {"source": "owner/set", "language": "fr"}
    assert milo("--data", "owner/set").exit_code == 0
    assert server.sent["data"] == "owner/set", "the server's default"
    recipe = tmp_path / "mine.yaml"
    text = "name: x\ntask: whisper\nmodel: m\ndata: {source: owner/set, language: sw}\ntraining: {max_steps: 1}\n"
    recipe.write_text(text)
    assert milo("--data", str(recipe)).exit_code == 0 and server.sent["data"]["language"] == "sw"
    assert milo("--data", str(recipe), "--language", "fr").exit_code == 0 and server.sent["data"]["language"] == "fr"
    assert server.sent["data"]["source"] == "owner/set"


@pytest.mark.parametrize("task", [*TASKS, "poetry"])
def test_a_task_is_one_of_the_table_that_has_an_error_rate(server: Server, task: str) -> None:
    done = milo("--data", "owner/set", "--task", task)
    if task in TASKS and not TASKS[task].no_error_rate:
        assert done.exit_code == 0 and server.sent["task"] == task
    else:
        assert done.exception and "whisper and nllb can be evaluated" in str(done.exception)


def test_language_beam_and_windows_stand_beside_each_error_rate_and_so_does_the_raw_one() -> None:
    told = _report_line(REPORT)
    assert "WER 15.00%, 95 % interval 10.00% to 20.00% over 8 speakers; raw WER 31.00%; CER 5.00%" in told
    assert "language fr, beam 5, one window an utterance" in told
    old = {name: value for name, value in REPORT.items() if name not in ("raw_wer", "decode")}
    assert "raw WER not measured" in _report_line(old) and "None" not in _report_line(old)


def test_a_comparison_shows_both_rates_and_both_raw_ones() -> None:
    sides = {"before": {"model": "m@1", "wer": 0.2, "raw_wer": 0.4}, "after": {"model": "m@2", "wer": 0.1}}
    judged = {"verdict": "better", "interval": INTERVAL, "difference": -0.1, "probability_of_improvement": 0.99}
    told = _verdict_lines({**sides, **judged, "items": 20, "detectable": 0.04})
    assert "WER 20.00% -> 10.00%, raw WER 40.00% -> not measured" in told
    assert "smallest difference that this set finds with 90 % power: 4.00%" in told
