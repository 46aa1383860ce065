"""What Prometheus gets: requests by route, counted as they end; queues, jobs and cards, read when it asks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.deps import PREFIX, Context
from milo import __version__, gpu, metrics
from milo.chat.sessions import Sessions
from milo.errors import Unavailable
from milo.jobs import OPERATOR
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
            took_s = time.perf_counter() - started
            metrics.REQUEST_S.labels(method, route).observe(took_s)
            metrics.REQUESTS_BY_STATUS.labels(str(status)).inc()
            metrics.REQUEST_DURATION_S.observe(took_s)


def template(scope: Scope) -> str:
    """`/api/v1/jobs/{job_id}`; one word for everything that is no route."""
    path = getattr(scope.get("route"), "path", None)
    if not path:
        return "unmatched"
    for prefix in (PREFIX, "/v1"):
        if scope["path"].startswith(f"{prefix}/") and not path.startswith(f"{prefix}/"):
            return f"{prefix}{path}"  # the route of an included router does not know where it was included
    return str(path)


Reading = tuple[metrics.Metric, tuple[str, ...], float | None]
"""A metric, the values of its labels, and its value; None: left out."""


class Installation(Collector):
    """What stands in the ledger, in Redis and on the cards at the moment of asking."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for metric, labels, value in self._readings():
            if value is None:
                continue
            if metric.name not in families:
                families[metric.name] = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            families[metric.name].add_metric(labels, float(value))
        return families.values()

    def _readings(self) -> Iterator[Reading]:
        yield metrics.BUILD, (__version__,), 1
        yield from self._queues()
        yield from self._ledger()
        yield from self._cards()
        yield from self._status()

    def _queues(self) -> Iterator[Reading]:
        try:
            messages = depths(self.context.settings)
            served = [name for worker in workers_alive(self.context.settings) for name in worker["queues"]]
        except Unavailable:
            yield metrics.REDIS_UP, (), 0
            return
        yield metrics.REDIS_UP, (), 1
        owners = {OPERATOR, *(key.name for key in self.context.keys.list())}
        yield metrics.SESSIONS, (), Sessions(self.context.settings).count(owners)
        for name, waiting in messages.items():
            yield metrics.QUEUE_DEPTH, (name,), waiting
            yield metrics.WORKERS_ALIVE, (name,), served.count(name)

    def _ledger(self) -> Iterator[Reading]:
        for name, states in self.context.ledger.counts().items():
            for state, count in states.items():
                yield metrics.JOBS_NOW, (name, state), count
        for state, count in outbox.backlog(self.context.ledger.engine):
            yield metrics.WEBHOOKS_NOW, (state,), count

    def _cards(self) -> Iterator[Reading]:
        for card in gpu.read().gpus:
            labels = (str(card.index),)
            yield metrics.GPU_MEMORY_USED, labels, card.memory_used_bytes
            yield metrics.GPU_MEMORY_TOTAL, labels, card.memory_total_bytes
            yield metrics.GPU_UTILIZATION, labels, card.utilization
            yield metrics.GPU_TEMPERATURE, labels, card.temperature_c
            yield metrics.GPU_POWER, labels, card.power_w

    def _status(self) -> Iterator[Reading]:
        """The status document's alerts and figures: what is null there is left out."""
        document = self.context.status_cache.fresh().document
        for alert in document["alerts"]:
            yield metrics.ALERTS, (alert["name"], alert["level"]), alert["active"]
        for name, queue in document["queues"].items():
            yield metrics.QUEUE_OLDEST_JOB, (name,), queue["oldest_s"] or 0
        training = document["training"]
        yield metrics.ORCHESTRATOR_UP, (), document["orchestrator"]
        yield metrics.AUTO_FIXES, (), document["auto_fixes"]
        yield metrics.BACKGROUND_PAUSED, (), bool(document["paused"])
        yield metrics.BEAT_AGE, (), document["beat_age_s"]
        yield metrics.TRAINING_STEP, (), training["step"]
        yield metrics.TRAINING_TOTAL_STEPS, (), training["total_steps"]
        yield metrics.TRAINING_LOSS, (), training["last_loss"]
        yield metrics.TRAINING_STEP_S, (), training["speed"]
        yield metrics.DISK_FREE, (), document["disk"]["free_bytes"]


def exposition(context: Context) -> bytes:
    """Everything in Prometheus' text format: all processes' counters merged, and the readings of this moment."""
    counted: CollectorRegistry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        metrics.forget_dead()
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    now = CollectorRegistry()
    now.register(Installation(context))
    return bytes(generate_latest(counted) + generate_latest(now))
