"""owners of uploads, runs and evaluations; those of before are told by the jobs that are still there"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

AT_ONCE = 5000


def upgrade() -> None:
    owners = op.create_table(
        "owners",
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("what", "name", "owner"),
    )
    jobs = sa.table(
        "jobs",
        sa.column("id", sa.String),
        sa.column("kind", sa.String),
        sa.column("owner", sa.String),
        sa.column("payload", sa.JSON),
        sa.column("result", sa.JSON),
    )
    connection = op.get_bind()
    found: set[tuple[str, str, str]] = set()
    last = ""
    query = sa.select(jobs).order_by(jobs.c.id).limit(AT_ONCE)
    while rows := connection.execute(query.where(jobs.c.id > last)).all():
        last = rows[-1].id
        for row in rows:
            if what := _used_by(row):
                found.add((*what, row.owner))
    if found:
        op.bulk_insert(owners, [dict(zip(("what", "name", "owner"), one, strict=True)) for one in sorted(found)])


def _used_by(row: Any) -> tuple[str, str] | None:
    """What a job used or made, and its name."""
    payload = row.payload if isinstance(row.payload, dict) else {}
    result = row.result if isinstance(row.result, dict) else {}
    source = payload.get("source")
    if isinstance(source, dict) and isinstance(source.get("blob"), str):
        return "blob", source["blob"][:128]
    if row.kind in ("training", "pipeline"):
        return "run", row.id
    if row.kind == "evaluation" and isinstance(result.get("key"), str):
        return "evaluation", result["key"][:128]
    return None


def downgrade() -> None:
    op.drop_table("owners")
