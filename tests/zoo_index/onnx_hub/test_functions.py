"""`onnxzoo.hub`: what `onnx.hub` offered, over the indexes and the registry."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import onnxzoo
from onnxzoo import hub
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, UsageError
from onnxzoo.registry.core.manifest import File
from onnxzoo.zoo_index.index.entry import Entry, dump
from onnxzoo.zoo_index.onnx_hub import functions
from tests.support import models
from tests.support.archives import one_set, tar
from tests.support.hub import Hub, sha256, size

# The signatures of onnx 1.15's onnx/hub.py, written down from it.
SIGNATURES = {
    "list_models": "repo='onnx/models:main', model=None, tags=None",
    "get_model_info": "model, repo='onnx/models:main', opset=None",
    "load": "model, repo='onnx/models:main', opset=None, force_reload=False, silent=False",
    "download_model_with_test_data": (
        "model, repo='onnx/models:main', opset=None, force_reload=False, silent=False"
    ),
    "load_composite_model": (
        "network_model, preprocessing_model, network_repo='onnx/models:main', "
        "preprocessing_repo='onnx/models:main', opset=None, force_reload=False, silent=False"
    ),
    "set_dir": "new_dir",
    "get_dir": "",
}
# (the zoo's old name, an opset or None) -> where its file is now; from the zoo's old manifest.
OLD_NAMES = {
    ("MNIST", 8): "hf://onnxmodelzoo/mnist-8/mnist-8.onnx",
    ("MNIST-12-int8", None): "hf://onnxmodelzoo/mnist-12-int8/mnist-12-int8.onnx",
    ("ResNet50", 7): "hf://onnxmodelzoo/resnet50-v1-7/resnet50-v1-7.onnx",
    ("ResNet50-fp32", None): "hf://onnxmodelzoo/resnet50-v1-12/resnet50-v1-12.onnx",
    ("resnet50-INT8", None): "hf://onnxmodelzoo/resnet50-v1-12-int8/resnet50-v1-12-int8.onnx",
    ("AlexNet", None): "hf://onnxmodelzoo/bvlcalexnet-12/bvlcalexnet-12.onnx",
    ("AlexNet-int8", 12): "hf://onnxmodelzoo/bvlcalexnet-12-int8/bvlcalexnet-12-int8.onnx",
    ("SSD-MobilenetV1-12-qdq", 13): (
        "hf://onnxmodelzoo/ssd_mobilenet_v1_13-qdq/ssd_mobilenet_v1_13-qdq.onnx"
    ),
    ("Faster R-CNN R-50-FPN", 10): "hf://onnxmodelzoo/FasterRCNN-10/FasterRCNN-10.onnx",
}


@pytest.fixture
def server() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def net(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Serve ``net`` at opsets 9 and 17 and as qdq, the highest with test data."""
    files = {
        "fp32": models.linear(tmp_path / "net-17.onnx", value=2),
        "fp32-opset9": models.linear(tmp_path / "net-9.onnx", opset=9),
        "qdq": models.quantized(tmp_path / "net-qdq.onnx"),
    }
    archive = tar(tmp_path / "net-17.tar.gz", list(one_set(2.0, under="net/").items()))
    lines = []
    for label, path in files.items():
        data = archive if label == "fp32" else None
        server.add(f"zoo/net-{label}", {p.name: p for p in (path, data) if p})
        entry = Entry(
            name="net",
            variant=label,
            precision=label.partition("-")[0],
            source=f"hf://zoo/net-{label}",
            files=(File(path.name, sha256(path), size(path)),),
            opset=9 if label.endswith("9") else 17,
            tags=("Vision", "small") if label == "fp32" else ("other",),
            aliases=(f"Net-{label}",),
            test_data=File(data.name, sha256(data), size(data)) if data else None,
        )
        lines.append(f"{dump(entry)}\n")
    (tmp_path / "index.jsonl").write_text("".join(lines))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("ZOO_INDEX", str(tmp_path / "index.jsonl"))
    return files


@pytest.fixture(autouse=True)
def place() -> Iterator[None]:
    yield
    functions._Place.folder = None


def test_it_is_offered_like_the_removed_module() -> None:
    assert onnxzoo.hub is hub
    assert sorted([*SIGNATURES, "ModelInfo"]) == hub.__all__


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_is_the_removed_ones(name: str) -> None:
    function = getattr(hub, name)
    parameters = inspect.signature(function).parameters.values()
    bare = [str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters]
    assert ", ".join(bare) == SIGNATURES[name]
    assert all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)


@pytest.mark.parametrize(("name", "opset"), OLD_NAMES)
def test_an_old_name_finds_its_file(name: str, opset: int | None) -> None:
    assert hub.get_model_info(name, opset=opset).model_path == OLD_NAMES[name, opset]


def test_every_model_is_found_by_the_name_that_is_listed() -> None:
    listed = hub.list_models(tags=["classification"])
    assert len(listed) > 50
    for info in listed:
        assert info.model_sha in {other.model_sha for other in hub.list_models(model=info.model)}


def test_a_models_facts_are_where_they_were() -> None:
    info = hub.get_model_info("mnist", opset=12)
    assert (info.model, info.opset) == ("mnist", 12)
    assert info.tags == {"vision", "classification", "mnist"}
    assert info.metadata["model_sha"] == info.model_sha
    assert info.metadata["io_ports"]["inputs"] == [
        {"name": "Input3", "shape": [1, 1, 28, 28], "type": "float32"}
    ]
    assert info.metadata["model_with_data_path"].endswith("/mnist-12.tar.gz")
    assert info.raw_model_info["opset_version"] == 12
    assert str(info).startswith("ModelInfo(model=mnist, opset=12, path=hf://onnxmodelzoo/mnist-12")
    assert hub.ModelInfo(info.raw_model_info).tags == info.tags


@pytest.mark.parametrize(
    ("model", "tags", "opsets"),
    [
        ("net", None, [17, 9]),
        ("NET", ["VISION", "nonsense"], [17]),
        ("net", ["nonsense"], []),
        ("net", [], []),
        ("net-qdq", None, [17]),
        ("net-fp32-opset9", None, [9]),
        ("gone", None, []),
    ],
)
def test_tags_match_if_one_of_them_does(
    net: object, model: str, tags: list[str] | None, opsets: list[int]
) -> None:
    assert [info.opset for info in hub.list_models(model=model, tags=tags)] == opsets


def test_a_model_is_loaded_at_the_highest_opset_or_the_one_asked_for(net: object) -> None:
    loaded = hub.load("net")
    assert isinstance(loaded, onnx.ModelProto)
    assert loaded.opset_import[0].version == 17
    assert hub.load("net", "onnx/models", 9, silent=True).opset_import[0].version == 9
    with pytest.raises(AssertionError, match="no opset `8` of `net`; it has 17, 9") as caught:
        hub.load("net", opset=8)
    assert isinstance(caught.value, NotFound)


def test_what_was_loaded_is_held(server: Hub, net: object) -> None:
    hub.load("net")
    server.requests.clear()
    hub.load("net")
    assert server.requests == []
    assert onnxzoo.resolve("net").source == "hf://zoo/net-fp32"


def test_a_model_that_does_not_run_here_is_loaded_all_the_same(
    server: Hub, net: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = models.save(tmp_path / "odd.onnx", [helper.make_node("Nope", ["x"], ["y"])], [])
    server.add("zoo/odd", {path.name: path})
    entry = Entry(
        name="odd",
        variant="fp32",
        precision="fp32",
        source="hf://zoo/odd",
        files=(File(path.name, sha256(path), size(path)),),
        opset=17,
        ops={"Nope": 1},
    )
    (tmp_path / "odd.jsonl").write_text(f"{dump(entry)}\n")
    monkeypatch.setenv("ZOO_INDEX", str(tmp_path / "odd.jsonl"))
    assert hub.load("odd").graph.node[0].op_type == "Nope"


def test_damaged_bytes_are_never_handed_out(net: object) -> None:
    hub.load("net")
    path = onnxzoo.resolve("net").path
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(bytes(before.st_size))
    assert hub.load("net").opset_import[0].version == 17  # seen by its time, and fetched again
    path.chmod(0o644)
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as decay would
    with pytest.raises(IntegrityError, match="has SHA-256") as caught:
        hub.load("net")
    assert "force_reload=True" in (caught.value.hint or "")
    assert hub.load("net", force_reload=True).opset_import[0].version == 17


@pytest.mark.parametrize("repo", ["someone/models:main", "onnx/models:other", "onnx/models:"])
def test_another_repository_is_refused_and_nobody_is_asked(
    net: object, repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for call in (hub.load, hub.get_model_info, hub.download_model_with_test_data):
        with pytest.raises(Refused, match="is not the model zoo") as caught:
            call("net", repo)
    assert "ZOO_INDEX" in (caught.value.hint or "")
    assert isinstance(caught.value, AssertionError)  # as it was in onnx.hub
    with pytest.raises(Refused):
        hub.list_models(repo)
    assert capsys.readouterr() == ("", "")


def test_a_text_is_no_list_of_tags() -> None:
    with pytest.raises(UsageError, match="tags are a list"):
        hub.list_models(tags="vision")  # type: ignore[arg-type]


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(NotFound, match="did you mean `resnet50`"):
        hub.load("resnt50")


def test_the_folder_can_be_moved(net: object, tmp_path: Path, home: Path) -> None:
    assert hub.get_dir() == str(home)
    hub.set_dir(str(tmp_path / "other"))
    assert hub.get_dir() == str(tmp_path / "other")
    hub.load("net")
    assert (tmp_path / "other" / "registry.db").exists()
    assert not (home / "registry.db").exists()


def test_a_model_comes_with_its_test_data(server: Hub, net: dict[str, Path]) -> None:
    found = hub.download_model_with_test_data("net")
    assert found is not None
    folder = Path(found)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "model.onnx",
        "test_data_set_0/input_0.pb",
        "test_data_set_0/output_0.pb",
    ]
    assert (folder / "model.onnx").read_bytes() == net["fp32"].read_bytes()
    server.requests.clear()
    (folder / "mine").touch()
    assert hub.download_model_with_test_data("net") == found
    assert (folder / "mine").exists()
    assert hub.download_model_with_test_data("net", force_reload=True) == found
    assert not (folder / "mine").exists()
    assert server.requests == []


def test_a_model_without_test_data_gives_none(
    net: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert hub.download_model_with_test_data("net", opset=9) is None
    assert caplog.messages[-1] == "`net:fp32-opset9@1` has no test data"


def test_a_light_model_needs_no_network() -> None:
    found = hub.download_model_with_test_data("light-squeezenet")
    assert found is not None
    session = onnxzoo.load("light-squeezenet")
    read = [
        onnx.numpy_helper.to_array(
            TensorProto.FromString((Path(found) / f"test_data_set_0/{name}_0.pb").read_bytes())
        )
        for name in ("input", "output")
    ]
    (got,) = session.run(None, {session.get_inputs()[0].name: read[0]})
    np.testing.assert_allclose(got, read[1], 1e-3, 1e-7)


def test_two_models_become_one_at_the_higher_opset(net: dict[str, Path]) -> None:
    both = hub.load_composite_model("net", "net-fp32-opset9")
    assert both.opset_import[0].version == 17
    onnx.checker.check_model(both)
    x = np.ones((1, 4), np.float32)
    (got,) = ReferenceEvaluator(both).run(None, {"x": x})
    np.testing.assert_array_equal(got, 2 * x)


def test_two_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from onnxzoo.zoo_index.onnx_hub.compose import merged

    one, two = (onnx.load(models.linear(tmp_path / f"{n}.onnx")) for n in "ab")
    for model, version in ((one, 1), (two, 2)):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", version))
    with pytest.raises(ValueError, match=r"opset 1 of `ai.onnx.ml`, `b` has 2") as caught:
        merged(one, two, ("a", "b"))
    assert isinstance(caught.value, Refused)
    odd = onnx.load(models.strings(tmp_path / "s.onnx"))
    with pytest.raises(Refused, match="hold other types"):
        merged(odd, onnx.load(models.linear(tmp_path / "c.onnx")), ("a", "b"))


def test_weights_that_are_listed_as_inputs_are_not_connected(tmp_path: Path) -> None:
    from onnxzoo.zoo_index.onnx_hub.compose import merged

    two = onnx.load(models.linear(tmp_path / "b.onnx", value=3))
    weights = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])
    two.graph.input.insert(0, weights)
    both = merged(onnx.load(models.linear(tmp_path / "a.onnx")), two, ("a", "b"))
    assert "y" not in {value.name for value in both.graph.input}
    assert both.graph.input[0].name == "x"
    assert [value.name for value in both.graph.output] == ["y"]


def test_held_models_of_the_same_name_are_not_mistaken(
    net: dict[str, Path], tmp_path: Path
) -> None:
    with Registry() as registry:
        registry.register(models.linear(tmp_path / "mine.onnx", value=9), "net")
    weights = onnx.numpy_helper.to_array(hub.load("net").graph.initializer[0])
    assert weights.tolist() == [2, 2, 2, 2]
    with Registry() as registry:
        assert len(registry.list(name="net")) == 2
