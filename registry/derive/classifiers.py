"""Tell classifiers from other models by how their graph ends."""

from typing import TYPE_CHECKING

from onnxzoo.registry.core.records import Tensor, Variant
from onnxzoo.registry.onnx_file.graph import read_bare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import NodeProto

_SAME = {"Identity", "Cast", "DequantizeLinear"}
_SPREAD = {"Reshape", "Expand", "Unsqueeze"}
_CLASSES = {"Softmax", "LogSoftmax", "ArgMax"}


def is_classifier(variant: Variant) -> bool:
    """Tell whether every output holds the scores of a fixed number of classes, or the best one.

    Scores are `[examples, classes]` made by a Softmax, or by a division by their own sum. A matrix
    that ends in anything else may be an embedding or a curve: its greatest value is no label.
    """
    graph = read_bare(variant.path).graph
    makers = {name: node for node in graph.node for name in node.output}
    outputs = variant.graph.outputs
    return bool(outputs) and all(_is_of_classes(output, makers) for output in outputs)


def _is_of_classes(output: Tensor, makers: "Mapping[str, NodeProto]") -> bool:
    node = makers.get(output.name)
    while node is not None and node.op_type in _SAME:
        node = makers.get(node.input[0])
    if node is None or not (node.op_type in _CLASSES or _is_normalised(node, makers)):
        return False
    shape = output.shape or ()
    if node.op_type == "ArgMax":
        return len(shape) in {1, 2}
    return len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 1  # noqa: PLR2004


def _is_normalised(node: "NodeProto", makers: "Mapping[str, NodeProto]") -> bool:
    """Tell whether a node divides values by their sum, as TensorFlow's exports write Softmax."""
    if node.op_type != "Div":
        return False
    total = makers.get(node.input[1])
    while total is not None and total.op_type in _SPREAD:
        total = makers.get(total.input[0])
    return total is not None and total.op_type == "ReduceSum" and total.input[0] == node.input[0]
