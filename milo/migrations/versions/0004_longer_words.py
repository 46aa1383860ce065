"""room for longer names of workers and units of progress"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

LENGTHS = {"progress_unit": 64, "worker": 512, "stage": 64, "kind": 64}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return  # SQLite ignores lengths, and would have to copy the whole table
    for column, length in LENGTHS.items():
        op.alter_column("jobs", column, type_=sa.String(length))
    op.alter_column("batches", "kind", type_=sa.String(64))
    op.alter_column("idempotency", "fingerprint", type_=sa.String(512))
