"""What must be true of a registry at every instant, asked without the registry's own code."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from onnxzoo.registry.core.manifest import File, Manifest

State = frozenset[tuple[object, ...]]
_MAGIC = b"SQLite format 3\0"  # Source: SQLite's documentation, "Database File Format"
_STATE = (
    "SELECT 'variant', m.name, v.number, x.label, x.digest, x.entry, x.graph FROM variant x "
    "JOIN version v ON v.id = x.version_id JOIN model m ON m.id = v.model_id",
    "SELECT 'alias', m.name, a.name, v.number FROM alias a JOIN version v ON v.id = a.version_id "
    "JOIN model m ON m.id = v.model_id",
    "SELECT 'tag', m.name, t.name FROM tag t JOIN model m ON m.id = t.model_id",
    "SELECT 'model', name FROM model",
    "SELECT 'lineage', m.name, v.number, x.label, l.parent FROM lineage l JOIN variant x "
    "ON x.id = l.variant_id JOIN version v ON v.id = x.version_id "
    "JOIN model m ON m.id = v.model_id",
    "SELECT 'data', m.name, v.number, d.digest FROM reference_data d JOIN version v "
    "ON v.id = d.version_id JOIN model m ON m.id = v.model_id",
)
# What may lie in a home when nothing runs and garbage was collected.
_LASTING = re.compile(
    r"registry\.db(-wal|-shm|\.\d{4}(\.\d+)?\.bak|\.damaged-[\dTZ.]+)?|store|store/[0-9a-f]{2}(/[0-9a-f]{64}(/.*|\.json)?)?"
    r"|store/\.staging|store/registry|cache|cache/(downloads|conversions|sessions|sessions/\.staging)"
    r"|cache/downloads/.*"  # kept for a day, to be resumed
)


def broken(home: Path) -> list[str]:
    """Return what is wrong with a registry, whatever happened to it; empty if nothing is."""
    if not _is_database(home / "registry.db"):
        return [f"bundle {folder.name} is not whole" for folder in _unsound(home)]
    with closing(sqlite3.connect(home / "registry.db")) as rows:
        found = [f"integrity_check: {row[0]}" for row in rows.execute("PRAGMA integrity_check")]
        found = [line for line in found if not line.endswith(": ok")]
        found += [f"foreign key: {row}" for row in rows.execute("PRAGMA foreign_key_check")]
        found += [f"bundle {folder.name} is not whole" for folder in _unsound(home)]
        found += _without_bytes(rows, home)
    return found


def state(home: Path) -> State:
    """Return everything that is held, as values that compare: two homes, or before and after.

    A file that is no database any more holds nothing.
    """
    if not _is_database(home / "registry.db"):
        return frozenset()
    with closing(sqlite3.connect(home / "registry.db")) as rows:
        tables = {row[0] for row in rows.execute("SELECT name FROM sqlite_master")}
        known = [
            query for query in _STATE if set(re.findall(r"(?:FROM|JOIN) (\w+)", query)) <= tables
        ]
        return frozenset(row for query in known for row in rows.execute(query))


def between(before: State, now: State, after: State) -> list[str]:
    """Return what was lost or appeared that neither state has: a thing may be there or not yet."""
    lost = [f"lost: {row}" for row in (before & after) - now]
    return lost + [f"out of nowhere: {row}" for row in now - (before | after)]


def leftovers(home: Path) -> list[str]:
    """Return what lies in a home beside what may."""
    paths = (path.relative_to(home).as_posix() for path in home.rglob("*"))
    return sorted(path for path in paths if not _LASTING.fullmatch(path))


def _is_database(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
    return False


def _unsound(home: Path) -> Iterator[Path]:
    for folder in sorted((home / "store").glob("[0-9a-f][0-9a-f]/*/")):
        files = [
            File(path.relative_to(folder).as_posix(), _sha256(path), path.stat().st_size)
            for path in folder.rglob("*")
            if path.is_file()
        ]
        if not files or Manifest.of(files).digest != f"sha256:{folder.name}":
            yield folder


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_bytes(rows: sqlite3.Connection, home: Path) -> list[str]:
    if not rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'file'").fetchone():
        return []
    used = "SELECT digest FROM variant UNION SELECT digest FROM reference_data"
    if not rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'reference_data'").fetchone():
        used = "SELECT digest FROM variant"
    found = []
    for digest, name, size in rows.execute(
        f"SELECT digest, path, bytes FROM file WHERE digest IN ({used})"
    ):
        bare = digest.removeprefix("sha256:")
        path = home / "store" / bare[:2] / bare / name
        if not path.is_file() or path.stat().st_size != size:
            found.append(f"row without its bytes: {digest} {name}")
    return found
