"""What is wrong with a registry's database is named with the way out; nothing takes its place."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.database import schema as schema_module
from onnxzoo.registry.database.connection import make_engine
from onnxzoo.registry.database.queries import graph_text
from onnxzoo.registry.database.schema import SCHEMA
from onnxzoo.registry.onnx_file.describe import describe
from tests.registry.maintenance.test_rebuild import flip
from tests.support import models
from tests.support.commands import Run

VERSIONS = Path(schema_module.__file__).parent / "migrations" / "versions"
OLDER = sorted(path.stem[1:5] for path in VERSIONS.glob("r*.py"))[:-1]
MANY = 300  # rows; more than a page of each table


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    """The database of a registry with a model and a log of some pages."""
    with Registry(home) as registry:
        registry.register(models.linear(tmp_path / "m.onnx"), "net")
    path = home / "registry.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = [
            ("2026-01-01T00:00:00+00:00", "test", f"net:fp32@{n}", "x" * 50) for n in range(MANY)
        ]
        insert = "INSERT INTO event (at, action, reference, detail) VALUES (?, ?, ?, ?)"
        connection.executemany(insert, rows)
    return path


def zero(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage!" * 4096)


def page(table: str) -> Callable[[Path], None]:
    """Flip all bytes of the header of a table's first page."""

    def flip(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            question = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            number = connection.execute(question, [table]).fetchone()[0]
            size = connection.execute("PRAGMA page_size").fetchone()[0]
        data = bytearray(path.read_bytes())
        start = (number - 1) * size
        data[start : start + 64] = bytes(byte ^ 0xFF for byte in data[start : start + 64])
        path.write_bytes(data)

    return flip


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_in_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE alias")


def without_its_schema(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM alembic_version")


def a_row(column: str, value: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE {column.partition('.')[0]} "
                               f"SET {column.partition('.')[2]} = ?", [value])  # fmt: skip

    return change


DAMAGE: dict[str, Callable[[Path], None]] = {
    "zero bytes": zero,
    "garbage": garbage,
    "a page of variants": page("variant"),
    "a page of models": page("model"),
    "a page of events": page("event"),
    "a page of an index": page("ix_variant_digest"),
    "a page of the schema": page("alembic_version"),
    "half of it": cut,
    "all but 100 bytes": cut_in_a_page,
    "no table": without_a_table,
    "no schema": without_its_schema,
    "a graph": a_row("variant.graph", "{"),
    "a time": a_row("variant.created_at", "yesterday"),
    "a time of an event": a_row("event.at", "yesterday"),
    "a hash": a_row("file.sha256", "x"),
    "a path": a_row("file.path", "../x"),
    "a byte that is no text": a_row("variant.source", b"\xff\xfe"),
    "a schema that is no text": a_row("alembic_version.version_num", b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_by_the_doctor_and_mended_by_a_rebuild(
    file: Path, zoo: Run, damage: str
) -> None:
    DAMAGE[damage](file)
    before = file.read_bytes()
    ran = zoo("doctor")
    assert (ran.code, "problem: " in ran.out) == (9, True), ran.out + ran.err
    assert "damaged" in ran.out
    assert "way out: zoo doctor --rebuild" in ran.out
    for words in (["list"], ["show", "net"], ["gc", "--dry-run"], ["alias", "net@1", "x"]):
        ran = zoo(*words)  # damage elsewhere need not be in their way
        assert ran.code == 0 or (ran.code == 9 and "zoo doctor --rebuild" in ran.err), ran.err
        if damage in {"zero bytes", "garbage", "half of it", "no schema", "a page of the schema"}:
            assert ran.code == 9, words
            assert str(file) in ran.err
            assert file.read_bytes() == before
    ran = zoo("doctor", "--rebuild")
    assert (ran.code, ran.out) == (0, "restored net:fp32@1\n"), ran.err
    assert len(list(file.parent.glob("registry.db.damaged-*Z"))) == 1
    ran = zoo("doctor")
    assert (ran.code, ran.err.splitlines()[-1]) == (0, "all is well")
    assert zoo("run", "net").code == 0


def another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE alembic_version (version_num)")


def newer(path: Path) -> None:
    a_row("alembic_version.version_num", "9999")(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "mine").write_bytes(b"x")


@pytest.mark.parametrize(
    ("make", "what", "way_out"),
    [
        (another_program, "of another program", "move that file away"),
        (newer, "has schema `9999`", "pip install --upgrade"),
        (a_folder, "is a folder", "move it away"),
    ],
)
def test_what_is_not_damaged_is_refused_and_not_replaced(
    file: Path, zoo: Run, make: Callable[[Path], None], what: str, way_out: str
) -> None:
    make(file)
    before = file.read_bytes() if file.is_file() else None
    for words in (["list"], ["doctor"], ["gc"], ["alias", "net@1", "x"], ["doctor", "--rebuild"]):
        ran = zoo(*words)
        said = ran.out + ran.err
        assert (ran.code, what in said, way_out in said, str(file) in said) == (9, *[True] * 3)
    assert (file.read_bytes() if file.is_file() else None) == before
    assert list(file.parent.glob("*damaged*")) == []
    if file.is_dir():
        assert zoo("doctor", "--rebuild", "--force").code == 9
        assert (file / "mine").exists()


def test_without_its_log_a_database_is_what_it_was_before(file: Path, zoo: Run) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("SELECT 1 FROM model").fetchall()
        assert zoo("alias", "net@1", "production").code == 0
        log = file.with_name("registry.db-wal")
        assert log.stat().st_size > 0
        lone = file.with_name("lone") / "registry.db"
        lone.parent.mkdir()
        shutil.copy(file, lone)
    for name in ("registry.db-wal", "registry.db-shm"):
        file.with_name(name).unlink(missing_ok=True)
    shutil.copy(lone, file)
    ran = zoo("doctor")
    assert ran.code == 0, ran.out
    assert '"production"' not in zoo("alias", "net", "--json").out
    assert zoo("alias", "net@1", "production").code == 0


# Root may write anywhere, so its child gives that right up.
PREFIX = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
LIMITED = pytest.mark.skipif(
    bool(PREFIX) and shutil.which("setpriv") is None, reason="root cannot give up its rights here"
)


def limited(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PREFIX, sys.executable, "-m", "onnxzoo", *words],
        env={**os.environ, "ZOO_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


@LIMITED
def test_a_read_only_database_is_read_and_never_replaced(file: Path) -> None:
    before = file.read_bytes()
    file.chmod(0o444)
    assert limited(file.parent, "list", "-q").stdout == "net:fp32@1\n"
    ran = limited(file.parent, "alias", "net@1", "x")
    assert (ran.returncode, str(file) in ran.stderr, "readonly" in ran.stderr) == (7, True, True)
    ran = limited(file.parent, "doctor")
    assert (ran.returncode, f"`{file}` is read-only" in ran.stdout) == (7, True)
    assert limited(file.parent, "doctor", "--rebuild").returncode == 5
    assert file.read_bytes() == before


@LIMITED
@pytest.mark.parametrize("command", ["bench", "compare"])
def test_figures_of_a_registry_that_may_not_be_written_are_shown(
    file: Path, command: str, tmp_path: Path
) -> None:
    with Registry(file.parent) as registry:
        registry.register(models.linear(tmp_path / "other.onnx", value=2), "net")
    file.chmod(0o444)
    ran = limited(file.parent, command, "net@1", "net@2", "--runs", "1", "--json")
    assert (ran.returncode, len(json.loads(ran.stdout))) == (0, 2), ran
    assert f"the figures are not kept: cannot write `{file}`" in ran.stderr


@LIMITED
def test_a_read_only_home_is_read_as_far_as_reading_goes(home: Path, tmp_path: Path) -> None:
    with Registry(home) as registry:
        folder = registry.register(models.linear(tmp_path / "m.onnx"), "net").variant.path.parent
    places = (home, home / "store", folder.parent)
    for place in places:
        place.chmod(0o555)
    try:
        for words in ("list", "show net", "path net", "run net", "verify", "gc --dry-run"):
            ran = limited(home, *words.split())
            assert (ran.returncode, ran.stderr.count("error")) == (0, 0), ran
        ran = limited(home, "doctor")
        found = ran.stdout.count("problem:"), f"`{home}` is read-only" in ran.stdout
        assert (ran.returncode, found) == (7, (1, True))
        flip(folder / "m.onnx")
        ran = limited(home, "verify")
        assert (ran.returncode, "`m.onnx` has SHA-256" in ran.stderr) == (4, True)
    finally:
        for place in places:
            place.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_reading_and_loading_go_on_where_nothing_can_be_written(home: Path, tmp_path: Path) -> None:
    import resource

    with Registry(home) as registry:
        registry.register(models.linear(tmp_path / "m.onnx"), "net")
    code = "import onnxzoo; print(onnxzoo.load('net').run(None, {'x': [[1, 1, 1, 1]]})[0].shape)"
    for words in (["-m", "onnxzoo", "list", "-q"], ["-c", code]):
        ran = subprocess.run(
            [sys.executable, *words],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stdout) in {(0, "net:fp32@1\n"), (0, "(1, 4)\n")}, ran


@LIMITED
def test_a_database_that_nobody_may_read_is_a_storage_error(file: Path) -> None:
    before = file.read_bytes()
    file.chmod(0)
    for words in (["list"], ["doctor"], ["alias", "net@1", "x"], ["doctor", "--rebuild"]):
        ran = limited(file.parent, *words)
        said = ran.stdout + ran.stderr
        assert (ran.returncode, f"no right to read `{file}`" in said) == (7, True), said
        assert "Traceback" not in said
    file.chmod(0o600)
    assert file.read_bytes() == before


@LIMITED
@pytest.mark.parametrize(
    "place",
    ["", "store", "store/.staging", "cache", "cache/sessions/.staging", "cache/environments"],
)
def test_a_place_that_may_not_be_read_is_named_once(home: Path, tmp_path: Path, place: str) -> None:
    with Registry(home) as registry:
        registry.register(models.linear(tmp_path / "m.onnx"), "net")
    closed = home / place
    closed.mkdir(parents=True, exist_ok=True)
    closed.chmod(0)
    try:
        ran = limited(home, "doctor")
        said = f"no right to read `{closed}"
        assert (ran.returncode, ran.stdout.count("problem:")) == (7, 1), ran
        assert (said in ran.stdout, "bug" in ran.stderr) == (True, False), ran
        for words in ("run net", "doctor --rebuild", "gc"):
            ran = limited(home, *words.split())
            assert "bug" not in ran.stderr, ran
            if words == "run net":
                serves = place not in {"", "store"}
                assert ran.returncode == (0 if serves else 7), ran
    finally:
        closed.chmod(0o755)


@LIMITED
def test_an_index_that_may_not_be_read_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_INDEX", "https://localhost/index.jsonl")
    closed = home / "cache"
    closed.mkdir(parents=True)
    closed.chmod(0)
    try:
        for words in ("search net", "index list", "doctor"):
            ran = limited(home, *words.split())
            said = f"no right to read the index `{closed}" in ran.stdout + ran.stderr
            assert (ran.returncode, said) == (7, True), ran
    finally:
        closed.chmod(0o755)


@LIMITED
@pytest.mark.parametrize("name", ["", "m.onnx"])
def test_a_bundle_that_may_not_be_read_is_not_damaged(
    home: Path, tmp_path: Path, name: str
) -> None:
    with Registry(home) as registry:
        folder = registry.register(models.linear(tmp_path / "m.onnx"), "net").variant.path.parent
    closed = folder / name
    closed.chmod(0)
    try:
        for words in ("verify", "verify --repair", "run net"):
            ran = limited(home, *words.split())
            assert (ran.returncode, "no right to read" in ran.stderr) == (7, True), ran
            assert "repair" not in ran.stderr
        ran = limited(home, "list")
        assert (ran.returncode, "damaged" in ran.stderr) == (0, False), ran
        assert closed.exists()
    finally:
        closed.chmod(0o755)


@LIMITED
def test_the_doctor_names_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        ran = limited(tmp_path / "a" / "b", "doctor")
        assert (ran.returncode, ran.stdout.count("problem:")) == (7, 1), ran
        assert f"`{tmp_path}/a/b` cannot be made: no right to write `{tmp_path}`" in ran.stdout
    finally:
        tmp_path.chmod(0o755)


def to_revision(path: Path, revision: str) -> None:
    """Make the database of an older release, by its migrations."""
    from alembic import command
    from alembic.config import Config

    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {schema_module.APPLICATION_ID}")
    config = Config()
    config.set_main_option("script_location", "onnxzoo.registry.database:migrations")
    config.set_main_option("path_separator", "os")
    engine = make_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.exec_driver_sql(f"PRAGMA user_version = {int(revision)}")
    engine.dispose()


ROWS = """
INSERT INTO model VALUES (1, 'net', 'net', 'ranking', '2026-01-01T00:00:00+00:00');
INSERT INTO version VALUES (1, 1, 3, 'o', 'MIT', '2026-01-01T00:00:00+00:00');
INSERT INTO bundle VALUES ('sha256:aa', 5);
INSERT INTO file VALUES ('sha256:aa', 'm.onnx', 'bb', 5);
INSERT INTO variant VALUES (1, 1, 'fp32', 'fp32', 17, 'sha256:aa', 'm.onnx', 's', NULL, '{}', 'at');
INSERT INTO alias (model_id, name, version_id) VALUES (1, 'production', 1);
INSERT INTO tag VALUES (1, 'edge');
INSERT INTO event VALUES (1, 'at', 'register', 'net:fp32@3', NULL);
"""
LATER = {
    "0002": "INSERT INTO measurement VALUES (1, 'sha256:aa', 'latency', 1.5, 's', '{}', 'at');",
    "0003": """
INSERT INTO lineage VALUES (1, NULL, 's', '{}');
INSERT INTO reference_data VALUES (1, 'sha256:aa', 's');
""",
}


@pytest.fixture(params=OLDER)
def old(request: pytest.FixtureRequest, home: Path) -> Path:
    """The database of each older release, with rows in every table that it has."""
    to_revision(home / "registry.db", request.param)
    more = "".join(LATER[revision] for revision in LATER if revision <= request.param)
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        connection.executescript(ROWS + more)
    return home / "registry.db"


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for (name,) in tables.fetchall()
        }


def plan(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        found = dict(connection.execute("SELECT name, sql FROM sqlite_master"))
        found["user_version"] = str(connection.execute("PRAGMA user_version").fetchone())
    return {name: re.sub(r"\s", "", sql or "") for name, sql in found.items()}


def names(home: Path) -> list[str]:
    with Registry(home) as registry:
        return sorted(registry.names())


def test_every_older_schema_is_migrated_exactly(old: Path, tmp_path: Path) -> None:
    before = everything(old)
    (revision,) = before.pop("alembic_version")[0]
    assert all(before.values())
    assert names(old.parent) == ["net"]
    after = everything(old)
    assert after.pop("alembic_version") == [(SCHEMA,)]
    ((own,),) = after["registry"]
    assert re.fullmatch(r"[0-9a-f]{32}", str(own))
    if str(revision) < "0005":
        after.pop("registry")
    aliases = before["alias"]
    if str(revision) < "0004":
        before["alias"] = [(*row, 1) for row in aliases]  # the variant that it meant
    assert {name: after[name] for name in before} == before
    before["alias"] = aliases
    assert not any(rows for name, rows in after.items() if name not in before)
    backup = everything(old.with_name(f"registry.db.{revision}.bak"))
    assert backup.pop("alembic_version") == [(revision,)]
    assert backup == before
    with Registry(tmp_path / "fresh") as fresh:
        fresh.check()
        fresh._database.make()
    assert plan(old) == plan(tmp_path / "fresh" / "registry.db")


def test_an_alias_means_what_it_resolved_to_before_its_migration(
    home: Path, tmp_path: Path
) -> None:
    """The highest opset that runs here, of the precision nearest to fp32."""
    to_revision(home / "registry.db", "0003")
    held = (
        ("fp16", "fp16", models.linear(tmp_path / "a.onnx", opset=21)),
        ("first", "fp32", models.linear(tmp_path / "b.onnx", opset=13)),
        ("second", "fp32", models.linear(tmp_path / "c.onnx", opset=17)),
        ("future", "fp32", models.newer(tmp_path / "d.onnx", opset=60, ir_version=40)),
        ("int8", "int8", models.linear(tmp_path / "e.onnx", opset=21)),
    )
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        connection.executescript(ROWS)
        connection.execute("DELETE FROM variant")
        for number, (label, precision, path) in enumerate(held, start=1):
            graph = describe(path)
            row = (number, label, precision, graph.opset, f"sha256:{label}", graph_text(graph))
            connection.execute("INSERT INTO bundle VALUES (?, 5)", (row[4],))
            connection.execute(
                "INSERT INTO variant VALUES (?, 1, ?, ?, ?, ?, 'm.onnx', 's', NULL, ?, 'at')", row
            )
        connection.commit()
    assert names(home) == ["net"]
    ((*_, variant),) = everything(home / "registry.db")["alias"]
    assert held[int(str(variant)) - 1][0] == "second"


def test_processes_that_migrate_at_once_migrate_once(old: Path) -> None:
    before = everything(old)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(names, [old.parent] * 2, chunksize=1) == [["net"]] * 2
    ((revision,),) = before["alembic_version"]
    assert everything(old.with_name(f"registry.db.{revision}.bak")) == before
    assert everything(old)["alembic_version"] == [(SCHEMA,)]
    assert list(old.parent.glob("*.new*")) == []


KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from onnxzoo.registry.api import Registry

@event.listens_for(Engine, "before_cursor_execute")
def stop(connection, cursor, statement, *_):
    if "alembic_version SET" in statement:  # the tables are made; nothing is committed
        {fault}

with Registry() as registry:
    registry.names()
"""


@pytest.mark.parametrize(
    "fault", ["os.kill(os.getpid(), signal.SIGKILL)", "raise KeyboardInterrupt"]
)
def test_a_migration_that_stops_midway_leaves_the_old_state_and_a_backup(
    old: Path, fault: str
) -> None:
    before = everything(old)
    ((revision,),) = before["alembic_version"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(fault=fault)], capture_output=True, check=False
    )
    assert done.returncode in {-signal.SIGKILL, -signal.SIGINT, 130}, done.stderr
    assert everything(old) == before
    assert everything(old.with_name(f"registry.db.{revision}.bak")) == before
    assert names(old.parent) == ["net"]
    assert everything(old)["alembic_version"] == [(SCHEMA,)]


def test_a_killed_creation_is_collected_and_a_living_one_is_not(file: Path, zoo: Run) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    host = os.uname().nodename
    dead = file.with_name(f".new-{host}-{ended.stdout.strip()}-00000000")
    alive = file.with_name(f".new-{host}-{os.getpid()}-00000000")
    old = file.with_name(".new-abcdefgh")  # as an older release called it
    for folder in (dead, alive, old):
        folder.mkdir()
        (folder / "registry.db").write_bytes(b"x" * 1000)
    os.utime(old, (0, 0))
    said = zoo("gc", "--dry-run").out
    assert (str(dead) in said, str(old) in said, str(alive) in said) == (True, True, False)
    assert "1.0 kB" in said
    assert zoo("gc").code == 0
    assert (dead.exists(), old.exists(), alive.exists()) == (False, False, True)


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM alembic_version").fetchall()
print(flush=True)
sys.stdin.read()
"""


def test_a_migration_waits_while_another_process_has_the_database_open(
    home: Path, zoo: Run
) -> None:
    old = home / "registry.db"
    to_revision(old, "0005")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(old)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        code, _, said = zoo("list")
        assert code == 9
        assert f"`0005`, and this onnxzoo needs `{SCHEMA}`; other processes have it open" in said
        assert "zoo doctor --migrate" in said
        assert everything(old)["alembic_version"] == [("0005",)]
        assert zoo("doctor", "--migrate").code == 0
        assert everything(old)["alembic_version"] == [(SCHEMA,)]
        assert zoo("list").code == 0
        holder.communicate()
