"""The registry has an id, which its store carries too."""

import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from sqlalchemy import Connection

revision = "0005"
down_revision = "0004"

_FIRST = "SELECT at, action, reference, detail FROM event ORDER BY id LIMIT 1"


def upgrade() -> None:
    """Bring the schema from 0004 to 0005."""
    table = op.create_table("registry", sa.Column("id", sa.String(), primary_key=True))
    op.get_bind().execute(table.insert().values(id=_id(op.get_bind())))


def _id(connection: "Connection") -> str:
    """Return an id that every backup of one registry is given alike, however often it is migrated.

    Else a backup from before, once restored and migrated, would be a stranger to its own store. The
    log is only ever added to, so all backups begin with the same event.
    """
    first = connection.execute(sa.text(_FIRST)).first()
    if first is None:
        return secrets.token_hex(16)
    return sha256(repr(tuple(first)).encode()).hexdigest()[:32]
