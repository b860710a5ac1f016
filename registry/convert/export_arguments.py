"""Translate the arguments of ``torch.onnx.export`` into those of a conversion.

Source: PyTorch's documentation, "torch.onnx.export" and "torch.export.Dim".
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from onnxzoo.registry.core.errors import UsageError

_FIXED = {"STATIC"}  # hints of torch.export.Dim
_OPEN = {"AUTO", "DYNAMIC"}


def exporter_of(exporter: str | None, *, dynamo: bool | None) -> str | None:
    """Return the exporter that ``exporter`` or ``dynamo`` asks for.

    Raises:
        UsageError: if they contradict each other.

    >>> exporter_of(None, dynamo=False)
    'torchscript'
    """
    asked = None if dynamo is None else "dynamo" if dynamo else "torchscript"
    if exporter and asked and exporter != asked:
        raise UsageError(f"`exporter={exporter!r}` and `dynamo={dynamo}` contradict each other")
    return exporter or asked


def check_params(*, export_params: bool) -> None:
    """Refuse a model without its weights."""
    if not export_params:
        raise UsageError(
            "`export_params=False` leaves the weights out, and a model is kept with its weights",
            hint="leave export_params out",
        )


def axes_of_shapes(shapes: Any, model: Any, names: Sequence[str]) -> dict[str, Mapping[int, str]]:
    """Return the open axes that ``dynamic_shapes`` names, by input.

    Args:
        shapes: by the parameters of ``forward``, or in their order; of each a mapping of axes or a
            sequence with an entry for every axis: a ``Dim``, a name, or None where it is fixed.
        model: the module.
        names: what the inputs are to be called; else they are called as ``forward`` does.

    Raises:
        UsageError: if it is of another form.
    """
    parameters = _parameters(model)
    if isinstance(shapes, Mapping):
        unknown = [name for name in shapes if name not in parameters]
        if unknown:
            known = ", ".join(f"`{name}`" for name in parameters)
            raise UsageError(
                f"`dynamic_shapes` names `{unknown[0]}`; the inputs of the module are {known}"
            )
        by_place = [shapes.get(name) for name in parameters]
    elif isinstance(shapes, tuple | list):
        by_place = list(shapes)
    else:
        raise _malformed(shapes)
    called = [*names, *parameters[len(names) :]]
    if len(by_place) > len(called):
        raise _malformed(shapes)
    found = {}
    for name, axes in zip(called, by_place, strict=False):
        if axes:
            found[name] = _axes(name, axes)
    return found


def _parameters(model: Any) -> list[str]:
    call = getattr(model, "forward", model)
    try:
        return list(inspect.signature(call).parameters)
    except (TypeError, ValueError):  # a compiled module has none that Python knows
        return []


def _axes(name: str, axes: Any) -> Mapping[int, str]:
    if isinstance(axes, Mapping):
        items = list(axes.items())
    elif isinstance(axes, tuple | list):
        items = list(enumerate(axes))
    else:
        raise _malformed(axes)
    if not all(isinstance(axis, int) for axis, _ in items):
        raise _malformed(axes)
    words = ((axis, _word(dim, f"{name}_{axis}")) for axis, dim in items)
    return {axis: word for axis, word in words if word is not None}


def _word(dim: Any, otherwise: str) -> str | None:
    """Return the name of an open axis; None for one that is fixed."""
    if dim is None or isinstance(dim, int):
        return None
    if isinstance(dim, str):
        return dim
    hint = getattr(getattr(dim, "type", None), "name", None)  # Dim.AUTO, Dim.DYNAMIC, Dim.STATIC
    if hint in _FIXED:
        return None
    if hint in _OPEN:
        return otherwise
    if isinstance(word := getattr(dim, "__name__", None), str):
        return word
    raise _malformed(dim)


def _malformed(found: Any) -> UsageError:
    return UsageError(
        f"`dynamic_shapes` does not take `{str(found)[:80]}`",
        hint='for example: dynamic_shapes={"x": {0: "batch"}}',
    )
