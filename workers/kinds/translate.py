"""Translation: the texts of all jobs that wait with the same languages and model go through the engine together."""

from __future__ import annotations

import time
from collections.abc import Iterator

from milo.errors import MiloError
from milo.kinds.translate import TranslatePayload
from milo.queue.connection import redis_client
from milo.translation import translate as translating
from workers import engines
from workers.group import Group
from workers.work import Finished

TOGETHER = 16


def translate(group: Group) -> Iterator[None]:
    """Translate the jobs of the group, and those like them that wait."""
    settings = group.first.settings
    payload: TranslatePayload = group.first.payload
    with engines.translator(settings, payload.model) as engine:
        engines.report(settings, group.first.claim.worker)
        while group.jobs or group.more(TOGETHER):
            group.more(TOGETHER - len(group.jobs))
            running = list(group.jobs.values())
            texts = [text for one in running for text in one.payload.texts]
            started = time.monotonic()
            try:
                found = translating.translate(
                    settings, engine, texts, payload.source, payload.target, client=redis_client(settings.redis_url)
                )
            except MiloError as error:
                for one in running:
                    group.fail(one, error)
                continue
            share_s = (time.monotonic() - started) / max(1, len(texts))
            made = iter(found)
            for one in running:
                mine = [next(made) for _ in one.payload.texts]
                one.compute_s = share_s * len(mine)
                result = {
                    "translations": [{"text": item.text, "cached": item.cached} for item in mine],
                    "source": payload.source,
                    "target": payload.target,
                }
                if group.active(one.id):
                    group.finish(one, Finished(result, models={"translate": engine.name}))
            yield
