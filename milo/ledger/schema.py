"""The tables of the ledger. Migrations in `milo/migrations/` bring a database to this; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeEngine

from milo.errors import Invalid


class TooLong(Invalid, DontWrapMixin):
    """A value that its column has no room for. A class of its own, because SQLAlchemy hides others in its own error."""

    code = "too_long"


class Limited(TypeDecorator[str]):
    """A text of at most so many characters. SQLite ignores lengths and PostgreSQL does not; this is the same on both.

    Only what is written is checked: a question about a longer name has no answer, and is no error.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and (len(value) > self.length or "\0" in value):
            what = (
                f"{len(value)} characters, and {self.length} is the most" if "\0" not in value else "a null character"
            )
            raise TooLong(f"the ledger can't keep {value[:40]!r}…: it has {what}")
        return value

    def coerce_compared_value(self, op: object, value: object) -> TypeEngine[str]:
        return String()


metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s"}
)

batches = Table(
    "batches",
    metadata,
    Column("id", Limited(40), primary_key=True),
    Column("kind", Limited(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Limited(128), nullable=False),
    Column("total", Integer, nullable=False),
    Column("remaining", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("callback_url", Text),
    Column("idempotency_key", Limited(255)),
    Column("options", JSON, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Limited(40), primary_key=True),
    Column("kind", Limited(64), nullable=False),
    Column("state", Limited(16), nullable=False),
    Column("stage", Limited(64), nullable=False),
    Column("queue", Limited(32), nullable=False),
    Column("priority", Limited(16), nullable=False),
    Column("owner", Limited(128), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("group_key", Limited(64), nullable=False),  # jobs with equal keys may share an engine batch
    Column("progress_done", Float, nullable=False),
    Column("progress_total", Float),
    Column("progress_unit", Limited(64), nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("result_file", Text),
    Column("error", JSON(none_as_null=True)),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("slices", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("worker", Limited(512)),
    Column("lease_expires_at", Float),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("due_at", Float),
    Column("published_at", Float),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("audio_s", Float),
    Column("compute_s", Float, nullable=False),
    Column("batch_id", Limited(40), ForeignKey("batches.id")),
    Column("batch_index", Integer),
    Column("callback_url", Text),
    Column("idempotency_key", Limited(255)),
    Column("models", JSON, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),  # of its transcript: how often it was edited
    Column("indexed_revision", Integer),  # of its transcript: the revision that the search finds; none yet: null
    Index(None, "queue", "state", "published_at"),
    Index(
        "ix_jobs_turns",  # whose turn it is: one step, whatever waits for a later time
        "queue",
        "state",
        "owner",
        "published_at",
        sqlite_where=text("published_at IS NOT NULL"),
        postgresql_where=text("published_at IS NOT NULL"),
    ),
    Index(None, "queue", "state", "group_key", "owner", "published_at"),
    Index(None, "queue", "state", "audio_s"),
    Index(None, "state", "id"),
    Index(None, "kind", "id"),
    Index(None, "kind", "state", "finished_at"),
    Index(None, "state", "lease_expires_at"),
    Index(None, "batch_id", "state"),
    Index(None, "owner", "id"),
    Index(None, "owner", "state"),
    Index(None, "state", "finished_at"),
    Index(
        "ix_jobs_to_index",
        "id",
        sqlite_where=text("kind = 'stt' AND state = 'succeeded' AND indexed_revision IS NULL"),
        postgresql_where=text("kind = 'stt' AND state = 'succeeded' AND indexed_revision IS NULL"),
    ),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", Limited(128), primary_key=True),
    Column("key", Limited(255), primary_key=True),
    Column("fingerprint", Limited(512), nullable=False),
    Column("job_id", Limited(40)),
    Column("batch_id", Limited(40)),
    Column("created_at", Float, nullable=False),
)

owners = Table(
    "owners",
    metadata,
    Column("what", Limited(16), primary_key=True),  # blob, run, evaluation
    Column("name", Limited(128), primary_key=True),
    Column("owner", Limited(128), primary_key=True),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Limited(40), primary_key=True),  # the webhook-id header, the same over retries
    Column("owner", Limited(128), nullable=False),
    Column("job_id", Limited(40)),
    Column("batch_id", Limited(40)),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Limited(16), nullable=False),  # pending, delivered, failed
    Column("attempts", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("lease_expires_at", Float),
    Column("finished_at", Float),
    Index(None, "state", "due_at"),
    Index(None, "job_id"),
    Index(None, "batch_id"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("webhook_id", Limited(40), ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("status", Integer),
    Column("error", Text),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Limited(40), primary_key=True),
    Column("name", Limited(128), nullable=False),
    Column("digest", Limited(64), nullable=False, unique=True),  # sha256 of the secret; 256 random bits need no salt
    Column("scopes", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("webhook_secret", Limited(128), nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("job_id", Limited(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("action", Limited(16), nullable=False),
    Column("state", Integer, nullable=False),  # the revision whose text this is: its own number, or one that came back
    Column("author", Limited(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("request_key", Limited(255)),
    Column("next_segment_id", Integer, nullable=False),
    Column("operations", JSON, nullable=False),
    Column("changes", JSON, nullable=False),  # against the revision before
    Column("snapshot", JSON(none_as_null=True)),  # all segments, now and then, so that no long journal is replayed
    Index(None, "created_at"),
)

passages = Table(  # what the search finds: the newest revision of each segment. Its index is made by a migration
    "passages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job_id", Limited(40), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("segment_id", Integer, nullable=False),
    Column("owner", Limited(128), nullable=False),
    Column("batch_id", Limited(40)),
    Column("created_at", Float, nullable=False),
    Column("start_s", Float, nullable=False),
    Column("end_s", Float, nullable=False),
    Column("language", Limited(32), nullable=False),
    Column("speaker", Limited(200)),
    Column("confidence", Float, nullable=False),
    Column("text", Text, nullable=False),
    Column("words", Text, nullable=False),  # `milo.language.search.indexed`: what the index holds of the text
    Index(None, "job_id", "segment_id"),
)

consents = Table(  # outlives the job, because what was made of it does: a consent can always be taken back
    "consents",
    metadata,
    Column("job_id", Limited(40), primary_key=True),
    Column("owner", Limited(128), nullable=False, index=True),
    Column("given_by", Limited(128), nullable=False),
    Column("given_at", Float, nullable=False),
    Column("revoked_by", Limited(128)),
    Column("revoked_at", Float),
)

system_reports = Table(
    "system_reports",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("system", Limited(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("state", Limited(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("run_id", Text),
    Column("job_id", Limited(40)),
    Column("checkpoint", Text),
    Column("inputs", Limited(64), nullable=False),  # hash of all that it looked at: equal ones need no new look
    Column("document", JSON, nullable=False),
    Index(None, "system", "id"),
)
