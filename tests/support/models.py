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


def newer(path: Path, *, opset: int, ir_version: int) -> Path:
    """`linear` at an opset, with an IR version of its own."""
    model = onnx.load(linear(path, opset=opset))
    model.ir_version = ir_version
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


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


def _weight(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)
    return numpy_helper.from_array(values.astype(np.float32), name)


def _classifier(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto],
    shape: Sequence[int],
    opset: int,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", 1, ["batch", *shape])],
        [helper.make_tensor_value_info("y", 1, ["batch", 10])],
        list(weights),
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {"author": "tests"})
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def mlp(path: Path, *, opset: int = 17) -> Path:
    """Two matrix products, one of them a Gemm, with a ReLU between."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w2", "bias"], ["y"], transB=1, name="last"),
    ]
    weights = [_weight("w1", 32, 64), _weight("w2", 10, 64), _weight("bias", 10)]
    return _classifier(path, nodes, weights, [32], opset)


def fake_quantized(path: Path) -> Path:
    """A matrix product as torch exports it with fake quantization: weights float, by channel."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "ws", "wz"], ["wq"], axis=1),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=1),
        helper.make_node("MatMul", ["xd", "wd"], ["y"]),
    ]
    weights = [
        _weight("w", 512, 10),
        numpy_helper.from_array(np.array(0.02, "float32"), "s"),
        numpy_helper.from_array(np.array(128, "uint8"), "z"),
        numpy_helper.from_array(np.linspace(0.005, 0.02, 10, dtype="float32"), "ws"),
        numpy_helper.from_array(np.zeros(10, "int8"), "wz"),
    ]
    return _classifier(path, nodes, weights, [512], OPSET)


def convolutions(path: Path, *, opset: int = 17) -> Path:
    """Two convolutions and a classifier, on images of 8 times 8 pixels."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1] * 4, name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "w3"], ["y"], transB=1, name="last"),
    ]
    weights = [_weight("w1", 16, 3, 3, 3), _weight("w2", 16, 16, 3, 3), _weight("w3", 10, 16)]
    return _classifier(path, nodes, weights, [3, 8, 8], opset)
