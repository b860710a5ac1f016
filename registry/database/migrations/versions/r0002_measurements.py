"""Measurements of bundles, each with its context."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bring the schema from 0001 to 0002."""
    op.create_table(
        "measurement",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "digest",
            sa.Text(),
            sa.ForeignKey("bundle.digest", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.UniqueConstraint("digest", "metric", "context"),
    )
    op.create_index("ix_measurement_digest", "measurement", ["digest"])
