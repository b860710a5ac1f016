"""Weights of a model that was trained with fake quantization: kept as the integers they stand for.

torch's exporter writes them in fp32, quantized anew whenever the model is opened.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx


def fold(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a model in which no constant passes through QuantizeLinear.

    Source: ONNX operators, "QuantizeLinear": ``saturate(round(x / scale) + zero_point)``.
    """
    from onnx import numpy_helper

    graph = model.graph
    _constants(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        if not all(name in weights for name in node.input) or _blocked(node):
            continue
        values, scale, *zero = (numpy_helper.to_array(weights[name]) for name in node.input)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        whole = _quantized(values, scale, zero[0] if zero else None, axis)
        graph.initializer.append(numpy_helper.from_array(whole, node.output[0]))
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    return model


def _constants(graph: "onnx.GraphProto") -> None:
    """Make initialisers of constants: torch's scales and zero points are nodes."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        for attribute in node.attribute:
            if attribute.name == "value":
                attribute.t.name = node.output[0]
                graph.initializer.append(attribute.t)
                graph.node.remove(node)


def _blocked(node: "onnx.NodeProto") -> bool:
    """Tell whether scales are of blocks, or the type is named by an attribute alone."""
    return any(a.name in {"block_size", "output_dtype"} and a.i for a in node.attribute)


def _quantized(
    values: "np.ndarray[Any, Any]",
    scale: "np.ndarray[Any, Any]",
    zero: "np.ndarray[Any, Any] | None",
    axis: int,
) -> "np.ndarray[Any, Any]":
    import numpy as np

    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    start = 0 if zero is None else zero.reshape(shape).astype(np.int32)
    whole = np.rint(values / scale.reshape(shape)) + start
    bounds = np.iinfo(kind)
    return np.asarray(np.clip(whole, bounds.min, bounds.max).astype(kind))
