"""Resolve input names and dynamic axes from --input, --dynamic and dynamic_axes."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from onnxzoo.registry.convert.interface import BATCH, OTHER_BATCH, Input, Job
from onnxzoo.registry.core.errors import UsageError

Axes = dict[str, dict[int, str]]


def names_of(function: Callable[..., Any], job: Job, count: int) -> list[str]:
    """Return the names of a function's inputs: the given ones, else its parameters'.

    Raises:
        UsageError: if other than that many were named.
    """
    if job.inputs:
        if len(job.inputs) != count:
            raise UsageError(
                f"{len(job.inputs)} inputs are named, and the example has {count} tensors"
            )
        return [one.name for one in job.inputs]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    names = [one.name for one in parameters if one.kind in positional]
    return names[:count] if len(names) >= count else [f"input_{n}" for n in range(count)]


def axes_of(names: Sequence[str], ranks: Sequence[int], job: Job) -> Axes:
    """Return the open axes of every input, from all three ways of saying them.

    Raises:
        UsageError: if an input of a known rank has no such axis.
    """
    shapes = {one.name: one.shape or () for one in job.inputs}
    found: Axes = {}
    for name, rank in zip(names, ranks, strict=True):
        said = {
            axis: word for axis, word in enumerate(shapes.get(name, ())) if isinstance(word, str)
        }
        common = {axis: word for axis, word in job.dynamic.items() if axis < rank}
        named = job.axes.get(name, {})
        if 0 < rank <= max(named, default=-1):
            raise UsageError(f"the input `{name}` has {rank} axes, from 0, and no `{max(named)}`")
        found[name] = {**common, **said, **named}
    return found


def axis_name(tensor: str, axis: int) -> str:
    """Return a default name for a dynamic axis; the first one is the batch.

    >>> axis_name("image", 0), axis_name("image", 2)
    ('batch', 'image_2')
    """
    return f"{tensor}_{axis}" if axis else "batch"


def words_by_sizes(
    inputs: Iterable[tuple[Sequence[int], Sequence[int], Mapping[int, str]]],
) -> dict[tuple[int, int], str]:
    """Return the names of dynamic axes by their sizes in two calls, where sizes differ.

    Args:
        inputs: of each its shape in the one call, that in the other, and its open axes.

    >>> words_by_sizes([((2, 7), (5, 11), {0: "batch", 1: "time"})])
    {(2, 5): 'batch', (7, 11): 'time'}
    >>> words_by_sizes([((2, 2), (5, 5), {0: "batch", 1: "time"})])
    {}
    """
    found: dict[tuple[int, int], set[str]] = {}
    for before, after, axes in inputs:
        for axis, word in axes.items():
            found.setdefault((before[axis], after[axis]), set()).add(word)
    return {sizes: words.pop() for sizes, words in found.items() if len(words) == 1}


def other_sizes(
    names: Sequence[str], shapes: Sequence[Sequence[int]], axes: Axes, *, apart: bool = False
) -> list[dict[int, int]]:
    """Return other sizes for the open axes of an example's arrays, by the numbers of the axes.

    Args:
        names: of the inputs.
        shapes: of the example.
        axes: that are open; those of one name have one size.
        apart: axes of other names grow by other lengths, so that it tells which is which.

    >>> other_sizes(["x"], [(2, 7)], {"x": {0: "batch", 1: "time"}}, apart=True)
    [{0: 5, 1: 11}]
    """
    sizes: dict[str, int] = {}
    for name, shape in zip(names, shapes, strict=True):
        for axis, word in axes[name].items():
            more = OTHER_BATCH - BATCH + (len(sizes) if apart else 0)
            sizes.setdefault(word, shape[axis] + more)
    return [{axis: sizes[word] for axis, word in axes[name].items()} for name in names]


def opened(inputs: Sequence[Input], job: Job) -> list[Input]:
    """Return inputs with the requested dynamic axes, under their names."""
    names = [one.name for one in inputs]
    axes = axes_of(names, [len(one.shape or ()) for one in inputs], job)
    return [one._replace(shape=_open(one, axes[one.name])) for one in inputs]


def _open(one: Input, axes: dict[int, str]) -> Any:
    return one.shape and tuple(axes.get(axis, size) for axis, size in enumerate(one.shape))


def outputs_named(job: Job, count: int) -> list[str]:
    """Return the names of a model's outputs: the given ones, else ours.

    Raises:
        UsageError: if other than that many were named.
    """
    if job.outputs:
        if len(job.outputs) != count:
            raise UsageError(f"{len(job.outputs)} outputs are named, and the model gives {count}")
        return list(job.outputs)
    return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]
