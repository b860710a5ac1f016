"""Delete unreferenced files: bundles, downloads, cached sessions."""

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from onnxzoo.registry.core.errors import StorageError
from onnxzoo.registry.core.files import entries, reporting_storage, size_of
from onnxzoo.registry.core.records import Garbage
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.database.database import Database, Rows, rows_of
from onnxzoo.registry.database.ownership import check_owner
from onnxzoo.registry.database.queries import UNUSED, USED
from onnxzoo.registry.maintenance.leftovers import leftovers
from onnxzoo.registry.maintenance.sidecars import discard
from onnxzoo.registry.maintenance.unknown_bundles import unknown
from onnxzoo.registry.sessions.session_cache import PreparedSessions
from onnxzoo.registry.store import Store

_WITHOUT_LOCK = re.compile(r".+-[0-9a-f]{8}\.part.*")  # see `download`
_DAY = 86_400  # seconds; a partial download that nobody touched for so long is garbage


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
    """Delete unreferenced bundles, half-made and damaged ones, and cached files.

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


def _garbage(rows: Rows, store: Store, named: Collection[str]) -> list[str]:
    known = {row["digest"] for row in rows(UNUSED)}
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
    """Delete paths, and yield the errors; one error stops nothing."""
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
