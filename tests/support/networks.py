"""Small networks with random weights of sensible scale and open axes: BERT, ViT, CRNN, detector."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
UNITS, HEADS, WORDS, PLACES = 32, 4, 200, 128


class Net:
    """A graph that grows by one node at a time; weights are drawn as they are needed."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"{op}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def weight(self, name: str, *shape: int, scale: float = 1.0) -> str:
        """Draw a matrix that keeps the size of what it is multiplied by, times a scale."""
        fan = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        values = self.random.standard_normal(shape) * scale / np.sqrt(fan)
        self.weights[name] = values.astype(np.float32)
        return name

    def constant(self, values: object, dtype: str = "int64") -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(values, dtype)
        return name

    def linear(self, x: str, name: str, size_in: int, size_out: int, scale: float = 1.0) -> str:
        bias = self.constant(self.random.standard_normal(size_out) * 0.1, "float32")
        return self.add(
            "Add", self.add("MatMul", x, self.weight(name, size_in, size_out, scale=scale)), bias
        )

    def conv(self, x: str, name: str, size_in: int, size_out: int, **attributes: Any) -> str:
        side = attributes.pop("side", 3)
        weight = self.weight(name, size_out, size_in, side, side, scale=1.4)
        pads: dict[str, Any] = {"pads": [1, 1, 1, 1]} if side == 3 else {}
        return self.add("Conv", x, weight, **pads, **attributes)

    def norm(self, x: str) -> str:
        ones, zeros = (self.constant(np.full(UNITS, v), "float32") for v in (1.0, 0.0))
        return self.add("LayerNormalization", x, ones, zeros)

    def block(self, x: str, layer: int, mask: str | None) -> str:
        """Add a layer of a transformer: attention that looks at some places more than at others."""
        split = self.constant([0, 0, HEADS, UNITS // HEADS])

        def heads(name: str, scale: float) -> str:
            flat = self.linear(x, f"{name}_{layer}", UNITS, UNITS, scale)
            return self.add("Transpose", self.add("Reshape", flat, split), perm=[0, 2, 1, 3])

        query, key, value = heads("query", 1.5), heads("key", 1.5), heads("value", 1.0)
        scores = self.add("MatMul", query, self.add("Transpose", key, perm=[0, 1, 3, 2]))
        root = self.constant(np.sqrt(UNITS // HEADS), "float32")
        scores = self.add("Div", scores, root)
        if mask:
            scores = self.add("Add", scores, mask)
        seen = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
        seen = self.add("Transpose", seen, perm=[0, 2, 1, 3])
        seen = self.add("Reshape", seen, self.constant([0, 0, UNITS]))
        x = self.norm(self.add("Add", x, self.linear(seen, f"out_{layer}", UNITS, UNITS, 2.0)))
        inner = self.linear(x, f"up_{layer}", UNITS, 2 * UNITS)
        inner = self.add("Mul", inner, self.add("Sigmoid", inner))
        return self.norm(
            self.add("Add", x, self.linear(inner, f"down_{layer}", 2 * UNITS, UNITS, 2.0))
        )

    def model(self, inputs: dict[str, tuple[Any, Any]], outputs: list[str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
        )


def bert() -> onnx.ModelProto:
    net = Net(1)
    words = net.add("Gather", net.weight("words", WORDS, UNITS, scale=WORDS**0.5), "input_ids")
    types = net.add("Gather", net.weight("types", 2, UNITS), "token_type_ids")
    length = net.add("Gather", net.add("Shape", "input_ids"), net.constant([1]))
    places = net.weight("places", PLACES, UNITS, scale=PLACES**0.5)
    places = net.add("Slice", places, net.constant([0]), length)
    x = net.norm(net.add("Add", net.add("Add", words, types), places))
    hidden = net.add(
        "Cast", net.add("Sub", net.constant(1), "attention_mask"), to=TensorProto.FLOAT
    )
    mask = net.add("Unsqueeze", hidden, net.constant([1, 2]))
    mask = net.add("Mul", mask, net.constant(-1e4, "float32"))
    for layer in range(2):
        x = net.block(x, layer, mask)
    first = net.add("Gather", x, net.constant(0), axis=1)
    pooled = net.add("Tanh", net.linear(first, "pooler", UNITS, UNITS))
    logits = net.linear(pooled, "classes", UNITS, 5)
    axes = ["batch_size", "sequence_length"]
    inputs = dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (TensorProto.INT64, axes)
    )
    return net.model(inputs, [x, logits])


def vit() -> onnx.ModelProto:
    net = Net(2)
    patches = net.conv("pixel_values", "patches", 3, UNITS, side=16, strides=[16, 16])
    x = net.add("Transpose", net.add("Reshape", patches, net.constant([0, 0, -1])), perm=[0, 2, 1])
    x = net.norm(x)
    for layer in range(2):
        x = net.block(x, layer, None)
    pooled = net.add("ReduceMean", x, axes=[1], keepdims=0)
    logits = net.linear(pooled, "classes", UNITS, 10, 3.0)
    inputs = {"pixel_values": (TensorProto.FLOAT, ["batch", 3, "height", "width"])}
    return net.model(inputs, [logits])


def crnn() -> onnx.ModelProto:
    """Read lines of 32 pixels: convolutions, a recurrent layer both ways, CTC's classes."""
    net = Net(3)
    x = "x"
    for number, (size_in, size_out) in enumerate([(1, 8), (8, 16), (16, 32)]):
        x = net.add("Relu", net.conv(x, f"conv_{number}", size_in, size_out))
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("ReduceMean", x, axes=[2], keepdims=0)  # [N, 32, W / 8]
    x = net.add("Transpose", x, perm=[2, 0, 1])
    weights = (
        net.weight("lstm_w", 2, 4 * 16, 32, scale=8),
        net.weight("lstm_r", 2, 4 * 16, 16, scale=8),
    )
    y = net.add("LSTM", x, *weights, hidden_size=16, direction="bidirectional", outputs=1)
    y = net.add("Transpose", y, perm=[0, 2, 1, 3])
    y = net.add("Reshape", y, net.constant([0, 0, 32]))
    y = net.add("Softmax", net.linear(y, "classes", 32, 20, 6.0), axis=-1)
    return net.model({"x": (TensorProto.FLOAT, ["batch", 1, 32, "width"])}, [y])


def detector() -> onnx.ModelProto:
    """Find boxes in pixels and scores: two outputs of very different sizes."""
    net = Net(4)
    x = "images"
    for number, (size_in, size_out) in enumerate([(3, 8), (8, 16), (16, 32)]):
        x = net.add("Relu", net.conv(x, f"conv_{number}", size_in, size_out, strides=[2, 2]))
    boxes = net.add("Mul", net.conv(x, "boxes", 32, 4, side=1), net.constant(100.0, "float32"))
    scores = net.add("Sigmoid", net.conv(x, "scores", 32, 6, side=1))
    return net.model(
        {"images": (TensorProto.FLOAT, ["batch", 3, "height", "width"])}, [boxes, scores]
    )


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "bert": bert, "vit": vit, "crnn": crnn, "detector": detector,
}  # fmt: skip


def matrices(model: onnx.ModelProto) -> list[str]:
    """Return the names of a network's weight matrices, filters among them."""
    return [t.name for t in model.graph.initializer if len(t.dims) > 1]


def with_noise(model: onnx.ModelProto, name: str, path: Path) -> Path:
    """Write a network in which one matrix is noise of the same size."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for tensor in other.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor)
            noise = np.random.default_rng(9).standard_normal(values.shape) * values.std()
            tensor.CopyFrom(numpy_helper.from_array(noise.astype(np.float32), name))
    onnx.save(other, path)
    return path
