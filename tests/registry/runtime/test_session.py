"""Sessions, devices, the runtime's highest opset, random inputs."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import InvalidModel, Refused, UsageError
from onnxzoo.registry.runtime.capabilities import highest_opset
from onnxzoo.registry.runtime.providers import CPU, wanted_providers
from onnxzoo.registry.runtime.session import infer, open_session
from onnxzoo.registry.sample_inputs.sample_inputs import sample_inputs
from tests.support import models


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "m.onnx")


def opens(folder: Path, opset: int) -> bool:
    path = models.linear(folder / f"{opset}.onnx", opset=opset)
    try:
        open_session(path, [CPU])
    except InvalidModel:
        return False
    return True


def test_the_highest_opset_is_the_highest_that_opens(tmp_path: Path) -> None:
    assert opens(tmp_path, highest_opset())
    assert not opens(tmp_path, highest_opset() + 1)


def test_a_session_is_onnxruntimes_own(path: Path) -> None:
    session = open_session(path, [CPU])
    assert isinstance(session, onnxruntime.InferenceSession)
    assert session.get_providers() == [CPU]


@pytest.mark.parametrize(
    ("device", "package"),
    [("cuda", "onnxzoo[gpu]"), ("openvino", "onnxzoo[openvino]"), ("rocm", "onnxruntime-rocm")],
)
def test_a_device_that_is_not_there_is_refused_with_its_package(device: str, package: str) -> None:
    with pytest.raises(Refused, match="was asked for and is not there") as caught:
        wanted_providers(device)
    assert package in (caught.value.hint or "")


def test_a_provider_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refused, match="CUDAExecutionProvider"):
        wanted_providers(providers=[("CUDAExecutionProvider", {"device_id": 0}), CPU])


def test_an_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="`tpu` is not a device; expected auto, gpu, cpu"):
        wanted_providers("tpu")


def test_a_model_that_does_not_open_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("NoSuchOp", ["x"], ["y"])
    with pytest.raises(InvalidModel, match="cannot open"):
        open_session(models.save(tmp_path / "m.onnx", [node], []), [CPU])


def test_opening_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weight = onnx.numpy_helper.from_array(np.ones(4, np.float32), "unused")
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    open_session(models.save(tmp_path / "m.onnx", [node], [weight]), [CPU])
    assert capfd.readouterr() == ("", "")


def test_what_a_model_calls_its_nodes_reaches_no_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J"
    index = numpy_helper.from_array(np.array([[2**40]]), "i")
    data = numpy_helper.from_array(np.zeros((1, 4), np.float32), "d")
    node = helper.make_node("ScatterElements", ["d", "i", "part"], ["y"], name=evil)
    cut = helper.make_node("Slice", ["x", "0", "1", "1"], ["part"])
    ends = [numpy_helper.from_array(np.array([n]), str(n)) for n in (0, 1)]
    path = models.save(tmp_path / "m.onnx", [cut, node], [index, data, *ends])
    session = open_session(path, [CPU])
    with pytest.raises(UsageError) as caught:
        infer(session, {"x": np.ones((1, 4), np.float32)})
    assert capfd.readouterr() == ("", "")
    assert "\x1b" not in caught.value.message


def test_inputs_that_do_not_fit_are_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="does not take these inputs"):
        infer(open_session(path, [CPU]), {"x": np.zeros((1, 9), np.float32)})


def test_inputs_are_made_up_for_images_whose_every_axis_is_open(tmp_path: Path) -> None:
    """One size for all axes would make an image of 224 colours, 224 at a time: 10 GB."""
    axes = ["batch_size", "num_channels", "height", "width"]
    weights = numpy_helper.from_array(np.zeros((1, 3, 1, 1), "float32"), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["t"]),
        helper.make_node("Flatten", ["t"], ["y"]),
        helper.make_node("Reshape", ["y", "shape"], ["z"]),
    ]
    shape = numpy_helper.from_array(np.array([-1, 224, 224]), "shape")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch_size", 224, 224])
    graph = helper.make_graph(nodes, "g", [x], [z], [weights, shape])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    feeds = sample_inputs(open_session(tmp_path / "m.onnx", [CPU]), count=2).feeds
    assert [feed["x"].shape for feed in feeds] == [(2, 3, 224, 224)] * 2
