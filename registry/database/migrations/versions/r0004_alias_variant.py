"""Aliases record the variant that they mean, not only its version."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import op

from onnxzoo.registry.database.queries import graph_of
from onnxzoo.registry.resolve.choose import choose

revision = "0004"
down_revision = "0003"

_ALIASES = "SELECT model_id, name, version_id FROM alias"
_VARIANTS = """
SELECT r.version_id, r.id, r.label, r.precision, r.opset, b.bytes, r.graph
FROM variant r JOIN bundle b ON b.digest = r.digest
WHERE r.version_id IN (SELECT version_id FROM alias) ORDER BY r.label
"""


class _Held(NamedTuple):
    id: int
    variant: str
    precision: str
    opset: int
    bytes: int
    graph: str
    derived: bool = False  # which no rule looked at


def upgrade() -> None:
    """Migrate the schema from 0003 to 0004: record each alias's variant."""
    connection = op.get_bind()
    aliases = connection.execute(sa.text(_ALIASES)).all()
    held = defaultdict[int, list[_Held]](list)
    for version, *fields in connection.execute(sa.text(_VARIANTS)):
        held[version].append(_Held(*fields))
    op.drop_table("alias")  # made anew, so that its text is that of a new database
    table = op.create_table(
        "alias",
        _column("model_id", "model.id", primary_key=True, nullable=False, ondelete="CASCADE"),
        sa.Column("name", sa.String(), primary_key=True),
        _column("version_id", "version.id", nullable=False, ondelete="CASCADE"),
        _column("variant_id", "variant.id", ondelete="SET NULL"),
    )
    op.create_index("ix_alias_version_id", "alias", ["version_id"])
    op.create_index("ix_alias_variant_id", "alias", ["variant_id"])
    for model, name, version in aliases:
        values = {"model_id": model, "name": name, "version_id": version}
        connection.execute(table.insert().values(**values, variant_id=_meant(held[version])))


def _column(name: str, target: str, *, ondelete: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(target, ondelete=ondelete), **options)


def _meant(held: Sequence[_Held]) -> int | None:
    """Return the variant that a reference to these without a variant resolved to."""
    choice = choose(held, {}, fits=_opens)
    return choice.found.id if choice else None


def _opens(held: _Held) -> bool:
    from onnxzoo.registry.runtime.compatibility import opens

    try:
        return opens(graph_of({"graph": held.graph}))
    except (KeyError, TypeError, ValueError):  # a damaged row; `zoo doctor` names it
        return False
