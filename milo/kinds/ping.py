"""The job that does nothing: `milo doctor` and the queue benchmark send it through the whole system."""

from __future__ import annotations

from pydantic import Field

from milo.jobs import Frozen
from milo.kinds.kind import Kind, Stage


class PingPayload(Frozen):
    """How long to pretend to work."""

    seconds: float = Field(0, ge=0, le=60)
    """In steps of 10 ms with a yield point after each."""


PING = Kind("ping", PingPayload, (Stage("ping", grouped=True),), request=PingPayload)
