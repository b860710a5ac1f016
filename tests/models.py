"""Small ONNX models that the tests make themselves; all open in onnxruntime."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def linear(
    path: Path, *, value: float = 1.0, opset: int = OPSET, dtype: str = "float32", size: int = 4
) -> Path:
    """``y = x * w``: the weights are `size` times `value`, of a dtype; the batch is open."""
    weights = numpy_helper.from_array(np.full(size, value, dtype), "w")
    return save(path, [helper.make_node("Mul", ["x", "w"], ["y"])], [weights], opset=opset)


def sized(path: Path, megabytes: int, *, value: float = 1.0) -> Path:
    """A model of so many million bytes, one of them a weight that is never used in full."""
    weights = numpy_helper.from_array(np.full(megabytes * 250_000, value, "float32"), "big")
    nodes = [
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["x", "sum"], ["y"]),
    ]
    return save(path, nodes, [weights])


def chain(path: Path, nodes: int) -> Path:
    """``y = x + x + …``: so many nodes in a row."""
    names = ["x", *(f"t{number}" for number in range(nodes - 1)), "y"]
    adds = [
        helper.make_node("Add", [before, "x"], [after], name=f"/layer/{after}/Add")
        for before, after in pairwise(names)
    ]
    return save(path, adds, [])


def external(path: Path, location: str = "weights.bin", *, value: float = 1.0) -> Path:
    """``y = x * w`` with the weights in another file, at a path relative to the model's."""
    linear(path, value=value)
    model = onnx.load(path)
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    tensor = model.graph.initializer[0]
    (path.parent / location).write_bytes(tensor.raw_data)
    for key, text in (
        ("location", location),
        ("offset", "0"),
        ("length", str(len(tensor.raw_data))),
    ):
        tensor.external_data.add(key=key, value=text)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def quantized(path: Path) -> Path:
    """``y = x * dequantize(w)``: int8 weights between quantize and dequantize nodes (QDQ)."""
    weights = [
        numpy_helper.from_array(np.array([1, 2, 3, 4], "int8"), "q"),
        numpy_helper.from_array(np.array(0.5, "float32"), "scale"),
        numpy_helper.from_array(np.array(0, "int8"), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"]),
        helper.make_node("Mul", ["xd", "w"], ["y"]),
    ]
    return save(path, nodes, weights)


def branching(path: Path) -> Path:
    """A model with sub-graphs: ``If`` around two branches, one with a weight of its own."""
    then = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(4, "float32"), "w")],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["e"])],
        "else",
        [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.ones((), bool))),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    return save(path, nodes, [])


def strings(path: Path) -> Path:
    """``y = x`` for strings."""
    return save(path, [helper.make_node("Identity", ["x"], ["y"])], [], dtype=TensorProto.STRING)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto],
    *,
    opset: int = OPSET,
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """Write a model of these nodes from ``x`` to ``y``, both ``[batch, 4]``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", dtype, ["batch", 4])],
        [helper.make_tensor_value_info("y", dtype, ["batch", 4])],
        list(weights),
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests")
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path
