"""Removals are found in the event log without reading all of it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Bring the schema from 0005 to 0006: a new version's number was never another's."""
    removals = sa.text("action = 'remove'")
    op.create_index(
        "ix_event_removed",
        "event",
        ["reference"],
        sqlite_where=removals,
        postgresql_where=removals,
    )
