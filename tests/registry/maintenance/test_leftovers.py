"""What gc finds in the cache."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from shutil import disk_usage

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.settings import Settings
from tests.faults.places import mounted
from tests.support import models
from tests.support.commands import Run


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


@pytest.fixture(scope="module")
def dead() -> str:
    """The name of a folder of a process that ended."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    return f"{os.uname().nodename}-{ended.stdout.strip()}-00000000"


def alive() -> str:
    return f"{os.uname().nodename}-{os.getpid()}-00000000"


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"x" * 1000)
    return path


def test_conversions_of_dead_processes_are_collected(
    settings: Settings, zoo: Run, dead: str
) -> None:
    gone, living = folder(settings.conversions / dead), folder(settings.conversions / alive())
    ran = zoo("gc", "--dry-run")
    assert (ran.out, gone.exists()) == (f"   1.0 kB  {gone}\n", True)
    zoo("gc")
    assert (gone.exists(), living.exists()) == (False, True)


def test_what_fills_a_disk_is_collected_from_it(tmp_path: Path, zoo: Run, dead: str) -> None:
    model = models.linear(tmp_path / "m.onnx")
    with mounted(tmp_path / "home", "tmpfs", "-o", "size=1m") as home:
        if home is None:
            pytest.skip("nothing can be mounted here")
        assert zoo("register", model, "--name", "net").code == 0
        left = folder(home / "store" / ".staging" / dead)
        with suppress(OSError), (left / "half").open("wb", buffering=0) as file:
            while file.write(bytes(1024)):
                pass
        assert zoo("register", model, "--name", "other").code == 7
        ran = zoo("gc", "-q")
        assert (ran.code, ran.out) == (0, f"{left}\n")
        assert zoo("register", model, "--name", "other").code == 0


@pytest.mark.parametrize(("free", "code"), [(34 << 10, 0), (0, 7)])
def test_a_collection_makes_the_room_that_its_transaction_needs(
    tmp_path: Path, zoo: Run, free: int, code: int
) -> None:
    """SQLite's index of its log takes 32 KiB. Where not even that is there, no hint goes round."""
    with mounted(tmp_path / "home", "tmpfs", "-o", "size=2m") as home:
        if home is None:
            pytest.skip("nothing can be mounted here")
        assert zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net").code == 0
        with Registry(home) as registry, registry.store.stage() as stage:
            stage.write([bytes(300_000)], "unused")
            digest = registry.store.publish(stage).digest
        (home / "full").write_bytes(bytes(disk_usage(home).free - free))
        ran = zoo("gc", "-q")
        assert (ran.code, "zoo gc" in ran.err) == (code, False)
        assert ran.out == ("" if code else f"{digest}\n")


def test_what_cannot_be_deleted_keeps_nothing_else(
    settings: Settings, tmp_path: Path, zoo: Run, dead: str
) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    bundle = Path(zoo("path", "net").out.strip()).parent
    zoo("rm", "net", "-y")
    with mounted(settings.home / "store" / ".staging" / dead / "mount", "tmpfs") as stuck:
        if stuck is None:
            pytest.skip("nothing can be mounted here")
        ran = zoo("gc")
    assert (ran.code, "busy" in ran.err, bundle.exists()) == (7, True, False)


def test_copies_for_the_hub_go_with_their_models(
    registry: Registry, tmp_path: Path, dead: str
) -> None:
    held = registry.register(models.linear(tmp_path / "m.onnx"), "net").variant.digest[7:19]
    copies = registry.settings.copies
    kept = [folder(copies / f"net-{'0' * 12}-{held}"),
            folder(copies / f"net-{'0' * 12}-{held}-{alive()}"),
            folder(copies / "what the user put there")]  # fmt: skip
    gone = [folder(copies / f"net-{'0' * 12}-{'1' * 12}"),
            folder(copies / f"net-{'0' * 12}-{held}-{dead}")]  # fmt: skip
    assert {Path(what) for what, _ in registry.gc().items} == set(gone)
    assert [path.exists() for path in kept] == [True] * 3
    assert [path.exists() for path in gone] == [False] * 2


def test_environments_are_collected_only_if_asked_for(
    settings: Settings, zoo: Run, dead: str
) -> None:
    whole = folder(settings.environments / "torch-0123456789ab")
    half, making = (folder(settings.environments / f".{name}") for name in (dead, alive()))
    assert zoo("gc", "-q").out == f"{half}\n"
    assert (whole.exists(), half.exists(), making.exists()) == (True, False, True)
    working = folder(settings.conversions / alive())
    assert zoo("gc", "--environments", "-q").out == ""  # one may be in use
    (working / "file").unlink()
    working.rmdir()
    assert zoo("gc", "--environments", "--dry-run").out == f"   1.0 kB  {whole}\n"
    zoo("gc", "--environments")
    assert (whole.exists(), making.exists()) == (False, True)


def test_a_store_is_changed_by_its_own_database_only(
    tmp_path: Path, zoo: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.linear(tmp_path / "m.onnx")
    zoo("register", model, "--name", "net")
    with Registry(tmp_path / "elsewhere") as other:
        other.register(models.linear(tmp_path / "n.onnx", value=2), "other")
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'registry.db'}"
    commands = (
        ("gc",), ("gc", "--dry-run"), ("rm", "other", "-y"), ("doctor", "--rebuild", "--force"),
        ("register", model, "--name", "third"), ("alias", "other@1", "production"),
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setenv("ZOO_DATABASE_URL", url)
        for command in commands:
            ran = zoo(*command)
            assert (ran.code, "belongs to another registry" in ran.err) == (9, True), command
    assert zoo("verify", "net").code == 0
    with Registry(tmp_path / "elsewhere") as other:
        assert [v.ref for v in other.list()] == ["other:fp32@1"]


def test_a_registry_that_is_moved_copied_or_rebuilt_stays_one(
    tmp_path: Path, zoo: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    own = (home / "store" / "registry").read_text()
    (home / "registry.db").unlink()
    for left in home.glob("registry.db-*"):
        left.unlink()
    assert zoo("doctor", "--rebuild").code == 0
    assert zoo("alias", "net@1", "production").code == 0
    assert (home / "store" / "registry").read_text() == own
    shutil.copytree(home, tmp_path / "copy")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "copy"))
    assert zoo("gc").code == 0
    assert zoo("rm", "net", "--force", "-y").code == 0


def test_a_store_from_before_gets_the_id_of_the_database_that_knows_it(
    tmp_path: Path, zoo: Run, home: Path
) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    own = (home / "store" / "registry").read_text()
    (home / "store" / "registry").unlink()
    assert zoo("gc").code == 0
    zoo("tag", "net", "small")
    assert (home / "store" / "registry").read_text() == own


def test_a_backup_from_before_registries_had_ids_is_no_stranger_to_its_store(
    tmp_path: Path, zoo: Run, home: Path
) -> None:
    """Restored and migrated again it has the id that its store was given the first time."""
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    database, backup = home / "registry.db", tmp_path / "backup.db"
    _without_id(database)
    shutil.copy(database, backup)
    assert zoo("alias", "net@1", "production").code == 0  # migrates, and the store gets the id
    own = (home / "store" / "registry").read_text()
    for _ in range(2):
        shutil.copy(backup, database)
        assert zoo("alias", "net@1", "staging").code == 0
        assert zoo("gc").code == 0
    assert (home / "store" / "registry").read_text() == own


def test_a_database_that_is_a_stranger_to_the_store_is_moved_away_and_made_again(
    tmp_path: Path, zoo: Run, home: Path
) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    with Registry(tmp_path / "elsewhere") as other:
        other.register(models.linear(tmp_path / "n.onnx", value=2), "other")
    shutil.copy(tmp_path / "elsewhere" / "registry.db", home / "registry.db")
    ran = zoo("doctor", "--rebuild")
    assert (ran.code, "move this one away" in ran.err) == (9, True)
    (home / "registry.db").rename(home / "away.db")
    assert zoo("doctor", "--rebuild").code == 0
    assert zoo("alias", "net@1", "production").code == 0


def _without_id(path: Path) -> None:
    """Take a database back to the schema before registries had ids; its store carries none."""
    (path.parent / "store" / "registry").unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE registry")
        connection.execute("DROP INDEX ix_event_removed")
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
        connection.execute("PRAGMA user_version = 4")
