"""Chat sessions in Redis: the last exchanges of a conversation, its owner, and whose turn it is.

A session belongs to the API key that opened it: the owner is part of every Redis key, so another owner's session does
not exist for you. It is forgotten when it was not used for `session_ttl_s`; one in which nothing was ever said, after
`UNUSED_TTL_S`, for a client that connects and hangs up all day would fill Redis. Messages of one session are answered
in the order of their tickets: a ticket is drawn when the message arrives, and its holder has a lease, so one that died
is passed over. All times are those of the Redis server. Knows nothing of models.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import quote

import redis
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from milo.errors import Invalid, LeaseLost, MiloError, NotFound, TooMany, Unavailable
from milo.jobs import Job
from milo.queue.connection import redis_client
from milo.settings import Settings

PREFIX = "ses_"
WAITING_LEASE_S = 120.0
"""A message that nobody has looked after for this long is passed over (its job sits in the queue meanwhile)."""
HOLDING_LEASE_S = 60.0
"""A holder that has not renewed its turn for this long is passed over. Longer than its job's lease: a message
whose worker died is answered by the next attempt, in its place."""
UNUSED_TTL_S = 120.0
"""Time to connect again with the id of a session in which nothing was said yet."""
MAX_WAITING = 256
"""Messages of one session that may wait."""

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
_TOUCH = """
redis.call('HSET', KEYS[1], 'updated', now)
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[1])
redis.call('ZADD', KEYS[4], now, ARGV[2])
redis.call('PEXPIRE', KEYS[4], ARGV[1])
"""
_EXISTS = "if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end "
_FIRST = """
local first = nil
local line = redis.call('HGETALL', KEYS[3])
for i = 1, #line, 2 do
  local ticket = tonumber(line[i])
  if tonumber(line[i + 1]) < now and ticket ~= mine then redis.call('HDEL', KEYS[3], line[i])
  elseif first == nil or ticket < first then first = ticket end
end
"""
# KEYS: session, log, line, the owner's index. ARGV: ttl in ms, session id, then what each comment says
_OPEN = (  # ttl in ms of a session in which nothing was said
    f"{_NOW} redis.call('HSETNX', KEYS[1], 'created', now) {_TOUCH}"
    "if redis.call('HEXISTS', KEYS[1], 'tickets') == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end return 0"
)
_TAKE = (  # lease in ms, most that may wait
    f"{_NOW} {_EXISTS} local mine = -1 {_FIRST} if redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[4]) then return -2 end "
    f"mine = redis.call('HINCRBY', KEYS[1], 'tickets', 1) redis.call('HSET', KEYS[3], mine, now + ARGV[3]) {_TOUCH}"
    "return mine"
)
_RENEW = (  # ticket, lease in ms while waiting, lease in ms while holding
    f"{_NOW} {_EXISTS} local mine = tonumber(ARGV[3]) "
    f"if redis.call('HEXISTS', KEYS[3], ARGV[3]) == 0 then return -2 end {_FIRST} {_TOUCH}"
    "local lease = ARGV[4] if first == mine then lease = ARGV[5] end redis.call('HSET', KEYS[3], mine, now + lease)"
    "if first == mine then return 1 end return 0"
)
# half as many more than are kept come before the oldest go: a conversation that begins elsewhere is read all anew
_APPEND = (  # ticket or '', exchange as JSON, how many to keep
    f"{_NOW} {_EXISTS} local mine = tonumber(ARGV[3]) or -1 {_FIRST} "
    "if ARGV[3] ~= '' and first ~= mine then return -2 end "
    "redis.call('HSETNX', KEYS[1], 'tickets', 0) "
    "redis.call('RPUSH', KEYS[2], ARGV[4]) local keep = tonumber(ARGV[5]) "
    "if redis.call('LLEN', KEYS[2]) > keep + math.floor(keep / 2) then redis.call('LTRIM', KEYS[2], -keep, -1) end "
    f"if ARGV[3] ~= '' then redis.call('HDEL', KEYS[3], ARGV[3]) end {_TOUCH} return 0"
)


class Exchange(BaseModel):
    """One message and its reply. `*_via`: both in the language that the model spoke, when that was another one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user: str
    reply: str
    mode: Literal["local", "cloud"] | None = None
    language: str | None = None
    via: str | None = None
    user_via: str = ""
    reply_via: str = ""
    at: float = 0
    """Unix seconds."""

    @field_validator("user", "reply", "user_via", "reply_via")
    @classmethod
    def _whole_characters(cls, text: str) -> str:
        return text.encode("utf-8", "replace").decode()  # half of a surrogate pair is no JSON


class Session(BaseModel):
    """A session as it is now; the oldest exchange first. Times are unix seconds."""

    model_config = ConfigDict(frozen=True)

    id: str
    created_at: float
    updated_at: float
    expires_at: float
    exchanges: list[Exchange] = []


class Turn:
    """The right to answer next in one session, until `finish` or the end of the `with` block."""

    def __init__(self, sessions: Sessions, session: Session, owner: str, ticket: int) -> None:
        self.session = session
        self.ticket = ticket
        self._sessions, self._owner = sessions, owner
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Call it between pieces of the reply; cheap. Raises `LeaseLost` when others have been let through."""
        if time.monotonic() - self._renewed > HOLDING_LEASE_S / 3:
            if not self._sessions.renew(self._owner, self.session.id, self.ticket):
                raise LeaseLost(f"session {self.session.id}: another message has the turn now")
            self._renewed = time.monotonic()

    def finish(self, exchange: Exchange) -> Session:
        """Append the exchange and end the turn, in one step."""
        return self._sessions.append(self._owner, self.session.id, exchange, self.ticket)


class Sessions:
    """All sessions. Every method may raise `Unavailable` (`redis_down`), and `Invalid` for what can't be an id."""

    def __init__(self, settings: Settings, client: redis.Redis | None = None) -> None:
        self._redis = client or redis_client(settings.redis_url, 0.5)
        self._ttl_ms = max(1, int(settings.session_ttl_s * 1000))
        self._unused_ttl_ms = min(self._ttl_ms, int(UNUSED_TTL_S * 1000))
        self._keep = settings.session_exchanges

    def open(self, owner: str, session_id: str | None = None) -> Session:
        """The session of that id, made when it is absent or forgotten; without an id, a new one nobody can guess."""
        session_id = session_id or PREFIX + secrets.token_urlsafe(24)
        self._run(_OPEN, owner, session_id, self._unused_ttl_ms)
        return self.get(owner, session_id)

    def get(self, owner: str, session_id: str) -> Session:
        """Read without keeping it alive. Raises `NotFound`, also for a session of somebody else."""
        meta, log, _, _ = _keys(owner, session_id)
        with _redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hgetall(meta)
            pipe.lrange(log, 0, -1)
            fields, entries = pipe.execute()
        if b"created" not in fields:
            raise _absent(session_id)
        return self._session(session_id, fields, entries)

    def all(self, owner: str) -> list[Session]:
        """The owner's sessions, the latest first, without their exchanges."""
        with _redis_errors():
            members: list[Any] = self._redis.zrevrange(_index(owner), 0, -1)
            ids = [member.decode() for member in members]
            pipe = self._redis.pipeline(transaction=False)
            for name in ids:
                pipe.hgetall(_keys(owner, name)[0])
            sessions = zip(ids, pipe.execute(), strict=True)
        return [self._session(name, fields, []) for name, fields in sessions if b"created" in fields]

    def delete(self, owner: str, session_id: str) -> None:
        """Forget a session; those who wait for their turn in it learn of it. Raises `NotFound`."""
        keys = _keys(owner, session_id)
        with _redis_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.delete(*keys[:3])
            pipe.zrem(keys[3], session_id)
            if not pipe.execute()[0]:
                raise _absent(session_id)

    def append(self, owner: str, session_id: str, exchange: Exchange, ticket: int | None = None) -> Session:
        """Add an exchange, drop the oldest (`session_exchanges` stay), and hand the ticket in, in one step.

        Raises `NotFound` for a session that was deleted meanwhile (it is not made again), `LeaseLost` when the ticket's
        turn is over: somebody else has been let through.
        """
        exchange = exchange if exchange.at else exchange.model_copy(update={"at": time.time()})
        mine = "" if ticket is None else ticket
        if self._run(_APPEND, owner, session_id, mine, exchange.model_dump_json(exclude_defaults=True), self._keep) < 0:
            raise LeaseLost(f"session {session_id}: another message has the turn now")
        return self.get(owner, session_id)

    # --- whose turn it is -------------------------------------------------------------------------------------------

    def take(self, owner: str, session_id: str, *, lease_s: float = WAITING_LEASE_S) -> int:
        """Draw a ticket when a message arrives: messages are answered in this order. Raises `NotFound`, `TooMany`."""
        ticket = self._run(_TAKE, owner, session_id, int(lease_s * 1000), MAX_WAITING)
        if ticket < 0:
            raise TooMany(
                f"session {session_id} has {MAX_WAITING} messages waiting; send the next one when some are answered",
                code="session_busy",
                retry_after_s=2,
            )
        return ticket

    def renew(
        self,
        owner: str,
        session_id: str,
        ticket: int,
        *,
        waiting_s: float = WAITING_LEASE_S,
        holding_s: float = HOLDING_LEASE_S,
    ) -> bool:
        """Whether the ticket is first in line; renews its lease either way.

        Raises `LeaseLost` when it was passed over, `NotFound` when the session was deleted.
        """
        answer = self._run(_RENEW, owner, session_id, ticket, int(waiting_s * 1000), int(holding_s * 1000))
        if answer < 0:
            raise LeaseLost(f"session {session_id}: ticket {ticket} was passed over")
        return answer == 1

    def leave(self, owner: str, session_id: str, ticket: int) -> None:
        """Hand a ticket in without an answer (the job failed, or was cancelled)."""
        with _redis_errors():
            self._redis.hdel(_keys(owner, session_id)[2], str(ticket))

    def try_turn(self, owner: str, session_id: str, ticket: int) -> Turn | None:
        """The turn if it is this ticket's now, else None: a worker gives way and looks again later."""
        if not self.renew(owner, session_id, ticket):
            return None
        return Turn(self, self.get(owner, session_id), owner, ticket)

    @contextmanager
    def turn(self, owner: str, session_id: str, ticket: int | None = None, *, wait_s: float = 30) -> Iterator[Turn]:
        """Wait for the turn of a ticket (drawn here when absent); it ends with the block.

        Raises `Unavailable` (`session_busy`) when those before it take longer than `wait_s`.
        """
        ticket = self.take(owner, session_id) if ticket is None else ticket
        try:
            deadline = time.monotonic() + wait_s
            while (turn := self.try_turn(owner, session_id, ticket)) is None:
                if time.monotonic() >= deadline:
                    raise Unavailable(
                        f"session {session_id} is busy with an earlier message", code="session_busy", retry_after_s=1
                    )
                time.sleep(0.02)
            yield turn
        finally:
            with contextlib.suppress(Unavailable):  # the lease ends by itself
                self.leave(owner, session_id, ticket)

    def count(self, owners: Iterable[str]) -> int:
        """How many sessions of these owners are remembered."""
        with _redis_errors():
            pipe = self._redis.pipeline(transaction=False)
            for owner in owners:
                pipe.zcount(_index(owner), time.time() * 1000 - self._ttl_ms, "+inf")
            return sum(pipe.execute())

    # --- inside -----------------------------------------------------------------------------------------------------

    def _run(self, script: str, owner: str, session_id: str, *arguments: Any) -> int:
        keys = _keys(owner, session_id)
        with _redis_errors():
            answer = int(self._redis.register_script(script)(keys, [self._ttl_ms, session_id, *arguments]))
        if answer == -1:
            raise _absent(session_id)
        return answer

    def _session(self, session_id: str, fields: dict[bytes, bytes], entries: list[bytes]) -> Session:
        exchanges = []
        for entry in entries:
            with contextlib.suppress(ValidationError):  # written by another version of Milo
                exchanges.append(Exchange.model_validate_json(entry))
        updated_ms = int(fields[b"updated"])
        ttl_ms = self._ttl_ms if b"tickets" in fields else self._unused_ttl_ms
        return Session(
            id=session_id,
            created_at=int(fields[b"created"]) / 1000,
            updated_at=updated_ms / 1000,
            expires_at=(updated_ms + ttl_ms) / 1000,
            exchanges=exchanges,
        )


def give_back(settings: Settings, job: Job) -> None:
    """A job that has ended, however it did, lets those behind it in its session through."""
    session_id, ticket = job.payload.get("session_id"), job.payload.get("ticket")
    if session_id and ticket is not None:
        with contextlib.suppress(MiloError):  # the lease ends by itself
            Sessions(settings).leave(job.owner, str(session_id), int(ticket))


def _index(owner: str) -> str:
    return f"milo:sessions:{quote(owner, safe='')}"


def _keys(owner: str, session_id: str) -> list[str]:
    if not _ID.fullmatch(session_id):
        raise Invalid("a session_id has 1 to 64 letters, digits and any of _ . -", code="bad_session_id")
    key = f"milo:session:{quote(owner, safe='')}:{session_id}"
    return [key, f"{key}:log", f"{key}:line", _index(owner)]


def _absent(session_id: str) -> NotFound:
    return NotFound(f"no session {session_id}: it was never opened, was deleted, or has expired", code="no_session")


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}", code="redis_down", retry_after_s=2) from error
