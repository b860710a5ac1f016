"""The file in which a framework's own inputs and outputs reach the proof."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxzoo.registry.convert.interface import Sample
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.testdata.arrays import read_npz

_FILE = "samples.npz"
# A sample's number, and the name of an input or the place of an output: few enough to count up to.
_KEY = re.compile(r"([0-9]{1,5})/(?:in/.*|out/([0-9]{1,4}))", re.DOTALL)


def save(samples: Sequence[Sample], folder: Path) -> None:
    """Write samples into a folder; arrays only, nothing pickled."""
    import numpy as np

    arrays = {}
    for number, sample in enumerate(samples):
        for name, value in sample.inputs.items():
            arrays[f"{number}/in/{name}"] = _plain(value)
        for place, value in enumerate(sample.outputs):
            if value is not None:
                arrays[f"{number}/out/{place}"] = _plain(value)
    with (folder / _FILE).open("wb") as file:
        np.savez(file, **arrays)


def read(folder: Path) -> Iterator[Sample]:
    """Yield the samples of a folder; an output that has no reference is None.

    The converting child wrote them, which runs code of others: they are read within bounds.

    Raises:
        UsageError: see `read_npz`.
        Refused: if an array has a name that `save` does not give.
    """
    arrays = read_npz(folder / _FILE)
    for number in range(_count(arrays)):
        inputs, outputs = f"{number}/in/", f"{number}/out/"
        given = {
            key.removeprefix(inputs): _fed(array)
            for key, array in arrays.items()
            if key.startswith(inputs)
        }
        places = [int(key.removeprefix(outputs)) for key in arrays if key.startswith(outputs)]
        wanted: list[Any] = [None] * (max(places, default=-1) + 1)
        for place in places:
            wanted[place] = arrays[f"{outputs}{place}"]
        yield Sample(given, wanted)


def _count(arrays: Mapping[str, Any]) -> int:
    """Return the number of samples, all names of arrays checked."""
    numbers = set[int]()
    for key in arrays:
        match = _KEY.fullmatch(key)
        if match is None or any(n != str(int(n)) for n in match.groups() if n is not None):
            raise Refused(
                f"what the converter wrote to be proven holds `{key}`, which is no sample"
            )
        numbers.add(int(match[1]))
    if numbers != set(range(len(numbers))):
        raise Refused("what the converter wrote to be proven lacks samples between others")
    return len(numbers)


def _plain(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "OS":
        return array
    return np.array([_text(one) for one in array.ravel()], dtype=str).reshape(array.shape)


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _fed(array: Any) -> Any:
    """Return an input as onnxruntime takes it: its strings are objects."""
    return array.astype(object) if array.dtype.kind == "U" else array
