"""Verify the held bytes, and repair damaged bundles."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from onnxzoo.registry.core.errors import IntegrityError, Refused, StorageError
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.records import Progress, Variant, VerifyReport
from onnxzoo.registry.database.database import Database, rows_of
from onnxzoo.registry.database.queries import USED, listed, manifests, records
from onnxzoo.registry.reference_data import refs as references
from onnxzoo.registry.resolve.lookup import all_of, ref_of
from onnxzoo.registry.store import Stage, Store

_IS_USED = f"SELECT 1 FROM ({USED}) AS used WHERE digest = :digest LIMIT 1"  # noqa: S608


def verify(
    database: Database, store: Store, refs: Sequence[Ref], progress: Progress | None
) -> Iterator[VerifyReport]:
    """Re-hash bundles and yield a report on each; damaged ones are set aside.

    The models of intact ones are checked again (see `check_safe`), whose rules may be newer than
    they are. A version's reference data are called ``NAME@VERSION``, without a variant.
    """
    with database.read() as rows:
        found = [row for ref in refs for row in all_of(rows, ref)] if refs else listed(rows)
        versions = {row["version_id"] for row in found}
        named = [(row["digest"], ref_of(row)) for row in found]
        named += [
            (row["digest"], ref) for row, ref in references(rows) if row["version_id"] in versions
        ]
        chosen = manifests(rows, [digest for digest, _ in named])
        variants = records(rows, store, found)
    total, before = sum(manifest.bytes for manifest in chosen), 0
    for manifest in chosen:
        refs_of_it = tuple(ref for digest, ref in named if digest == manifest.digest)
        step = _part_of_all(progress, before, total) if progress else None
        checked = None
        while checked is None:
            checked = _checked(database, store, manifest, refs_of_it, step)
        before += manifest.bytes
        if checked.refs and not checked.problems:
            held = [variant for variant in variants if variant.digest == manifest.digest]
            checked = replace(checked, refused=tuple(_refused(held)))
        if checked.refs:
            yield checked


def restore(database: Database, store: Store, stage: Stage, checked: VerifyReport) -> None:
    """Put back the bytes of a damaged bundle."""
    from onnxzoo.registry.database import writes

    if stage.manifest.digest != checked.digest:
        raise IntegrityError(
            f"what was fetched is `{stage.manifest.digest}`; expected `{checked.digest}`"
        )
    with database.write() as session:
        store.publish(stage)
        writes.describe_again(session, checked.digest, store.path(checked.digest))
        for ref in checked.refs:
            writes.log(session, "repair", ref, checked.digest)


def _refused(variants: Sequence[Variant]) -> Iterator[str]:
    """Yield why models would not be let in today; a domain that they were let in with is theirs."""
    from onnxzoo.registry.onnx_file.safety import check_safe

    for path, graph in {variant.path: variant.graph for variant in variants}.items():
        try:
            with suppress(StorageError):  # it was removed meanwhile
                check_safe(path, domains=graph.domains)
        except Refused as error:
            yield error.message


def _part_of_all(progress: Progress, before: int, total: int) -> Progress:
    """Return a progress of one bundle's files that tells of all bundles' bytes."""
    done_by_path: dict[str, int] = {}

    def step(path: str, done: int, _: int | None) -> None:
        done_by_path[path] = done
        progress("all bundles", before + sum(done_by_path.values()), total)

    return step


def _checked(
    database: Database,
    store: Store,
    manifest: Manifest,
    refs: tuple[str, ...],
    progress: Progress | None,
) -> VerifyReport | None:
    """Re-hash a bundle and set it aside if it is damaged; one that is not here is no damage.

    No transaction is held while hashing, so others may heal or remove the bundle meanwhile: None
    if it is not what was hashed any more, and no references if nothing refers to it any more.
    """
    from onnxzoo.registry.database import writes

    digest, state = manifest.digest, store.state(manifest)
    problems = tuple(store.damage(manifest, progress))
    if not problems:
        return VerifyReport(digest, refs, (), None)
    if store.is_absent(digest):
        return VerifyReport(
            digest, refs, (f"none of its files is in `{store.root}`",), None, absent=True
        )
    moved = None
    with suppress(StorageError), database.write() as session:  # what was found is said all the same
        if not rows_of(session)(_IS_USED, digest=digest):
            return VerifyReport(digest, (), problems, None)
        if store.state(manifest) != state:
            return None
        for ref in refs:
            writes.log(session, "damage", ref, digest)
        moved = store.set_aside(digest) if store.path(digest).exists() else None
    return VerifyReport(digest, refs, problems, moved)
