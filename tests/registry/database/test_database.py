"""The database: creation, transactions, refusal of what is not ours."""

import multiprocessing
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from packaging.version import Version
from sqlalchemy import event

from onnxzoo.registry.core.errors import Busy, DatabaseError, StorageError, UsageError, ZooError
from onnxzoo.registry.database import schema as schema_module
from onnxzoo.registry.database.connection import _writer, connect, make_engine, translating
from onnxzoo.registry.database.database import Database
from onnxzoo.registry.database.schema import (
    APPLICATION_ID,
    RELEASES,
    SCHEMA,
    migrate,
    revision,
    upgrade,
)
from tests.support.commands import Run

MODELS = "SELECT name FROM model ORDER BY name"
WRITERS, WRITES = 8, 25


def insert(path: Path, names: list[str]) -> None:
    from onnxzoo.registry.database.tables import Model

    for name in names:
        with closing(Database(path)) as database, database.write() as session:
            session.add(Model(name=name, key=name, created_at="now"))


def count_up(path: Path) -> None:
    from onnxzoo.registry.database.tables import Model

    for _ in range(WRITES):
        with Database(path).write() as session:
            row = session.get(Model, 1)
            assert row is not None
            row.task = str(int(row.task or 0) + 1)


def names(path: Path) -> list[str]:
    with closing(Database(path)) as database, database.read() as rows:
        return [row["name"] for row in rows(MODELS)]


def test_the_migrations_make_what_a_new_database_has(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlmodel import SQLModel

    fresh, migrated = tmp_path / "fresh.db", tmp_path / "migrated.db"
    Database(fresh).make()
    engine = make_engine(f"sqlite:///{migrated}")
    with engine.begin() as connection:
        migrate(connection)
        found = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
    engine.dispose()
    assert found == []
    assert schema(fresh) == schema(migrated)


def schema(path: Path) -> dict[str, str]:
    """What is in a database: the SQL of each table and index, and the marks on it."""
    with closing(sqlite3.connect(path)) as connection:
        parts = dict(connection.execute("SELECT name, sql FROM sqlite_master"))
        parts["version_num"] = str(connection.execute("SELECT * FROM alembic_version").fetchall())
        parts["user_version"] = str(connection.execute("PRAGMA user_version").fetchone())
    return {name: re.sub(r"\s", "", sql or "") for name, sql in parts.items()}


def test_what_is_not_made_yet_holds_nothing_and_is_not_made_to_read_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "home" / "r.db")
    assert database.stamp() is None
    with database.read() as rows:
        assert rows(MODELS) == []
    assert not (tmp_path / "home").exists()
    insert(tmp_path / "home" / "r.db", ["a"])
    with database.read() as rows:
        assert [row["name"] for row in rows(MODELS)] == ["a"]


def test_the_newest_migration_is_the_schema() -> None:
    versions = Path(schema_module.__file__).parent / "migrations" / "versions"
    assert max(path.stem[1:5] for path in versions.glob("r*.py")) == SCHEMA


def test_a_new_schema_comes_with_a_new_version() -> None:
    assert max(RELEASES) == SCHEMA
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert Version(project["project"]["version"]) >= Version(RELEASES[SCHEMA])
    assert len(set(RELEASES.values())) == len(RELEASES)


def test_the_connection_settings_are_in_force(tmp_path: Path) -> None:
    expected = {
        "foreign_keys": 1,
        "synchronous": 2,
        "journal_mode": "wal",
        "application_id": APPLICATION_ID,
        "user_version": int(SCHEMA),
    }
    database = Database(tmp_path / "r.db")
    database.make()
    with database.read() as rows:
        found = {key: next(iter(dict(rows(f"PRAGMA {key}")[0]).values())) for key in expected}
        assert found == expected
    with database.write() as session:
        connection = session.connection()
        found = {key: connection.exec_driver_sql(f"PRAGMA {key}").scalar() for key in expected}
        assert found == expected


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    from onnxzoo.registry.database.tables import Model

    def fail() -> None:
        with Database(tmp_path / "r.db").write() as session:
            session.add(Model(name="a", key="a", created_at="now"))
            session.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path / "r.db") == []


def test_processes_that_make_the_database_at_once_make_one(tmp_path: Path) -> None:
    path = tmp_path / "home" / "r.db"
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        pool.starmap(insert, [(path, [f"{n}-a", f"{n}-b"]) for n in range(WRITERS)], chunksize=1)
    assert len(names(path)) == 2 * WRITERS
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".new")] == []


THREADS = """
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from onnxzoo.registry.database.database import Database

def use(number):
    from onnxzoo.registry.database.tables import Model

    with Database(path).write() as session:
        session.add(Model(name=f"m{number}", key=f"m{number}", created_at="now"))
    with Database(path).read() as rows:
        return len(rows("SELECT name FROM model"))

path = Path(sys.argv[1])
with ThreadPoolExecutor(8) as pool:
    print(max(pool.map(use, range(8))))
"""


def test_threads_that_make_the_database_at_once_make_one(tmp_path: Path) -> None:
    """In a process of their own: what went wrong here took the interpreter with it."""
    for number in range(3):
        path = tmp_path / str(number) / "r.db"
        words = [sys.executable, "-c", THREADS, str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "8", "")
        assert len(names(path)) == 8


def test_no_update_is_lost_between_processes(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    insert(path, ["a"])
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        pool.map(count_up, [path] * WRITERS, chunksize=1)
    with Database(path).read() as rows:
        assert rows("SELECT task FROM model")[0]["task"] == str(WRITERS * WRITES)


def test_who_waits_to_write_tries_as_often_as_who_comes_later(tmp_path: Path) -> None:
    path, tries = tmp_path / "r.db", list[str]()
    insert(path, ["a"])
    engine = make_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda own, _: own.set_trace_callback(tries.append))
    until = time.monotonic() + 5

    def write() -> None:
        with engine.begin():
            pass

    with closing(connect(path)) as holder, ThreadPoolExecutor() as pool:
        holder.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(write)
        while tries.count("BEGIN IMMEDIATE") < 20 and time.monotonic() < until:
            time.sleep(0.01)
        holder.execute("ROLLBACK")
        waiting.result()
    assert tries.count("BEGIN IMMEDIATE") >= 20


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    insert(path, ["a"])
    with Database(path).read() as rows:
        before = rows(MODELS)
        insert(path, ["b"])
        assert len(rows(MODELS)) == len(before) == 1
    assert names(path) == ["a", "b"]


FORK = """
import os, sys
from pathlib import Path
from onnxzoo.registry.database.database import Database
path = Path(sys.argv[1])
database = Database(path)
parent = database._reader(path)
child = os.fork()
if child == 0:
    os._exit(0 if database._reader(path) is not parent else 1)
sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_forked_child_opens_a_connection_of_its_own(tmp_path: Path) -> None:
    """In a process without threads: Python 3.12 warns of forking where some run."""
    insert(tmp_path / "r.db", ["a"])
    subprocess.run([sys.executable, "-c", FORK, str(tmp_path / "r.db")], check=True)


def another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"garbage" * 1000), "is damaged"),
        (another_program, "another program"),
    ],
)
def test_what_is_no_registry_is_refused_and_left_alone(
    tmp_path: Path, make: object, message: str
) -> None:
    path = tmp_path / "r.db"
    assert callable(make)
    make(path)
    before = path.read_bytes()
    for use in (lambda: names(path), lambda: insert(path, ["a"])):
        with pytest.raises(DatabaseError, match=message):
            use()
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    insert(path, ["a"])
    at_revision(path, "9999")
    with pytest.raises(DatabaseError, match="`9999`") as caught:
        names(path)
    assert "--upgrade" in (caught.value.hint or "")


def at_revision(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])


def test_a_backup_is_not_overwritten_by_what_another_process_migrated(tmp_path: Path) -> None:
    path, backup = tmp_path / "r.db", tmp_path / "r.db.0000.bak"
    insert(path, ["a"])
    at_revision(path, "0000")
    first, second = closing(connect(path)), closing(connect(path))
    with first as slow, second as quick:
        found = revision(slow, path)
        assert found == revision(quick, path) == "0000"
        at_revision(path, SCHEMA)  # as the quick one's migration would
        upgrade(path, slow)
    assert not backup.exists()


def test_a_backup_of_another_database_is_not_overwritten(tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = tmp_path / name / "r.db"
        insert(path, [name])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP INDEX ix_event_removed")
        at_revision(path, "0005")
    assert names(tmp_path / "a" / "r.db") == ["a"]
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "a" / f"r.db{suffix}").unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(tmp_path / "b" / "r.db")) as source,
        closing(sqlite3.connect(tmp_path / "a" / "r.db")) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode = WAL")
    assert names(tmp_path / "a" / "r.db") == ["b"]
    kept = [
        (tmp_path / "a" / f"r.db.0005{which}.bak", name) for which, name in (("", "a"), (".2", "b"))
    ]
    for file, name in kept:
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute(MODELS).fetchall() == [(name,)]


def test_a_migration_that_fails_leaves_a_backup_and_the_database(tmp_path: Path) -> None:
    path, backup = tmp_path / "r.db", tmp_path / "r.db.0000.bak"
    insert(path, ["a"])
    at_revision(path, "0000")  # which no migration starts from
    with pytest.raises(DatabaseError, match="0000"):
        names(path)
    for file in (path, backup):
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute(MODELS).fetchall() == [("a",)]
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            assert found == ("0000",)


def test_a_home_that_others_may_write_can_be_read_and_is_never_out_of_date(tmp_path: Path) -> None:
    home = tmp_path / "home"
    add = "INSERT INTO model (name, key, created_at) VALUES (?1, ?1, 'now')"
    with closing(Database(home / "r.db")) as database:
        database.make()
    with closing(connect(home / "r.db")) as other:
        other.execute(add, ("a",))
    assert [*home.iterdir()] == [home / "r.db"]
    code = (
        "import sys; from pathlib import Path\n"
        "from onnxzoo.registry.database.database import Database\n"
        "database = Database(Path(sys.argv[1]))\n"
        "for _ in range(3):\n"
        "    before = database.stamp()\n"
        "    with database.read() as rows:\n"
        f"        print([row['name'] for row in rows({MODELS!r})], flush=True)\n"
        "    input()\n"
        "    print(before == database.stamp(), flush=True)\n"
    )
    # Root may write anywhere, so its child gives that right up.
    prefix = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("root cannot give up its rights here")
    home.chmod(0o555)
    try:
        with subprocess.Popen(
            [*prefix, sys.executable, "-c", code, str(home / "r.db")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        ) as reader:  # fmt: skip
            assert reader.stdin
            assert reader.stdout
            assert reader.stdout.readline() == "['a']\n"
            home.chmod(0o755)
            with closing(connect(home / "r.db")) as other:  # what it adds is in the log
                other.execute(add, ("b",))
                home.chmod(0o555)
                print(file=reader.stdin)
                assert reader.stdout.readline() == "False\n"
                assert reader.stdout.readline() == "['a', 'b']\n"
            print(file=reader.stdin)
            assert reader.stdout.readline() == "True\n"
            assert reader.stdout.readline() == "['a', 'b']\n"
            print(file=reader.stdin)
    finally:
        home.chmod(0o755)


def test_a_home_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for use in (lambda: insert(tmp_path / "file" / "r.db", ["a"]),
                lambda: names(tmp_path / "file" / "r.db")):  # fmt: skip
        with pytest.raises(StorageError, match="not a directory"):
            use()


def test_every_error_of_the_database_is_ours(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "r.db")) as database:
        database.make()
        with pytest.raises(ZooError), database.read() as rows:
            rows("SELECT nonsense FROM nowhere")
        with pytest.raises(ZooError), database.write() as session:
            session.connection().exec_driver_sql("SELECT nonsense FROM nowhere")


def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path: Path) -> None:
    database = Database(tmp_path, "postgresql+nodriver://me:secret@host/zoo")
    with pytest.raises(DatabaseError) as caught, database.read() as rows:
        rows(MODELS)
    assert "postgresql+nodriver://me:***@host/zoo" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite"])
def test_an_sqlite_url_is_that_file(tmp_path: Path, scheme: str) -> None:
    from onnxzoo.registry.database.tables import Model

    with Database(tmp_path / "unused", f"{scheme}:///{tmp_path / 'r.db'}").write() as session:
        session.add(Model(name="a", key="a", created_at="now"))
    assert names(tmp_path / "r.db") == ["a"]
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=ro"])
def test_an_sqlite_url_that_names_no_file_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="names no plain file"):
        Database(tmp_path, url)


@pytest.mark.parametrize("url", ["mysql://me:secret@host/zoo", "nonsense", "://", "postgres"])
def test_the_url_of_another_database_is_refused(
    zoo: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", url)
    ran = zoo("list")
    assert (ran.code, "is not the URL of a PostgreSQL or SQLite database" in ran.err) == (9, True)
    assert "secret" not in ran.err
    ran = zoo("doctor")
    assert (ran.code, "way out: for example: postgresql://" in ran.out) == (9, True), ran


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    absent = "import sys; sys.modules['psycopg'] = None; sys.modules['psycopg2'] = None; "
    code = absent + (
        "from pathlib import Path\nfrom onnxzoo.registry.database.database import Database\n"
        "from onnxzoo.registry.core.errors import NotFound\n"
        "try:\n    Database(Path('x'), sys.argv[1]).read().__enter__()\n"
        "except NotFound as error:\n    print(error.message, error.hint)"
    )
    words = [sys.executable, "-c", code, "postgresql+psycopg://me:secret@host/zoo"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "driver of `postgresql+psycopg://me:***@host/zoo` is not installed" in done.stdout
    assert "pip install 'onnxzoo[postgresql]'" in done.stdout


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel does not list its locks")
def test_who_keeps_others_from_writing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    Database(path).make()
    assert _writer(path) is None
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert _writer(path) == holder.pid
        holder.communicate()
    assert _writer(path) is None


class _FromServer(Exception):
    """What psycopg raises: a text and PostgreSQL's code."""

    def __init__(self, text: str, sqlstate: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("text", "state", "kind"),
    [
        ("duplicate key: (key)=(full-cnn) already exists", "23505", DatabaseError),
        ("duplicate key: (key)=(blocked-net) already exists", "23505", DatabaseError),
        ("duplicate key: (key)=(readonly, lock timeout) already exists", "23505", DatabaseError),
        ("canceling statement due to lock timeout", "55P03", Busy),
        ("could not extend file", "53100", StorageError),
    ],
)
def test_a_value_in_a_servers_message_is_not_taken_for_its_kind(
    text: str, state: str, kind: type[ZooError]
) -> None:
    from sqlalchemy.exc import DBAPIError

    with pytest.raises(ZooError) as caught, translating("postgresql://h/zoo"):
        raise DBAPIError("INSERT", {}, _FromServer(text, state))
    assert type(caught.value) is kind
