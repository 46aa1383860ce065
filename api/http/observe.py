"""What Prometheus gets: requests by route, counted as they end; queues, jobs and cards, read when it asks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.deps import PREFIX, Context
from milo import __version__, gpu, metrics
from milo.errors import Unavailable
from milo.ledger import outbox
from milo.monitoring.health import workers_alive
from milo.queue.depths import depths

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observe:
    """ASGI middleware: counts requests by the template of their route, never by their path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = template(scope)
            metrics.REQUESTS.labels(method, route, str(status)).inc()
            metrics.REQUEST_S.labels(method, route).observe(time.perf_counter() - started)


def template(scope: Scope) -> str:
    """`/api/v1/jobs/{job_id}`; one word for everything that is no route."""
    path = getattr(scope.get("route"), "path", None)
    if not path:
        return "unmatched"
    for prefix in (PREFIX, "/v1"):
        if scope["path"].startswith(f"{prefix}/") and not path.startswith(f"{prefix}/"):
            return f"{prefix}{path}"  # the route of an included router does not know where it was included
    return str(path)


class Installation(Collector):
    """What stands in the ledger, in Redis and on the cards at the moment of asking."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("milo_build_info", "Always 1; the version is the label", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._queues()
        yield from self._ledger()
        yield from self._cards()
        yield from self._watched()

    def _watched(self) -> Iterable[Metric]:
        """The status document's alerts and figures: what is null there is left out here."""
        document = self.context.status_cache.fresh().document
        alerts = GaugeMetricFamily("milo_alerts", "1 while the alert is on", labels=["alert", "level"])
        for alert in document["alerts"]:
            alerts.add_metric([alert["name"], alert["level"]], float(alert["active"]))
        yield alerts
        oldest = GaugeMetricFamily("milo_queue_oldest_job_seconds", "Age of the first waiting job", labels=["queue"])
        for name, queue_ in document["queues"].items():
            oldest.add_metric([name], queue_["oldest_s"] or 0)
        yield oldest
        training, disk = document["training"], document["disk"]
        figures = {
            "milo_orchestrator_up": (document["orchestrator"], "Whether a training would go on by itself"),
            "milo_auto_fixes": (document["auto_fixes"], "Corrections made in the training that is shown"),
            "milo_background_paused": (bool(document["paused"]), "Whether training and evaluation are held back"),
            "milo_beat_age_seconds": (document["beat_age_s"], "Time since beat ticked"),
            "milo_training_step": (training["step"], "Optimizer step of the training that is shown"),
            "milo_training_total_steps": (training["total_steps"], "Steps it will have"),
            "milo_training_loss": (training["last_loss"], "Its last logged loss"),
            "milo_training_step_seconds": (training["speed"], "Time of one step"),
            "milo_disk_free_bytes": (disk["free_bytes"], "Room where MILO_HOME is"),
        }
        for name, (value, text) in figures.items():
            if value is not None:
                family = GaugeMetricFamily(name, text)
                family.add_metric([], float(value))
                yield family

    def _queues(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("milo_queue_depth", "Messages that wait in a queue", labels=["queue"])
        workers = GaugeMetricFamily("milo_workers_alive", "Workers that serve a queue", labels=["queue"])
        up = GaugeMetricFamily("milo_redis_up", "Whether Redis answers")
        try:
            messages = depths(self.context.settings)
            served = [name for worker in workers_alive(self.context.settings) for name in worker["queues"]]
        except Unavailable:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        for name, waiting in messages.items():
            depth.add_metric([name], waiting)
            workers.add_metric([name], served.count(name))
        yield from (up, depth, workers)

    def _ledger(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily("milo_jobs", "Jobs that have not ended", labels=["queue", "state"])
        for name, states in self.context.ledger.counts().items():
            for state, count in states.items():
                jobs.add_metric([name, state], count)
        backlog = GaugeMetricFamily("milo_webhooks", "Webhooks in the outbox", labels=["state"])
        for state, count in outbox.backlog(self.context.ledger.engine):
            backlog.add_metric([state], count)
        yield from (jobs, backlog)

    def _cards(self) -> Iterable[Metric]:
        names = {
            "memory_used_bytes": ("milo_gpu_memory_used_bytes", "Memory in use on the card, by everybody"),
            "memory_total_bytes": ("milo_gpu_memory_total_bytes", "Memory of the card"),
            "utilization": ("milo_gpu_utilization_ratio", "Share of time the card was busy"),
            "temperature_c": ("milo_gpu_temperature_celsius", "Temperature of the card"),
            "power_w": ("milo_gpu_power_watts", "Power the card takes"),
        }
        cards = gpu.readings()
        for field, (name, text) in names.items():
            family = GaugeMetricFamily(name, text, labels=["gpu"])
            for index, card in enumerate(cards):
                if card.get(field) is not None:
                    family.add_metric([str(card.get("index", index))], float(card[field]))
            if family.samples:
                yield family


def exposition(context: Context) -> bytes:
    """Everything in Prometheus' text format: all processes' counters merged, and the readings of this moment."""
    counted: CollectorRegistry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        metrics.forget_dead()
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    now = CollectorRegistry()
    now.register(Installation(context))
    found: Any = generate_latest(counted) + generate_latest(now)
    return bytes(found)
