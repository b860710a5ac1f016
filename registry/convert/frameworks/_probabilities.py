"""Probabilities as a matrix, instead of the sequence of maps that old exporters end with."""

from typing import Any


def without_maps(model: Any) -> None:
    """Give the matrix that each ``ZipMap`` makes maps of under the name of the maps."""
    import onnx

    for node in [node for node in model.graph.node if node.op_type == "ZipMap"]:
        place, output = next(
            (place, value)
            for place, value in enumerate(model.graph.output)
            if value.name == node.output[0]
        )
        classes = next(len(a.ints) or len(a.strings) for a in node.attribute if "class" in a.name)
        matrix = onnx.helper.make_tensor_value_info(
            output.name, onnx.TensorProto.FLOAT, ["batch", classes]
        )
        model.graph.node.remove(node)
        _rename(model, node.input[0], output.name)
        model.graph.output.remove(output)
        model.graph.output.insert(place, matrix)


def _rename(model: Any, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
