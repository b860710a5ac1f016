"""Reference data in the registry: kept with a version, found, counted, checked, removed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onnxzoo
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, Refused, RemoteError
from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.measure.reference_test import replay
from onnxzoo.registry.reference_data import Reference
from onnxzoo.zoo_index.index.entry import Entry, dump
from onnxzoo.zoo_index.zoo import Zoo
from tests.support import models
from tests.support.archives import header, npz, one_set, spread, tar
from tests.support.hub import Hub, sha256, size


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return spread(tmp_path / "data", one_set())


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def served(hub: Hub, settings: Settings, folder: Path, *, there: bool = True) -> Settings:
    """Serve ``net`` as fp32 and as qdq, each with test data of its own, and index them."""
    lines = []
    for label, path in (
        ("fp32", models.linear(folder / "net.onnx")),
        ("qdq", models.quantized(folder / "net-qdq.onnx")),
    ):
        number = int(label == "qdq")
        members = [("net/model.onnx", path.read_bytes())]
        archive = tar(
            folder / f"net-{label}.tar.gz",
            members + list(one_set(number=number, under=f"net-{label}/").items()),
        )
        hub.add(f"zoo/net-{label}", {path.name: path} | ({archive.name: archive} if there else {}))
        entry = Entry(
            name="net",
            variant=label,
            precision=label,
            source=f"hf://zoo/net-{label}",
            files=(File(path.name, sha256(path), size(path)),),
            opset=17,
            test_data=File(archive.name, sha256(archive), size(archive)),
        )
        lines.append(f"{dump(entry)}\n")
    (folder / "index.jsonl").write_text("".join(lines))
    return replace(settings, endpoint=hub.url, indexes=(str(folder / "index.jsonl"),))


def held(registry: Registry, ref: str) -> Reference:
    found = registry.test_data(ref)
    assert found is not None
    return found


def test_data_are_kept_with_a_version(registry: Registry, tmp_path: Path, data: Path) -> None:
    model = models.linear(tmp_path / "m.onnx")
    registry.register(model, "net", test_data=data)
    found = held(registry, "net")
    assert (found.labels, found.sets("fp32"), found.source) == (("fp32",), 1, str(data))
    assert [event.action for event in registry.events("net")] == ["test-data", "register"]
    registry.register(models.linear(tmp_path / "n.onnx", value=2), "net")
    assert registry.test_data("net") is None
    assert registry.test_data("net@1") == found


def test_a_model_with_bad_data_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    bad = tar(tmp_path / "d.tar.gz", [header("x", b"2", "/etc/passwd")])
    with pytest.raises(Refused, match="a symbolic link"):
        registry.register(models.linear(tmp_path / "m.onnx"), "net", test_data=bad)
    assert registry.list() == []
    assert [*registry.store.digests(), *registry.store.leftovers()] == []


def test_each_variant_has_its_own_beside_the_others(registry: Registry, tmp_path: Path) -> None:
    first = spread(tmp_path / "one", one_set() | one_set(number=1))
    second = spread(tmp_path / "two", one_set(number=2))
    registry.register(models.linear(tmp_path / "m.onnx"), "net", test_data=first)
    fp32 = held(registry, "net").digest_of("fp32")
    registry.register(models.quantized(tmp_path / "q.onnx"), "net", test_data=second)
    found = held(registry, "net")
    assert [(label, found.sets(label)) for label in found.labels] == [("fp32", 2), ("qdq", 1)]
    assert found.digest_of("fp32") == fp32
    assert len(registry.gc().items) == 1  # the bundle of before
    registry.add_test_data("net:fp32", second)
    assert held(registry, "net").sets("fp32") == 1


def test_other_data_of_held_bytes_are_said_to_be_set(
    registry: Registry, tmp_path: Path, data: Path
) -> None:
    model = models.linear(tmp_path / "m.onnx")
    registry.register(model, "net", test_data=data)
    assert registry.register(model, "net", test_data=data).learnt == ()
    other = spread(tmp_path / "other", one_set(number=3))
    assert registry.register(model, "net", test_data=other).learnt == ("test data",)


def test_the_same_data_again_change_nothing(registry: Registry, tmp_path: Path, data: Path) -> None:
    registry.register(models.linear(tmp_path / "m.onnx"), "net", test_data=data)
    before = registry.events("net")
    registry.add_test_data("net", data)
    assert registry.events("net") == before
    assert [checked.problems for checked in registry.verify()] == [(), ()]


def test_data_are_no_garbage_until_their_version_goes(
    registry: Registry, tmp_path: Path, data: Path
) -> None:
    registry.register(models.linear(tmp_path / "m.onnx"), "net", test_data=data)
    registry.register(models.quantized(tmp_path / "q.onnx"), "net")
    found = held(registry, "net")
    assert registry.gc().items == ()
    registry.remove("net:fp32")
    assert held(registry, "net") == found
    freed = registry.remove("net").bytes
    assert freed > found.bytes
    assert found.digest in dict(registry.gc().items)


def test_verify_hashes_data_and_sets_aside_what_is_damaged(
    registry: Registry, tmp_path: Path, data: Path
) -> None:
    registry.register(models.linear(tmp_path / "m.onnx"), "net", test_data=data)
    found = held(registry, "net")
    path = found.folder / "fp32/test_data_set_0/input_0.pb"
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))
    damaged = [checked for checked in registry.verify(["net"]) if checked.problems]
    assert [checked.refs for checked in damaged] == [("net@1",)]
    assert damaged[0].moved_to is not None
    assert registry.test_data("net") is None
    with Zoo(registry) as zoo, pytest.raises(NotFound) as caught:
        zoo.repair(damaged[0])
    assert caught.value.hint == "zoo test net@1 --data FOLDER"
    registry.add_test_data("net", data)
    assert held(registry, "net").digest == found.digest


def test_data_that_an_index_pins_are_fetched_when_asked_for(
    hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    with Zoo(Registry(settings=served(hub, settings, tmp_path))) as zoo:
        fp32, qdq = (zoo.pull(ref, name="mine").variant for ref in ("net", "net:qdq"))
        assert zoo.registry.test_data("mine") is None
        assert not any(request.path.endswith(".tar.gz") for request in hub.requests)
        assert zoo.pull_test_data(fp32)
        zoo.need_test_data(qdq)
        found = held(zoo.registry, "mine")
        assert found.labels == ("fp32", "qdq")
        assert found.source == "hf://zoo/net-qdq/net-qdq.tar.gz"
        left = [path for path in settings.downloads.iterdir() if path.suffix != ".lock"]
        assert left == []
        before = len(hub.requests)
        assert zoo.pull_test_data(fp32)
        zoo.need_test_data(qdq)
        assert len(hub.requests) == before
        replayed = replay(zoo.registry, qdq, atol=1)
        assert (replayed.label, replayed.outcomes[0].name) == ("qdq", "test_data_set_1")


def test_data_that_are_gone_are_a_warning(
    hub: Hub, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Zoo(Registry(settings=served(hub, settings, tmp_path, there=False))) as zoo:
        variant = zoo.pull("net").variant
        assert not zoo.pull_test_data(variant)
        assert (
            "but they are not there: no file `net-fp32.tar.gz` in `hf://zoo/net-fp32"
            in (caplog.messages[-1])
        )


def test_wrong_data_do_not_fail_a_pull(
    hub: Hub, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Zoo(Registry(settings=served(hub, settings, tmp_path))) as zoo:
        variant = zoo.pull("net").variant
        hub.fault("wrong")
        assert not zoo.pull_test_data(variant)
        assert "stays without test data of its own" in caplog.messages[-1]
        assert "has SHA-256" in caplog.messages[-1]
        assert zoo.registry.test_data("net") is None


def test_data_are_not_fetched_offline(hub: Hub, settings: Settings, tmp_path: Path) -> None:
    registry = Registry(settings=served(hub, settings, tmp_path))
    with Zoo(registry) as zoo:
        variant = zoo.pull("net").variant
        with pytest.raises(RemoteError, match="offline mode"):
            Zoo(registry, offline=True).need_test_data(variant)


def test_damaged_data_of_an_index_are_fetched_again(
    hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    with Zoo(Registry(settings=served(hub, settings, tmp_path))) as zoo:
        for ref in ("net", "net:qdq"):
            zoo.need_test_data(zoo.pull(ref).variant)
        found = held(zoo.registry, "net")
        path = found.folder / "qdq/test_data_set_1/input_0.pb"
        path.unlink()
        (damaged,) = [checked for checked in zoo.registry.verify() if checked.problems]
        zoo.repair(damaged)
        assert held(zoo.registry, "net").digest == found.digest


def test_pull_takes_test_data_along() -> None:
    variant = onnxzoo.pull("light-squeezenet", test_data=True)
    with Registry() as registry:
        folder = held(registry, "light-squeezenet").folder / "fp32" / "test_data_set_0"
        assert sorted(path.name for path in folder.iterdir()) == ["input_0.pb", "output_0.pb"]
        assert replay(registry, variant).passed


def test_register_takes_test_data(tmp_path: Path) -> None:
    x = np.ones((1, 4), np.float32)
    data = npz(tmp_path / "d.npz", {"input:x": x, "output:y": x})
    onnxzoo.register(models.linear(tmp_path / "m.onnx"), "m", test_data=data)
    with Registry() as registry:
        assert held(registry, "m").sets("fp32") == 1
