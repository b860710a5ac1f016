"""Lineage of variants; reference data of versions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring the schema from 0002 to 0003."""
    op.create_table(
        "lineage",
        sa.Column(
            "variant_id",
            sa.Integer(),
            sa.ForeignKey("variant.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("parent", sa.String()),
        sa.Column("called", sa.String(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
    )
    op.create_index("ix_lineage_parent", "lineage", ["parent"])
    op.create_table(
        "reference_data",
        sa.Column(
            "version_id",
            sa.Integer(),
            sa.ForeignKey("version.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("digest", sa.String(), sa.ForeignKey("bundle.digest"), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
    )
    op.create_index("ix_reference_data_digest", "reference_data", ["digest"])
