"""The database: connections, transactions, creation and migration.

Reads are plain SQL, through the standard library's sqlite3 on SQLite, so that looking a model up
does not pay for importing SQLAlchemy (0.4 s); writes go through SQLModel.
"""

import errno
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from onnxzoo.registry.errors import Busy, DatabaseError, StorageError, UsageError, ZooError
from onnxzoo.registry.settings import without_password

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry
    from sqlmodel import Session

SCHEMA = "0003"  # the newest revision in migrations/versions
APPLICATION_ID = 0x5A4F4F31  # "ZOO1": SQLite's mark of whose file this is
_BUSY = 30  # seconds to wait for another process's transaction
# On PostgreSQL writers take turns as they do on SQLite, so that both mean the same.
_TAKE_TURNS = (
    # What the URL or the server sets of its own counts; without it a lock is waited for for ever.
    f"SELECT set_config('lock_timeout', '{_BUSY}s', true) "
    "WHERE current_setting('lock_timeout') = '0'",
    f"SELECT pg_advisory_xact_lock({APPLICATION_ID})",
)
_SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:")
_SQLITE_FILE = re.compile(r"sqlite(?:\+pysqlite)?:///(?!file:|:memory:)([^?]+)")

# Alembic's context is global to the process: making and migrating happen one thread at a time.
_MAKING = threading.RLock()

# Measured: with SQLModel's defaults 16 writers lost 1,158 of 1,257 updates without one error.
_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY * 1000}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
)


# As Alembic writes it.
_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


class Rows(Protocol):
    """Run one SQL query with named parameters and return its rows by column name."""

    def __call__(self, sql: str, **values: object) -> Sequence[Mapping[str, Any]]: ...  # noqa: D102


class Database:
    """The registry's database: SQLite in a file, or whatever an SQLAlchemy URL names.

    Args:
        path: SQLite's file; made with its schema when it is first used.
        url: an SQLAlchemy URL instead of the file.
    """

    def __init__(self, path: Path, url: str | None = None) -> None:
        self._path = path if url is None else _sqlite_path(url)
        self._url = f"sqlite:///{self._path}" if self._path else _with_driver(url or "")
        self._local = threading.local()
        self._engine_made: Engine | None = None

    @contextmanager
    def read(self) -> Iterator[Rows]:
        """Give a way to query one consistent snapshot; what is not made yet holds nothing."""
        if self._path is None:
            from sqlmodel import Session

            with translating(self._url), Session(_snapshots(self._engine())) as session:
                yield rows_of(session)
            return
        with translating(self._url):
            connection = self._reader(self._path)
            if connection is None:
                yield _no_rows
                return
            connection.execute("BEGIN")
            try:
                yield _sqlite_rows(connection)
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> "Iterator[Session]":
        """Give a session in one exclusive transaction, committed at the end of the block."""
        from sqlmodel import Session

        with translating(self._url), Session(self._engine()) as session, session.begin():
            connection = session.connection()  # begins now, and not with the first statement
            _take_turns(connection)
            yield session

    def make(self) -> None:
        """Make the database if it is not there, and import what a write needs."""
        with translating(self._url):
            self._engine()

    def stamp(self) -> object | None:
        """Return what changes when anyone else commits; None where nothing can be told cheaply.

        Source: SQLite's documentation, "PRAGMA data_version".
        """
        if self._path is None:
            return None
        with translating(self._url):
            connection = self._reader(self._path)
            if connection is None:
                return None
            return connection, connection.execute("PRAGMA data_version").fetchone()[0]

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection[1].close()
        if self._engine_made is not None:
            self._engine_made.dispose()

    def _reader(self, path: Path) -> sqlite3.Connection | None:
        """Return this thread's connection; None where nothing was written yet."""
        owner, connection = getattr(self._local, "connection", (None, None))
        if owner != os.getpid():  # a forked child must not use its parent's connection
            if not _is_there(path):
                return None
            connection = _open(path)
            self._local.connection = (os.getpid(), connection)
        return cast("sqlite3.Connection", connection)

    def _engine(self) -> "Engine":
        with _MAKING:  # a thread that finds the engine finds the schema too
            if self._engine_made is None:
                if self._path is not None:
                    if not _is_there(self._path):
                        _create(self._path)
                    self._reader(self._path)  # which migrates
                engine = _make_engine(self._url)
                if self._path is None:
                    with engine.begin() as connection:
                        _take_turns(connection)
                        if _revision_of(connection, without_password(self._url)) != SCHEMA:
                            _migrate(connection)
                self._engine_made = engine
            return self._engine_made


def rows_of(session: "Session") -> Rows:
    """Return a way to query inside a writing session's transaction."""
    from sqlalchemy import text

    def rows(sql: str, **values: object) -> Sequence[Mapping[str, Any]]:
        result = session.connection().execute(text(sql), values)
        return [dict(row) for row in result.mappings()]

    return rows


@contextmanager
def translating(url: str) -> Iterator[None]:
    """Turn the database's errors into ours, naming the database without its password."""
    shown = without_password(url)
    try:
        yield
    except ZooError:
        raise
    except sqlite3.Error as error:
        raise _translated(error, shown) from error
    except Exception as error:
        if not type(error).__module__.startswith(("sqlalchemy.", "alembic.")):
            raise
        raise _translated(getattr(error, "orig", None) or error, shown) from error


def _sqlite_rows(connection: sqlite3.Connection) -> Rows:
    def rows(sql: str, **values: object) -> Sequence[Mapping[str, Any]]:
        return connection.execute(sql, values).fetchall()

    return rows


def _is_there(path: Path) -> bool:
    try:
        if path.exists():
            return True
        if path.parent.exists() and not path.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return False
    except OSError as error:
        raise StorageError(
            f"cannot read the registry `{path}`: {(error.strerror or str(error)).lower()}",
            hint="set ZOO_HOME to a folder that you may read and write",
        ) from error


def _no_rows(sql: str, **values: object) -> Sequence[Mapping[str, Any]]:
    del sql, values
    return []


def _open(path: Path) -> sqlite3.Connection:
    if path.stat().st_size == 0:
        raise _damaged(path, "it is empty")
    try:
        return _opened(path, _connect(path))
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error) and "unable to open" not in str(error):
            raise
        frozen = _connect_frozen(path)
        if frozen is None:
            raise
        return _opened(path, frozen)


def _opened(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        found = _revision(connection, path)
        if found != SCHEMA:
            with _MAKING:
                _upgrade(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # One connection a thread; the check is off so that close() may come from another.
    return _set_up(
        sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    )


def _connect_frozen(path: Path) -> sqlite3.Connection | None:
    """Connect to a database that lies where nothing can be written, so that it cannot change.

    None if what was written last is in a file beside it, which only a writer can read.

    Source: SQLite's documentation, "Read-Only WAL-Mode Databases".
    """
    log = path.with_name(f"{path.name}-wal")
    if os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
        return None
    url = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return _set_up(sqlite3.connect(url, uri=True, isolation_level=None, check_same_thread=False))


def _set_up(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


def _revision(connection: sqlite3.Connection, path: Path) -> str:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise DatabaseError(
            f"`{path}` is an SQLite database of another program",
            hint="set ZOO_HOME to another folder, or move that file away",
        )
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return _known(row[0] if row else None, str(path))


def _revision_of(connection: "Connection", shown: str) -> str | None:
    """Return the schema's revision on a server; None if there is no schema yet."""
    from sqlalchemy import inspect

    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return _known(found, shown)


def _known(revision: str | None, shown: str) -> str:
    if revision is None or revision > SCHEMA:
        raise DatabaseError(
            f"`{shown}` has schema `{revision or 'none'}`; this onnxzoo knows up to `{SCHEMA}`",
            hint="pip install --upgrade onnxzoo",
        )
    return revision


def _create(path: Path) -> None:
    """Make the database whole under another name, then link it in: nobody sees half of one."""
    from tempfile import TemporaryDirectory

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
            fresh = Path(folder) / path.name
            with sqlite3.connect(fresh) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.close()
            _fill(fresh)
            with suppress(FileExistsError):  # another process was quicker; its file is as good
                path.hardlink_to(fresh)
    except OSError as error:
        raise StorageError(
            f"cannot make the registry `{path}`: {(error.strerror or str(error)).lower()}",
            hint="set ZOO_HOME to a folder that you may write",
        ) from error


def _upgrade(path: Path, connection: sqlite3.Connection) -> None:
    """Back the database up and migrate it, unless another process just did.

    The exclusive transaction comes first: the backup, made through the other connection, is of
    what was there before it.
    """
    engine = _make_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as exclusive:
            found = _revision(connection, path)
            if found != SCHEMA:
                _back_up(connection, path.with_name(f"{path.name}.{found}.bak"))
                _migrate(exclusive)
    finally:
        engine.dispose()


def _back_up(connection: sqlite3.Connection, backup: Path) -> None:
    fresh = backup.with_name(f"{backup.name}.new")
    fresh.unlink(missing_ok=True)  # a kill left it, and we are alone here
    copy = sqlite3.connect(fresh)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    fresh.replace(backup)


def _fill(path: Path) -> None:
    """Make the newest schema at once: to import and run Alembic for it takes 0.3 s longer.

    A test compares it with what the migrations make.
    Source: Alembic's cookbook, "Building an Up to Date Database from Scratch".
    """
    from sqlmodel import SQLModel

    import onnxzoo.registry.tables  # noqa: F401  (fills the metadata)

    engine = _make_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        SQLModel.metadata.create_all(connection)
        connection.exec_driver_sql(_VERSION_TABLE)
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (SCHEMA,))
        _mark(connection)
    engine.dispose()


def _migrate(connection: "Connection") -> None:
    """Bring the schema to the newest revision, in the transaction that the connection is in."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "onnxzoo.registry:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        _mark(connection)


def _mark(connection: "Connection") -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {int(SCHEMA)}")


def _sqlite_path(url: str) -> Path | None:
    """Return the file that an SQLite URL names; None for another database's URL."""
    if not _SQLITE.match(url):
        return None
    file = _SQLITE_FILE.fullmatch(url)
    if file is None:
        raise UsageError(
            f"`{url}` names no plain file", hint="for example: sqlite:////srv/zoo/registry.db"
        )
    return Path(file[1])


def _with_driver(url: str) -> str:
    """Name psycopg where a PostgreSQL URL leaves the driver open, unless only psycopg2 is there."""
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql"}:
        return url
    from importlib.util import find_spec

    old = find_spec("psycopg") is None and find_spec("psycopg2") is not None
    return f"postgresql+psycopg{'2' if old else ''}://{rest}"


def _take_turns(connection: "Connection") -> None:
    if connection.dialect.name == "postgresql":
        for statement in _TAKE_TURNS:
            connection.exec_driver_sql(statement)


def _snapshots(engine: "Engine") -> "Engine":
    """Return the engine for reading: all queries of a transaction see one moment."""
    if engine.dialect.name != "postgresql":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _make_engine(url: str) -> "Engine":
    from sqlalchemy import NullPool, create_engine, event

    try:
        engine = create_engine(url, poolclass=NullPool)
    except ImportError as error:
        raise DatabaseError(
            f"the driver of `{without_password(url)}` is not installed: {str(error).lower()}",
            hint="pip install 'psycopg[binary]'" if url.startswith("postgresql") else None,
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _set_up_sqlite(connection: "DBAPIConnection", _: "ConnectionPoolEntry") -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN comes too late for writers
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin_immediate(connection: "Connection") -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _translated(error: BaseException, url: str) -> ZooError:
    text = str(error).lower()
    if "locked" in text or "busy" in text:
        return Busy(
            f"`{url}` is locked by another process for over {_BUSY} s",
            hint="run the command again when the other one is done",
        )
    if "lock timeout" in text:  # PostgreSQL's words; how long is the server's or the URL's to say
        return Busy(
            f"`{url}` is locked by another process",
            hint="run the command again when the other one is done",
        )
    if "full" in text or "readonly" in text or "unable to open" in text:
        return StorageError(
            f"cannot write `{url}`: {text}",
            hint="set ZOO_HOME to a folder that you may write, or free some space",
        )
    if isinstance(error, sqlite3.DatabaseError) and (
        "not a database" in text or "malformed" in text or "no such table" in text
    ):
        return _damaged(Path(url.removeprefix("sqlite:///")), text)
    return DatabaseError(f"`{url}`: {text}", hint="zoo doctor")


def _damaged(path: Path, what: str) -> DatabaseError:
    return DatabaseError(
        f"`{path}` is damaged: {what}",
        hint="put a backup of it back, or move it away to start with an empty registry; "
        "the models in the store are not touched",
    )
