"""A version's reference inputs and outputs in the registry: kept with it, found again.

They are one bundle a version; in it each variant that brought its own has a folder of its label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.database.database import Rows, rows_of
from onnxzoo.registry.database.queries import Row, manifests
from onnxzoo.registry.resolve.choose import usual
from onnxzoo.registry.resolve.lookup import version_of
from onnxzoo.registry.store import Stage, Store

if TYPE_CHECKING:
    from sqlmodel import Session

_OF_VERSION = "SELECT digest, source FROM reference_data WHERE version_id = :id"
_REFS = """
SELECT m.name, v.id AS version_id, v.number, d.digest
FROM reference_data d JOIN version v ON v.id = d.version_id JOIN model m ON m.id = v.model_id
ORDER BY m.name, v.number
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference data of a version.

    Attributes:
        digest: of the bundle.
        bytes: of all its files.
        source: where the last of them came from.
        files: by their paths in the bundle, ``LABEL/test_data_set_N/…``.
        folder: the bundle's, as long as the version holds it.
    """

    digest: str
    bytes: int
    source: str
    files: tuple[File, ...]
    folder: Path

    @property
    def labels(self) -> tuple[str, ...]:
        """The variants that brought data of their own."""
        return tuple(sorted({_label(file) for file in self.files}))

    def sets(self, label: str) -> int:
        """Return how many sets a label has."""
        own = (file for file in self.files if _label(file) == label)
        return len({file.path.split("/")[1] for file in own})

    def digest_of(self, label: str) -> str:
        """Return the digest of one label's files alone: the same, whatever else joins them."""
        return _manifest_of(self.files, label).digest

    def label_for(self, variant: Variant, siblings: Sequence[Variant]) -> str:
        """Return the label of a variant's reference data: its own, else the nearest to fp32."""
        ranked = [v.variant for v in sorted(siblings, key=usual) if v.version == variant.version]
        wanted = [variant.variant, *ranked, *self.labels]
        return next(label for label in wanted if label in self.labels)


def find(rows: Rows, store: Store, ref: Ref) -> Reference | None:
    """Return the reference data of the version that a reference means, if their bytes are there.

    Raises:
        NotFound: if no such version is held.
    """
    return _find(rows, store, version_of(rows, ref)[0].row["version_id"])


def keep(session: "Session", store: Store, ref: str, staged: Stage, source: str) -> bool:
    """Publish staged sets as a variant's, replacing its older ones.

    Runs inside the transaction that inserts the variant's rows. The other variants' files are
    copied into the new bundle meanwhile: they are small, and there are none but where a second
    variant brings data of its own.

    Returns:
        Whether they are others than it had.
    """
    from onnxzoo.registry.database import writes

    parsed, rows = Ref.parse(ref), rows_of(session)
    row = next(h.row for h in version_of(rows, parsed) if h.variant == parsed.variant)
    before = _find(rows, store, row["version_id"])
    with store.stage() as merged:
        for file in staged.manifest.files:
            path = f"{parsed.variant}/{file.path}"
            merged.take(staged.folder / file.path, replace(file, path=path))
        for file in before.files if before else ():
            if before and _label(file) != parsed.variant:
                merged.copy(before.folder / file.path, file.path)
        others = before is None or before.digest != merged.manifest.digest
        if others:
            writes.set_reference_data(session, row, store.publish(merged), source)
    return others


def refs(rows: Rows) -> list[tuple[Row, str]]:
    """Return every version that has reference data, with its reference: ``NAME@VERSION``."""
    return [(row, f"{row['name']}@{row['number']}") for row in rows(_REFS)]


def _find(rows: Rows, store: Store, version: int) -> Reference | None:
    for row in rows(_OF_VERSION, id=version):
        manifest = manifests(rows, [row["digest"]])[0]
        if not store.changes(manifest):
            folder = store.path(manifest.digest)
            return Reference(manifest.digest, manifest.bytes, row["source"], manifest.files, folder)
    return None


def _manifest_of(files: Sequence[File], label: str) -> Manifest:
    own = (file for file in files if _label(file) == label)
    return Manifest.of(replace(file, path=file.path.partition("/")[2]) for file in own)


def _label(file: File) -> str:
    return file.path.partition("/")[0]
