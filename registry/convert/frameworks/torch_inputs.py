"""A PyTorch module's inputs: their names, examples at two sizes, and the outputs for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxzoo.registry.convert.frameworks._inputs import feeds, shown
from onnxzoo.registry.convert.frameworks._names import (
    Axes,
    axes_of,
    axis_name,
    names_of,
    opened,
    other_sizes,
)
from onnxzoo.registry.convert.interface import Job, Sample
from onnxzoo.registry.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of a module.

    Attributes:
        names: in the order of the arguments.
        axes: the open axes of each, by name.
        calls: the arguments of each call: the first is the example that is exported with.
    """

    names: Sequence[str]
    axes: Axes
    calls: Sequence[tuple[Any, ...]]


def inputs_of(
    module: Any, job: Job, given: Sequence[Any] | None, symbolic: Mapping[int, Mapping[int, str]]
) -> Inputs:
    """Return a module's inputs from an example, or from the user's --input.

    Args:
        module: in evaluation mode.
        job: what the user says.
        given: an example that comes with the module.
        symbolic: axes that an ExportedProgram leaves open, by the places of its inputs.

    Raises:
        UsageError: if neither says enough.
    """
    import torch

    given = given if job.given is None else job.given
    if given is not None:
        if not all(isinstance(value, torch.Tensor) for value in given):
            raise UsageError("an example has to be a tuple of tensors", hint="example=(x,)")
        names = names_of(module.forward, job, len(given))
        axes = axes_of(names, [value.dim() for value in given], job)
        for place, open_ones in symbolic.items():
            axes[names[place]] = {**open_ones, **axes[names[place]]}
        others = _others(module, given, names, axes)
        if symbolic:  # a program may bound its open axes
            others = [call for call in others if _runs(module, call)]
        return Inputs(names, axes, [tuple(given), *others])
    inputs = job.inputs or shown(module.forward, job)
    if not inputs:
        raise UsageError(
            "the inputs of a PyTorch module are not known from it",
            hint="give their shapes, with names for open axes: --input x=batch,3,224,224 "
            "(in code: example=(x,))",
        )
    names = [one.name for one in inputs]
    axes = axes_of(names, [len(one.shape or ()) for one in inputs], job)
    drawn = feeds(opened(inputs, job), job)
    calls = [tuple(torch.from_numpy(feed[name]) for name in names) for feed in drawn]
    more = _apart if job.example is None else _others
    calls += more(module, calls[0], names, axes)
    return Inputs(names, axes, calls)


def symbolic_axes(program: Any) -> dict[int, dict[int, str]]:
    """Return the axes that an ExportedProgram leaves open, by the places of its inputs."""
    import torch

    nodes = {node.name: node for node in program.graph.nodes}
    found = {}
    for place, name in enumerate(program.graph_signature.user_inputs):
        shape = getattr(nodes[name].meta.get("val"), "shape", ())
        found[place] = {
            axis: axis_name(name, axis)
            for axis, size in enumerate(shape)
            if isinstance(size, torch.SymInt)
        }
    return found


def outputs_of(module: Any, arguments: Sequence[Any]) -> list[Any]:
    """Return a module's output tensors, in the order in which the exporters flatten them."""
    import torch
    from torch.utils._pytree import tree_leaves

    with torch.no_grad():
        found = module(*(value.clone() for value in arguments))
    return [value for value in tree_leaves(found) if isinstance(value, torch.Tensor)]


def _runs(module: Any, call: Sequence[Any]) -> bool:
    """Tell whether a module takes another size of its open axes."""
    try:
        outputs_of(module, call)
    except (RuntimeError, AssertionError, IndexError, TypeError, ValueError):
        return False
    return True


def samples_of(inputs: Inputs, outputs: Sequence[Sequence[Any]]) -> list[Sample]:
    """Return the calls and their results as arrays."""
    return [
        Sample(
            {name: array_of(value) for name, value in zip(inputs.names, call, strict=True)},
            [array_of(value) for value in found],
        )
        for call, found in zip(inputs.calls, outputs, strict=True)
    ]


def array_of(tensor: Any) -> Any:
    """Return a tensor as an array."""
    return tensor.detach().cpu().resolve_conj().resolve_neg().numpy()


def _others(
    module: Any, given: Sequence[Any], names: Sequence[str], axes: Axes
) -> list[tuple[Any, ...]]:
    """Return the example with its open axes at another size, its values repeated."""
    if not any(axes.values()):
        return []
    sizes = other_sizes(names, [value.shape for value in given], axes)
    return _apart(module, given, names, axes) or [_resized(given, sizes)]


def _apart(
    module: Any, given: Sequence[Any], names: Sequence[str], axes: Axes
) -> list[tuple[Any, ...]]:
    """Return the example with several open axes at sizes that tell them apart, if that runs."""
    if len({word for ones in axes.values() for word in ones.values()}) < 2:  # noqa: PLR2004
        return []
    sizes = other_sizes(names, [value.shape for value in given], axes, apart=True)
    call = _resized(given, sizes)
    return [call] if _runs(module, call) else []


def _resized(given: Sequence[Any], sizes: Sequence[Mapping[int, int]]) -> tuple[Any, ...]:
    import torch

    changed = []
    for value, ones in zip(given, sizes, strict=True):
        tensor = value
        for axis, size in ones.items():
            places = torch.arange(size, device=tensor.device) % tensor.shape[axis]
            tensor = tensor.index_select(axis, places)
        changed.append(tensor)
    return tuple(changed)
