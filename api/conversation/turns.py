"""The turns of one conversation: answered in order, one at a time, and interrupted together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import anyio

from api.conversation.socket import WRONG_KEY
from api.conversation.turn import Turn
from api.conversation.turn_context import TurnContext, TurnSettings, UserInput
from api.http.deps import in_thread
from milo.errors import TooMany
from milo.ledger.keys import Key

MAX_PENDING = 4
"""Turns that may wait for the present one."""


class TurnQueue:
    """`run` it as a task; `add` and `interrupt` from others."""

    def __init__(self, context: TurnContext, verify: Callable[[], Key | None]) -> None:
        """`verify` tells whether the key is still valid; it may block."""
        self._context, self._verify = context, verify
        self._present: Turn | None = None
        self._pending: deque[Turn] = deque()
        self._added = anyio.Event()
        self._count = 0
        self.active_at = time.monotonic()
        """When a turn last was added or ended."""

    @property
    def first(self) -> Turn | None:
        """The turn that is being answered, or will be next."""
        return self._present or (self._pending[0] if self._pending else None)

    @property
    def next_number(self) -> int:
        return self._count + 1

    async def add(self, user_input: UserInput, settings: TurnSettings) -> None:
        self.active_at = time.monotonic()
        if len(self._pending) >= MAX_PENDING:
            detail = f"{MAX_PENDING} turns wait already; let some be answered first"
            return await self._context.socket.error(TooMany(detail, code="too_many_turns", retry_after_s=1))
        self._count += 1
        self._pending.append(Turn(self._context, self._count, user_input, settings))
        self._added.set()

    async def interrupt(self, reason: str, tell: bool) -> None:
        """Stop the present turn and those that wait for it. `tell` says so even when there are none."""
        turn, waiting = self._present, list(self._pending)
        self._pending.clear()
        if turn:
            turn.interrupt()
        if turn or waiting or tell:
            await self._context.socket.send("interrupted", reason=reason, turn=turn.number if turn else None)
        for dropped in waiting:
            await self._context.socket.send("turn_end", turn=dropped.number, outcome="interrupted", job_id=None)

    async def run(self) -> None:
        """Answer turns until the key is no longer valid."""
        while True:
            while not self._pending:
                self._added = anyio.Event()
                await self._added.wait()
            self._present = self._pending.popleft()
            try:
                if await in_thread(self._verify) is None:
                    return await self._context.socket.close(WRONG_KEY, "the API key has expired or was revoked")
                await self._present.run()
            finally:
                self._present = None
                self.active_at = time.monotonic()
