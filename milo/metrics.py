"""All Prometheus metrics, one row each. A new one is a row here, and the line that counts or reads it.

Most are counted by the process in which something happens: every process writes to files, and `/metrics` of the API
merges them. The gauges at the end are read when Prometheus asks (`api/http/observe.py`).

`PROMETHEUS_MULTIPROC_DIR` must be set before `prometheus_client` is imported: `milo up` and compose do that. Without
it each process counts for itself alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram, values

if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    # containers share the folder, and each counts its processes from 1
    values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]
        lambda: f"{socket.gethostname()}-{os.getpid()}"
    )


def forget_dead() -> None:
    """Drop the live gauges of processes of this host that are gone: a killed one has no time to do it itself."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return
    pattern = re.compile(rf"gauge_live[a-z]*_{re.escape(socket.gethostname())}-(\d+)\.db")
    for name in os.listdir(folder):
        match = pattern.fullmatch(name)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(folder, name))


@dataclass(frozen=True)
class Metric:
    """What a metric is called, of which type it is, what it counts or measures in, and its labels."""

    name: str
    type: Literal["counter", "histogram", "gauge"]
    unit: str
    labels: tuple[str, ...]
    help: str


TABLE: dict[str, Metric] = {}
"""Name -> row, in the order of the rows below."""
Labels = tuple[str, ...]
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""Upper bounds of a histogram's buckets."""


def _row(metric: Metric) -> Metric:
    assert metric.name not in TABLE, metric.name
    TABLE[metric.name] = metric
    return metric


def _counter(name: str, unit: str, labels: Labels, text: str) -> Counter:
    _row(Metric(name, "counter", unit, labels, text))
    return Counter(name, text, labels)


def _histogram(name: str, unit: str, labels: Labels, text: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
    _row(Metric(name, "histogram", unit, labels, text))
    return Histogram(name, text, labels, buckets=buckets)


def _live_gauge(name: str, unit: str, labels: Labels, text: str) -> Gauge:
    """Its value is the sum over the processes that live."""
    _row(Metric(name, "gauge", unit, labels, text))
    return Gauge(name, text, labels, multiprocess_mode="livesum")


def _gauge_read(name: str, unit: str, labels: Labels, text: str) -> Metric:
    """Held by no process; `api/http/observe.py` reads its value."""
    return _row(Metric(name, "gauge", unit, labels, text))


# --- counted where it happens -----------------------------------------------------------------------------------------
# fmt: off

JOBS = _counter("milo_jobs_total", "jobs", ("kind", "state"), "Jobs that ended")
JOB_WAIT_S = _histogram("milo_job_wait_seconds", "seconds", ("kind", "priority"), "Accepted to first start of work")
JOB_DURATION_S = _histogram("milo_job_duration_seconds", "seconds", ("kind", "priority"),
                            "Work in the last stage of a job")
AUDIO_S = _counter("milo_audio_processed_seconds_total", "seconds", ("kind",),
                   "Seconds of audio in jobs that succeeded")
WEBHOOKS = _counter("milo_webhook_deliveries_total", "deliveries", ("outcome",), "Delivery tries of webhooks")
MODEL_LOAD_S = _histogram("milo_model_load_seconds", "seconds", ("model",), "Time to load a model",
                          (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300))
MODELS_LOADED = _live_gauge("milo_models_loaded", "models", (), "Models in memory")
VRAM_USED_BYTES = _live_gauge("milo_gpu_vram_used_bytes", "bytes", (), "Memory of the card that Milo's models use")
REQUESTS = _counter("milo_http_requests_total", "requests", ("method", "route", "status"), "HTTP requests")
REQUESTS_BY_STATUS = _counter("milo_requests_total", "requests", ("status",), "HTTP requests, by their status alone")
REQUEST_DURATION_S = _histogram("milo_request_duration_seconds", "seconds", (), "Time to answer any HTTP request")
REQUEST_S = _histogram("milo_http_request_seconds", "seconds", ("method", "route"), "Time to answer")
LLM_REQUESTS = _counter("milo_llm_requests_total", "requests", ("mode",), "Times that a chat model was asked")
LLM_FALLBACKS = _counter("milo_llm_fallback_total", "requests", (),
                         "Times that the other chat model had to answer")
STAGE_S = _histogram("milo_pipeline_stage_duration_seconds", "seconds", ("stage",),
                     "Turn of a conversation: from the stage before to the first output of stt, llm and tts")
CONVERSATIONS = _live_gauge("milo_conversations", "conversations", (), "Spoken conversations that are open")
FIRST_AUDIO_S = _histogram("milo_conversation_first_audio_seconds", "seconds", (),
                           "Utterance complete to first sound of the reply")
TRANSLATION_CACHE = _counter("milo_translation_cache_total", "texts", ("outcome",),
                             "Texts looked up in the translation cache")

# --- read when Prometheus asks ----------------------------------------------------------------------------------------

BUILD = _gauge_read("milo_build_info", "", ("version",), "Always 1; the version is the label")
REDIS_UP = _gauge_read("milo_redis_up", "", (), "Whether Redis answers")
QUEUE_DEPTH = _gauge_read("milo_queue_depth", "messages", ("queue",), "Messages that wait in a queue")
WORKERS_ALIVE = _gauge_read("milo_workers_alive", "workers", ("queue",), "Workers that serve a queue")
JOBS_NOW = _gauge_read("milo_jobs", "jobs", ("queue", "state"), "Jobs that have not ended")
WEBHOOKS_NOW = _gauge_read("milo_webhooks", "webhooks", ("state",), "Webhooks in the outbox")
GPU_MEMORY_USED = _gauge_read("milo_gpu_memory_used_bytes", "bytes", ("gpu",),
                              "Memory in use on the card, by everybody")
GPU_MEMORY_TOTAL = _gauge_read("milo_gpu_memory_total_bytes", "bytes", ("gpu",), "Memory of the card")
GPU_UTILIZATION = _gauge_read("milo_gpu_utilization_ratio", "ratio", ("gpu",), "Share of time the card was busy")
GPU_TEMPERATURE = _gauge_read("milo_gpu_temperature_celsius", "celsius", ("gpu",), "Temperature of the card")
GPU_POWER = _gauge_read("milo_gpu_power_watts", "watts", ("gpu",), "Power the card takes")
ALERTS = _gauge_read("milo_alerts", "", ("alert", "level"), "1 while the alert is on")
QUEUE_OLDEST_JOB = _gauge_read("milo_queue_oldest_job_seconds", "seconds", ("queue",), "Age of the first waiting job")
ORCHESTRATOR_UP = _gauge_read("milo_orchestrator_up", "", (), "Whether a training would go on by itself")
AUTO_FIXES = _gauge_read("milo_auto_fixes", "fixes", (), "Corrections made in the training that is shown")
BACKGROUND_PAUSED = _gauge_read("milo_background_paused", "", (), "Whether training and evaluation are held back")
BEAT_AGE = _gauge_read("milo_beat_age_seconds", "seconds", (), "Time since beat ticked")
TRAINING_STEP = _gauge_read("milo_training_step", "steps", (), "Optimizer step of the training that is shown")
TRAINING_TOTAL_STEPS = _gauge_read("milo_training_total_steps", "steps", (), "Steps it will have")
TRAINING_LOSS = _gauge_read("milo_training_loss", "", (), "Its last logged loss")
TRAINING_STEP_S = _gauge_read("milo_training_step_seconds", "seconds", (), "Time of one step")
SESSIONS = _gauge_read("milo_active_sessions", "sessions", (), "Chat sessions that are remembered")
DISK_FREE = _gauge_read("milo_disk_free_bytes", "bytes", (), "Room where MILO_HOME is")
# fmt: on
