"""Networks of real size: the onnx wheel's light ones with made-up weights, and BERT's shape."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LIGHT = ("squeezenet", "densenet121", "resnet50", "vgg19")
BERT = "bert-base"
_LAYERS, _HIDDEN, _INNER, _WORDS, _LENGTH, _HEADS = 12, 768, 3072, 30522, 128, 12


def materialise(name: str, path: Path) -> Path:
    """Write a light network with seeded weights in place of its ConstantOfShape nodes."""
    import onnx.backend.test as shipped

    model = onnx.load(Path(shipped.__file__).parent / "data" / "light" / f"light_{name}.onnx")
    graph, random = model.graph, np.random.default_rng(0)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in known:
            weights = _weights(random, known[node.input[0]].astype(int).tolist())
            graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in graph.node for name in node.input}
    weights_left = [tensor for tensor in graph.initializer if tensor.name in used]
    names = {tensor.name for tensor in weights_left}
    inputs = [value for value in graph.input if value.name in used - names]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend(weights_left)
    graph.input.extend(inputs)
    model.ir_version = 8
    onnx.save(model, path)
    return path


def bert(path: Path) -> Path:
    """Write an encoder of BERT-base's shape: 12 layers, 768 wide, 128 tokens, seeded weights."""
    graph = _Graph()
    hidden = graph.add(
        "Add",
        graph.add("Gather", graph.weights("words", _WORDS, _HIDDEN), "ids"),
        graph.weights("positions", 1, _LENGTH, _HIDDEN),
    )
    hidden = graph.norm(hidden, "embedding")
    for number in range(_LAYERS):
        hidden = _layer(graph, f"{number}", hidden)
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", _LENGTH])
    out = helper.make_tensor_value_info(hidden, TensorProto.FLOAT, ["batch", _LENGTH, _HIDDEN])
    made = helper.make_graph(graph.nodes, "bert", [ids], [out], graph.tensors)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=9), path)
    return path


def makers() -> dict[str, Callable[[Path], Path]]:
    """Return what writes each network, by name, smallest first."""
    light = {name: lambda path, name=name: materialise(name, path) for name in LIGHT}
    return {**light, BERT: bert}


def _weights(random: np.random.Generator, shape: list[int]) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, np.dtype[np.float32]]
    values = random.standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:  # a bias, or a normalisation's variance, which must not be negative
        values = np.abs(values * 0.1 + 1)
    else:
        values = values * (2 / max(1, int(np.prod(shape[1:])))) ** 0.5
    return values.astype(np.float32)


class _Graph:
    """Nodes and weights, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def weights(self, name: str, *shape: int) -> str:
        values = (self._random.standard_normal(shape) * 0.02).astype(np.float32)
        return self.constant(name, values)

    def constant(self, name: str, values: object) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def dense(self, name: str, x: str, rows: int, columns: int) -> str:
        product = self.add("MatMul", x, self.weights(f"{name}.w", rows, columns))
        return self.add("Add", product, self.weights(f"{name}.b", columns))

    def norm(self, x: str, name: str) -> str:
        scale = self.constant(f"{name}.scale", np.ones(_HIDDEN, np.float32))
        return self.add("LayerNormalization", x, scale, self.weights(f"{name}.bias", _HIDDEN))


def _layer(graph: _Graph, name: str, x: str) -> str:
    heads = graph.constant(f"{name}.heads", np.array([0, 0, _HEADS, _HIDDEN // _HEADS]))
    flat = graph.constant(f"{name}.flat", np.array([0, 0, _HIDDEN]))
    scale = graph.constant(f"{name}.scale", np.float32((_HIDDEN // _HEADS) ** -0.5))
    split = [
        graph.add(
            "Transpose",
            graph.add("Reshape", graph.dense(f"{name}.{part}", x, _HIDDEN, _HIDDEN), heads),
            perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3],
        )
        for part in ("query", "key", "value")
    ]
    scores = graph.add("Mul", graph.add("MatMul", split[0], split[1]), scale)
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), split[2])
    joined = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), flat)
    attended = graph.dense(f"{name}.out", joined, _HIDDEN, _HIDDEN)
    x = graph.norm(graph.add("Add", x, attended), f"{name}.first")
    inner = graph.add("Gelu", graph.dense(f"{name}.in", x, _HIDDEN, _INNER))
    return graph.norm(
        graph.add("Add", x, graph.dense(f"{name}.back", inner, _INNER, _HIDDEN)), f"{name}.second"
    )
