"""Bundles that the database does not know: kept, named, and added to it again."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxzoo.registry.api import Registry
from tests.support import models
from tests.support.archives import one_set, spread
from tests.support.commands import Run


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as registry:
        yield registry


def add(registry: Registry, folder: Path, value: int, name: str = "net") -> str:
    registry.register(models.linear(folder / f"{value}.onnx", value=value), name)
    return registry.resolve(name).ref


@pytest.fixture
def older(registry: Registry, tmp_path: Path) -> Registry:
    """A registry whose database is a backup of before most of its models."""
    add(registry, tmp_path, 1)
    registry.alias("net@1", "production")
    registry.close()
    backup = tmp_path / "backup.db"
    shutil.copy(registry.settings.home / "registry.db", backup)
    add(registry, tmp_path, 2)
    add(registry, tmp_path, 3, "other")
    registry.alias("net@2", "production")
    registry.alias("other", "production")
    registry.tag("net", ["vision"])
    registry.add_test_data("other", spread(tmp_path / "data", one_set()))
    registry.close()
    for suffix in ("-wal", "-shm"):
        (registry.settings.home / f"registry.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, registry.settings.home / "registry.db")
    return registry


def test_a_collection_keeps_what_an_older_copy_does_not_know(older: Registry, zoo: Run) -> None:
    before = set(older.store.digests())
    ran = zoo("gc")
    assert ran.code == 0
    assert "`net:fp32@2`, `other:fp32@1`, `other@1` lie in the store" in ran.err
    assert "zoo doctor --rebuild adds them, zoo gc --force frees them" in ran.err
    assert set(older.store.digests()) == before
    assert older.gc(dry_run=True).unknown == ("net:fp32@2", "other:fp32@1", "other@1")


def test_a_collection_frees_it_where_it_is_told_to(older: Registry, zoo: Run) -> None:
    assert zoo("gc", "--force").code == 0
    assert set(older.store.digests()) == {older.resolve("net").digest}
    assert not older.gc(dry_run=True).unknown


def test_the_doctor_names_it_and_leaves_its_sidecars_alone(older: Registry, zoo: Run) -> None:
    before = {path: path.read_bytes() for path in older.store.root.rglob("*.json")}
    ran = zoo("doctor")
    assert ran.code == 9
    assert "`net:fp32@2`, `other:fp32@1`, `other@1` lie in the store" in ran.out
    assert {path: path.read_bytes() for path in older.store.root.rglob("*.json")} == before


def test_a_rebuild_adds_what_the_copy_does_not_know(older: Registry, zoo: Run) -> None:
    known = older.resolve("net@1")
    ran = zoo("doctor", "--rebuild")
    assert ran.code == 4  # an alias means something else
    assert {"restored net:fp32@2", "restored other:fp32@1"} <= set(ran.out.splitlines())
    assert (
        "not restored: net@production: it means `net:fp32@1` here, and `net:fp32@2` in the store"
    ) in ran.out
    assert older.resolve("net@1").created_at == known.created_at
    assert (older.resolve("net").version, older.resolve("net").tags) == (2, ("vision",))
    assert older.resolve("other@production").version == 1
    assert older.test_data("other") is not None
    assert [event.action for event in older.events("net")][-1] == "register"  # the log is kept
    assert zoo("doctor").code == 0


def test_a_number_that_was_given_again_is_not_taken_away(
    older: Registry, zoo: Run, tmp_path: Path
) -> None:
    assert add(older, tmp_path, 9) == "net:fp32@2"
    ran = zoo("doctor", "--rebuild")
    assert (
        "not restored: net:fp32@2: that version is another one now; it is `net:fp32@3`" in ran.out
    )
    assert {variant.version for variant in older.list(name="net")} == {1, 2, 3}


def test_a_damaged_bundle_waits_for_its_bytes(older: Registry, zoo: Run) -> None:
    known = {older.resolve("net").digest}
    for digest in {*older.store.digests()} - known:
        for path in older.store.path(digest).rglob("*.onnx"):
            path.chmod(0o600)
            path.write_bytes(b"")
    ran = zoo("doctor", "--rebuild")
    assert "restored, but damaged: other:fp32@1" in ran.out


def test_a_registration_that_was_killed_is_named(
    registry: Registry, zoo: Run, tmp_path: Path
) -> None:
    add(registry, tmp_path, 1)
    digest = registry.resolve("net").digest
    sidecar = registry.store.sidecar(digest).read_bytes()
    folder = registry.store.path(digest)
    shutil.copytree(folder, tmp_path / "bytes", copy_function=shutil.copy)
    registry.remove("net")
    registry.gc()
    shutil.copytree(tmp_path / "bytes", folder)
    later = json.loads(sidecar) | {"written_at": "2100-01-01T00:00:00+00:00"}
    registry.store.sidecar(digest).write_text(json.dumps(later))
    add(registry, tmp_path, 2, "other")
    assert "`net:fp32@1` lies in the store" in zoo("gc").err
    assert "restored net:fp32@1" in zoo("doctor", "--rebuild").out
    assert registry.resolve("net").digest == digest


def test_what_was_removed_is_freed_as_before(registry: Registry, tmp_path: Path) -> None:
    for value in (1, 2):
        add(registry, tmp_path, value)
    registry.remove("net@2")
    found = registry.gc()
    assert (len(found.items), found.unknown) == (1, ())


def test_a_whole_database_that_knows_all_is_not_rebuilt(
    registry: Registry, zoo: Run, tmp_path: Path
) -> None:
    add(registry, tmp_path, 1)
    assert "is not damaged; nothing was done" in zoo("doctor", "--rebuild").err


def test_what_another_machine_removed_is_garbage_here(
    registry: Registry, zoo: Run, tmp_path: Path
) -> None:
    """Two machines with one database have a store each: one removes, the other still has it."""
    for value in (1, 2):
        add(registry, tmp_path, value)
    digest = registry.resolve("net@2").digest
    kept = registry.store.sidecar(digest).read_bytes()
    registry.remove("net@2")
    registry.store.sidecar(digest).write_bytes(kept)  # as it is in the other's store
    assert zoo("doctor").code == 0
    assert registry.gc().unknown == ()
    assert set(registry.store.digests()) == {registry.resolve("net").digest}


def test_another_version_of_the_same_number_stays_as_it_is(
    older: Registry, zoo: Run, tmp_path: Path
) -> None:
    older.register(models.linear(tmp_path / "tuned.onnx", value=8), "net:tuned", new_version=True)
    assert zoo("doctor", "--rebuild").code == 4
    assert {v.ref for v in older.list(name="net")} == {
        "net:fp32@1",
        "net:tuned@2",
        "net:fp32@3",
    }


def test_what_the_store_knows_later_is_not_written_over(
    registry: Registry, zoo: Run, tmp_path: Path
) -> None:
    add(registry, tmp_path, 1)
    path = registry.store.sidecar(registry.resolve("net").digest)
    said = json.loads(path.read_text()) | {"written_at": "2100-01-01T00:00:00+00:00"}
    said["variants"][0]["aliases"] = ["production"]
    path.write_text(json.dumps(said))
    ran = zoo("doctor")
    assert ran.code == 9
    assert "what the store says of `net` was written after the database's last change" in ran.out
    assert "production" in path.read_text()
    registry.alias("net@1", "staging")  # the next change writes what the database says
    assert zoo("doctor").code == 0


def test_other_reference_data_are_named(registry: Registry, zoo: Run, tmp_path: Path) -> None:
    add(registry, tmp_path, 1)
    registry.add_test_data("net", spread(tmp_path / "a", one_set()))
    held = registry.test_data("net")
    assert held is not None
    digest = held.digest
    kept, folder = registry.store.sidecar(digest).read_bytes(), registry.store.path(digest)
    shutil.copytree(folder, tmp_path / "kept", copy_function=shutil.copy)
    registry.add_test_data("net", spread(tmp_path / "b", one_set(2.0)))
    registry.gc()
    shutil.copytree(tmp_path / "kept", folder)
    registry.store.sidecar(digest).write_bytes(kept)
    assert zoo("doctor").code == 9
    ran = zoo("doctor", "--rebuild")
    assert "not restored: net@1: it has other reference data here, which stay" in ran.out
    assert zoo("gc", "--force").code == 0
    assert zoo("doctor").code == 0


def test_another_name_of_known_bytes_is_added_too(
    registry: Registry, zoo: Run, tmp_path: Path
) -> None:
    add(registry, tmp_path, 1)
    registry.close()
    shutil.copy(registry.settings.home / "registry.db", tmp_path / "backup.db")
    registry.register(tmp_path / "1.onnx", "later")
    registry.close()
    for suffix in ("-wal", "-shm"):
        (registry.settings.home / f"registry.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", registry.settings.home / "registry.db")
    assert "`later:fp32@1` lies in the store" in zoo("doctor").out
    assert "restored later:fp32@1" in zoo("doctor", "--rebuild").out
    assert registry.resolve("later").digest == registry.resolve("net").digest
    assert zoo("doctor").code == 0


def test_data_are_no_garbage_where_another_variant_was_removed(
    registry: Registry, tmp_path: Path
) -> None:
    add(registry, tmp_path, 1)
    registry.add_test_data("net", spread(tmp_path / "data", one_set()))
    held = registry.test_data("net")
    assert held is not None
    with sqlite3.connect(registry.settings.home / "registry.db") as connection:
        connection.execute("DELETE FROM reference_data")  # as an older copy has it
        connection.execute(
            "INSERT INTO event (at, action, reference, detail) "
            "VALUES ('2100-01-01T00:00:00+00:00', 'remove', 'net:int8@1', 'sha256:0')"
        )
    connection.close()
    assert registry.gc().unknown == ("net@1",)
    assert held.folder.exists()
