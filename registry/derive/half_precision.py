"""Sixteen bits for thirty-two: fp16 by onnxruntime's own converter, bf16 as storage of weights.

The converter to fp16 sees large weights as empty tensors, which are converted one by one after it:
given whole, a model takes seven times its size of memory (measured).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.derive.preprocess import name_all
from onnxzoo.registry.derive.strip_weights import (
    empty_taken,
    fill_taken,
    inline_functions,
    read_skeleton,
)
from onnxzoo.registry.onnx_file.protos import graphs

if TYPE_CHECKING:
    import numpy as np
    import onnx

_BLOCK = 1 << 20  # elements; the converter's masks take many times what they cover
_WORTH = 256  # elements; below that a Cast node is larger than what it saves


def to_fp16(
    path: Path,
    ops: Sequence[str],
    left: Sequence[str],
    choose: "Callable[[onnx.ModelProto], Sequence[str]]",
) -> "onnx.ModelProto":
    """Return a model that computes in fp16; its inputs and outputs stay as they are.

    Args:
        path: the model in fp32; it is only read.
        ops: the op types to convert; none: all that can be.
        left: op types that stay fp32.
        choose: returns the names of nodes that stay fp32.
    """
    from onnx import shape_inference
    from onnxruntime.transformers import float16

    model, taken = _plain_skeleton(path)
    there = {node.op_type for graph in graphs(model) for node in graph.node}
    kept = set(float16.DEFAULT_OP_BLOCK_LIST) | set(left)
    if ops:
        kept |= there - set(ops)
    nodes = list(choose(model))
    model = shape_inference.infer_shapes(model)
    empty_taken(model)
    known = {value.name for value in model.graph.value_info}
    outputs = [value.name for value in model.graph.output]
    passed, weights = _part_passed(model)
    converted: onnx.ModelProto = float16.convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=sorted(kept),
        node_block_list=nodes,
    )
    graph = converted.graph
    described = [value for value in graph.value_info if value.name in known]
    shown = {value.name: value for value in (*graph.output, *passed)}
    del graph.value_info[:], graph.output[:]
    graph.value_info.extend(described)
    graph.output.extend(shown[name] for name in outputs)
    graph.initializer.extend(weights)
    fill_taken(converted, taken, path.parent, _halved)
    return converted


def _plain_skeleton(path: Path) -> "tuple[onnx.ModelProto, list[onnx.TensorProto]]":
    """Return a model without its large weights, and these; functions inlined, nodes named."""
    model, taken = read_skeleton(path)
    model = inline_functions(model)
    # Before IR version 4 weights had to be inputs too, which what is added here is not.
    model.ir_version = max(model.ir_version, 4)
    name_all(model)
    return model, taken


def _part_passed(
    model: "onnx.ModelProto",
) -> "tuple[list[onnx.ValueInfoProto], list[onnx.TensorProto]]":
    """Take out the outputs that are inputs or weights, with these weights, and return both.

    The converter would have a node make them; what reads such a weight reads another of its value.
    """
    import onnx

    graph = model.graph
    inputs = {value.name for value in graph.input}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    passed, kept = [], []
    for value in [v for v in graph.output if v.name in inputs or v.name in weights]:
        part = onnx.ValueInfoProto()
        part.CopyFrom(value)
        passed.append(part)
        graph.output.remove(value)
        if value.name in weights and value.name not in inputs:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(weights[value.name])
            kept.append(tensor)
            _read_instead(model, weights[part.name], f"{part.name}_fp16")
    return passed, kept


def _read_instead(model: "onnx.ModelProto", tensor: "onnx.TensorProto", name: str) -> None:
    found = False
    for graph in graphs(model):
        for node in graph.node:
            for number, read in enumerate(node.input):
                if read == tensor.name:
                    node.input[number] = name
                    found = True
    if found:
        tensor.name = name
    else:
        model.graph.initializer.remove(tensor)


def _halved(tensor: "onnx.TensorProto", values: "np.ndarray[Any, Any]") -> bytes | None:
    """Return the bytes of a tensor that became fp16, None where it did not."""
    from onnx import TensorProto
    from onnxruntime.transformers import float16

    if tensor.data_type != TensorProto.FLOAT16 or values.dtype != "float32":
        return None
    flat = values.reshape(-1)
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    return b"".join(float16.convert_np_to_float16(block).tobytes() for block in blocks)


def to_bf16(
    path: Path,
    ops: Sequence[str],
    left: Sequence[str],
    choose: "Callable[[onnx.ModelProto], Sequence[str]]",
) -> "onnx.ModelProto":
    """Return a model with its weights in bf16, cast when it is opened.

    onnxruntime has no bf16 kernels for the CPU, so that it computes in fp32.

    Args:
        path: the model in fp32; it is only read.
        ops: the op types that read what is converted; none: all.
        left: op types that read fp32.
        choose: returns the names of nodes that read fp32.
    """
    model, taken = _plain_skeleton(path)
    nodes = set(choose(model))
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
    empty_taken(model)
    fill_taken(model, taken, path.parent, _rounded)
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
        name, taken = tensor.name, bool(tensor.external_data)  # else small enough to be there
        values = None if taken else numpy_helper.to_array(tensor)
        tensor.name, tensor.data_type = f"{name}_bf16", TensorProto.BFLOAT16
        if values is not None:
            tensor.ClearField("float_data")
            tensor.raw_data = _rounded(tensor, values)
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


def _rounded(tensor: "onnx.TensorProto", values: "np.ndarray[Any, Any]") -> bytes | None:
    """Return the bytes of a tensor that became bf16, None where it did not.

    They are the upper halves of fp32 numbers, rounded to the nearest, ties to even.
    """
    import numpy as np
    from onnx import TensorProto

    if tensor.data_type != TensorProto.BFLOAT16 or values.dtype != "float32":
        return None
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    return b"".join(
        ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes() for bits in blocks
    )
