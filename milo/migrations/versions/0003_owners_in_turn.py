"""indexes by which the owners of waiting jobs take turns"""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

PUBLISHED = text("published_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        op.f("ix_jobs_turns"),
        "jobs",
        ["queue", "state", "owner", "published_at"],
        unique=False,
        sqlite_where=PUBLISHED,
        postgresql_where=PUBLISHED,
    )
    op.create_index(
        op.f("ix_jobs_queue_state_group_key_owner_published_at"),
        "jobs",
        ["queue", "state", "group_key", "owner", "published_at"],
        unique=False,
    )
    op.drop_index(op.f("ix_jobs_queue_state_group_key_published_at"), table_name="jobs")
