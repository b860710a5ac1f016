"""Seeded inputs for a framework and its conversion alike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.convert.frameworks._names import names_of
from onnxzoo.registry.convert.interface import BATCH, OTHER_BATCH, Input, Job
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.testdata.arrays import is_npz, read_npy, read_npz

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_WORDS = ("the", "model", "zoo", "of", "onnx", "text")


def feeds(inputs: Sequence[Input], job: Job, *, rows: int = 0) -> "Iterator[dict[str, Array]]":
    """Yield the user's example, or three sets of made-up inputs: two batch sizes, three seeds.

    Args:
        inputs: with their shapes.
        job: whose seed and example are taken.
        rows: examples in each, where only the first axis is open and rows are cheap.
    """
    if job.example is not None:
        yield example_of(job.example, inputs)
        return
    sizes = (rows, rows + 1, rows) if rows else (BATCH, BATCH, OTHER_BATCH)
    for number, size in enumerate(sizes):
        yield {one.name: draw(one, size, job.seed + number) for one in inputs}


def draw(one: Input, size: int, seed: int) -> "Array":
    """Return an array for an input; its open axes get a size.

    Raises:
        UsageError: if the shape is not known.
    """
    import numpy as np

    if one.shape is None:
        raise UsageError(
            f"the shape of the input `{one.name}` is not known",
            hint=f"give it, with names for open axes: --input {one.name}=batch,3,224,224 "
            f'(in code: inputs=["{one.name}=batch,3,224,224"])',
        )
    random = np.random.default_rng([seed, *one.name.encode()])
    shape = [axis if isinstance(axis, int) else size for axis in one.shape]
    dtype = one.dtype or "float32"
    if dtype == "string":
        return np.asarray(random.choice(_WORDS, shape), dtype=object)
    if dtype.startswith("float"):
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)


def shown(function: Callable[..., Any], job: Job) -> tuple[Input, ...]:
    """Return a function's inputs as the user's example shows them; none where there is none."""
    if job.example is None:
        return ()
    loaded = arrays_in(job.example)
    if not isinstance(loaded, Mapping):
        loaded = {names_of(function, job, 1)[0]: loaded}
    names = names_of(function, job, len(loaded))
    ordered = names if set(names) == set(loaded) else loaded
    return tuple(Input(name, loaded[name].dtype.name, loaded[name].shape) for name in ordered)


def arrays_in(path: Path) -> "Mapping[str, Array] | Array":
    """Return the arrays of an ``.npz`` by name, or that of an ``.npy``.

    Raises:
        NotFound, UsageError: if it cannot be read.
    """
    return read_npz(path) if is_npz(path) else read_npy(path)


def example_of(path: Path, inputs: Sequence[Input]) -> "dict[str, Array]":
    """Return the arrays of an ``.npz`` by name, or that of an ``.npy`` for the only input.

    Raises:
        UsageError: if it cannot be read, or has other names than the inputs.
    """
    loaded: Any = arrays_in(path)
    names = [one.name for one in inputs]
    arrays = loaded if isinstance(loaded, Mapping) else dict.fromkeys(names[:1], loaded)
    if names and set(arrays) != set(names):
        raise UsageError(
            f"`{path.name}` holds {', '.join(sorted(arrays))}; the inputs are {', '.join(names)}"
        )
    return {name: arrays[name] for name in names or arrays}
