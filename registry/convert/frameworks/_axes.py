"""Names of open axes in a graph that an exporter made."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from onnxzoo.registry.convert.interface import BATCH, OTHER_BATCH, Input, Sample


def name_axes(model: Any, inputs: Sequence[Input], samples: Sequence[Sample]) -> None:
    """Give a graph's open axes the names that the inputs have.

    Args:
        model: a ``ModelProto``; its inputs' own names for axes are replaced throughout.
        inputs: with their shapes.
        samples: what its framework computed: an output's axis has the sizes that were seen.
    """
    import onnx

    shapes = {one.name: one.shape or () for one in inputs}
    words = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, axis in zip(dims, shapes.get(value.name, ()), strict=False):
            if isinstance(axis, str) and not dim.dim_value > 0:
                words[dim.dim_param or axis] = axis
                dim.dim_param = axis
    known = {axis: axis for axis in words.values()}
    for value in model.graph.output:
        _rename_axes(value, words | known)
    del model.graph.value_info[:]  # under the old names
    model.CopyFrom(onnx.shape_inference.infer_shapes(model))
    for value in model.graph.output:
        _rename_axes(value, known)
    _shape_outputs(model, set(words.values()), samples)


def _rename_axes(value: Any, words: Mapping[str, str]) -> None:
    for dim in value.type.tensor_type.shape.dim:
        if dim.dim_param in words:
            dim.dim_param = words[dim.dim_param]
        elif not dim.dim_value > 0:
            dim.Clear()


def _shape_outputs(model: Any, words: Set[str], samples: Sequence[Sample]) -> None:
    if len(samples) == 1 and words:
        return  # nothing tells what varies
    for place, value in enumerate(model.graph.output):
        arrays = [sample.outputs[place] for sample in samples if sample.outputs[place:]]
        if not arrays or any(array is None for array in arrays):
            continue
        seen = zip(*(array.shape for array in arrays), strict=True)
        for dim, sizes in zip(value.type.tensor_type.shape.dim, seen, strict=False):
            if dim.dim_param or dim.dim_value > 0:
                continue
            if len(set(sizes)) == 1:
                dim.dim_value = sizes[0]
            elif len(words) == 1 and set(sizes) == {BATCH, OTHER_BATCH}:
                dim.dim_param = next(iter(words))


def fed_inputs(graph: Any) -> list[Any]:
    """Return a graph's inputs without its initializers, which IR version 3 lists there too.

    Source: ONNX IR specification, "Graphs".
    """
    weights = {weight.name for weight in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def constants_as_weights(graph: Any) -> None:
    """Turn Constant nodes into initializers, of any tensor type.

    Up to IR version 3 an initializer is an input too.

    Source: ONNX operators, "Constant": floats alone up to version 1, every type from 9 on.
    """
    import onnx

    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((one.t for one in node.attribute if one.name == "value"), None)
        if value is None:
            continue
        graph.node.remove(node)
        weight = graph.initializer.add()
        weight.CopyFrom(value)
        weight.name = node.output[0]
        shape = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        graph.input.append(shape)


def without_weights_as_inputs(model: Any) -> None:
    """Take initializers out of a graph's inputs, where old exporters list them."""
    kept = fed_inputs(model.graph)
    del model.graph.input[:]
    model.graph.input.extend(kept)
