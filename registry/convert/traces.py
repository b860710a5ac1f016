"""What an exporter leaves of this machine in a graph: where the code lies that made each node."""

from collections.abc import Iterator, Sequence
from typing import Any


def without_traces(model: Any) -> None:
    """Take out the metadata of every node, sub-graphs' and functions' too."""
    for node in nodes(model):
        del node.metadata_props[:]


def nodes(model: Any) -> Iterator[Any]:
    """Yield every node of a ``ModelProto``, those of sub-graphs and functions too."""
    for part in (model.graph, *model.functions):
        yield from _all(part.node)


def _all(found: Sequence[Any]) -> Iterator[Any]:
    for node in found:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _all(graph.node)
