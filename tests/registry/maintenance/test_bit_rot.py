"""A file that was changed since it was published does not load silently, and is healed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError
from onnxzoo.registry.store import Store
from tests.registry.maintenance.test_rebuild import flip
from tests.support import models
from tests.support.commands import Run


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


@pytest.fixture
def a(tmp_path: Path) -> Path:
    (tmp_path / "ext").mkdir()
    return models.external(tmp_path / "ext" / "a.onnx", value=2)


def times(path: Path) -> set[int]:
    return {file.stat().st_mtime_ns for file in path.iterdir()}


def test_every_way_in_names_the_file_that_was_changed(
    registry: Registry, a: Path, zoo: Run
) -> None:
    variant = registry.register(a, "net").variant
    registry.load("net")
    weights = variant.path.with_name("weights.bin")
    flip(weights)
    with Registry(registry.settings.home) as fresh:
        for _ in range(2):  # it is not forgotten, and not taken for whole the second time
            with pytest.raises(
                IntegrityError, match=r"`net:fp32@1`.*`weights.bin` has SHA-256"
            ) as e:
                fresh.load("net")
            assert e.value.hint == "zoo verify net --repair"
    for words in (["path", "net"], ["run", "net"], ["doctor"]):
        ran = zoo(*words)
        assert (ran.code, "`weights.bin` has SHA-256" in ran.out + ran.err) == (4, True), words


def test_what_is_repaired_loads_again(registry: Registry, a: Path, zoo: Run) -> None:
    variant = registry.register(a, "net").variant
    flip(variant.path.with_name("weights.bin"))
    assert zoo("verify").code == 4
    assert zoo("verify", "net", "--repair").code == 0
    assert zoo("path", "net").code == 0
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(registry.load("net").run(None, {"x": x})[0], 2 * x)


def test_a_repair_does_not_need_a_verify_before_it(registry: Registry, a: Path, zoo: Run) -> None:
    flip(registry.register(a, "net").variant.path)
    ran = zoo("verify", "net", "--repair")
    assert (ran.code, "repaired: net:fp32@1" in ran.err) == (0, True)
    registry.load("net")


def test_a_repair_whose_source_is_gone_says_the_ways_out(
    registry: Registry, a: Path, zoo: Run
) -> None:
    flip(registry.register(a, "net").variant.path)
    a.unlink()
    ran = zoo("verify", "--repair")
    assert ran.code == 4
    assert "register it again from another place, or zoo rm net:fp32@1" in ran.err


def test_the_same_bytes_registered_again_heal_what_was_changed(registry: Registry, a: Path) -> None:
    variant = registry.register(a, "net").variant
    flip(variant.path)
    assert not registry.register(a, "net").new
    registry.load("net")


def test_a_copied_store_is_hashed_once(registry: Registry, a: Path, tmp_path: Path) -> None:
    variant = registry.register(a, "net").variant
    (published,) = times(variant.path.parent)
    registry.close()
    shutil.copytree(registry.settings.home, tmp_path / "copy", copy_function=shutil.copyfile)
    with Registry(tmp_path / "copy") as copy:
        folder = copy.resolve("net").path.parent
        assert published not in times(folder)
        copy.load("net")
        assert times(folder) == {published}


def test_a_file_without_a_hash_is_never_taken_for_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.stage() as stage:
        stage.write([b"x" * 10], "m.onnx")
        manifest = store.publish(stage)
    path = store.path(manifest.digest) / "m.onnx"
    assert store.changes(manifest) == []
    os.utime(path)
    assert store.changes(manifest) == []  # touched, not changed
    path.chmod(0o644)
    path.write_bytes(b"y" * 10)
    assert "SHA-256" in store.changes(manifest)[0]
    path.write_bytes(b"x" * 9)
    assert store.changes(manifest) == ["`m.onnx` has 9 bytes; expected 10"]
    path.unlink()
    assert store.changes(manifest) == ["`m.onnx`: no such file or directory"]


def test_test_data_that_were_changed_are_not_used(registry: Registry, tmp_path: Path) -> None:
    from tests.support.archives import one_set, spread

    registry.register(
        models.linear(tmp_path / "m.onnx"), "net", test_data=spread(tmp_path / "data", one_set())
    )
    found = registry.test_data("net")
    assert found is not None
    flip(found.folder / found.files[0].path)
    assert registry.test_data("net") is None
