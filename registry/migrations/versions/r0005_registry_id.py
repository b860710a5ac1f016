"""The registry has an id, which its store carries too."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Bring the schema from 0004 to 0005."""
    table = op.create_table("registry", sa.Column("id", sa.String(), primary_key=True))
    op.get_bind().execute(table.insert().values(id=secrets.token_hex(16)))
