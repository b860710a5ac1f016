"""The registry's schema: made whole, recognised, and migrated after a backup."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from filecmp import cmp
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import Damaged, DatabaseError, StorageError
from onnxzoo.registry.core.files import clear, make_folder, reporting_storage, sync
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.staging import abandoned, staging_folder, staging_name
from onnxzoo.registry.database.connection import damaged, make_engine, translating

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCHEMA = "0006"  # the newest revision in migrations/versions
# The first release that has each schema: a new schema comes with a new version number.
RELEASES = {"0001": "0.1.0", "0006": "0.2.0"}
_NO_SCHEMA = "it does not say which schema it has"
APPLICATION_ID = 0x5A4F4F31  # "ZOO1": SQLite's mark of whose file this is
_NEW = ".new-"  # begins the names of folders in which databases are made
# As Alembic writes it.
_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def create(path: Path) -> None:
    """Make the database whole under another name, then link it in: nobody sees half of one."""
    with making(path) as fresh, suppress(FileExistsError):  # another was quicker; as good as ours
        path.hardlink_to(fresh)
        sync(path.parent)


@contextmanager
def making(path: Path) -> Iterator[Path]:
    """Give an empty database under another name; delete it unless it was linked in."""
    folder = path.with_name(f"{_NEW}{staging_name()}")
    try:
        make_folder(path.parent)
        fresh = folder / path.name
        with staging_folder(folder), translating(f"sqlite:///{path}"):
            fresh.touch(0o666)  # less the umask, for a group's folder; SQLite's own is 0644
            with sqlite3.connect(fresh) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.close()
            _fill(fresh)
            check_whole(fresh)
            yield fresh
    except OSError as error:
        raise StorageError(
            f"cannot make the registry `{path}`: {(error.strerror or str(error)).lower()}",
            hint="set ZOO_HOME to a folder that you may write",
        ) from error
    finally:
        clear(folder)


def check_whole(path: Path) -> None:
    """Raise StorageError unless all of a closed database is in its file.

    SQLite tells nobody that the last checkpoint failed: it leaves the log, and only the file is
    linked in.
    Source: SQLite's documentation, "Write-Ahead Logging", section "The WAL File".
    """
    if path.with_name(f"{path.name}-wal").exists():
        raise StorageError(
            f"cannot write `{path}`: the disk refused a part of it",
            hint="set ZOO_HOME to a folder that you may write, or free some space",
        )


def half_made(path: Path) -> list[Path]:
    """Return the leftovers of processes that died creating this database."""
    return [folder for folder in path.parent.glob(f"{_NEW}*") if abandoned(folder, _NEW)]


def upgrade(path: Path, connection: sqlite3.Connection) -> None:
    """Back the database up and migrate it, unless another process just did.

    The writing transaction comes first, and keeps other writers out: the backup, made through the
    other connection, is of what was there before it.
    """
    engine = make_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as exclusive:
            found = revision(connection, path)
            if found != SCHEMA:
                backup = _back_up(connection, path, found)
                migrate(exclusive)
                logger().warning(
                    "`%s` was migrated from schema %s to %s; onnxzoo before %s cannot open it now; "
                    "the one of before is kept: `%s`",
                    path,
                    found,
                    SCHEMA,
                    RELEASES[SCHEMA],
                    backup,
                )
    finally:
        engine.dispose()


def upgrade_copy(connection: sqlite3.Connection) -> None:
    """Migrate a copy in memory of a database that may not be written; the file stays as it is."""
    from sqlalchemy import StaticPool, create_engine

    factory, connection.row_factory = connection.row_factory, None
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    with engine.begin() as transaction:
        migrate(transaction)
    connection.row_factory = factory


def migrate(connection: "Connection") -> None:
    """Bring the schema to the newest revision, in the transaction that the connection is in."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "onnxzoo.registry.database:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        _mark(connection)


def must_be_migrated(shown: str, found: str, *, server: bool) -> DatabaseError:
    """Return the error for a database of an older schema that others use, or may be using."""
    used = "" if server else "; other processes have it open"
    first = "back it up (pg_dump), upgrade onnxzoo on every machine that uses it"
    return DatabaseError(
        f"`{shown}` has schema `{found}`, and this onnxzoo needs `{SCHEMA}`{used}; onnxzoo before "
        f"{RELEASES[SCHEMA]} cannot use it once it is migrated",
        hint=f"{first if server else 'stop them, or upgrade their onnxzoo'}, then run: "
        "zoo doctor --migrate",
    )


def revision(connection: sqlite3.Connection, path: Path) -> str:
    """Return the schema's revision in an SQLite file.

    Raises:
        DatabaseError: if it is another program's, or a newer onnxzoo's.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise DatabaseError(
            f"`{path}` is an SQLite database of another program",
            hint="set ZOO_HOME to another folder, or move that file away",
        )
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if not (row and _is_revision(row[0])):
        raise damaged(path, _NO_SCHEMA)
    return _known(row[0], str(path))


def revision_of(connection: "Connection", shown: str) -> str | None:
    """Return the schema's revision on a server; None if there is no schema yet."""
    from sqlalchemy import inspect

    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if not _is_revision(found):
        raise Damaged(f"`{shown}` is damaged: {_NO_SCHEMA}")
    return _known(str(found), shown)


def _is_revision(found: object) -> bool:
    return isinstance(found, str) and found.isalnum()  # it becomes part of a path


def _known(revision: str, shown: str) -> str:
    if revision > SCHEMA:
        raise DatabaseError(
            f"`{shown}` has schema `{revision}`; this onnxzoo knows up to `{SCHEMA}`",
            hint="pip install --upgrade onnxzoo",
        )
    return revision


def _back_up(connection: sqlite3.Connection, path: Path, found: str) -> Path:
    """Copy a database beside itself; one of before that is other than it stays where it is."""
    fresh = path.with_name(f"{path.name}.{found}.bak.new")
    with reporting_storage(path.parent):
        fresh.unlink(missing_ok=True)  # a kill left it, and we are alone here
        copy = sqlite3.connect(fresh)
        try:
            connection.backup(copy)
        finally:
            copy.close()
        which = ("", *(f".{number}" for number in range(2, 1000)))
        names = (path.with_name(f"{path.name}.{found}{one}.bak") for one in which)
        backup = next(
            name for name in names if not name.exists() or cmp(name, fresh, shallow=False)
        )
        fresh.replace(backup)
        sync(path.parent)
    return backup


def _fill(path: Path) -> None:
    """Make the newest schema at once: to import and run Alembic for it takes 0.3 s longer.

    A test compares it with what the migrations make.
    Source: Alembic's cookbook, "Building an Up to Date Database from Scratch".
    """
    from sqlmodel import SQLModel

    import onnxzoo.registry.database.tables  # noqa: F401  (fills the metadata)

    engine = make_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        SQLModel.metadata.create_all(connection)
        connection.exec_driver_sql(_VERSION_TABLE)
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (SCHEMA,))
        connection.exec_driver_sql("INSERT INTO registry VALUES (?)", (secrets.token_hex(16),))
        _mark(connection)
    engine.dispose()


def _mark(connection: "Connection") -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {int(SCHEMA)}")
