"""Every graph and node of an ONNX ``ModelProto``, wherever it is nested."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import GraphProto, ModelProto, NodeProto


def nodes(model: "ModelProto") -> "Iterator[NodeProto]":
    """Yield every node, those of sub-graphs and functions too."""
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
    """Yield the graphs that are attributes of nodes, and those in them."""
    for node in found:
        for attribute in node.attribute:
            for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield graph
                yield from within(graph.node)
