"""What keeps a registry sound: removal, collection of garbage, verification, repair."""

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from onnxzoo.registry.core.errors import IntegrityError, Refused, StorageError
from onnxzoo.registry.core.files import entries, reporting_storage, size_of
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.records import Checked, Garbage, Progress, Removed, Variant
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.database.database import Database, Rows, rows_of
from onnxzoo.registry.database.ownership import check_owner
from onnxzoo.registry.database.queries import USED, Row, listed, manifests, records
from onnxzoo.registry.leftovers import leftovers
from onnxzoo.registry.reference import refs as references
from onnxzoo.registry.resolve.lookup import all_of, ref_of
from onnxzoo.registry.sessions.session_cache import PreparedSessions
from onnxzoo.registry.sidecars import changing, discard
from onnxzoo.registry.store import Stage, Store
from onnxzoo.registry.unknown import unknown

_WITHOUT_LOCK = re.compile(r".+-[0-9a-f]{8}\.part.*")  # see `fetch`
_DAY = 86_400  # seconds; a partial download that nobody touched for so long is garbage
_IS_USED = f"SELECT 1 FROM ({USED}) AS used WHERE digest = :digest LIMIT 1"  # noqa: S608
_UNUSED = f"SELECT digest, bytes FROM bundle WHERE digest NOT IN ({USED})"  # noqa: S608


def remove(database: Database, store: Store, ref: Ref, *, force: bool) -> Removed:
    """Forget everything that a reference means; the bytes stay until they are collected."""
    from onnxzoo.registry.database import writes

    with changing(database, store) as session:
        rows = rows_of(session)
        doomed = all_of(rows, ref)
        if not force:
            _refuse_aliased(rows, doomed)
        before = {row["digest"] for row in rows(_UNUSED)}
        writes.remove(session, doomed)
        freed = [row["bytes"] for row in rows(_UNUSED) if row["digest"] not in before]
    return Removed(tuple(map(ref_of, doomed)), sum(freed))


def collect(
    database: Database,
    store: Store,
    settings: Settings,
    prepared: PreparedSessions,
    *,
    dry_run: bool,
    environments: bool = False,
    downloads: bool = False,
    force: bool = False,
) -> Garbage:
    """Free what nothing refers to: bundles, half-made ones, damaged ones, and in the cache.

    Bundles that the database does not know, but that their sidecars name, stay without ``force``:
    the database may be an older copy than its store.

    A bundle leaves its place inside the transaction that found it unused, so that a pull which
    publishes the same bytes at that moment comes wholly before or wholly after. A dry run only
    reads: it may name a bundle that is being published.
    """
    with database.read() as rows:
        check_owner(rows, store)
        named = {} if force else unknown(rows, store)
        used, bundles = _used(rows), _sizes(store, _garbage(rows, store, named))
    refs = tuple(sorted(ref for refs in named.values() for ref in refs))
    left = store.leftovers(used | named.keys()) + database.half_made() + prepared.garbage(used)
    left += leftovers(settings, used, environments=environments)
    old = [path for path in entries(settings.downloads) if _is_over(path, early=downloads)]
    items = [(str(path), size_of(path)) for path in left + old]
    if dry_run:
        return Garbage((*bundles.items(), *items), refs)
    failed = list(_deleting(left, store))  # first: a full disk has no room for a transaction
    with reporting_storage(store.root):
        kept = {str(path) for path in old if not _delete_download(path, early=downloads)}
    prepared.trim()
    bundles, trash = dict[str, int](), list[Path]()
    try:
        _forget_unused(database, store, bundles, trash, force=force)
    except StorageError:  # a full disk: what was taken out of its place makes the room
        failed += _deleting(trash, store)
        trash.clear()
        with _hinting_elsewhere():
            _forget_unused(database, store, bundles, trash, force=force)
    failed += _deleting(trash, store)
    if failed:
        raise failed[0]
    return Garbage((*bundles.items(), *(item for item in items if item[0] not in kept)), refs)


def verify(
    database: Database, store: Store, refs: Sequence[Ref], progress: Progress | None
) -> Iterator[Checked]:
    """Re-hash bundles and yield a report on each; damaged ones are set aside.

    The models of whole ones are walked again (see `guard`): they may be held since before it knew
    what it knows now. A version's reference data are called ``NAME@VERSION``, without a variant.
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


def restore(database: Database, store: Store, stage: Stage, checked: Checked) -> None:
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


def _garbage(rows: Rows, store: Store, named: Collection[str]) -> list[str]:
    known = {row["digest"] for row in rows(_UNUSED)}
    found = known | ({*store.digests(), *store.sidecars()} - _used(rows))
    return sorted(found.difference(named))


def _forget_unused(
    database: Database, store: Store, sizes: dict[str, int], trash: list[Path], *, force: bool
) -> None:
    """Note the sizes of the bundles that are forgotten, and where they lie now, to be deleted.

    What was noted is out of its place even if the transaction fails.
    """
    from onnxzoo.registry.database import writes

    with database.write() as session:
        rows = rows_of(session)
        found = _sizes(store, _garbage(rows, store, {} if force else unknown(rows, store)))
        sizes |= {digest: size for digest, size in found.items() if size or digest not in sizes}
        writes.forget(session, [*found])
        for digest in found:
            discard(store, digest)
            if moved := store.discard(digest):
                trash.append(moved)


@contextmanager
def _hinting_elsewhere() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        if "zoo gc" not in (error.hint or ""):
            raise
        hint = "delete something else on this disk, or set ZOO_HOME to a folder on a larger one"
        raise StorageError(error.message, hint=hint) from error


def _sizes(store: Store, digests: Sequence[str]) -> dict[str, int]:
    return {digest: size_of(store.path(digest)) for digest in digests}


def _used(rows: Rows) -> set[str]:
    return {row["digest"] for row in rows(USED)}


def _is_over(path: Path, *, early: bool) -> bool:
    """Tell whether a download is garbage once nobody holds its lock.

    Args:
        path: one of its files.
        early: parts are, however young; not a file that is whole and about to be taken, nor a part
            that a process writes without the lock.
    """
    if early and ".part" in path.name and not _WITHOUT_LOCK.fullmatch(path.name):
        return True
    return _is_old(path)


def _is_old(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - _DAY
    except FileNotFoundError:  # a download renamed it meanwhile
        return False


def _delete_download(path: Path, *, early: bool) -> bool:
    """Remove a file of a download unless a living one holds it; return whether it is gone."""
    from filelock import FileLock, Timeout

    lock = _lock_of(path)
    try:
        with FileLock(lock, timeout=0):
            if path != lock and not _is_over(path, early=early):
                return not path.exists()
            path.unlink(missing_ok=True)
            with suppress(OSError):  # Windows keeps a file that is open
                lock.unlink(missing_ok=True)
    except Timeout:
        return False
    except (OSError, NotImplementedError):  # a file system without locks: its age has to do
        if not _is_old(path):
            return False
        path.unlink(missing_ok=True)
    return True


def _lock_of(path: Path) -> Path:
    """Return the lock that a download takes on ``X.part``, its journal, and ``X``."""
    if path.suffix == ".lock":
        return path
    name = path.name.removesuffix(".new").removesuffix(".json").removesuffix(".part")
    return path.with_name(f"{name}.part.lock")


def _deleting(paths: Sequence[Path], store: Store) -> Iterator[StorageError]:
    """Delete paths, and yield what goes wrong with one: the others go all the same."""
    for path in paths:
        try:
            with reporting_storage(store.root):
                _delete(path)
        except StorageError as error:
            yield error


def _delete(path: Path) -> None:
    if path.is_dir():
        with suppress(FileNotFoundError):  # another collection is at it
            from shutil import rmtree

            rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refused(variants: Sequence[Variant]) -> Iterator[str]:
    """Yield why models would not be let in today; a domain that they were let in with is theirs."""
    from onnxzoo.registry.onnx_file.safety import guard

    for path, graph in {variant.path: variant.graph for variant in variants}.items():
        try:
            with suppress(StorageError):  # it was removed meanwhile
                guard(path, domains=graph.domains)
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
) -> Checked | None:
    """Re-hash a bundle and set it aside if it is damaged; one that is not here is no damage.

    No transaction is held while hashing, so others may heal or remove the bundle meanwhile: None
    if it is not what was hashed any more, and no references if nothing refers to it any more.
    """
    from onnxzoo.registry.database import writes

    digest, state = manifest.digest, store.state(manifest)
    problems = tuple(store.damage(manifest, progress))
    if not problems:
        return Checked(digest, refs, (), None)
    if store.is_absent(digest):
        return Checked(
            digest, refs, (f"none of its files is in `{store.root}`",), None, absent=True
        )
    moved = None
    with suppress(StorageError), database.write() as session:  # what was found is said all the same
        if not rows_of(session)(_IS_USED, digest=digest):
            return Checked(digest, (), problems, None)
        if store.state(manifest) != state:
            return None
        for ref in refs:
            writes.log(session, "damage", ref, digest)
        moved = store.set_aside(digest) if store.path(digest).exists() else None
    return Checked(digest, refs, problems, moved)
