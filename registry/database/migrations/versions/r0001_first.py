"""Models, versions, variants, bundles and their files, aliases, tags, events."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first schema."""
    op.create_table(
        "model",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("key", sa.String(), nullable=False, unique=True),
        sa.Column("task", sa.String()),
        sa.Column("created_at", sa.String(), nullable=False),
    )
    op.create_table(
        "version",
        sa.Column("id", sa.Integer(), primary_key=True),
        _parent("model_id", "model.id"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String()),
        sa.Column("license", sa.String()),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.UniqueConstraint("model_id", "number"),
    )
    op.create_table(
        "bundle",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "file",
        _parent("digest", "bundle.digest", sa.Text(), primary_key=True),
        sa.Column("path", sa.String(), primary_key=True),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "variant",
        sa.Column("id", sa.Integer(), primary_key=True),
        _parent("version_id", "version.id"),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("opset", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), sa.ForeignKey("bundle.digest"), nullable=False),
        sa.Column("entry", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("revision", sa.String()),
        sa.Column("graph", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.UniqueConstraint("version_id", "label"),
    )
    op.create_index("ix_variant_digest", "variant", ["digest"])
    op.create_table(
        "alias",
        _parent("model_id", "model.id", primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        _parent("version_id", "version.id"),
    )
    op.create_index("ix_alias_version_id", "alias", ["version_id"])
    op.create_table(
        "tag",
        _parent("model_id", "model.id", primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("detail", sa.String()),
    )


def _parent(
    name: str,
    target: str,
    kind: sa.types.TypeEngine[Any] | None = None,
    *,
    primary_key: bool = False,
) -> sa.Column[Any]:
    key = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, kind or sa.Integer(), key, primary_key=primary_key, nullable=False)
