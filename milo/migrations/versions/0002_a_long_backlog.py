"""indexes that keep a long backlog cheap"""

from alembic import op

revision = "0002"
down_revision = "0001"

INDEXES = (
    ("ix_jobs_queue_state_group_key_published_at", ["queue", "state", "group_key", "published_at"]),
    ("ix_jobs_queue_state_audio_s", ["queue", "state", "audio_s"]),
    ("ix_jobs_state_id", ["state", "id"]),
    ("ix_jobs_kind_id", ["kind", "id"]),
    ("ix_jobs_kind_state_finished_at", ["kind", "state", "finished_at"]),
)


def upgrade() -> None:
    for name, columns in INDEXES:
        op.create_index(op.f(name), "jobs", columns, unique=False)
