"""Convert a model's outputs to comparable arrays, and find their labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.onnx_file.dtypes import BEYOND_NUMPY

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def matrix(value: Any) -> "Array":
    """Return an output as an array; a sequence of maps becomes rows in the order of the keys."""
    import numpy as np

    if isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        return np.asarray([[row[key] for key in sorted(row)] for row in value])
    array = np.asarray(value)
    if array.dtype.name in BEYOND_NUMPY:
        return array.astype(np.float32 if "float" in array.dtype.name else np.int8)
    return array.astype(str) if array.dtype.kind in "OS" else array


def agreement(one: "Array", two: "Array") -> tuple[int, int]:
    """Return at how many positions two outputs mean the same label, and how many there are.

    A label is the argmax over the last axis that is longer than 1, or the value itself where an
    output holds whole numbers, truths or text. No positions where an output has no labels.
    """
    a, b = _labels(one), _labels(two)
    if a is None or b is None or a.shape != b.shape:
        return 0, 0
    if "U" in {a.dtype.kind, b.dtype.kind}:  # one side may write its numbers as text
        a, b = a.astype(str), b.astype(str)
    return int((a == b).sum()), a.size


def _labels(values: "Array") -> "Array | None":
    if values.dtype.kind == "b":  # some exporters write 0 and 1
        return values.astype("int8")
    if values.dtype.kind != "f":
        return values
    long = [axis for axis, size in enumerate(values.shape) if axis > 0 and size > 1]
    return values.argmax(long[-1]) if long else None
