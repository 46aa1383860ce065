"""Rules from what was collected to what is wrong and what to do. They only read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from milo.monitoring.alerts import sentence
from milo.monitoring.fix.context import DiagnosisContext

Level = Literal["critical", "warning", "note"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""The gravest first."""
WAITING_S = 600
TRAINS = ("training", "pipeline")
ADVICE = {
    "worker_lost": "its worker died or hung each time: look at the job's input and at logs/gpu.log, then POST /retry",
    "out_of_memory": "make the batch smaller (`batch_audio_s`, `batch_size`), or MILO_VRAM_BUDGET_GB",
    "model_unavailable": "`milo models pull NAME`, or set MILO_HF_TOKEN for a model that asks for one",
    "internal_error": "a fault of Milo: the worker's log has the traceback",
    "bad_recipe": "correct the recipe as the sentence says, and send it again",
}
"""By the `code` of a job's error."""


@dataclass(frozen=True)
class Finding:
    level: Level
    seen: str
    advice: str


def _health(context: DiagnosisContext) -> Iterator[Finding]:
    advice = {
        "redis": "start Redis (`milo up` brings one), or correct MILO_REDIS_URL",
        "database": "look at the disk of MILO_HOME, or at MILO_DATABASE_URL",
        "workers": "`milo up` starts and restarts all of them; in compose: `docker compose up -d gpu cpu archive`",
        "webhooks": "the receiver does not answer, or beat or the CPU worker is away",
        "storage": "make room, or move MILO_HOME",
        "gpu": "look at `nvidia-smi` and the driver; MILO_DEVICE=cpu works without a card",
        "models": "`milo models rollback NAME`, or pull it again",
    }
    for name, check in context["health"]["checks"].items():
        if not check["ok"]:
            level: Level = "critical" if name in ("redis", "database", "storage") else "warning"
            yield Finding(level, f"{name}: {check['detail']}", advice.get(name, "look at the logs"))
        for warning in check.get("warnings", ()):
            yield Finding("note", warning, "change the configuration of Redis")


def _orchestrator(context: DiagnosisContext) -> Iterator[Finding]:
    if not context["status"]["orchestrator"]:
        why = context["status"]["orchestrator_reason"]
        yield Finding("critical", f"no training can go on: {why}", "start the missing part: `milo up` runs them all")


def _alerts(context: DiagnosisContext) -> Iterator[Finding]:
    for alert in context["status"]["alerts"]:
        if alert["active"] and alert["name"] != "orchestrator_down":
            yield Finding(alert["level"], sentence(alert), alert["means"])


def _paused(context: DiagnosisContext) -> Iterator[Finding]:
    for one in context["status"]["paused"]:
        yield Finding("warning", f"background work rests since {one['since']}: {one['seen']}", "it goes on by itself")


def _fixes(context: DiagnosisContext) -> Iterator[Finding]:
    for fix in context["status"]["fixes"][-3:]:
        yield Finding("note", f"the watchdog saw at {fix['at']}: {fix['rule']}, {fix['seen']}", fix["done"])


def _queues(context: DiagnosisContext) -> Iterator[Finding]:
    for name, queue in context["status"]["queues"].items():
        if queue["oldest_s"] and queue["oldest_s"] > WAITING_S:
            served = f"served by {', '.join(queue['workers'])}" if queue["workers"] else "served by nobody"
            advice = "wait, or add a worker" if queue["workers"] else "start a worker for it"
            yield Finding("warning", f"a job waits in {name} for {queue['oldest_s']:.0f} s, {served}", advice)


def _training(context: DiagnosisContext) -> Iterator[Finding]:
    training = context["status"]["training"]
    if training["state"] == "failed":
        yield Finding("critical", f"the training {training['run']} failed", "its alerts.jsonl and its job say why")
    if training["job"] is None and not any(job["kind"] in TRAINS for job in context["status"]["jobs"]):
        yield Finding("note", "nothing trains: no training is queued or running", "`milo train RECIPE` starts one")


def _jobs(context: DiagnosisContext) -> Iterator[Finding]:
    codes = Counter(job["code"] for job in context["failed_jobs"])
    for code, count in codes.most_common():
        last = next(job for job in context["failed_jobs"] if job["code"] == code)
        seen = f"{count} of the last failed jobs: {code}; the latest, {last['id']} ({last['kind']}): {last['detail']}"
        yield Finding("warning", seen, ADVICE.get(str(code), "the detail says what was wrong"))


def _logs(context: DiagnosisContext) -> Iterator[Finding]:
    for service, lines in context["logs"].items():
        bad = [line for line in lines if " CRITICAL " in line or " ERROR " in line or line.startswith("Traceback")]
        if bad:
            yield Finding(
                "note", f"logs/{service}.log ends with {len(bad)} errors, the last: {bad[-1]}", "read it whole"
            )


RULES: tuple[Callable[[DiagnosisContext], Iterator[Finding]], ...] = (
    *(_health, _orchestrator, _alerts, _paused, _training, _queues, _jobs, _fixes, _logs),
)


class FindingRow(TypedDict):
    level: Level
    seen: str
    advice: str


class Report(TypedDict):
    """One sentence, and what it is made of."""

    summary: str
    findings: list[FindingRow]


def diagnose(context: DiagnosisContext) -> Report:
    """The report: findings, the gravest first, and one sentence."""
    findings = sorted((finding for rule in RULES for finding in rule(context)), key=lambda one: LEVELS.index(one.level))
    counts = Counter(one.level for one in findings)
    parts = [f"{counts[level]} {level}" for level in LEVELS if counts[level]]
    return {
        "summary": f"{', '.join(parts)}: {findings[0].seen}"
        if findings
        else "nothing is wrong as far as the rules see",
        "findings": [{"level": one.level, "seen": one.seen, "advice": one.advice} for one in findings],
    }
