"""Prometheus metrics that workers and the API count. Every process writes to files; `/metrics` of the API merges them.

`PROMETHEUS_MULTIPROC_DIR` must be set before `prometheus_client` is imported: `milo up` and compose do that. Without
it each process counts for itself alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket

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
        found = pattern.fullmatch(name)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(folder, name))


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)

JOBS = Counter("milo_jobs_total", "Jobs that ended", ["kind", "state"])
JOB_WAIT_S = Histogram(
    "milo_job_wait_seconds", "Accepted to first start of work", ["kind", "priority"], buckets=_SECONDS
)
JOB_DURATION_S = Histogram(
    "milo_job_duration_seconds", "Work in the last stage of a job", ["kind", "priority"], buckets=_SECONDS
)
AUDIO_S = Counter("milo_audio_processed_seconds_total", "Seconds of audio in jobs that succeeded", ["kind"])
WEBHOOKS = Counter("milo_webhook_deliveries_total", "Delivery tries of webhooks", ["outcome"])
MODEL_LOAD_S = Histogram(
    "milo_model_load_seconds", "Time to load a model", ["model"], buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
)
MODELS_LOADED = Gauge("milo_models_loaded", "Models in memory", multiprocess_mode="livesum")
VRAM_USED_BYTES = Gauge(
    "milo_gpu_vram_used_bytes", "Memory of the card that Milo's models use", multiprocess_mode="livesum"
)
REQUESTS = Counter("milo_http_requests_total", "HTTP requests", ["method", "route", "status"])
REQUEST_S = Histogram("milo_http_request_seconds", "Time to answer", ["method", "route"], buckets=_SECONDS)
CONVERSATIONS = Gauge("milo_conversations", "Spoken conversations that are open", multiprocess_mode="livesum")
FIRST_AUDIO_S = Histogram(
    "milo_conversation_first_audio_seconds", "Utterance complete to first sound of the reply", buckets=_SECONDS
)
TRANSLATION_CACHE = Counter("milo_translation_cache_total", "Texts looked up in the translation cache", ["outcome"])
