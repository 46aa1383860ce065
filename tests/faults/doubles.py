"""Two of what there should be one of: beats, stacks, workers of a name. And a stack that is told to stop at work."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import soundfile

from milo.stack.ports import free_port
from tests.faults.field import Field, stack
from tests.faults.table import Row
from tests.faults.work import Load, account
from tests.support.servers import ROOT, environment, wait_until

LONG_FILE = ROOT / "samples" / "20-several-minutes.ogg"
GRACE_S = 60.0
TIMES = 10


def doubles(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """The second stack and the second workers are refused; the second beat does no harm."""
    with stack(folder) as field:
        twins = [_second_worker(field, same_name) for same_name in (True, False)]
        return [_second_stack(field), *twins, _second_beat(field, scale, rng)]


def _run(field: Field, words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    options = {"env": environment(field.settings, **env), "cwd": ROOT, "capture_output": True, "text": True}
    return subprocess.run(command, timeout=120, **options)  # type: ignore[call-overload, no-any-return]


def _second_stack(field: Field) -> Row:
    row = Row("two supervisors on one home", faults=1)
    ports = {f"MILO_{name}PORT": str(free_port()) for name in ("", "REDIS_", "FLOWER_", "STATUS_")}
    said = _run(field, ["milo.cli", "up"], **ports)
    row.expect(said.returncode != 0 and "already up" in said.stderr, f"it said: {said.stderr[-300:]}")
    return row


def _second_worker(field: Field, same_name: bool) -> Row:
    row = Row(f"two workers {'of one name' if same_name else 'on one card'}", faults=1)
    host = environment(field.settings)
    with field.ledger():
        notes = field.redis().keys("milo:worker:gpu@*")
    node = notes[0].decode().removeprefix("milo:worker:")  # type: ignore[index]
    if not same_name:
        node = "another@machine"
    words = ["celery", "-A", "milo.queue", "worker", "-n", "gpu@%h", "-Q", "gpu.realtime", "-c", "1"]
    said = _run(field, words, MILO_WORKER_NODE=node, OMP_NUM_THREADS=host["OMP_NUM_THREADS"])
    row.expect(said.returncode != 0 and "runs already" in said.stderr, f"it said: {said.stderr[-300:]}")
    return row


def _second_beat(field: Field, scale: float, rng: random.Random) -> Row:
    row = Row("two beats", faults=1)
    command = [sys.executable, "-m", "celery", "-A", "milo.queue", "beat", "-s", str(field.settings.home / "second")]
    env = environment(field.settings)
    beat = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(field.settings.home.glob("second*")), "the second beat does not tick", 60)
        load = Load(field, max(12, round(40 * scale)), rng, f"beats {rng.random()}")
        load.start()
        account(field, load.finish(), row, 180)
    finally:
        beat.kill()
        beat.wait()
    return row


def stopped(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """SIGTERM with a long recording in flight, again and again: nothing of it is transcribed twice."""
    row = Row("SIGTERM with a long recording in flight")
    recording = _tiled(folder / "long.flac")
    with stack(folder) as field:
        for number in range(max(1, round(3 * scale))):
            source = {"blob": field.put_blob(recording), "name": "long"}
            body = {"kind": "stt", "payload": {"source": source}, "callback_url": field.receiver.url}
            load = Load(field, 4, rng, f"stop {number}", ("ping",))
            load.done.jobs[f"long {number}"] = [field.post("/jobs", body, f"long {number}")["id"]]
            load.start()
            _stop_in_the_middle(field, load.done.jobs[f"long {number}"][0], row)
            account(field, load.finish(), row, 400)
    return [row]


def _tiled(path: Path) -> Path:
    """The longest sample, again and again: more than can be transcribed in the grace time."""
    samples, rate_hz = soundfile.read(LONG_FILE, dtype="int16")
    with soundfile.SoundFile(path, "w", rate_hz, channels=1) as file:
        for _ in range(TIMES):
            file.write(samples)
    return path


def _stop_in_the_middle(field: Field, job_id: str, row: Row) -> None:
    folder = field.settings.home / "work" / job_id
    with field.ledger() as ledger:
        wait_until(lambda: bool(_heard(folder)) or ledger.get(job_id).final, "nothing was transcribed", 180)
        started = time.monotonic()
        field.stop()
        took = time.monotonic() - started
        row.faults += 1
        row.expect_in_time(took, GRACE_S, "stopped")
        before = _heard(folder)
        left = ledger.get(job_id)
        row.expect(bool(before) and not left.final, "it had ended before it was told to stop")
        row.expect(left.state == "queued", f"it did not give way: it is {left.state}")
        started = time.monotonic()
        field.start()
        row.recovery_s.append(time.monotonic() - started)
        most = 0
        while not ledger.get(job_id).final and time.monotonic() - started < 400:
            most = max([most, *Counter(_heard(folder)).values()])
            time.sleep(0.02)
        row.expect(most <= 1, "a window was transcribed twice")


def _heard(folder: Path) -> list[str]:
    """The windows that have been written down, once for each time."""
    found = []
    for path in folder.glob("heard-*.jsonl"):
        found += [json.loads(line)["window"] for line in path.read_text().splitlines() if line.endswith("}")]
    return found
