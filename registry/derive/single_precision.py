"""A model in fp16 made one in fp32, for tools that quantize fp32 alone."""

from typing import TYPE_CHECKING

from onnxzoo.registry.onnx_file.protos import graphs, nodes, within

if TYPE_CHECKING:
    import onnx

_HALF, _SINGLE = 10, 1  # TensorProto.DataType
_DTYPES = {"to", "dtype", "output_dtype", "stash_type"}  # attributes that name a type


def to_fp32(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a model that computes in fp32; its inputs and outputs stay as they are.

    Args:
        model: with its weights; it is changed.
    """
    graph = model.graph
    names = {
        value.name: f"{value.name}_fp32"
        for value in (*graph.input, *graph.output)
        if value.type.tensor_type.elem_type == _HALF
    }
    _rename(model, names)
    for inner in graphs(model):
        for tensor in inner.initializer:
            _widen(tensor)
        shown = () if inner is graph else (*inner.input, *inner.output)
        for value in (*inner.value_info, *shown):
            if value.type.tensor_type.elem_type == _HALF:
                value.type.tensor_type.elem_type = _SINGLE
    for node in nodes(model):
        for attribute in node.attribute:
            if attribute.name in _DTYPES and attribute.i == _HALF:
                attribute.i = _SINGLE
            if attribute.HasField("t"):
                _widen(attribute.t)
    _cast(graph, names)
    return model


def _rename(model: "onnx.ModelProto", names: dict[str, str]) -> None:
    """Give values other names where nodes read and write them, in sub-graphs too."""
    for node in nodes(model):
        for listed in (node.input, node.output):
            for number, name in enumerate(listed):
                listed[number] = names.get(name, name)
    graph = model.graph
    for inner in (graph, *within(graph.node)):
        shown = () if inner is graph else inner.output
        for item in (*inner.initializer, *inner.value_info, *shown):
            item.name = names.get(item.name, item.name)


def _cast(graph: "onnx.GraphProto", names: dict[str, str]) -> None:
    from onnx import helper

    def node(source: str, target: str, to: int) -> "onnx.NodeProto":
        return helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=to)

    inputs = [value.name for value in graph.input if value.name in names]
    outputs = [value.name for value in graph.output if value.name in names]
    between = list(graph.node)
    del graph.node[:]
    graph.node.extend(node(name, names[name], _SINGLE) for name in inputs)
    graph.node.extend(between)
    graph.node.extend(node(names[name], name, _HALF) for name in outputs if name not in inputs)


def _widen(tensor: "onnx.TensorProto") -> None:
    from onnx import numpy_helper

    if tensor.data_type == _HALF:
        values = numpy_helper.to_array(tensor).astype("float32")
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
