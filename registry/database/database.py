"""The database: reads and writes, each in one transaction.

Reads are plain SQL, through the standard library's sqlite3 on SQLite, so that looking a model up
does not pay for importing SQLAlchemy (0.4 s); writes go through SQLModel.
"""

import errno
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from onnxzoo.registry.core.errors import Damaged, DatabaseError, StorageError, UsageError
from onnxzoo.registry.core.forks import at_fork, in_use
from onnxzoo.registry.core.text import without_password
from onnxzoo.registry.database.connection import (
    BUSY,
    REBUILD,
    Identity,
    State,
    check_writable,
    connect,
    connect_copy,
    connect_reading,
    connect_to_read,
    damaged,
    identity,
    is_shared,
    make_engine,
    no_database,
    refuses_to_write,
    state,
    translating,
)
from onnxzoo.registry.database.schema import (
    APPLICATION_ID,
    SCHEMA,
    create,
    half_made,
    migrate,
    must_be_migrated,
    revision,
    revision_of,
    upgrade,
    upgrade_copy,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlmodel import Session

# On PostgreSQL writers take turns as they do on SQLite, so that both mean the same.
_TAKE_TURNS = (
    # What the URL or the server sets of its own counts; without it a lock is waited for for ever.
    f"SELECT set_config('lock_timeout', '{BUSY}s', true) "
    "WHERE current_setting('lock_timeout') = '0'",
    f"SELECT pg_advisory_xact_lock({APPLICATION_ID})",
)
_SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:")
_SQLITE_FILE = re.compile(r"sqlite(?:\+pysqlite)?:///(?!file:|:memory:)([^?]+)")

_PATIENCE = 1.0  # seconds to wait for a moment in which a closed database can be read
_AGAIN = 0.01  # seconds between two tries

# Alembic's context is global to the process: making and migrating happen one thread at a time.
_MAKING = threading.RLock()
_inherited: list[sqlite3.Connection] = []  # of a parent that forked in a transaction of its own


class Rows(Protocol):
    """Run one SQL query with named parameters and return its rows by column name."""

    def __call__(self, sql: str, **values: object) -> Sequence[Mapping[str, Any]]: ...  # noqa: D102


class Database:
    """The registry's database: SQLite in a file, or whatever an SQLAlchemy URL names.

    Args:
        path: SQLite's file; made with its schema when it is first used.
        url: an SQLAlchemy URL instead of the file.
        was_there: tells whether there must have been a database already: then none is made in
            the place of one that is gone.
    """

    def __init__(
        self, path: Path, url: str | None = None, *, was_there: Callable[[], bool] = lambda: False
    ) -> None:
        self._was_there = was_there
        self._path = path if url is None else _sqlite_path(url)
        self._url = f"sqlite:///{self._path}" if self._path else _with_driver(url or "")
        self._local = threading.local()
        self._readers: WeakSet[_Reader] = WeakSet()  # of all threads
        self._engine_made: tuple[Engine, Identity | None] | None = None
        self._migrates = False  # a database that others use too
        at_fork(self)

    def before_fork(self) -> None:
        """Close every thread's connection: SQLite's locks do not survive a fork."""
        for reader in list(self._readers):
            reader.close_unless_busy()

    def after_fork(self) -> None:
        """Forget the parent's connections; in a child none is open but one that it is using."""
        self._readers = WeakSet()

    @contextmanager
    def read(self) -> Iterator[Rows]:
        """Give a query function on one consistent snapshot; a missing database has no rows."""
        if self._path is None:
            from sqlmodel import Session

            with in_use(), translating(self._url), Session(_snapshots(self._engine())) as session:
                yield rows_of(session)
            return
        with in_use(), translating(self._url):
            reader = self._reader(self._path)
            if reader is None:
                yield _no_rows
                return
            with reader.reading() as connection:
                yield _sqlite_rows(connection)

    @contextmanager
    def write(self) -> "Iterator[Session]":
        """Give a session in one exclusive transaction, committed at the end of the block."""
        from sqlmodel import Session

        with in_use(), translating(self._url), Session(self._engine()) as session, session.begin():
            connection = session.connection()  # begins now, and not with the first statement
            _take_turns(connection)
            yield session

    def make(self) -> None:
        """Create the database if there is none, and import the modules of a write."""
        with in_use(), translating(self._url):
            self._engine()

    def migrate(self) -> None:
        """Bring the schema up to date, on a server too; an SQLite file is backed up first."""
        self._migrates = True
        self.make()

    def stamp(self) -> object | None:
        """Return a token that changes with each commit; None if there is no cheap one.

        Source: SQLite's documentation, "PRAGMA data_version".
        """
        if self._path is None:
            return None
        with in_use(), translating(self._url):
            reader = self._reader(self._path)
            if reader is None:
                return None
            return reader, reader.connection.execute("PRAGMA data_version").fetchone()[0]

    def reads_as_is(self) -> bool:
        """Tell whether it is a file, or none yet, that can be read without being migrated."""
        if self._path is None:
            return False
        if not self._path.exists():
            return True
        with closing(connect_to_read(self._path)) as connection:
            return revision(connection, self._path) == SCHEMA

    @property
    def url(self) -> str:
        """The database's SQLAlchemy URL, with its password."""
        return self._url

    @property
    def path(self) -> Path | None:
        """SQLite's file; None for another database."""
        return self._path

    def check(self) -> None:
        """Read the whole database.

        Raises:
            Damaged: if SQLite or a table finds it damaged, or if it is gone.
            DatabaseError, StorageError, Busy: if it cannot be used for another reason.
        """
        from sqlmodel import SQLModel

        import onnxzoo.registry.database.tables  # noqa: F401  (fills the metadata)

        with self.read() as rows:
            if self._path is not None and rows is not _no_rows:
                for row in rows("PRAGMA integrity_check(1)"):
                    if row["integrity_check"] != "ok":
                        raise damaged(self._path, str(row["integrity_check"]).lower())
            for table in SQLModel.metadata.tables:
                rows(f"SELECT count(*) FROM {table}")  # noqa: S608  (a name of ours)

    def half_made(self) -> list[Path]:
        """Return the leftovers of processes that died creating the database."""
        return half_made(self._path) if self._path is not None else []

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        self._forget()
        if self._engine_made is not None:
            self._engine_made[0].dispose()

    def _reader(self, path: Path) -> "_Reader | None":
        """Return this thread's connection; None where nothing was written yet."""
        reader: _Reader | None = getattr(self._local, "reader", None)
        if reader is None or not reader.is_good(path):
            self._forget()
            if not _is_there(path):
                self._check_new(path)
                return None
            reader = self._local.reader = _open(path, migrates=self._migrates)
            self._readers.add(reader)
        return reader

    def _forget(self) -> None:
        reader: _Reader | None = self._local.__dict__.pop("reader", None)
        if reader is not None:
            reader.close()

    def _engine(self) -> "Engine":
        with _MAKING:  # a thread that finds the engine finds the schema too
            made, now = self._engine_made, identity(self._path) if self._path else None
            if made is not None and now != made[1]:  # it is gone, or another took its place
                self.close()  # else SQLite makes an empty file
                made = self._engine_made = None
            if made is None:
                if self._path is not None:
                    if not _is_there(self._path):
                        self._check_new(self._path)
                        create(self._path)
                    check_writable(self._path)
                    self._reader(self._path)  # which migrates
                engine = make_engine(self._url)
                if self._path is None:
                    with engine.begin() as connection:
                        _take_turns(connection)
                        found = revision_of(connection, without_password(self._url))
                        if found is None:
                            self._check_new(without_password(self._url))
                        elif found != SCHEMA and not self._migrates:
                            raise must_be_migrated(without_password(self._url), found, server=True)
                        if found != SCHEMA:
                            migrate(connection)
                made = engine, identity(self._path) if self._path else None
                self._engine_made = made
            return made[0]

    def _check_new(self, shown: Path | str) -> None:
        if self._was_there():
            raise Damaged(
                f"the registry `{shown}` is gone, but models are in the store", hint=REBUILD
            )


class _Reader:
    """A thread's connection; one that nobody closes is closed with the thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        opened: Identity | None,
        copied: State | None = None,
    ) -> None:
        self.connection = connection
        self._opened = opened
        self._copied = copied
        self._owner = os.getpid()
        self._uses = 0
        self._closed = False

    def __del__(self) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection in a transaction that reads one moment."""
        self._uses += 1
        try:
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                self.connection.execute("ROLLBACK")
        finally:
            self._uses -= 1

    def is_good(self, path: Path) -> bool:
        """Tell whether it is open, of this process, and on the file that is there now."""
        changed = self._copied is not None and self._copied != state(path)
        mine = self._owner == os.getpid() and not self._closed
        return mine and not changed and self._opened == identity(path)

    def close(self) -> None:
        """Close the connection; in a forked child the parent's stays as it is, for ever."""
        if self._owner != os.getpid():
            _inherited.append(self.connection)
        elif not self._closed:
            self._closed = True
            self.connection.close()

    def close_unless_busy(self) -> None:
        """Close the connection unless this thread is in the midst of a transaction on it."""
        if not self._uses:
            self.close()


def rows_of(session: "Session") -> Rows:
    """Return a way to query inside a writing session's transaction."""
    from sqlalchemy import text

    def rows(sql: str, **values: object) -> Sequence[Mapping[str, Any]]:
        result = session.connection().execute(text(sql), values)
        return [dict(row) for row in result.mappings()]

    return rows


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


def _open(path: Path, *, migrates: bool) -> "_Reader":
    """Connect to a database that is there, or to a copy of it.

    Args:
        path: SQLite's file.
        migrates: migrate an older schema although others have the file open.
    """
    if path.is_dir():
        raise DatabaseError(
            f"`{path}` is a folder; expected the registry's database",
            hint="move it away, or set ZOO_HOME to another folder",
        )
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    until = time.monotonic() + _PATIENCE
    while True:
        found = identity(path)
        failed: Exception = StorageError(
            f"cannot read `{path}`: its log changes, and you have no right to write it",
            hint="run the command again when the other one is done",
        )
        try:
            if os.access(path, os.W_OK):
                return _Reader(_migrated(path, migrates=migrates), found)
        except sqlite3.OperationalError as error:
            if not refuses_to_write(error):
                raise
            failed = error
        if reader := _reading(path, found):
            return reader
        if time.monotonic() > until:
            raise failed
        time.sleep(_AGAIN)  # another user has begun to write, so the file itself can be read


def _reading(path: Path, found: Identity | None) -> "_Reader | None":
    """Connect without leaving anything beside a file that may not be written; None for now."""
    if copy := connect_copy(path):
        return _Reader(_checked(path, copy[0], copied=True), found, copy[1])
    try:
        beside = connect_reading(path)
        return _Reader(_checked(path, beside), found) if beside else None
    except sqlite3.OperationalError as error:  # the last writer left meanwhile
        if not refuses_to_write(error):
            raise
        return None


def _migrated(path: Path, *, migrates: bool) -> sqlite3.Connection:
    """Return a connection to a file that may be written, once its schema is this onnxzoo's."""
    connection = connect(path)
    try:
        found = revision(connection, path)
        if found == SCHEMA:
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()  # for others who ask whether anyone uses it
    if not migrates and is_shared(path, lambda one: revision(one, path) != SCHEMA):
        raise must_be_migrated(str(path), found, server=False)
    with _MAKING, closing(connect(path)) as connection:
        upgrade(path, connection)
    return connect(path)


def _checked(
    path: Path, connection: sqlite3.Connection, *, copied: bool = False
) -> sqlite3.Connection:
    """Return a connection at this onnxzoo's schema; migrate a copy."""
    try:
        if (found := revision(connection, path)) != SCHEMA:
            _migrate_copy(path, connection, found, copied=copied)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate_copy(path: Path, connection: sqlite3.Connection, found: str, *, copied: bool) -> None:
    if not copied:
        raise must_be_migrated(str(path), found, server=False)
    with _MAKING:
        upgrade_copy(connection)


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
    """Name psycopg where a PostgreSQL URL leaves the driver open, unless only psycopg2 is there.

    Raises:
        DatabaseError: if it is another database's URL, or none.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise no_database(url)
    if "+" in scheme:
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
