"""The versions, models and bundles that a session changes."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.database.database import Rows, rows_of

if TYPE_CHECKING:
    from sqlmodel import Session, SQLModel

_OF_VERSION = """
SELECT digest FROM variant WHERE version_id = :id
UNION SELECT digest FROM reference_data WHERE version_id = :id
"""
_NEWEST = """
SELECT r.digest FROM version v JOIN variant r ON r.version_id = v.id
WHERE v.model_id = :id ORDER BY r.id DESC LIMIT 1
"""


class Touched:
    """The objects that a session changed and sidecars describe; `note` runs at each flush."""

    def __init__(self) -> None:
        self._versions, self._models, self._digests = set[int](), set[int](), set[str]()

    def note(self, session: "Session", *_: object) -> None:
        """Record the changes of a flush."""
        for row in [*session.new, *session.dirty, *session.deleted]:
            self._note(session, row)

    def digests(self, rows: Rows) -> set[str]:
        """Return the bundles of which a sidecar may tell something else now."""
        found = (row["digest"] for key in self._versions for row in rows(_OF_VERSION, id=key))
        return self._digests | set(found)

    def newest(self, rows: Rows) -> set[str]:
        """Return the newest variant's bundle of each model that was changed as a whole."""
        return {row["digest"] for key in self._models for row in rows(_NEWEST, id=key)}

    def _note(self, session: "Session", row: Any) -> None:
        from onnxzoo.registry.database.tables import (
            Alias,
            LineageRow,
            Model,
            ReferenceData,
            Tag,
            VariantRow,
            Version,
        )

        rows, gone = rows_of(session), row in session.deleted
        match row:
            case Model(id=int(model)) | Tag(model_id=int(model)):
                self._models.add(model)
            case Version(id=int(version)):
                self._versions.add(version)
                if gone:  # the database deletes its reference data and its aliases, too
                    self._digests |= {found["digest"] for found in rows(_OF_VERSION, id=version)}
                    self._models.add(row.model_id)
            case VariantRow():
                self._digests |= set(_values(row, "digest"))
                if gone:  # an alias meant it, perhaps; and its sidecar may be the newest
                    self._versions.add(row.version_id)
                    found = rows("SELECT model_id FROM version WHERE id = :id", id=row.version_id)
                    self._models |= {version["model_id"] for version in found}
            case Alias():
                self._versions |= set(_values(row, "version_id"))
            case ReferenceData():
                self._digests |= set(_values(row, "digest"))
            case LineageRow(variant_id=int(variant)):
                found = rows("SELECT digest FROM variant WHERE id = :id", id=variant)
                self._digests |= {row["digest"] for row in found}


def _values(row: "SQLModel", name: str) -> Iterator[Any]:
    """Yield an attribute's value and, if it changes, its old value."""
    from sqlalchemy import inspect

    history: Iterable[Iterable[Any] | None] = inspect(row).attrs[name].history
    for values in history:
        yield from values or ()
