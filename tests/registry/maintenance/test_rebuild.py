"""A damaged or lost database is made again from what lies beside the bundles."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Damaged, IntegrityError, Refused, StorageError
from onnxzoo.registry.core.records import Draft, Lineage
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.database.connection import make_engine
from onnxzoo.registry.database.database import Database, rows_of
from onnxzoo.registry.database.writes import add_tags, set_alias
from onnxzoo.registry.maintenance.rebuild import rebuild
from onnxzoo.registry.maintenance.sidecar_claims import read
from onnxzoo.registry.maintenance.sidecars import write_with_sidecars
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.store import Store
from tests.support import models
from tests.support.archives import one_set, spread
from tests.support.commands import Run

EVENTS = {"event", "measurement", "sqlite_sequence"}


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


@pytest.fixture
def full(registry: Registry, tmp_path: Path) -> Registry:
    """A registry with everything in it that a registry can hold."""
    a, b = (models.linear(tmp_path / f"{n}.onnx", value=n) for n in (1, 2))
    (tmp_path / "ext").mkdir()
    outside = models.external(tmp_path / "ext" / "c.onnx", value=3)
    data = spread(tmp_path / "data", one_set())
    registry.register(a, "acme/net", task="ranking", license="MIT", tags=["edge"], test_data=data)
    registry.register(b, "acme/net")
    registry.register(outside, "net_2:mine")
    registry.register(a, "same-bytes")
    derive(registry, b, "acme/net:int8@2", registry.resolve("acme/net").digest)
    registry.alias("acme/net@1", "staging")
    registry.alias("acme/net@1", "production")
    registry.alias("acme/net@2", "production")
    registry.tag("net_2", ["b", "a"])
    return registry


def derive(registry: Registry, path: Path, called: str, parent: str) -> None:
    made = models.linear(path.parent / "made.onnx", value=7)
    lineage = Lineage(parent, "acme/net:fp32@2", {"kind": "quantize", "tools": {"onnx": "1"}})
    name, _, rest = called.partition(":")
    label, _, version = rest.partition("@")
    with registry.store.stage() as stage:
        stage.copy(made, "made.onnx")
        draft = Draft(name, "made.onnx", describe(made), "derived", label=label,
                      version=int(version), origin="someone", revision="ab12",
                      lineage=lineage)  # fmt: skip
        registry.publish(stage, draft, "quantize", must_open=True)


def database(registry: Registry) -> Path:
    return registry.settings.home / "registry.db"


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in a database that has to come back, with names in the place of numbers."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            question: connection.execute(question).fetchall()
            for question in (
                "SELECT name, key, task, created_at FROM model ORDER BY name",
                "SELECT m.name, number, origin, license, v.created_at FROM version v "
                "JOIN model m ON m.id = model_id ORDER BY 1, 2",
                "SELECT m.name, number, label, precision, opset, digest, entry, source, revision, "
                "graph, r.created_at, parent, called, recipe FROM variant r "
                "JOIN version v ON v.id = version_id JOIN model m ON m.id = model_id "
                "LEFT JOIN lineage ON variant_id = r.id ORDER BY 1, 2, 3",
                "SELECT m.name, a.name, number FROM alias a JOIN version v ON v.id = version_id "
                "JOIN model m ON m.id = a.model_id ORDER BY 1, 2",
                "SELECT m.name, t.name FROM tag t JOIN model m ON m.id = model_id ORDER BY 1, 2",
                "SELECT m.name, number, digest, source FROM reference_data d JOIN version v "
                "ON v.id = version_id JOIN model m ON m.id = model_id ORDER BY 1, 2",
                "SELECT digest, bytes FROM bundle ORDER BY 1",
                "SELECT digest, path, sha256, bytes FROM file ORDER BY 1, 2",
            )
        }


def sidecars(registry: Registry) -> dict[str, Any]:
    found = {}
    for digest in registry.store.sidecars():
        text = json.loads(registry.store.sidecar(digest).read_text())
        del text["written_at"]
        found[digest] = text
    return found


def spoil(registry: Registry) -> bytes:
    registry.close()
    garbage = b"no database" * 1000
    database(registry).write_bytes(garbage)
    return garbage


def test_what_is_made_again_is_what_was_there(full: Registry) -> None:
    full.close()
    before = content(database(full))
    assert all(before.values())
    garbage = spoil(full)
    done = full.rebuild()
    assert content(database(full)) == before
    assert (len(done.refs), done.lost, done.nameless) == (6, (), ())
    assert done.moved_to is not None
    assert done.moved_to.read_bytes() == garbage
    assert done.moved_to.name.startswith("registry.db.damaged-")
    assert full.resolve("acme/net@production").version == 2
    assert full.test_data("acme/net@1") is not None
    full.load("net_2")
    assert full.register(full.resolve("same-bytes").path, "acme/net").new is False
    assert full.write_sidecars() == (0, [])


def test_a_lost_database_is_no_empty_registry(full: Registry, zoo: Run) -> None:
    full.close()
    before = content(database(full))
    database(full).unlink()
    for words in (["list"], ["gc"], ["verify"], ["show", "net_2"]):
        ran = zoo(*words)
        assert (ran.code, "is gone" in ran.err, "--rebuild" in ran.err) == (9, True, True), words
    assert not database(full).exists()
    assert zoo("doctor").code == 9
    ran = zoo("doctor", "--rebuild", "--json")
    found = json.loads(ran.out)
    assert (ran.code, len(found["restored"]), found["moved_to"]) == (0, 6, None)
    assert content(database(full)) == before


def test_nothing_is_registered_into_a_registry_whose_database_is_gone(
    full: Registry, tmp_path: Path
) -> None:
    path = models.linear(tmp_path / "n.onnx", value=9)
    database(full).unlink()  # under the hands of a service, and before one starts
    for registry in (full, Registry(full.settings.home)):
        with pytest.raises(Damaged, match="is gone"), registry:
            registry.register(path, "new")
        assert not database(full).exists()


def test_a_healthy_database_is_made_again_only_if_forced(full: Registry, zoo: Run) -> None:
    full.close()
    before = content(database(full))
    ran = zoo("doctor", "--rebuild")
    assert (ran.code, "is not damaged" in ran.err, "--force" in ran.err) == (5, True, True)
    assert list(full.settings.home.glob("*.damaged-*")) == []
    ran = zoo("doctor", "--rebuild", "--force")
    assert (ran.code, ran.out.count("restored ")) == (0, 6)
    assert content(database(full)) == before
    (aside,) = full.settings.home.glob("*.damaged-*Z")
    assert content(aside) == before
    assert zoo("doctor", "--force").code == 2


def test_the_log_of_a_database_goes_with_it(full: Registry) -> None:
    """It must never lie beside another database, which would take it for its own."""
    with closing(sqlite3.connect(database(full))) as other:
        other.execute("INSERT INTO tag SELECT id, 'in-the-log' FROM model")
        other.commit()  # and stays open, so that its log stays
        moved = full.rebuild(force=True).moved_to
        assert Path(f"{moved}-wal").stat().st_size > 0
        assert Path(f"{moved}-shm").exists()
        with closing(sqlite3.connect(f"{moved}")) as aside:
            tags = aside.execute("SELECT count(*) FROM tag WHERE name = 'in-the-log'").fetchone()
        assert tags == (3,)
        alone = shutil.copy(str(moved), full.settings.home / "alone.db")  # as a kill may leave it
        with closing(sqlite3.connect(alone)) as aside:
            tags = aside.execute("SELECT count(*) FROM tag WHERE name = 'in-the-log'").fetchone()
    assert tags == (3,)
    assert [variant.tags for variant in full.list(["in-the-log"])] == []


def test_nobody_writes_into_a_database_that_is_being_made_again(full: Registry) -> None:
    """Not into its log either, which the file itself does not show."""
    said: list[str] = []

    class Asking(Store):
        def sidecars(self) -> Iterator[str]:
            with closing(sqlite3.connect(database(full), timeout=0)) as other:
                try:
                    other.execute("DELETE FROM tag")
                    other.commit()
                except sqlite3.OperationalError as error:
                    said.append(str(error))
            return super().sidecars()

    full.tag("net_2", ["kept"])
    with closing(Database(database(full))) as held:
        rebuild(held, Asking(full.store.root), force=True)
    assert said == ["database is locked"]


def test_a_log_whose_database_is_lost_is_set_aside(full: Registry) -> None:
    full.close()
    before = content(database(full))
    database(full).unlink()
    log = database(full).with_name("registry.db-wal")
    log.write_bytes(b"frames of the lost one")
    assert full.rebuild().moved_to is None
    assert content(database(full)) == before
    (aside,) = full.settings.home.glob("registry.db.damaged-*-wal")
    assert aside.read_bytes() == b"frames of the lost one"


def test_a_rebuild_twice_changes_nothing(full: Registry) -> None:
    spoil(full)
    full.rebuild()
    full.close()
    once = content(database(full))
    full.rebuild(force=True)
    full.close()
    assert content(database(full)) == once


def test_a_store_that_says_nothing_leaves_the_damaged_database(full: Registry) -> None:
    for digest in list(full.store.sidecars()):
        full.store.sidecar(digest).unlink()
    garbage = spoil(full)
    with pytest.raises(Refused, match="nothing was done") as caught:
        full.rebuild()
    assert "backup" in (caught.value.hint or "")
    assert database(full).read_bytes() == garbage


def test_what_was_removed_does_not_come_back(full: Registry) -> None:
    full.remove("same-bytes")
    full.remove("net_2")
    full.remove("acme/net@1", force=True)
    full.untag("acme/net", ["edge"])
    spoil(full)
    done = full.rebuild()
    assert done.refs == ("acme/net:fp32@2", "acme/net:int8@2")
    assert len(done.nameless) == 3  # two models, one set of test data: gc has not been
    assert full.resolve("acme/net").tags == ()
    assert full.aliases("acme/net") == {"latest": 2, "production": 2}


def test_gc_takes_the_sidecars_with_the_bundles(full: Registry) -> None:
    full.remove("acme/net", force=True)
    full.remove("same-bytes")
    assert len(full.gc().items) == 4
    assert list(full.store.sidecars()) == list(full.store.digests())
    assert len(list(full.store.sidecars())) == 1
    orphan = full.store.sidecar("sha256:" + "ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_text("{}")
    assert full.gc().items == (("sha256:" + "ab" * 32, 0),)
    assert not orphan.exists()


def test_the_sidecars_follow_every_change(full: Registry) -> None:
    """What follows a change is what would be written from nothing."""

    def fresh() -> dict[str, Any]:
        for digest in list(full.store.sidecars()):
            full.store.sidecar(digest).unlink()
        full.write_sidecars()
        return sidecars(full)

    changes: list[Callable[[], object]] = [
        lambda: full.alias("acme/net@1", "production"),
        lambda: full.unalias("acme/net", "production"),
        lambda: full.tag("same-bytes", ["new"]),
        lambda: full.untag("same-bytes", ["new"]),
        lambda: full.register(full.resolve("net_2").path, "net_2", license="MIT", task="t"),
        lambda: full.add_test_data("acme/net@2", full.settings.home.parent / "data"),
        lambda: full.remove("acme/net:int8@2"),
        lambda: full.remove("acme/net@1", force=True),
        full.gc,
    ]
    for change in changes:
        before = sidecars(full)
        change()
        after = sidecars(full)
        assert after != before or change == full.gc
        assert after == fresh()


def test_an_alias_that_moves_is_in_a_sidecar_all_the_time(
    registry: Registry, tmp_path: Path
) -> None:
    """Whatever else grows with it; both ways, as the order could be that of the digests."""
    for value in (1, 2):
        registry.register(models.linear(tmp_path / f"{value}.onnx", value=value), "net")
    registry.alias("net@2", "production")
    seen: list[bool] = []

    class Watching(Store):
        def put(self, text: bytes, target: Path) -> None:
            super().put(text, target)
            claims = [read(self, digest).variants for digest in self.sidecars()]
            aliases = {alias for own in claims for one in own for alias in one.version.aliases}
            seen.append("production" in aliases)

    watching = Watching(registry.store.root)
    for version, tag in (
        (1, "tag-one-that-is-long"),
        (2, "tag-two-that-is-long"),
        (1, "tag-three-that-is-long"),
    ):
        with write_with_sidecars(Database(database(registry)), watching) as session:
            rows = rows_of(session)
            (row,) = rows(
                "SELECT m.id AS model_id, v.id AS version_id, r.id, m.name, number, r.label "
                "FROM model m JOIN version v ON model_id = m.id "
                "JOIN variant r ON version_id = v.id WHERE m.name = 'net' AND number = :n",
                n=version,
            )
            set_alias(session, "production", row)
            add_tags(session, row, [tag])
    assert seen
    assert all(seen)


def test_a_write_touches_the_sidecars_of_what_it_changes_alone(
    registry: Registry, tmp_path: Path
) -> None:
    for value in range(1, 6):
        registry.register(models.linear(tmp_path / f"{value}.onnx", value=value), "net")
    digests = [registry.resolve(f"net@{number}").digest for number in range(1, 6)]

    def written() -> list[int]:
        """Return the versions whose sidecars were written since the last call."""
        now = {digest: registry.store.sidecar(digest).stat().st_mtime_ns for digest in digests}
        new = [n for n, digest in enumerate(digests, 1) if now[digest] != before.get(digest)]
        before.update(now)
        return new

    before: dict[str, int] = {}
    written()
    registry.alias("net@2", "production")
    assert written() == [2]
    registry.alias("net@4", "production")
    assert written() == [2, 4]
    registry.tag("net", ["vision"])
    assert written() == [5]
    registry.remove("net@3")
    digests.pop(2)
    assert written() == [4]  # the newest says what holds of the whole model


def test_what_is_said_of_a_model_is_made_again_from_its_newest_sidecar(
    registry: Registry, tmp_path: Path
) -> None:
    for value in (1, 2, 3):
        registry.register(models.linear(tmp_path / f"{value}.onnx", value=value), "net")
    registry.tag("net", ["one"])
    registry.alias("net@1", "production")
    registry.tag("net", ["two"])
    registry.untag("net", ["one"])
    registry.remove("net@3")
    registry.rebuild(force=True)
    assert registry.resolve("net").tags == ("two",)
    registry.rebuild(force=True)
    assert registry.resolve("net").tags == ("two",)
    assert registry.write_sidecars() == (0, [])


def test_a_removed_variant_takes_its_say_of_the_model_along(
    registry: Registry, tmp_path: Path
) -> None:
    """A version that stays has the newest variant then, and says what holds now."""
    paths = [models.linear(tmp_path / f"{value}.onnx", value=value) for value in (1, 2, 3)]
    registry.register(paths[0], "net:a")
    registry.register(paths[1], "net:b", new_version=True)
    registry.tag("net", ["beta"])
    registry.register(paths[2], "net:c@1")
    registry.untag("net", ["beta"])
    registry.remove("net:c@1")
    registry.rebuild(force=True)
    assert registry.resolve("net").tags == ()


def test_an_alias_whose_variant_was_removed_means_its_version_after_a_rebuild(
    registry: Registry, tmp_path: Path
) -> None:
    for label, value in (("a", 1), ("b", 2)):
        registry.register(models.linear(tmp_path / f"{label}.onnx", value=value), f"net:{label}")
    registry.alias("net:b@1", "production")
    registry.remove("net:b@1", force=True)
    before = aliases(registry)
    registry.rebuild(force=True)
    assert before == aliases(registry) == [("production", None)]


def aliases(registry: Registry) -> list[tuple[str, int | None]]:
    with closing(sqlite3.connect(database(registry))) as connection:
        return connection.execute("SELECT name, variant_id FROM alias").fetchall()


def test_a_registry_of_an_older_release_gets_its_sidecars_from_the_doctor(
    full: Registry, zoo: Run
) -> None:
    before = sidecars(full)
    for digest in before:
        full.store.sidecar(digest).unlink()
    first, second = zoo("doctor"), zoo("doctor")
    assert (first.code, "wrote beside 5 bundles what they are" in first.err) == (0, True)
    assert (second.code, "wrote beside" in second.err) == (0, False)
    assert sidecars(full) == before


def test_a_change_that_fails_is_told_to_nobody_after_the_doctor(full: Registry) -> None:
    """A kill before the commit leaves a sidecar that is ahead; the database is right."""
    digest = full.resolve("net_2").digest
    claimed = json.loads(full.store.sidecar(digest).read_text())
    claimed["variants"][0]["aliases"] = ["ahead"]
    full.store.sidecar(digest).write_text(json.dumps(claimed))
    assert full.write_sidecars() == (1, [])
    assert full.write_sidecars() == (0, [])
    assert [read(full.store, digest).variants[0].version.aliases] == [()]


def test_a_change_that_fails_takes_back_the_sidecars_that_it_wrote(full: Registry) -> None:
    """The first is written, the last cannot be: something lies in its place."""
    first, *_, last = sorted({v.digest for v in full.list(name="acme/net")})
    before = full.store.sidecar(first).read_text()
    full.store.sidecar(last).unlink()
    (full.store.sidecar(last) / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError):
        full.tag("acme/net", ["never"])
    assert (
        json.loads(full.store.sidecar(first).read_text())["variants"]
        == (json.loads(before)["variants"])
    )


def test_of_two_sidecars_that_claim_the_same_the_last_one_counts(
    full: Registry, tmp_path: Path
) -> None:
    """As after a kill before the commit, when the database gave the same place again."""
    old = full.resolve("net_2:mine@1").digest
    new = full.register(models.linear(tmp_path / "n.onnx", value=9), "net_2").variant
    rewrite(full, new.digest, {"version": 1, "variant": "mine", "aliases": ["best"]})
    rewrite(full, old, {"aliases": ["best"]}, written_at="2020-01-01T00:00:00+00:00")
    spoil(full)
    done = full.rebuild()
    assert full.resolve("net_2:mine@best").digest == new.digest
    assert done.lost == (("net_2:mine@1", f"it meant `{old}` once, and other bytes since"),)


def rewrite(registry: Registry, digest: str, fields: Mapping[str, object], **more: object) -> None:
    path = registry.store.sidecar(digest)
    text = json.loads(path.read_text())
    text["variants"][0] |= fields
    path.write_text(json.dumps(text | more))


def test_bytes_that_are_gone_or_cut_are_named(full: Registry, zoo: Run) -> None:
    gone, cut = full.resolve("net_2"), full.resolve("acme/net:int8")
    shutil.rmtree(full.store.path(gone.digest))
    cut.path.chmod(0o644)
    os.truncate(cut.path, 3)
    spoil(full)
    ran = zoo("doctor", "--rebuild")
    assert ran.code == 4
    assert (
        "restored, but damaged: net_2:mine@1: `c.onnx`: no such file or directory\n"
        "restored, but damaged: acme/net:int8@2: `made.onnx` has 3 bytes"
    ) in "\n".join(sorted(ran.out.splitlines(), reverse=True))
    assert "6 restored, 0 not" in ran.err
    assert "hint: zoo verify --repair" in ran.err
    assert zoo("doctor").code == 4
    assert (full.resolve("acme/net:int8").opset, zoo("show", "net_2").code) == (17, 0)


def register_again(registry: Registry, path: Path, _: Path) -> None:
    assert registry.register(path, "net").repaired


def import_again(registry: Registry, _: Path, archive: Path) -> None:
    assert registry.import_file(archive).repaired == ("net:fp32@2",)


def put_back(registry: Registry, path: Path, _: Path) -> None:
    (damaged,) = [checked for checked in registry.verify() if checked.problems]
    with registry.store.stage() as stage:
        stage.copy(path, path.name)
        registry.restore(stage, damaged)


@pytest.mark.parametrize("heal", [register_again, import_again, put_back])
def test_what_is_damaged_waits_for_its_bytes(
    registry: Registry, tmp_path: Path, heal: Callable[..., None], zoo: Run
) -> None:
    """With its number, its aliases and tags; a repair says again what the model is."""
    path = models.linear(tmp_path / "m.onnx")
    registry.register(models.linear(tmp_path / "old.onnx", value=9), "net")
    registry.register(path, "net", new_version=True)
    registry.alias("net@2", "prod")
    registry.tag("net", ["fast"])
    registry.export(["net"], tmp_path / "net.zoo")
    held = registry.resolve("net@prod").path
    held.chmod(0o644)
    os.truncate(held, 3)
    registry.close()
    before = content(database(registry))
    database(registry).unlink()
    ran = zoo("doctor", "--rebuild", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["restored"]) == (4, ["net:fp32@1"])
    assert [one["what"] for one in found["damaged"]] == ["net:fp32@2"]
    assert registry.gc(dry_run=True).items == ()
    assert content(database(registry)) != before
    heal(registry, path, tmp_path / "net.zoo")
    registry.close()
    assert content(database(registry)) == before


def test_a_long_text_of_an_older_registry_is_no_damage(full: Registry) -> None:
    with closing(sqlite3.connect(database(full))) as other, other:
        other.execute("UPDATE version SET license = ?", ["x" * 70_000])
    full.alias("net_2", "old")
    spoil(full)
    assert not full.rebuild().lost


def test_a_flipped_byte_is_named(full: Registry) -> None:
    variant = full.resolve("net_2")
    flip(variant.path)
    spoil(full)
    ((ref, why),) = full.rebuild().damaged
    assert (ref, "has SHA-256" in why) == ("net_2:mine@1", True)


def test_a_damaged_version_keeps_its_number(full: Registry, tmp_path: Path) -> None:
    for label in ("fp32", "int8"):
        flip(full.resolve(f"acme/net:{label}@2").path)
    spoil(full)
    assert len(full.rebuild().damaged) == 2
    new = full.register(models.linear(tmp_path / "n.onnx", value=9), "acme/net", new_version=True)
    assert new.variant.version == 3


def flip(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


GOOD = "net_2:mine@1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: b"\xff garbage", "utf-8"),
        (lambda text: b"", "expecting value"),
        (lambda text: b"[" * 100_000, ""),
        (lambda text: b"[]", "expected an object, found []"),
        (lambda text: text | {"format": 99}, "format 99"),
        (lambda text: {k: v for k, v in text.items() if k != "files"}, "`files` is missing"),
        (lambda text: text | {"files": []}, "at least one file"),
        (lambda text: text | {"files": [text["files"][0] | {"path": "../x"}]}, "not a plain path"),
        (lambda text: text | {"files": text["files"][:1]}, "its files make the bundle"),
        (lambda text: text | {"written_at": "2026-01-01T00:00:00"}, "without its zone"),
        (lambda text: text | {"written_at": "0001-01-01T00:00:00+23:59"}, "beyond the calendar"),
        (lambda text: text | {"written_at": "yesterday"}, "isoformat"),
        ({"name": "../evil"}, "not a model's name"),
        ({"name": "net:a@2"}, "not a model's name"),
        ({"name": None}, "`name` is malformed: expected text, found null"),
        ({"variant": "a b"}, "not a valid variant"),
        ({"version": 0}, "expected 1 to 2147483647, found 0"),
        ({"version": 2**31}, "expected 1 to"),
        ({"version": True}, "expected a whole number, found true"),
        ({"version": "1"}, "expected a whole number"),
        ({"entry": "other.onnx"}, "is none of its files"),
        ({"tags": [7]}, "`tags` is malformed: expected text, found 7"),
        ({"aliases": ["\x1b[2J"]}, "not a valid alias"),
        ({"source": "a\0b"}, "zero byte"),
        ({"source": "\ud800"}, "surrogates"),
        ({"created_at": 7}, "`created_at` is malformed: expected text"),
        ({"lineage": {"parent": 7, "called": "y", "recipe": {"kind": "z"}}}, "`parent` is"),
        ({"lineage": {"parent": None, "called": "y", "recipe": []}}, "`recipe` is malformed"),
    ],
)  # fmt: skip
def test_a_sidecar_that_is_garbage_is_named_and_skipped(
    full: Registry, change: Any, why: str
) -> None:
    digest = full.resolve(GOOD).digest
    path = full.store.sidecar(digest)
    text = json.loads(path.read_text())
    if isinstance(change, dict):
        text["variants"][0] |= change
        path.write_text(json.dumps(text))
    else:
        made = change(text)
        path.write_bytes(made if isinstance(made, bytes) else json.dumps(made).encode())
    with pytest.raises(IntegrityError, match="is no sidecar of a bundle") as caught:
        read(full.store, digest)
    assert why in caught.value.message
    spoil(full)
    done = full.rebuild()
    assert done.lost == ((digest, caught.value.message),)
    assert (GOOD not in done.refs, len(done.refs)) == (True, 5)


def test_an_alias_that_could_be_a_number_or_is_built_in_is_passed_over(full: Registry) -> None:
    rewrite(full, full.resolve(GOOD).digest, {"aliases": ["latest", "7", "good"]})
    spoil(full)
    full.rebuild()
    assert full.aliases("net_2") == {"latest": 1, "good": 1}


def test_a_bundle_whose_model_does_not_read_is_named(registry: Registry, tmp_path: Path) -> None:
    """The digest vouches for the bytes, not for what they are."""
    registry.register(models.linear(tmp_path / "m.onnx"), "net")
    with registry.store.stage() as stage:
        stage.write([b"\x00no model"], "m.onnx")
        manifest = registry.store.publish(stage)
    files = [{"path": f.path, "sha256": f.sha256, "bytes": f.bytes} for f in manifest.files]
    text = json.loads(registry.store.sidecar(registry.resolve("net").digest).read_text())
    text |= {"digest": manifest.digest, "files": files}
    text["variants"][0] |= {"name": "bad"}
    registry.store.put(json.dumps(text).encode(), registry.store.sidecar(manifest.digest))
    spoil(registry)
    done = registry.rebuild()
    assert (done.refs, [what for what, _ in done.lost]) == (("net:fp32@1",), ["bad:fp32@1"])


def test_what_is_named_in_a_sidecar_cannot_forge_output(full: Registry, zoo: Run) -> None:
    rewrite(full, full.resolve(GOOD).digest, {"name": "evil\x1b[2J\nrestored all"})
    spoil(full)
    ran = zoo("doctor", "--rebuild")
    assert "\x1b" not in ran.out + ran.err
    assert "\nrestored all" not in ran.out + ran.err


def test_words_that_only_an_index_would_give_come_back(registry: Registry, tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    with registry.store.stage() as stage:
        stage.copy(path, "m.onnx")
        draft = Draft(
            "net", "m.onnx", describe(path), "s", license="a b", tags=("Computer Vision",)
        )
        registry.publish(stage, draft, "pull", must_open=True)
    spoil(registry)
    registry.rebuild()
    found = registry.resolve("net")
    assert (found.tags, found.license) == (("Computer Vision",), "a b")


def test_an_sqlite_url_is_rebuilt_too(
    full: Registry, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, zoo: Run
) -> None:
    """As is any other database that is empty: that is how a registry moves to a server."""
    full.close()
    before = content(database(full))
    monkeypatch.setenv("ZOO_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    assert zoo("list").code == 9
    assert zoo("doctor", "--rebuild").code == 0
    assert content(tmp_path / "other.db") == before


def test_a_temporary_sidecar_of_a_dead_process_is_left_over(registry: Registry) -> None:
    staging = registry.store.root / ".staging"
    staging.mkdir(parents=True)
    (staging / "elsewhere-1-00000000").write_bytes(b"{}")
    os.utime(staging / "elsewhere-1-00000000", (0, 0))
    assert [Path(what).name for what, _ in registry.gc().items] == ["elsewhere-1-00000000"]
    assert list(staging.iterdir()) == []


def test_the_engine_of_a_rebuilt_database_is_whole(full: Registry) -> None:
    spoil(full)
    full.rebuild()
    full.close()
    engine = make_engine(f"sqlite:///{database(full)}")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
    assert list(full.settings.home.glob(".new-*")) == []


def test_what_no_sidecar_tells_of_is_named(full: Registry, zoo: Run) -> None:
    digest = full.resolve("net_2:mine").digest
    full.close()
    full.store.sidecar(digest).unlink()
    full.store.discard(digest)
    ran = zoo("doctor", "--rebuild", "--force")
    assert ran.code == 4
    assert (
        "not restored: net_2:mine@1: the database of before knows it, and no sidecar does"
        in ran.out.splitlines()
    )
    assert ran.out.count("not restored") == 1
