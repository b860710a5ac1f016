"""Measurements: kept with their context, replaced, read, and the schema that holds them."""

import math
import multiprocessing
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import Session

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.records import Context, Draft, Measurement
from onnxzoo.registry.database.connection import make_engine
from onnxzoo.registry.database.queries import context_text
from onnxzoo.registry.database.schema import APPLICATION_ID
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.store import Store
from tests.support import models

HERE: Context = {"cpu": "Some CPU", "threads": None, "batch": 1}
THERE: Context = {"cpu": "Another CPU", "threads": None, "batch": 1}
THEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


@pytest.fixture
def net(registry: Registry, tmp_path: Path) -> Registry:
    registry.register(models.linear(tmp_path / "a.onnx"), "net")
    return registry


def p50(value: float, context: Context = HERE) -> Measurement:
    return Measurement("latency_p50", value, "s", context, THEN)


def test_what_is_kept_is_read_again(net: Registry) -> None:
    found = [p50(0.001), Measurement("peak_memory", 1e6, "B", HERE, THEN)]
    net.measure("net", found)
    assert list(net.measurements("net:fp32@1")) == found
    digest = net.resolve("net").digest
    assert list(net.measurements(digest)) == found


def test_a_new_value_takes_the_place_of_the_old_in_its_context_only(net: Registry) -> None:
    net.measure("net", [p50(1), p50(2, THERE)])
    net.measure(net.resolve("net").digest, [p50(3), p50(4)])
    assert [m.value for m in net.measurements("net") if m.context == HERE] == [4]
    assert [m.value for m in net.measurements("net") if m.context == THERE] == [2]


def test_the_order_of_a_contexts_keys_means_nothing() -> None:
    assert context_text({"b": 1, "a": None}) == context_text({"a": None, "b": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_measurement_is_a_finite_number(value: float) -> None:
    with pytest.raises(UsageError, match="`latency_p50` is"):
        p50(value)


@pytest.mark.parametrize("ref", ["gone", "sha256:" + "0" * 64])
def test_what_is_not_held_has_no_measurements(net: Registry, ref: str) -> None:
    with pytest.raises(NotFound):
        net.measure(ref, [p50(1)])
    with pytest.raises(NotFound):
        net.measurements(ref)


def test_measurements_go_with_their_bytes(net: Registry, tmp_path: Path) -> None:
    net.measure("net", [p50(1)])
    digest = net.resolve("net").digest
    net.remove("net")
    assert len(net.measurements(digest)) == 1
    net.gc()
    net.register(tmp_path / "a.onnx", "net")
    assert net.measurements("net") == []


def first_schema(path: Path) -> None:
    """Make a registry as the first schema had it."""
    from alembic import command
    from alembic.config import Config

    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    config = Config()
    config.set_main_option("script_location", "onnxzoo.registry.database:migrations")
    config.set_main_option("path_separator", "os")
    engine = make_engine(f"sqlite:///{path}")
    with engine.begin() as writing:
        config.attributes["connection"] = writing
        command.upgrade(config, "0001")
    engine.dispose()


def publish(home: Path, model: Path) -> None:
    """Add a model to a registry without opening it, which would upgrade it."""
    from onnxzoo.registry.database import writes

    store, engine = Store(home / "store"), make_engine(f"sqlite:///{home / 'registry.db'}")
    draft = Draft("net", model.name, describe(model), source="test", tags=("edge",))
    with store.stage() as stage, Session(engine) as session, session.begin():
        stage.copy(model, model.name)
        writes.add(session, draft, store.publish(stage), "register")
    engine.dispose()


@pytest.fixture
def old(home: Path, tmp_path: Path) -> Path:
    """A registry of the first schema, with a model in it."""
    first_schema(home / "registry.db")
    publish(home, models.linear(tmp_path / "a.onnx"))
    return home / "registry.db"


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return everything in a database but Alembic's own mark."""
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    found = {
        name: connection.execute(f"SELECT * FROM {name}").fetchall()
        for (name,) in tables
        if name != "alembic_version"
    }
    connection.close()
    return found


def test_a_registry_of_the_first_schema_is_upgraded_with_nothing_lost(old: Path) -> None:
    before = rows(old)
    assert "measurement" not in before
    with Registry(old.parent) as registry:
        assert registry.resolve("net").tags == ("edge",)
        registry.load("net")
        registry.measure("net", [p50(1)])
        assert len(registry.measurements("net")) == 1
    after = rows(old)
    assert {name: after[name] for name in before} == before
    assert rows(old.with_name("registry.db.0001.bak")) == before


def _resolve(home: Path) -> str:
    with Registry(home) as registry:
        return registry.resolve("net").ref


def test_processes_that_upgrade_at_once_keep_a_backup_of_the_first_schema(old: Path) -> None:
    before = rows(old)
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        assert set(pool.map(_resolve, [old.parent] * 8, chunksize=1)) == {"net:fp32@1"}
    backup = old.with_name("registry.db.0001.bak")
    assert rows(backup) == before
    assert list(old.parent.glob("*.new*")) == []
