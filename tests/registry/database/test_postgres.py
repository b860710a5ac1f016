"""The same registry on PostgreSQL, by a server of its own; skipped where none is installed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Busy, Damaged, DatabaseError, NotFound, Refused
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.database.database import Database
from onnxzoo.registry.database.schema import APPLICATION_ID
from tests.support import models
from tests.support.commands import Run

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
pytestmark = pytest.mark.skipif(
    not (BIN / "initdb").exists(), reason="needs PostgreSQL's server: apt-get install postgresql"
)


def _run(words: Sequence[object]) -> None:
    """Run a server's program; it refuses to be root."""
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*user, *map(str, words)], check=True, capture_output=True, cwd="/")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Run a server on loopback and give the user and host of its URLs."""
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        data, port = Path(folder) / "data", free.getsockname()[1]
        free.close()
        control = [BIN / "pg_ctl", "-D", data, "-w"]
        _run([BIN / "initdb", "-D", data, "-U", "zoo", "-A", "trust", "-N"])
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        _run([*control, "-o", options, "-l", f"{folder}/log", "start"])
        try:
            yield f"zoo@127.0.0.1:{port}"
        finally:
            _run([*control, "-m", "fast", "stop"])


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """Make an empty database."""
    name = f"d{abs(hash(request.node.name))}"
    with psycopg.connect(f"postgresql://{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://{server}/{name}"


@pytest.fixture
def registry(url: str, settings: Settings) -> Iterator[Registry]:
    with Registry(settings=replace(settings, database_url=url)) as opened:
        yield opened


def test_models_are_kept_found_and_forgotten(registry: Registry, tmp_path: Path) -> None:
    one, two = (models.linear(tmp_path / f"{n}.onnx", value=n) for n in (1, 2))
    assert [registry.register(path, "net").variant.version for path in (one, two)] == [1, 2]
    registry.alias("net@1", "production")
    registry.tag("net", ["edge"])
    assert registry.resolve("net@production").version == 1
    assert registry.resolve(f"net@{registry.resolve('net').digest[:15]}").version == 2
    assert [variant.ref for variant in registry.list(["edge"])] == ["net:fp32@2", "net:fp32@1"]
    assert [checked.problems for checked in registry.verify()] == [(), ()]
    assert registry.events("net")[0].action == "tag"
    registry.remove("net", force=True)
    assert len(registry.gc().items) == 2


@pytest.mark.parametrize("number", ["7", "99999999999", "9" * 40])
def test_a_number_beyond_every_column_is_not_held(
    registry: Registry, tmp_path: Path, number: str
) -> None:
    registry.register(models.linear(tmp_path / "m.onnx"), "net")
    with pytest.raises(NotFound, match=f"no version `{number}`"):
        registry.resolve(f"net@{number}")


def test_a_reader_sees_one_moment(url: str, tmp_path: Path) -> None:
    from onnxzoo.registry.database.tables import Model

    database = Database(tmp_path, url)
    with database.read() as rows:
        assert len(rows("SELECT name FROM model")) == 0
        with Database(tmp_path, url).write() as session:
            session.add(Model(name="a", key="a", created_at="now"))
        assert len(rows("SELECT name FROM model")) == 0
    with database.read() as rows:
        assert len(rows("SELECT name FROM model")) == 1


def test_a_writer_that_does_not_let_go_is_not_waited_for_for_ever(url: str, tmp_path: Path) -> None:
    hasty = Database(tmp_path, f"{url}?options=-c%20lock_timeout%3D100ms")
    with hasty.read() as rows:
        assert rows("SELECT name FROM model") == []
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [APPLICATION_ID])
        with pytest.raises(Busy, match="locked by another process"), hasty.write():
            pass
    with Database(tmp_path, url).write() as session:
        shown = session.connection().exec_driver_sql("SHOW lock_timeout").scalar()
        assert shown == "30s"


def test_a_newer_schema_is_refused_by_name(url: str, tmp_path: Path) -> None:
    with Database(tmp_path, url).read():
        pass
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="`9999`"), Database(tmp_path, url).read():
        pass


def test_a_migration_waits_until_it_is_asked_for(
    zoo: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", url)
    assert zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net").code == 0
    with psycopg.connect(url) as connection:  # as the release before left it
        connection.execute("DROP INDEX ix_event_removed")
        connection.execute("UPDATE alembic_version SET version_num = '0005'")
    for words in (["list"], ["tag", "net", "edge"], ["doctor"]):
        ran = zoo(*words)
        said = ran.out + ran.err
        assert (ran.code, "has schema `0005`" in said) == (9, True), ran
        assert "zoo doctor --migrate" in said
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert found == ("0005",)
    ran = zoo("doctor", "--migrate")
    assert ran.code == 0, ran
    assert zoo("list", "-q").out == "net:fp32@1\n"


def test_a_registry_moves_to_an_empty_server(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    with Registry(settings=settings) as before:
        before.register(models.linear(tmp_path / "m.onnx"), "net", tags=["edge"])
        before.alias("net@1", "production")
    with pytest.raises(Damaged, match="is gone, but models are in the store") as caught:
        registry.list()
    assert "--rebuild" in (caught.value.hint or "")
    assert registry.rebuild().refs == ("net:fp32@1",)
    assert registry.resolve("net@production").tags == ("edge",)
    for force in (False, True):
        with pytest.raises(Refused, match="expected an empty database"):
            registry.rebuild(force=force)
