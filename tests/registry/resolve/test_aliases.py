"""An alias means the variant that it meant when it was set, until it is moved."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.records import Draft, Lineage, Variant
from onnxzoo.registry.onnx_file.describe import describe
from tests.support import models
from tests.support.commands import Run


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


def derive(
    registry: Registry, path: Path, parent: Variant, label: str, *, opset: int = 17
) -> Variant:
    """Keep a variant that was made from another."""
    made = models.linear(path / f"{label}.onnx", value=7, opset=opset)
    lineage = Lineage(parent.digest, parent.ref, {"kind": "opset", "tools": {}})
    with registry.store.stage() as stage:
        stage.copy(made, "model.onnx")
        graph = describe(made)
        draft = Draft(
            parent.name, "model.onnx", graph, "s", label, version=parent.version, lineage=lineage
        )
        return registry.publish(stage, draft, "opset", must_open=False).variant


def test_a_derived_variant_takes_over_no_reference(registry: Registry, tmp_path: Path) -> None:
    first = registry.register(models.linear(tmp_path / "a.onnx", opset=13), "net").variant
    registry.alias("net@1", "production")
    derive(registry, tmp_path, first, "fp32-opset17")
    assert registry.resolve("net").ref == "net:fp32@1"
    assert registry.resolve("net@production").ref == "net:fp32@1"
    assert registry.resolve("net@production", opset=17).ref == "net:fp32-opset17@1"
    assert registry.resolve("net:fp32-opset17@production").ref == "net:fp32-opset17@1"
    registry.remove("net:fp32@1", force=True)  # what is left is all there is
    assert registry.resolve("net@production").ref == "net:fp32-opset17@1"


def test_an_alias_goes_on_to_mean_its_variant(registry: Registry, tmp_path: Path) -> None:
    registry.register(models.linear(tmp_path / "a.onnx", opset=13), "net")
    registry.alias("net@1", "production")
    registry.register(models.linear(tmp_path / "b.onnx", opset=17), "net:fp32-new@1")
    assert registry.resolve("net@1").ref == "net:fp32-new@1"
    found = registry.resolve("net@production")
    assert (found.ref, found.why) == (
        "net:fp32@1",
        "`fp32` is what `net@production` was set to",
    )
    registry.alias("net@1", "production")
    assert registry.resolve("net@production").ref == "net:fp32-new@1"


def test_an_alias_of_a_variant_means_that_one(registry: Registry, tmp_path: Path) -> None:
    first = registry.register(models.linear(tmp_path / "a.onnx"), "net").variant
    derive(registry, tmp_path, first, "small")
    registry.alias("net@1:small", "production")
    assert registry.resolve("net@production").ref == "net:small@1"
    assert registry.resolve("net:fp32@production").ref == "net:fp32@1"
    registry.load("net@production")


def test_a_runtime_that_cannot_run_it_gets_the_nearest_and_is_told(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = registry.register(models.linear(tmp_path / "a.onnx", opset=99), "net:new").variant
    derive(registry, tmp_path, new, "old", opset=13)
    registry.alias("net:new@1", "production")
    for _ in range(2):
        found = registry.resolve("net@production")
    assert found.ref == "net:old@1"
    assert found.why == (
        "`old` is the nearest that runs; `new` is what `net@production` was set to, "
        "and does not run"
    )
    said = [record.getMessage() for record in caplog.records if "in its place" in record.message]
    assert said == [
        "`net@production` means `net:new@1`, which the installed onnxruntime does not run; "
        "`net:old@1` is taken in its place"
    ]


def test_a_rebuild_and_an_archive_keep_the_variant(
    registry: Registry, tmp_path: Path, home: Path
) -> None:
    first = registry.register(models.linear(tmp_path / "a.onnx"), "net").variant
    derive(registry, tmp_path, first, "small")
    registry.alias("net:small@1", "production")
    registry.alias("net@1", "stable")
    registry.export(["net"], tmp_path / "net.zoo")
    registry.rebuild(force=True)
    with Registry(tmp_path / "there") as there:
        there.import_file(tmp_path / "net.zoo")
        for one in (registry, there):
            assert one.resolve("net@production").ref == "net:small@1"
            assert one.resolve("net@stable").ref == "net:fp32@1"
        there.alias("net:fp32@1", "production")
        assert there.import_file(tmp_path / "net.zoo").kept == (
            ("net@production", "net:fp32@1", "net:small@1"),
        )
        assert there.import_file(tmp_path / "net.zoo", move_aliases=True).set == ("net@production",)
        assert there.resolve("net@production").ref == "net:small@1"


def test_sidecars_of_an_older_release_are_filled_in(registry: Registry, tmp_path: Path) -> None:
    first = registry.register(models.linear(tmp_path / "a.onnx"), "net").variant
    derive(registry, tmp_path, first, "small")
    registry.alias("net:small@1", "production")
    for path in (registry.store.sidecar(v.digest) for v in registry.list()):
        content = json.loads(path.read_bytes())
        for claim in content["variants"]:
            assert claim.pop("alias_variants") == {"production": "small"}
        path.chmod(0o644)
        path.write_text(json.dumps(content))
    registry.rebuild(force=True)
    assert registry.resolve("net@production").ref == "net:fp32@1"
    with closing(sqlite3.connect(registry.settings.home / "registry.db")) as connection:
        assert connection.execute("SELECT variant_id IS NULL FROM alias").fetchall() == [(0,)]


def test_a_lock_has_the_variant_of_an_alias(zoo: Run, home: Path, tmp_path: Path) -> None:
    with Registry(home) as registry:
        first = registry.register(models.linear(tmp_path / "a.onnx"), "net").variant
        small = derive(registry, tmp_path, first, "small")
        registry.alias("net:small@1", "production")
    lock = tmp_path / "zoo.lock"
    assert zoo("lock", "net@production", "--lock", lock).code == 0
    assert small.digest in lock.read_text()
    zoo("alias", "net:fp32@1", "production")
    ran = zoo("sync", "--check", "--lock", lock)
    assert ran.code != 0
    assert "zoo alias net:small@1 production goes back to what is locked" in ran.err
