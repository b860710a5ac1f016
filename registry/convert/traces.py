"""What an exporter leaves in a graph of the run that made it: paths of code, random names."""

from collections.abc import Iterator, Sequence
from typing import Any

from onnxzoo.registry.convert.job import Job


def without_traces(model: Any) -> None:
    """Take out the metadata of every node, sub-graphs' and functions' too."""
    for node in nodes(model):
        del node.metadata_props[:]


def write_same(model: Any, job: Job) -> None:
    """Write a ``ModelProto`` so that the same model gives the same bytes: its name was random."""
    model.graph.name = job.converter
    job.model.write_bytes(model.SerializeToString(deterministic=True))


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
