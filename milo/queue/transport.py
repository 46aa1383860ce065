"""kombu's Redis transport that survives malformed messages: what is no message in a queue is logged and dropped.

With the stock transport a list element that is not JSON, or not an envelope, ends the whole worker.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

log = logging.getLogger(__name__)


class Channel(redis.Channel):  # type: ignore[misc]
    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ValueError as error:  # not UTF-8, not JSON; the element has been taken off its list already
            log.error("dropped what is no message from a queue: %s", error)
            raise Empty from None


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        if not _is_envelope(message):
            log.error("dropped what is no message from the queue %s: %.200r", queue, message)
            raise Empty
        super()._deliver(message, queue)


def _is_envelope(message: Any) -> bool:
    """Whether kombu can open it: the fields that `virtual.Message` and the consumer read without asking."""
    if not isinstance(message, dict):
        return False
    properties, body = message.get("properties"), message.get("body")
    return (
        isinstance(message.get("headers"), dict)
        and isinstance(properties, dict)
        and isinstance(properties.get("delivery_tag"), str)
        and isinstance(properties.get("delivery_info"), dict)
        and isinstance(body, str)
    )
