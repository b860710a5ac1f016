"""Sixteen bits for thirty-two: fp16 by onnxruntime's own converter, bf16 as storage of weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.graphs import graphs

if TYPE_CHECKING:
    import numpy as np
    import onnx

_WORTH = 256  # elements; below that a Cast node is larger than what it saves


def to_fp16(
    model: "onnx.ModelProto", ops: Sequence[str], left: Sequence[str], nodes: Sequence[str]
) -> "onnx.ModelProto":
    """Return a model that computes in fp16; its inputs and outputs stay as they are.

    Args:
        model: in fp32.
        ops: the op types to convert; none: all that can be.
        left: op types that stay fp32.
        nodes: nodes that stay fp32, by name.
    """
    from onnxruntime.transformers import float16

    there = {node.op_type for graph in graphs(model) for node in graph.node}
    kept = set(float16.DEFAULT_OP_BLOCK_LIST) | set(left)
    if ops:
        kept |= there - set(ops)
    converted: onnx.ModelProto = float16.convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,  # was done when the model was prepared, and fails over 2 GB
        op_block_list=sorted(kept),
        node_block_list=list(nodes),
    )
    return converted


def to_bf16(
    model: "onnx.ModelProto", ops: Sequence[str], left: Sequence[str], nodes: Sequence[str]
) -> "onnx.ModelProto":
    """Return a model whose weights lie in bf16 and are cast when it is opened.

    onnxruntime has no bf16 kernels for the CPU, so that it computes in fp32. Arguments as for
    `to_fp16`: what stays, stays for the weights that these ops read.
    """
    spared = {
        name
        for graph in graphs(model)
        for node in graph.node
        if (ops and node.op_type not in ops) or node.op_type in left or node.name in nodes
        for name in node.input
    }
    for graph in graphs(model):
        _constants_to_weights(graph)
        _halve(graph, spared)
    return model


def _constants_to_weights(graph: "onnx.GraphProto") -> None:
    """Some exporters keep all weights in Constant nodes."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensors = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if tensors and _worth(tensors[0]):
            tensors[0].name = node.output[0]
            graph.initializer.append(tensors[0])
            graph.node.remove(node)


def _halve(graph: "onnx.GraphProto", spared: set[str]) -> None:
    from onnx import TensorProto, helper, numpy_helper

    shown = {value.name for value in [*graph.input, *graph.output]}
    casts = []
    for tensor in graph.initializer:
        if not _worth(tensor) or tensor.name in spared | shown:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        tensor.Clear()
        tensor.name, tensor.data_type = f"{name}_bf16", TensorProto.BFLOAT16
        tensor.dims.extend(values.shape)
        tensor.raw_data = _rounded(values).tobytes()
        casts.append(
            helper.make_node(
                "Cast", [tensor.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT
            )
        )
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _worth(tensor: "onnx.TensorProto") -> bool:
    from math import prod

    from onnx import TensorProto

    return tensor.data_type == TensorProto.FLOAT and prod(tensor.dims) >= _WORTH


def _rounded(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return the upper halves of fp32 numbers, rounded to the nearest, ties to even."""
    import numpy as np

    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
