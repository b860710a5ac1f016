"""Remove models, versions and variants."""

from collections.abc import Sequence

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.records import RemoveResult
from onnxzoo.registry.database.database import Database, Rows, rows_of
from onnxzoo.registry.database.queries import UNUSED, Row
from onnxzoo.registry.maintenance.sidecars import write_with_sidecars
from onnxzoo.registry.resolve.lookup import all_of, ref_of
from onnxzoo.registry.store import Store


def remove(database: Database, store: Store, ref: Ref, *, force: bool) -> RemoveResult:
    """Forget everything that a reference means; the bytes stay until they are collected."""
    from onnxzoo.registry.database import writes

    with write_with_sidecars(database, store) as session:
        rows = rows_of(session)
        doomed = all_of(rows, ref)
        if not force:
            _refuse_aliased(rows, doomed)
        before = {row["digest"] for row in rows(UNUSED)}
        writes.remove(session, doomed)
        freed = [row["bytes"] for row in rows(UNUSED) if row["digest"] not in before]
    return RemoveResult(tuple(map(ref_of, doomed)), sum(freed))


def _refuse_aliased(rows: Rows, doomed: Sequence[Row]) -> None:
    for row in {row["version_id"]: row for row in doomed}.values():
        aliases = rows("SELECT name FROM alias WHERE version_id = :id", id=row["version_id"])
        if aliases:
            names = ", ".join(f"`{alias['name']}`" for alias in aliases)
            version = f"{row['name']}@{row['number']}"
            raise Refused(
                f"`{version}` is what the alias {names} points to; nothing was removed",
                hint="move the alias to another version first, or add --force",
            )
