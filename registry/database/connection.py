"""Connections to the registry's database, as it needs them, and its errors in our words."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import (
    Busy,
    Damaged,
    DatabaseError,
    NotFound,
    StorageError,
    ZooError,
)
from onnxzoo.registry.core.files import unreadable
from onnxzoo.registry.core.text import hide_password, without_password

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

REBUILD = "zoo doctor --rebuild"
# SQLite's words for a file that is not what was written.
_DAMAGE = ("not a database", "malformed", "no such table", "no such column", "could not decode")
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_STORAGE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
# The index of the log cannot be made.
# Source: SQLite, src/os_unix.c, "unixOpenSharedMemory", "unixShmMap".
_SQLITE_NO_INDEX = {sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE}
# Source: PostgreSQL's documentation, appendix A, "PostgreSQL Error Codes".
_LOCK_NOT_AVAILABLE, _DISK_FULL = "55P03", "53100"
_WRITE_LOCK = 120  # the byte of the -shm file that a writer locks
_ROOM = 1 << 20  # bytes
_MOMENT = 3.0  # seconds in which whoever reads or writes a file for a moment is done
_TRY = 0.01  # seconds between two tries to begin to write
BUSY = 30  # seconds to wait for another process's transaction

State = tuple[int, int, int]
Identity = tuple[int, int]

# Measured: with SQLModel's defaults 16 writers lost 1,158 of 1,257 updates without one error.
_WAIT = f"PRAGMA busy_timeout = {BUSY * 1000}"
_PRAGMAS = (
    _WAIT,
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
)


def connect(path: Path) -> sqlite3.Connection:
    """Connect to an SQLite file with the settings that the registry needs."""
    # One connection a thread; the check is off so that close() may come from another.
    return _set_up(
        sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    )


def connect_reading(path: Path) -> sqlite3.Connection | None:
    """Connect to a file that this user may not write, beside others that have it open.

    Its log and the log's index are never made: those of a reader would lock the owner out.

    Returns:
        None if one of them is not there.

    Source: SQLite's documentation, "Write-Ahead Logging", "Read-Only Databases"; src/os_unix.c,
    "unixOpenSharedMemory".
    """
    if not all(side.exists() for side in side_files(path)):
        return None
    url = f"{path.absolute().as_uri()}?mode=ro&readonly_shm=1"
    return _set_up(
        sqlite3.connect(url, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    )


def side_files(path: Path) -> tuple[Path, Path]:
    """Return the log of an SQLite file and the log's index, whether they are there or not."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def check_writable(path: Path) -> None:
    """Raise StorageError if this user may not write a file: a mere try would leave a log."""
    if os.path.exists(path) and not os.access(path, os.W_OK):  # noqa: PTH110
        raise _refusal(
            str(path), "attempt to write a readonly database", opens=not os.access(path, os.R_OK)
        )


def foreign_files(path: Path) -> list[Path]:
    """Return the log and its index as far as they keep this user from writing the database."""
    if not os.access(path, os.W_OK):
        return []
    return [side for side in side_files(path) if side.exists() and not os.access(side, os.W_OK)]


def is_shared(path: Path, waits: Callable[[sqlite3.Connection], bool]) -> bool:
    """Return whether another connection to an SQLite file stays open.

    Short reads and writes are waited for up to 3 s, a write transaction, which may be another
    process's migration, up to 30 s more.

    Args:
        path: the file; the caller has no connection to it.
        waits: returns whether the caller's change is still needed; if not, it is waited no longer.

    Source: SQLite's documentation, "Write-Ahead Logging", "Use of WAL Without Shared-Memory": a
    connection in exclusive mode needs the file for itself.
    """
    until = last = time.monotonic() + _MOMENT
    last += BUSY
    while not _is_alone(path):
        time.sleep(_TRY)
        with closing(connect(path)) as connection:
            if not waits(connection):
                return False
            if _is_written(connection):
                until = min(time.monotonic() + _MOMENT, last)
        if time.monotonic() > until:
            return True
    return False


def _is_alone(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _SQLITE_BUSY:
                raise
            return False
    return True


def _is_written(connection: sqlite3.Connection) -> bool:
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF in _SQLITE_BUSY
    connection.execute("ROLLBACK")
    return False


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Connect to an SQLite file that is there, and never change it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def refuses_to_write(error: sqlite3.Error) -> bool:
    """Return whether SQLite failed because it cannot create the -shm/-wal files."""
    code = getattr(error, "sqlite_errorcode", 0)  # what Python raises by itself has none
    return code in _SQLITE_NO_INDEX or code & 0xFF in _SQLITE_STORAGE


def connect_copy(path: Path) -> tuple[sqlite3.Connection, State] | None:
    """Copy a database into memory without writing beside it, and connect to the copy.

    For a folder that may not be written, and for a full disk. Others may write all the same: they
    may have the right, or space may be freed. But a writer changes the file only from its log,
    which is not empty from then until the last writer leaves; so the copy is of one moment if the
    log was empty and the file the same before and after.

    Returns:
        The connection and the state of the file: in another state it is to be copied anew. None
        if the log is not empty, or the file changed meanwhile.

    Source: SQLite's documentation, "Write-Ahead Logging", "Read-Only Databases"; "URI Filenames".
    """
    before = state(path)
    if before is None:
        return None
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        # Opened by SQLite: to close a file of our own would drop other connections' locks.
        url = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(url, uri=True)) as frozen:
            frozen.backup(copy)
        if state(path) == before:
            return _set_up(copy), before
    except BaseException as error:
        copy.close()
        if not isinstance(error, sqlite3.DatabaseError) or state(path) == before:
            raise
        return None
    copy.close()
    return None


def state(path: Path) -> State | None:
    """Return a token of an SQLite file's state; None while its log is not empty."""
    try:
        found = path.stat()
        with suppress(FileNotFoundError):
            if path.with_name(f"{path.name}-wal").stat().st_size:
                return None
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def identity(path: Path) -> Identity | None:
    """Return the identity of a file, to tell it from a replacement; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_up(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


def make_engine(url: str) -> "Engine":
    """Return an SQLAlchemy engine; its transactions exclude other writers from the start.

    Raises:
        DatabaseError: if its driver is not installed, or if it is no database's URL.
    """
    from sqlalchemy import NullPool, create_engine, event

    try:
        engine = create_engine(url, poolclass=NullPool)
    except ImportError as error:
        raise NotFound(
            f"the driver of `{without_password(url)}` is not installed: "
            f"{hide_password(str(error), url).lower()}",
            hint="pip install 'onnxzoo[postgresql]'",
        ) from None  # its text may repeat the URL
    except ValueError:
        raise no_database(url) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def no_database(url: str) -> DatabaseError:
    """Return the error for a URL of a database that is not supported, or for another text."""
    return DatabaseError(
        f"`ZOO_DATABASE_URL={without_password(url)}` is not the URL of a PostgreSQL or SQLite "
        "database",
        hint="for example: postgresql://user:password@host:5432/database, or "
        "sqlite:////srv/zoo/registry.db",
    )


def _set_up_sqlite(connection: "DBAPIConnection", _: "ConnectionPoolEntry") -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN comes too late for writers
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin_immediate(connection: "Connection") -> None:
    """Begin to write, waiting for others in a way that gives each the same chance.

    SQLite's own wait tries ever less often, down to each 100 ms, so that whoever came last wins.
    Measured: of 20 processes that hold the lock for 40 ms again and again, the unluckiest waited
    17.7 s with that, and 4.4 s with this.
    """
    own, until = connection.connection.cursor(), time.monotonic() + BUSY
    own.execute("PRAGMA busy_timeout = 0")
    while True:
        try:
            own.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_TRY)
    own.execute(_WAIT)


@contextmanager
def translating(url: str) -> Iterator[None]:
    """Turn the database's errors into ours, naming the database without its password."""
    try:
        yield
    except ZooError:
        raise
    except sqlite3.Error as error:
        raise _translated(error, url) from error
    except Exception as error:
        if not type(error).__module__.startswith(("sqlalchemy.", "alembic.")):
            raise
        cause = getattr(error, "orig", None) or error
        raise _translated(cause, url) from None  # its text may repeat the URL


def _translated(error: BaseException, url: str) -> ZooError:
    """Return our error for a driver's, by its code: its text may hold a value of a user's."""
    text = hide_password(str(error), url).lower()
    url = without_password(url).removeprefix("sqlite:///")
    code, state = getattr(error, "sqlite_errorcode", 0) & 0xFF, _state(error)
    if code in _SQLITE_BUSY:
        holder = _writer(Path(url))
        who = f"process {holder}" if holder else "another process"
        return Busy(
            f"`{url}` is locked by {who}; it was waited for {BUSY} s",
            hint="run the command again when others are done"
            + (f"; if process {holder} stands still: kill -CONT {holder}" if holder else ""),
        )
    if state == _LOCK_NOT_AVAILABLE:  # how long it was waited for, the server or the URL says
        return Busy(
            f"`{url}` is locked by another process",
            hint="run the command again when the other one is done",
        )
    if code in _SQLITE_STORAGE or state == _DISK_FULL:
        return _refusal(url, text, opens=code == sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_IOERR and _is_full(Path(url)):
        return StorageError(
            f"no space left for `{url}`: {text}",
            hint="free some with: zoo gc --downloads; or set ZOO_HOME to a folder on a larger disk",
        )
    if isinstance(error, sqlite3.DatabaseError) and any(words in text for words in _DAMAGE):
        return damaged(Path(url), text)
    return DatabaseError(f"`{url}`: {text}", hint="zoo doctor")


def _refusal(url: str, text: str, *, opens: bool) -> StorageError:
    if opens and os.path.exists(url) and not os.access(url, os.R_OK):  # noqa: PTH110
        return unreadable(Path(url))
    if foreign := foreign_files(Path(url)):
        names = " ".join(map(str, foreign))
        return StorageError(
            f"cannot write `{url}`: `{foreign[0]}` belongs to another user",
            hint=f"when no process uses the registry: rm {names}",
        )
    hint = "set ZOO_HOME to a folder that you may write, or free some space"
    if os.path.exists(url) and not os.access(url, os.W_OK):  # noqa: PTH110
        hint = f"set ZOO_HOME to a folder that you may write, or ask its owner: chmod g+w {url}"
    return StorageError(f"cannot {'open' if opens else 'write'} `{url}`: {text}", hint=hint)


def _is_full(path: Path) -> bool:
    """Return whether a disk is too full for SQLite's -shm/-wal files."""
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free < _ROOM
    return False


def _state(error: BaseException) -> str | None:
    """Return the SQLSTATE that a driver gives: psycopg, or psycopg2."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _writer(path: Path) -> int | None:
    """Return the process that is writing to an SQLite file; None where that cannot be told.

    The kernel's list is read: to open the file and ask would, on closing it, drop the locks that
    this process holds itself.

    Source: SQLite's "WAL-mode File Format", "Locks"; the Linux manual page proc_locks(5).
    """
    try:
        found = path.with_name(f"{path.name}-shm").stat()
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for lock in locks:
        _, kind, _, how, pid, where, start, *_ = lock.split()
        if (kind, how, where, start) == ("POSIX", "WRITE", file, str(_WRITE_LOCK)):
            return int(pid) if int(pid) > 0 else None  # one of another container has no number here
    return None


def damaged(path: Path, what: str) -> Damaged:
    """Return the error for a damaged SQLite file."""
    backups = sorted(path.parent.glob(f"{path.name}.*.bak"), key=lambda one: one.stat().st_mtime)
    backup = f"the backup `{backups[-1]}`" if backups else "a backup of it"
    return Damaged(
        f"`{path}` is damaged: {what}",
        hint=f"{REBUILD}, which makes it again from the store; or put {backup} back",
    )
