"""Hold a store and a database together: both carry the id of the registry that they are of."""

import re

from onnxzoo.registry.core.errors import DatabaseError
from onnxzoo.registry.database.database import Rows
from onnxzoo.registry.store import Store

FILE = "registry"  # in the store's folder
_ID = re.compile(r"[0-9a-f]{32}")


def id_of(store: Store) -> str | None:
    """Return the id that a store carries; None where it carries none, or none that reads."""
    try:
        text = (store.root / FILE).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return text if _ID.fullmatch(text) else None


def check_owner(rows: Rows, store: Store, *, claim: bool = False) -> None:
    """Raise DatabaseError where a store is another registry's than a database.

    Its bundles are that registry's only bytes, and garbage to this one. A store without an id is of
    the database that knows one of its bundles; one without bundles is anybody's.

    Args:
        rows: of the database.
        store: its store.
        claim: let a store that carries no id carry the database's from now on.
    """
    found = rows("SELECT id FROM registry")
    if not found:  # nothing was written yet
        return
    own, other = found[0]["id"], id_of(store)
    if other == own:
        return
    held = next(iter(store.sidecars()), None)
    if held is not None and (other is not None or not _knows(rows, store)):
        raise DatabaseError(
            f"the store `{store.root}` belongs to another registry than the database in force; "
            "nothing was changed",
            hint="set ZOO_HOME or ZOO_DATABASE_URL to what belongs together; where the store's own "
            "database is lost, move this one away, then: zoo doctor --rebuild",
        )
    if claim:
        store.put(f"{own}\n".encode(), store.root / FILE)


def _knows(rows: Rows, store: Store) -> bool:
    known = {row["digest"] for row in rows("SELECT digest FROM bundle")}
    return any(digest in known for digest in store.sidecars())
