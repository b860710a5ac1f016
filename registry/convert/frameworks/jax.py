"""JAX -> ONNX by jax2onnx: functions, Flax modules and Equinox modules, in code or by a factory.

Source: jax2onnx's documentation, "to_onnx"; JAX's, "Shape polymorphism".
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from onnxzoo.registry.convert.frameworks._inputs import feeds, shown
from onnxzoo.registry.convert.frameworks._loading import made_by
from onnxzoo.registry.convert.frameworks._names import (
    Axes,
    axes_of,
    names_of,
    opened,
    other_sizes,
    outputs_named,
)
from onnxzoo.registry.convert.frameworks._traces import without_traces
from onnxzoo.registry.convert.interface import Converter, Input, Job, Made, Sample, pinned
from onnxzoo.registry.core.errors import UsageError

CONVERTER = Converter(
    name="jax",
    module=__name__,
    options=(),
    needs=("jax", "jax2onnx", "onnx"),
    extra="jax",
    requirements=pinned("jax"),
)
_USUAL = 21  # opset; jax2onnx's own is newer than what much of the field runs
_INSIDE = 1_500_000_000  # bytes of weights in the file itself; protobuf ends at 2 GiB
_SIDE = "model.onnx.data"


class Inputs(NamedTuple):
    """Inputs of a function: tensors, dynamic axes by name, and arrays for each call."""

    inputs: Sequence[Input]
    calls: Sequence[Sequence[Any]]


def convert(job: Job) -> Made:
    """Convert a function of arrays; compute its own outputs first."""
    import jax

    if job.source is not None:
        raise UsageError(
            f"`{job.source.name}` is a file; JAX's models are made by Python code",
            hint="zoo convert module:function --from jax",
        )
    function, given = _made(job)
    inputs = _inputs(function, given, job)
    outputs = [jax.tree_util.tree_leaves(function(*call)) for call in inputs.calls]
    names = [one.name for one in inputs.inputs]
    _export(function, inputs.inputs, outputs_named(job, len(outputs[0])), job)
    samples = [
        Sample(dict(zip(names, call, strict=True)), found)
        for call, found in zip(inputs.calls, outputs, strict=True)
    ]
    return Made(samples)


def _made(job: Job) -> tuple[Callable[..., Any], Sequence[Any] | None]:
    """Return the callable without its training parts, and its example inputs."""
    made = made_by(job) if job.value is None else job.value
    function, given = made if isinstance(made, tuple) else (made, None)
    if not callable(function):
        raise UsageError(
            f"a `{type(function).__name__}` cannot be called; expected a function or a module"
        )
    return _inferring(function), given if job.given is None else job.given


def _inferring(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of a module that drops nothing and learns nothing."""
    flax, equinox = sys.modules.get("flax.nnx"), sys.modules.get("equinox")
    if flax is not None and isinstance(function, flax.Module):
        copy: Any = flax.clone(function)
        copy.eval()
        return copy  # type: ignore[no-any-return]
    if equinox is not None and isinstance(function, equinox.Module):
        return equinox.nn.inference_mode(function)  # type: ignore[no-any-return]
    return function


def _inputs(function: Callable[..., Any], given: Sequence[Any] | None, job: Job) -> Inputs:
    """Return a function's inputs from an example, or from the user's --input.

    Raises:
        UsageError: if neither says enough.
    """
    import numpy as np

    if given is not None:
        arrays = [np.asarray(value) for value in given]
        names = names_of(function, job, len(arrays))
        axes = axes_of(names, [value.ndim for value in arrays], job)
        inputs = [
            Input(name, str(value.dtype), _open(value.shape, axes[name]))
            for name, value in zip(names, arrays, strict=True)
        ]
        return Inputs(inputs, [arrays, *_other_sizes(arrays, names, axes)])
    known = job.inputs or shown(function, job)
    if not known:
        raise UsageError(
            "the inputs of a JAX function are not known from it",
            hint="give their shapes, with names for open axes: --input x=batch,28,28,1 "
            "(in code: example=(x,))",
        )
    inputs = [one._replace(dtype=_dtype(one.dtype or "float32")) for one in opened(known, job)]
    calls = [[feed[one.name] for one in inputs] for feed in feeds(inputs, job)]
    if job.example is not None:
        names = [one.name for one in inputs]
        calls += _other_sizes(calls[0], names, axes_of(names, [c.ndim for c in calls[0]], job))
    return Inputs(inputs, calls)


def _dtype(name: str) -> str:
    """Return the dtype that JAX computes with: of 64 bits only where that is switched on."""
    import jax

    return str(jax.dtypes.canonicalize_dtype(name))


def _open(shape: Sequence[int], axes: Mapping[int, str]) -> tuple[int | str, ...]:
    return tuple(axes.get(axis, size) for axis, size in enumerate(shape))


def _other_sizes(arrays: Sequence[Any], names: Sequence[str], axes: Axes) -> Iterator[list[Any]]:
    """Yield the example again with its open axes at another size, its values repeated."""
    import numpy as np

    if not any(axes.values()):
        return
    changed = []
    sizes = other_sizes(names, [value.shape for value in arrays], axes)
    for value, ones in zip(arrays, sizes, strict=True):
        array = value
        for axis, size in ones.items():
            array = np.take(array, np.arange(size) % array.shape[axis], axis)
        changed.append(array)
    yield changed


def _export(
    function: Callable[..., Any], inputs: Sequence[Input], outputs: Sequence[str], job: Job
) -> None:
    import jax
    import onnx
    from jax2onnx import to_onnx

    model = to_onnx(
        function,
        [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in inputs],
        opset=job.opset or _USUAL,
        input_names=[one.name for one in inputs],
        output_names=list(outputs),
        enable_double_precision=any(one.dtype == "float64" for one in inputs),
    )
    for part in (model.graph, *model.functions):
        del part.value_info[:]  # some of it is stale, and fails onnx's full check
    without_traces(model)
    large = sum(len(weight.raw_data) for weight in model.graph.initializer) > _INSIDE
    onnx.save(model, job.model, save_as_external_data=large, location=_SIDE if large else None)
