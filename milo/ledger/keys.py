"""API keys: named, scoped, stored as digests, revoked at will. The secret is shown once, when the key is made.

A key's name owns its jobs, so a key is rotated by making a second one of the same name and revoking the first when
nobody uses it any more. The operator's key is a setting (`MILO_API_KEY`) or a secret of the home, and has no row.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Engine, insert, select, update

from milo.errors import Conflict, Invalid, NotFound
from milo.jobs import OPERATOR, iso, new_id
from milo.ledger.database import reading, writing
from milo.ledger.schema import api_keys
from milo.settings import Settings
from milo.storage.secrets import operator_key
from milo.storage.vault import MARK, seal

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""read: look at one's own jobs; write: submit and cancel; admin: both, and every owner's jobs."""
PREFIX = "milo_"
MAX_SECRET = 512
CACHE_S = 3.0
"""How long a revoked key may go on working in a process that has just seen it."""
CACHE_KEYS = 1024
YEAR_10000_S = 253_402_300_800
"""The first unix second that no date can be written for; milliseconds taken for seconds lie beyond it."""


@dataclass(frozen=True)
class Key:
    """Who is asking. Never holds the secret."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    @property
    def owner(self) -> str | None:
        """Whose jobs this key sees; None: everybody's."""
        return None if "admin" in self.scopes else self.name

    def valid(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "created_at": iso(self.created_at),
            "expires_at": iso(self.expires_at),
            "revoked_at": iso(self.revoked_at),
        }


@dataclass(frozen=True)
class NewKey:
    """What `create` hands out, once."""

    key: Key
    secret: str
    webhook_secret: str


class Keys:
    """The keys of an installation. Safe to share between threads. `clock` is unix seconds."""

    def __init__(self, engine: Engine, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._operator = Key("key_operator", OPERATOR, frozenset(SCOPES), 0.0)
        self._operator_digest = digest(operator_key(settings))
        self._clock = clock
        self._settings = settings
        self._cache: OrderedDict[str, tuple[float, Key]] = OrderedDict()
        self._lock = threading.Lock()

    def create(self, name: str, scopes: Iterable[str] = ("read", "write"), expires_at: float | None = None) -> NewKey:
        """Make a key. `Invalid` for a name or scope that can't be, or an expiry (unix seconds) that has passed."""
        wanted = frozenset(scopes)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", name):
            raise Invalid(f"{name!r} can't name a key: letters, digits and . _ @ - only, at most 64, no space")
        if name == OPERATOR:
            raise Invalid(f"the name {OPERATOR!r} belongs to the operator's own key; choose another")
        if not wanted or not wanted <= set(SCOPES):
            raise Invalid(f"scopes {sorted(wanted)}: give one or more of {', '.join(SCOPES)}")
        now = self._clock()
        if expires_at is not None and not expires_at < YEAR_10000_S:  # not a number is not smaller either
            raise Invalid(f"the key would expire after the year 9999 ({expires_at:g}): unix seconds are wanted")
        if expires_at is not None and expires_at <= now:
            raise Invalid(f"the key would have expired before it was made (at {expires_at:.15g}, in unix seconds)")
        key = Key(new_id("key"), name, wanted, now, expires_at)
        new = NewKey(key, PREFIX + secrets.token_urlsafe(32), new_webhook_secret())
        row = {"id": key.id, "name": name, "scopes": sorted(wanted), "created_at": now, "expires_at": expires_at}
        sealed = seal(self._settings, key.id, new.webhook_secret)
        with writing(self._engine) as tx:
            tx.execute(insert(api_keys), row | {"digest": digest(new.secret), "webhook_secret": sealed})
        return new

    def list(self) -> list[Key]:
        """Every key, revoked and expired ones too, oldest first."""
        with reading(self._engine) as connection:
            return [_key(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.created_at))]

    def revoke(self, which: str) -> Key:
        """Revoke a key by its id, or by its name if only one valid key has it. Other processes follow in `CACHE_S`."""
        now = self._clock()
        matching = [key for key in self.list() if which in (key.id, key.name) and key.revoked_at is None]
        if not matching:
            raise NotFound(f"there is no valid key {which!r}; `milo keys list` shows them", code="unknown_key")
        if len(matching) > 1:
            ids = ", ".join(key.id for key in matching)
            raise Conflict(f"{len(matching)} keys are named {which!r}; say which by its id: {ids}")
        with writing(self._engine) as tx:
            tx.execute(update(api_keys).where(api_keys.c.id == matching[0].id).values(revoked_at=now))
        with self._lock:
            self._cache.clear()
        return Key(**{**matching[0].__dict__, "revoked_at": now})

    def valid(self, key_id: str) -> Key | None:
        """The key of that id as long as it is neither revoked nor expired. Read anew each time."""
        if key_id == self._operator.id:
            return self._operator
        with reading(self._engine) as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        key = _key(row) if row is not None else None
        return key if key and key.valid(self._clock()) else None

    def verify_cached(self, secret: str) -> Key | None:
        """`verify` without the database: the operator's key and those seen in the last `CACHE_S`."""
        if not 0 < len(secret) <= MAX_SECRET:
            return None
        given, now = digest(secret), self._clock()
        if hmac.compare_digest(given, self._operator_digest):
            return self._operator
        with self._lock:
            seen_at, key = self._cache.get(given, (0.0, None))
        return key if key and 0 <= now - seen_at < CACHE_S and key.valid(now) else None

    def verify(self, secret: str) -> Key | None:
        """Whose secret this is; None for a wrong, revoked or expired one."""
        if cached := self.verify_cached(secret):
            return cached
        if not 0 < len(secret) <= MAX_SECRET:
            return None
        given, now = digest(secret), self._clock()
        with reading(self._engine) as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.digest == given)).one_or_none()
        if row is None or not hmac.compare_digest(row.digest, given):
            return None
        key = _key(row)
        if not key.valid(now):
            return None
        with self._lock:
            self._cache[given] = (now, key)
            self._cache.move_to_end(given)
            while len(self._cache) > CACHE_KEYS:
                self._cache.popitem(last=False)
        return key


def digest(secret: str) -> str:
    """sha256, hex. The secrets are 256 random bits, so neither salt nor a slow hash adds anything."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Any) -> Key:
    return Key(row.id, row.name, frozenset(row.scopes), row.created_at, row.expires_at, row.revoked_at)


def seal_webhook_secrets(engine: Engine, settings: Settings) -> int:
    """Seal those that an earlier Milo has left in clear text. Returns how many there were."""
    with reading(engine) as connection:
        rows = connection.execute(select(api_keys).where(api_keys.c.webhook_secret.not_like(f"{MARK}%"))).all()
    for row in rows:
        sealed = seal(settings, row.id, row.webhook_secret)
        still = (api_keys.c.id == row.id, api_keys.c.webhook_secret == row.webhook_secret)
        with writing(engine) as tx:
            tx.execute(update(api_keys).where(*still).values(webhook_secret=sealed))
    return len(rows)


def new_webhook_secret() -> str:
    """`whsec_` and 32 random bytes in base64, as Standard Webhooks has it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
