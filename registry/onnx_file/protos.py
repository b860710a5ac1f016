"""Every graph and node of an ONNX ``ModelProto``, wherever it is nested."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import GraphProto, ModelProto, NodeProto

_OF_SIZES = {"Shape", "Size"}  # read no values


def nodes(model: "ModelProto") -> "Iterator[NodeProto]":
    """Yield every node, also of sub-graphs and functions."""
    for graph in graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def graphs(model: "ModelProto") -> "Iterator[GraphProto]":
    """Yield the graph and every graph in it and in functions."""
    yield model.graph
    yield from within(model.graph.node)
    for function in model.functions:
        yield from within(function.node)


def within(found: "Iterable[NodeProto]") -> "Iterator[GraphProto]":
    """Yield the graphs in attributes of nodes, and nested ones."""
    for node in found:
        for attribute in node.attribute:
            for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield graph
                yield from within(graph.node)


def varying_outputs(model: "ModelProto") -> set[str]:
    """Return the names of the outputs that depend on the values of an input, not on sizes alone."""
    reached = {each.name for each in model.graph.input}
    reached -= {each.name for each in model.graph.initializer}
    for node in model.graph.node:  # in topological order. Source: ONNX IR specification, "Graphs"
        inner = [*within([node])]
        taken = {
            *node.input,
            *(name for graph in inner for each in graph.node for name in each.input),
        }
        taken |= {each.name for graph in inner for each in graph.output}
        if node.op_type not in _OF_SIZES and taken & reached:
            reached.update(name for name in node.output if name)
    return reached & {each.name for each in model.graph.output}
