"""/fix: a diagnosis always; the operator's command only if there is one, bounded in time and words, one at a time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from milo.errors import Conflict, Invalid, NotFound, Unavailable
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.monitoring import store
from milo.monitoring.fix import command
from milo.monitoring.fix.redact import GONE, redact, secrets_of
from milo.monitoring.fix.service import FixRequest, FixService
from milo.settings import Settings
from milo.storage.files import Files
from tests.milo.monitoring.conftest import new_training, run_of
from tests.support.servers import wait_until

SECRET = "a-very-secret-operators-key"
ECHO = "import sys; sys.stdout.write(sys.stdin.read())"
HANG = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def service_of(settings: Settings, ledger: Ledger, tmp_path: Path) -> Iterator[Callable[..., FixService]]:
    """Makes a service whose command is this Python script."""
    opened: list[FixService] = []

    def make(script: str | None = None, *words: str, timeout_s: float = 60) -> FixService:
        given: dict[str, Any] = {"api_key": SECRET, "fix_timeout_s": timeout_s}
        if script is not None:
            path = tmp_path / "the command.py"
            path.write_text(script)
            given["fix_command"] = " ".join([sys.executable, f"'{path}'", *words])
        chosen = settings.model_copy(update=given)
        opened.append(FixService(chosen, ledger, Files(chosen)))
        return opened[-1]

    yield make
    for service in opened:
        service.close()


def ask(service: FixService, problem: str = "it is slow", mode: str = "fix") -> dict[str, Any]:
    """The record when all is done."""
    taken = service.start(FixRequest(problem=problem, mode=mode), "ana")  # type: ignore[arg-type]
    assert taken["state"] == "running"
    wait_until(lambda: service.get(taken["id"])["state"] != "running", "it never ended", 60)
    return service.get(taken["id"])


def audit(settings: Settings) -> list[dict[str, Any]]:
    return store.rows(settings, "fix-audit")


# --- the diagnosis ----------------------------------------------------------------------------------------------------


def test_a_check_diagnoses_and_runs_nothing(
    settings: Settings, ledger: Ledger, service_of: Callable[..., FixService], tmp_path: Path
) -> None:
    job = new_training(ledger)
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    ledger.fail(claim, Unavailable("the model openai/whisper-medium is not here", code="model_unavailable"))
    run_of(settings, job, 5, state="failed")
    (settings.home / "logs").mkdir()
    (settings.home / "logs" / "gpu.log").write_text("x\n2026 ERROR workers.runner: job failed\n")
    record = ask(service_of(f"open({str(tmp_path / 'ran')!r}, 'w')"), mode="check")
    assert record["state"] == "done" and "command" not in record and not (tmp_path / "ran").exists()
    said = " / ".join(f"{one['seen']}: {one['advice']}" for one in record["report"]["findings"])
    for wanted in ("no worker serves", "model_unavailable", "milo models pull", "failed", "logs/gpu.log", "appendonly"):
        assert wanted in said, wanted
    levels = [one["level"] for one in record["report"]["findings"]]
    assert levels[0] == "critical" and levels == sorted(levels, key=["critical", "warning", "note"].index)
    assert record["context"]["status"]["training"]["step"] == 5
    assert [one["what"] for one in audit(settings)] == ["ended"]


def test_without_a_command_a_fix_says_what_to_set(service_of: Callable[..., FixService]) -> None:
    record = ask(service_of())
    assert record["state"] == "done" and record["report"]["findings"]
    assert record["command"]["ended"] == "not_configured" and "MILO_FIX_COMMAND" in record["command"]["output"]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_gets_the_diagnosis_on_stdin_and_its_output_is_kept(
    settings: Settings, service_of: Callable[..., FixService]
) -> None:
    record = ask(service_of("import json, sys; d = json.load(sys.stdin); print(d['mode'], d['problem'], sorted(d))"))
    assert record["state"] == "done" and record["command"]["exit_code"] == 0
    assert "fix it is slow" in record["command"]["output"]
    for name in ("report", "status", "health", "failed_jobs", "logs"):
        assert name in record["command"]["output"]
    assert [row["what"] for row in audit(settings)] == ["began", "command ended", "ended"]
    assert audit(settings)[0]["asked_by"] == "ana" and len(audit(settings)[0]["context_sha256"]) == 64


def test_what_somebody_writes_stays_data(service_of: Callable[..., FixService], tmp_path: Path) -> None:
    evil = f"'; touch {tmp_path}/one; $(touch {tmp_path}/two) `touch {tmp_path}/three` | sh\n--flag \\ \" \u0000"
    script = "import json, sys; d = json.load(sys.stdin); print(json.dumps([sys.argv[1:], d['problem']]))"
    record = ask(service_of(script, "-p", "'two words'"), problem=evil)
    assert json.loads(record["command"]["output"]) == [["-p", "two words"], evil]
    assert [path.name for path in tmp_path.iterdir() if path.name in ("one", "two", "three")] == []


def test_a_command_that_hangs_is_killed_with_what_it_started(
    service_of: Callable[..., FixService], settings: Settings
) -> None:
    record = ask(service_of(HANG, timeout_s=2.0))
    assert record["state"] == "timed_out" and record["command"]["exit_code"] is None
    child = int(record["command"]["output"])
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie", "it lives on")
    assert audit(settings)[-1]["state"] == "timed_out"


def test_a_command_deaf_to_sigterm_is_killed(
    service_of: Callable[..., FixService], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATIENCE_S", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    assert ask(service_of(deaf, timeout_s=1.5))["state"] == "timed_out"


def test_an_endless_output_is_read_and_only_its_end_kept(service_of: Callable[..., FixService]) -> None:
    record = ask(service_of("import sys\nfor _ in range(300): sys.stdout.write('x' * 65536)\nprint('the end')"))
    assert record["state"] == "done" and record["command"]["output_bytes"] == 300 * 65536 + 8
    assert len(record["command"]["output"]) == command.OUTPUT_BYTES
    assert record["command"]["output"].endswith("the end\n")


def test_a_command_that_fails_or_never_reads_or_is_not_there_is_told(
    service_of: Callable[..., FixService], settings: Settings, ledger: Ledger
) -> None:
    record = ask(service_of("import os, sys; os.write(2, b'no idea'); sys.exit(3)"))
    assert record["state"] == "failed" and record["command"]["exit_code"] == 3
    assert record["command"]["output"] == "no idea"
    missing = settings.model_copy(update={"fix_command": "/no/such/program --now"})
    record = ask(FixService(missing, ledger, Files(missing)))
    assert record["state"] == "failed" and "/no/such/program can't be started" in record["command"]["output"]
    broken = settings.model_copy(update={"fix_command": "claude -p 'half"})
    with pytest.raises(Unavailable, match="MILO_FIX_COMMAND"):
        FixService(broken, ledger, Files(broken)).start(FixRequest(problem="x", mode="fix"), "ana")


def test_one_command_at_a_time_and_checks_beside_it(service_of: Callable[..., FixService]) -> None:
    service = service_of(HANG)
    running = service.start(FixRequest(problem="first", mode="fix"), "ana")
    with pytest.raises(Conflict, match=running["id"]):
        service.start(FixRequest(problem="second", mode="fix"), "bob")
    with pytest.raises(Conflict, match="one at a time"):  # another process of the same house
        service_of(HANG).start(FixRequest(problem="third", mode="fix"), "bob")
    assert ask(service, mode="check")["state"] == "done"
    assert service.get(running["id"])["state"] == "running"
    wait_until(lambda: (service._folder / running["id"]).is_dir(), "the command did not start")
    service.close()
    assert service.get(running["id"])["state"] == "stopped"
    assert [one["problem"] for one in service.history()] == ["it is slow", "first"]
    assert all("context" not in one for one in service.history())


def test_a_request_whose_process_died_is_interrupted(service_of: Callable[..., FixService]) -> None:
    service = service_of()
    record = ask(service)
    service._write(record | {"state": "running", "runs_command": True})
    assert service.get(record["id"])["state"] == "interrupted"
    service._write(record | {"state": "running", "created": 0.0})
    assert service.get(record["id"])["state"] == "interrupted"


@pytest.mark.parametrize("name", ["fix_0", "../status", "fix_" + "g" * 24, ""])
def test_an_unknown_id_is_not_found(service_of: Callable[..., FixService], name: str) -> None:
    with pytest.raises(NotFound):
        service_of().get(name)


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_the_command_gets_none_of_our_secrets(
    service_of: Callable[..., FixService], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILO_API_KEY", SECRET)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-abcdefghijklmnop")
    (settings.home / "logs").mkdir()
    (settings.home / "logs" / "api.log").write_text(
        f"Authorization: Bearer {SECRET}\nHF_TOKEN=hf_abcdefghijklmnop1234\n"
    )
    script = f"import os\nprint(sorted(os.environ), os.getcwd())\n{ECHO}"
    record = ask(service_of(script), problem=f"my key {SECRET} does not work")
    everything = json.dumps(record) + json.dumps(audit(settings))
    assert SECRET not in everything and "hf_abcdef" not in everything and "sk-ant" not in everything
    assert GONE in record["problem"] and "does not work" in record["command"]["output"]
    first = record["command"]["output"].splitlines()[0]
    assert "MILO_API_KEY" not in first and "ANTHROPIC" not in first and first.endswith(record["id"])


def test_what_looks_like_a_secret_is_removed_and_the_rest_stays(settings: Settings) -> None:
    chosen = settings.model_copy(update={"redis_url": "redis://:hunter22@host:6379/0", "api_key": SECRET})
    known = secrets_of(chosen)
    for text, wanted in (
        ("redis://:other@host/0", f"redis://{GONE}@host/0"),
        ("password hunter22 seen", f"password {GONE} seen"),
        ("api_key=abcdef12345", f"api_key={GONE}"),
        ("milo_gpu_memory_used_bytes 5", "milo_gpu_memory_used_bytes 5"),
        ("step 5, loss 0.2, tokens: 300, key: done", "step 5, loss 0.2, tokens: 300, key: done"),
        ("milo_" + "a" * 43, GONE),
    ):
        assert redact(text, known) == wanted
    assert redact({"hf_token": "x", "a": [SECRET, 1, None]}, known) == {"hf_token": GONE, "a": [GONE, 1, None]}


def test_a_problem_has_a_length_and_no_other_fields() -> None:
    for wrong in (
        {"problem": ""},
        {"problem": "x" * 8001},
        {"problem": "x", "mode": "destroy"},
        {"problem": "x", "a": 1},
    ):
        with pytest.raises(ValueError):
            FixRequest.model_validate(wrong)


def test_texts_of_jobs_do_not_leave_the_house(service_of: Callable[..., FixService], ledger: Ledger) -> None:
    payload = {"text": "a private sentence", "model": "espeak"}
    job = ledger.create(NewJob(kind="tts", payload=payload, owner="ana", priority="interactive"))
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    ledger.fail(claim, Invalid("no such voice"))
    record = ask(service_of(), mode="check")
    assert job.id in json.dumps(record["context"]) and "private sentence" not in json.dumps(record)


def test_the_folder_of_a_command_is_its_own_and_empty(service_of: Callable[..., FixService]) -> None:
    record = ask(service_of("import os; print(os.listdir('.'), os.getpgid(0) == os.getpid())"))
    assert record["command"]["output"] == "[] True\n"
    assert os.getpgid(0) != 0


def test_it_is_said_when_nothing_trains(service_of: Callable[..., FixService], ledger: Ledger) -> None:
    def seen() -> list[str]:
        return [one["seen"] for one in ask(service_of(), mode="check")["report"]["findings"]]

    assert "nothing trains: no training is queued or running" in seen()
    new_training(ledger)
    assert "nothing trains: no training is queued or running" not in seen()
