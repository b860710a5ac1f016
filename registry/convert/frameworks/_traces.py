"""Remove an exporter's traces of the run from a graph: paths of code, random names."""

from typing import Any

from onnxzoo.registry.convert.interface import Job
from onnxzoo.registry.onnx_file.protos import nodes


def without_traces(model: Any) -> None:
    """Take out the metadata of every node, sub-graphs' and functions' too."""
    for node in nodes(model):
        del node.metadata_props[:]


def write_same(model: Any, job: Job) -> None:
    """Write a ``ModelProto`` so that the same model gives the same bytes: its name was random."""
    model.graph.name = job.converter
    job.model.write_bytes(model.SerializeToString(deterministic=True))
