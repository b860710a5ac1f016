"""`onnxzoo.hub` by the zoo's own names: small models stand in for those of a few repositories."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnxzoo import hub
from onnxzoo.zoo_index.index.indexes import SHIPPED
from onnxzoo.zoo_index.onnx_hub import functions
from tests.support.archives import pb, tar
from tests.support.hub import Hub, sha256, size

ZOO = "onnx/models:main"
_STAND_INS = {"mnist", "resnet50", "resnet-preproc"}
Shape = tuple[int | str, ...]
_SIDES: dict[str, Shape] = {"mnist": (1, 1, 28, 28), "resnet50": ("N", 3, 224, 224)}


def stand_in(name: str, opset: int, path: Path) -> Path:
    """Write a small model that has the inputs of one of the zoo's."""
    if name == "resnet-preproc":
        given = helper.make_tensor_sequence_value_info("images", TensorProto.UINT8, None)
        nodes = [
            helper.make_node("ConcatFromSequence", ["images"], ["stacked"], axis=0, new_axis=1),
            helper.make_node("Cast", ["stacked"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["out"], perm=[0, 3, 1, 2]),
        ]
        shape: Shape = ("N", 3, 224, 224)
    else:
        given = helper.make_tensor_value_info("in", TensorProto.FLOAT, _SIDES[name])
        nodes = [helper.make_node("GlobalAveragePool", ["in"], ["out"])]
        shape = (*_SIDES[name][:2], 1, 1)
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, name, [given], [made])
    imports = [helper.make_opsetid("", opset)]
    onnx.save(
        helper.make_model(graph, opset_imports=imports, ir_version=3 if opset < 8 else 8), path
    )
    return path


def serve(server: Hub, folder: Path) -> Path:
    """Serve stand-ins for a few models of the zoo, and return the index that names them."""
    lines = []
    for text in SHIPPED.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["name"] not in _STAND_INS:
            continue
        model = stand_in(line["name"], line["opset"], folder / line["files"][0]["path"])
        line["files"] = [{"path": model.name, "sha256": sha256(model), "bytes": size(model)}]
        files = {model.name: model}
        if (data := line.get("test_data")) and line["name"] == "mnist":
            ones = np.ones((1, 1, 28, 28), np.float32)
            made = np.ones((1, 1, 1, 1), np.float32)
            members = [
                ("model/model.onnx", model.read_bytes()),
                ("model/test_data_set_0/input_0.pb", pb(ones, "in")),
                ("model/test_data_set_0/output_0.pb", pb(made, "out")),
            ]
            archive = tar(folder / data["path"], members)
            files[archive.name] = archive
            data |= {"sha256": sha256(archive), "bytes": size(archive)}
        server.add(line["source"].removeprefix("hf://"), files)
        lines.append(json.dumps(line))
    index = folder / "index.jsonl"
    index.write_text("\n".join(lines), encoding="utf-8")
    return index


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (tmp_path / "served").mkdir()
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("ZOO_INDEX", str(serve(server, tmp_path / "served")))
        yield server
    functions._Place.folder = None


def kept() -> list[Path]:
    """Return the `.onnx` files below the folder that `get_dir` names."""
    return list(Path(hub.get_dir()).rglob("*.onnx"))


@pytest.mark.parametrize(("opset", "found"), [(None, 12), (8, 8), (1, 1)])
def test_a_name_in_capitals_and_an_opset_load_a_model(opset: int | None, found: int) -> None:
    model = hub.load("MNIST", ZOO, opset=opset)
    assert (type(model), model.opset_import[0].version) == (onnx.ModelProto, found)
    assert len(kept()) == 1
    assert hub.get_model_info("mnist", ZOO, opset=opset).opset == found


def test_it_is_loaded_anew_where_that_is_asked() -> None:
    assert hub.load("MNIST", ZOO, force_reload=True) == hub.load("MNIST", ZOO, force_reload=True)
    assert len(kept()) == 1


def test_another_folder_keeps_what_is_loaded(tmp_path: Path) -> None:
    before = hub.get_dir()
    hub.set_dir(str(Path(before) / "custom"))
    hub.load("MNIST", ZOO)
    assert [path.is_relative_to(Path(before) / "custom") for path in kept()] == [True]
    hub.set_dir(before)
    assert hub.get_dir() == before


@pytest.mark.parametrize(
    ("name", "repo", "opset"),
    [
        ("MNIST", ZOO, -1),
        ("MNIST", "onnx/models:unknown", None),
        ("MNIST", "mhamilton723/models", None),
        ("no-such-model", ZOO, None),
    ],
)
def test_what_it_has_not_is_the_error_that_callers_caught(
    name: str, repo: str, opset: int | None
) -> None:
    for call in (hub.load, hub.get_model_info, hub.download_model_with_test_data):
        with pytest.raises(AssertionError):
            call(name, repo, opset=opset)


def test_lists_grow_as_less_is_asked() -> None:
    one = hub.list_models(ZOO, model="mnist", tags=["vision"])
    tagged, every = hub.list_models(ZOO, tags=["vision"]), hub.list_models(ZOO)
    assert 1 < len(one) < len(tagged) < len(every)


def test_test_data_lie_beside_the_model() -> None:
    folder = hub.download_model_with_test_data("mnist")
    assert isinstance(folder, str)
    assert {path.name for path in Path(folder).iterdir()} == {"model.onnx", "test_data_set_0"}


def test_a_network_and_what_prepares_its_images_are_one_model() -> None:
    model = hub.load_composite_model("ResNet50-fp32", preprocessing_model="ResNet-preproc")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 18
    images = [np.full((224, 224, 3), value, np.uint8) for value in (2, 4)]
    (got, *_) = map(
        np.asarray, ReferenceEvaluator(model).run(None, {model.graph.input[0].name: images})
    )
    assert np.array_equal(got[:, :, 0, 0], [[2, 2, 2], [4, 4, 4]])
