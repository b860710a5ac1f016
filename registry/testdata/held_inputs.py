"""The inputs of reference data that a version holds."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxzoo.registry.core.records import Graph, Tensor
from onnxzoo.registry.onnx_file.dtypes import WIDTHS
from onnxzoo.registry.testdata.sets import read, sets


def held_inputs(folder: Path, graph: Graph) -> Iterator[Mapping[str, Any]]:
    """Yield the inputs of every set in a folder, cast to the widths that a graph takes.

    Raises:
        Refused: see `read`.
    """
    for place in sets(folder):
        values = read(place, graph).inputs
        if set(values) == {tensor.name for tensor in graph.inputs}:
            yield fitted(values, graph.inputs)


def fitted(values: Mapping[str, Any], inputs: Sequence[Tensor]) -> dict[str, Any]:
    """Return inputs with floats cast to the graph's width."""
    kinds = {tensor.name: tensor.dtype for tensor in inputs}
    return {
        name: value.astype(kinds[name])
        if kinds[name] in WIDTHS and str(getattr(value, "dtype", "")) in WIDTHS
        else value
        for name, value in values.items()
    }
