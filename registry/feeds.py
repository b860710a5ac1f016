"""Inputs for a model that nobody gave any: of the right shape and dtype, the same every time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.errors import UsageError
from onnxzoo.registry.records import Tensor
from onnxzoo.registry.sizes import key, open_axes

if TYPE_CHECKING:
    import numpy as np


def random_inputs(
    inputs: Sequence[Tensor], *, seed: int = 0, axes: Mapping[str, int] | None = None
) -> "dict[str, np.ndarray[Any, Any]]":
    """Return an array of the right shape and dtype for every input.

    Floats are drawn from the standard normal distribution, whole numbers are 0 or 1 (always a
    valid index or mask), strings are ``"text"``.

    Args:
        inputs: the graph's inputs.
        seed: of NumPy's generator; the same seed gives the same arrays.
        axes: a size for a symbolic axis by its name; every other open axis is 1.

    Raises:
        UsageError: if an input is not a dense tensor, or its rank is not known.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    arrays = {}
    for tensor in inputs:
        if tensor.shape is None or "(" in tensor.dtype:
            raise UsageError(
                f"cannot make up the input `{tensor.name}` ({tensor.dtype})",
                hint=f"give it: --input {tensor.name}=FILE.npy",
            )
        shape = [_size(axis, axes or {}) for axis in tensor.shape]
        arrays[tensor.name] = _draw(random, tensor.dtype, shape)
    return arrays


def check_axes(axes: Iterable[str], inputs: Iterable[Tensor]) -> None:
    """Raise UsageError for an axis that no input leaves open.

    An axis is called by its name, or by input and position: ``x:1``.
    """
    inputs = list(inputs)
    names = {key(tensor, place) for tensor, place in open_axes(inputs)}
    places = {f"{tensor.name}:{place}" for tensor, place in open_axes(inputs)}
    for name in axes:
        if name not in names | places:
            known = ", ".join(f"`{axis}`" for axis in sorted(names)) or "none that is open"
            raise UsageError(f"no axis `{name}`; the model has {known}")


def batch_axis(inputs: Sequence[Tensor]) -> str | None:
    """Return the name of the axis that is the batch, None if it is fixed or unnamed."""
    firsts = (tensor.shape[0] for tensor in inputs if tensor.shape)
    opened = next((axis for axis in firsts if not isinstance(axis, int)), None)
    return opened if isinstance(opened, str) else None


def batched(
    inputs: Sequence[Tensor], batch: int | None, *, sized: Collection[str] = ()
) -> tuple[tuple[Tensor, ...], int]:
    """Return a graph's inputs at a batch size, and that size.

    The batch is the first axis, wherever an input leaves it open; an input whose first axis is
    fixed stays as it is beside one whose is open.

    Args:
        inputs: the graph's inputs.
        batch: examples in a batch; None for what the graph fixes, else 1.
        sized: axes that have a size of their own, and stay open here.

    Raises:
        UsageError: if the graph fixes another batch.
    """
    firsts = [tensor.shape[0] for tensor in inputs if tensor.shape]
    fixed = next((axis for axis in firsts if isinstance(axis, int)), 1)
    opened = {axis for axis in firsts if not isinstance(axis, int)}
    if not opened and batch not in {None, fixed}:
        raise UsageError(f"the batch of the model is fixed at `{fixed}`; `{batch}` was asked for")
    size = (batch or 1) if opened else fixed
    names = {axis for axis in opened if axis is not None}.difference(sized)
    return tuple(_at_batch(tensor, names, size) for tensor in inputs), size


def _at_batch(tensor: Tensor, names: set[str], batch: int) -> Tensor:
    if not tensor.shape:
        return tensor
    first, *rest = (batch if axis in names else axis for axis in tensor.shape)
    return replace(tensor, shape=(batch if first is None else first, *rest))


def _size(axis: int | str | None, axes: Mapping[str, int]) -> int:
    if isinstance(axis, int):
        return max(axis, 0)
    return axes.get(axis or "", 1)


def _draw(
    random: "np.random.Generator", dtype: str, shape: Sequence[int]
) -> "np.ndarray[Any, Any]":
    import numpy as np

    if dtype == "string":
        return np.full(shape, "text", dtype=object)
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    try:
        if dtype.startswith("float"):
            return random.standard_normal(shape).astype(dtype)
        return random.integers(0, 2, shape).astype(dtype)
    except (TypeError, ValueError) as error:  # a dtype that NumPy has not, a shape beyond it
        raise UsageError(f"cannot make up values of type `{dtype}`") from error
