"""Ops that only gained types go below the opset at which they did, as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.derive import opset_worker as child
from onnxzoo.registry.derive.reachable_opsets import reach_by_trying
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.onnx_file.op_versions import may_differ_in_types_only
from tests.support import models


def converted(path: Path, target: int) -> Path:
    into = path.parent / f"at{target}"
    into.mkdir()
    child.main({"model": str(path), "into": str(into), "options": {"opset": target}})
    return into / "model.onnx"


def outputs(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    return np.asarray(session.run(None, {"x": rows})[0])


def dense(path: Path, *, opset: int = 21) -> Path:
    """A layer of every kind of change: types, an attribute, an input, one that onnx rewrites."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Softmax", ["d"], ["e"], axis=1),
        helper.make_node("ReduceSum", ["e", "axes"], ["f"], keepdims=1),
        helper.make_node("Reshape", ["f", "shape"], ["g"], allowzero=0),
        helper.make_node("Where", ["yes", "g", "b"], ["y"]),
    ]
    rng = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(rng.standard_normal((4, 4)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.standard_normal(4).astype(np.float32), "b"),
        numpy_helper.from_array(np.array([1]), "axes"),
        numpy_helper.from_array(np.array([0, 1]), "shape"),
        numpy_helper.from_array(np.array([True]), "yes"),
    ]
    return models.save(path, nodes, weights, opset=opset)


@pytest.mark.parametrize("target", [20, 17, 12, 9])
def test_a_dense_layer_goes_down_with_its_outputs(tmp_path: Path, target: int) -> None:
    path = dense(tmp_path / "m.onnx")
    made = converted(path, target)
    onnx.checker.check_model(made, full_check=True)
    assert describe(made).opset == target
    assert np.array_equal(outputs(made), outputs(path))


def test_the_same_op_in_a_branch_goes_down(tmp_path: Path) -> None:
    made = onnx.load(converted(models.branching(tmp_path / "m.onnx"), 11))
    assert {node.domain for node in made.graph.node} == {""}
    assert [entry.domain for entry in made.opset_import] == [""]
    assert outputs(tmp_path / "at11" / "model.onnx").shape == (3, 4)


@pytest.mark.parametrize(
    ("dtype", "why"),
    [
        (TensorProto.INT32, "`Relu` of tensor(int32) cannot go below opset 14"),
        (TensorProto.BFLOAT16, "`Relu` of tensor(bfloat16) cannot go below opset 13"),
    ],
)
def test_a_type_that_was_not_there_is_named(tmp_path: Path, dtype: int, why: str) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    path = models.save(tmp_path / "m.onnx", nodes, [], dtype=dtype)
    with pytest.raises(Refused) as caught:
        converted(path, 11)
    assert caught.value.message == why


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "at", "target"),
    [
        ("Gather", ["w", "last"], {}, 17, 10),  # indices from the end
        ("Shape", ["x"], {"start": 1}, 17, 14),
        ("OneHot", ["last", "depth", "values"], {}, 17, 10),
    ],
)
def test_what_would_mean_something_else_is_refused(
    tmp_path: Path, op: str, inputs: list[str], attributes: dict[str, Any], at: int, target: int
) -> None:
    weights = [
        numpy_helper.from_array(np.ones((4, 4), np.float32), "w"),
        numpy_helper.from_array(np.array([-1]), "last"),
        numpy_helper.from_array(np.array(4), "depth"),
        numpy_helper.from_array(np.array([0, 1], np.float32), "values"),
    ]
    nodes = [
        helper.make_node(op, inputs, ["t"], **attributes),
        helper.make_node("Cast", ["t"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Expand", ["c", "shape"], ["e"]),
        helper.make_node("ReduceMax", ["e"], ["m"], keepdims=0),
        helper.make_node("Mul", ["x", "m"], ["y"]),
    ]
    weights.append(numpy_helper.from_array(np.array([1]), "shape"))
    path = models.save(tmp_path / "m.onnx", nodes, weights, opset=at)
    with pytest.raises(Refused, match=f"`{op}` cannot go below opset {target + 1}"):
        converted(path, target)


@pytest.mark.parametrize(
    ("op", "version", "expected"),
    [
        ("Relu", 14, True), ("MatMul", 13, True), ("Add", 14, True), ("LSTM", 14, True),
        ("Softmax", 13, False), ("Squeeze", 13, False), ("RoiAlign", 16, False),
        ("OneHot", 11, False), ("Attention", 24, False), ("GridSample", 20, False),
        ("GroupNormalization", 18, False), ("Relu", 7, False), ("Unheard", 13, False),
    ],
)  # fmt: skip
def test_what_changed_in_its_types_alone_is_read_from_schemas(
    op: str, version: int, *, expected: bool
) -> None:
    assert may_differ_in_types_only(op, version) is expected


def test_opsets_to_try_are_those_below_the_sure_ones(tmp_path: Path) -> None:
    relu = models.save(tmp_path / "r.onnx", [helper.make_node("Relu", ["x"], ["y"])], [], opset=17)
    mish = models.save(tmp_path / "m.onnx", [helper.make_node("Mish", ["x"], ["y"])], [], opset=22)
    assert reach_by_trying(describe(relu)) == tuple(range(7, 14))
    assert reach_by_trying(describe(mish)) == (18, 19, 20, 21)
