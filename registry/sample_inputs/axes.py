"""Check the axes of a graph's inputs: which are open, which is the batch."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.sample_inputs.sizes import key, open_axes


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
