"""Alembic's entry: runs the migrations on the engine that `milo.ledger.database.upgrade` hands over."""

from alembic import context
from sqlalchemy import text

from milo.ledger.schema import metadata

LOCK = 0x4D494C4F  # "MILO"

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        context.run_migrations()
