"""what the search over transcripts finds; old transcripts are indexed by beat's task `index`"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TO_INDEX = sa.text("kind = 'stt' AND state = 'succeeded' AND indexed_revision IS NULL")
SQLITE = (
    "CREATE VIRTUAL TABLE passages_index USING fts5"
    "(words, content='passages', content_rowid='id', tokenize='unicode61 remove_diacritics 0')",
    "CREATE TRIGGER passages_added AFTER INSERT ON passages BEGIN "
    "INSERT INTO passages_index(rowid, words) VALUES (new.id, new.words); END",
    "CREATE TRIGGER passages_removed AFTER DELETE ON passages BEGIN "
    "INSERT INTO passages_index(passages_index, rowid, words) VALUES ('delete', old.id, old.words); END",
)
POSTGRESQL = ("CREATE INDEX passages_index ON passages USING gin (to_tsvector('simple', words))",)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("indexed_revision", sa.Integer(), nullable=True))
    op.create_index("ix_jobs_to_index", "jobs", ["id"], sqlite_where=TO_INDEX, postgresql_where=TO_INDEX)
    op.create_table(
        "passages",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("segment_id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("batch_id", sa.String(40), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("end_s", sa.Float(), nullable=False),
        sa.Column("language", sa.String(32), nullable=False),
        sa.Column("speaker", sa.String(200), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_passages_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_passages_job_id_segment_id"), "passages", ["job_id", "segment_id"])
    op.create_index(op.f("ix_revisions_created_at"), "revisions", ["created_at"])
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(statement)
