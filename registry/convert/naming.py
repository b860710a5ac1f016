"""What a model's inputs are called and which of their axes are open, however that was said."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from onnxzoo.registry.convert.job import Input, Job
from onnxzoo.registry.errors import UsageError

Axes = dict[str, dict[int, str]]


def names_of(function: Callable[..., Any], job: Job, count: int) -> list[str]:
    """Return the names of a function's inputs: those that were given, else its parameters'.

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
    """Return the open axes of every input, from all three ways of saying them."""
    shapes = {one.name: one.shape or () for one in job.inputs}
    found: Axes = {}
    for name, rank in zip(names, ranks, strict=True):
        said = {
            axis: word for axis, word in enumerate(shapes.get(name, ())) if isinstance(word, str)
        }
        common = {axis: word for axis, word in job.dynamic.items() if axis < rank}
        found[name] = {**common, **said, **job.axes.get(name, {})}
    return found


def shaped(job: Job) -> list[Input]:
    """Return the inputs that the user gave shapes of, with all their open axes."""
    names = [one.name for one in job.inputs]
    axes = axes_of(names, [len(one.shape or ()) for one in job.inputs], job)
    return [one._replace(shape=_open(one, axes[one.name])) for one in job.inputs]


def _open(one: Input, axes: dict[int, str]) -> Any:
    return one.shape and tuple(axes.get(axis, size) for axis, size in enumerate(one.shape))


def outputs_named(job: Job, count: int) -> list[str]:
    """Return the names of a model's outputs: those that were given, else ours.

    Raises:
        UsageError: if other than that many were named.
    """
    if job.outputs:
        if len(job.outputs) != count:
            raise UsageError(f"{len(job.outputs)} outputs are named, and the model gives {count}")
        return list(job.outputs)
    return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]
