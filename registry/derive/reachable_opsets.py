"""Predict a model's reachable opsets from its ops, without converting it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.op_versions import LOWEST, may_differ_in_types_only, since
from onnxzoo.registry.onnx_file.op_versions import ir_version as lowest_ir_version

if TYPE_CHECKING:
    from onnxzoo.registry.runtime.compatibility import Requirements

_FUNCTIONS_SINCE = 8  # the IR version that brought functions, which have opsets of their own


@dataclass(frozen=True, slots=True)
class _Converted:  # see `Requirements`
    ir_version: int | None
    opset: int | None
    opsets: Mapping[str, int]
    ops: Mapping[str, int]
    functions: Sequence[str] | None
    precision: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


def convertible_opsets(needs: "Requirements", highest: int) -> tuple[int, ...]:
    """Return the other opsets with unchanged definitions of all a model's ops.

    Beyond them onnx's converter has to rewrite an op, and whether it can is known only when it has
    tried.

    Args:
        needs: what is known of the model; where its ops or functions are not, nothing is sure.
        highest: the highest opset to ask for.
    """
    from onnx import defs

    opset = needs.opset
    ops = [op for op in needs.ops if "." not in op]
    if not opset or not ops or _may_hold_functions(needs):
        return ()
    bounds = [_same(op, opset, min(highest, defs.onnx_opset_version())) for op in ops]
    first, last = max(low for low, _ in bounds), min(high for _, high in bounds)
    return tuple(number for number in range(first, last + 1) if number != opset)


def reach_by_trying(needs: "Requirements") -> tuple[int, ...]:
    """Return the opsets below `convertible_opsets`'s that differ in types only.

    Whether a model keeps to the types that were there before is known only when it has been tried.
    """
    opset = needs.opset
    ops = [op for op in needs.ops if "." not in op]
    if not opset or not ops or _may_hold_functions(needs):
        return ()
    lowest = opset
    while all(may_differ_in_types_only(op, lowest) for op in ops if since(op, lowest) == lowest):
        if lowest - 1 < LOWEST or any(since(op, lowest - 1) is None for op in ops):
            break
        lowest -= 1
    first = max(since(op, opset) or opset for op in ops)
    return tuple(range(lowest, first))


def at_opset(needs: "Requirements", opset: int, ir_version: int | None = None) -> "Requirements":
    """Return a model's requirements after a conversion to an opset.

    Args:
        needs: of the model as it is.
        opset: of the default domain.
        ir_version: the highest that it may keep; None for the opset's own.
    """
    needed = lowest_ir_version({"": opset})
    kept = min(needs.ir_version or needed, ir_version or needed)
    return _Converted(
        ir_version=max(needed, kept),
        opset=opset,
        opsets={**needs.opsets, "": opset},
        ops=needs.ops,
        functions=needs.functions and (),  # calls of them are replaced by what they do
        precision=needs.precision,
        inputs=needs.inputs,
        outputs=needs.outputs,
    )


def _may_hold_functions(needs: "Requirements") -> bool:
    if needs.functions is not None:
        return bool(needs.functions)
    return needs.ir_version is None or needs.ir_version >= _FUNCTIONS_SINCE


def _same(op: str, opset: int, highest: int) -> tuple[int, int]:
    """Return the first and the last opset with an unchanged definition of an op."""
    first, last = since(op, opset), opset
    if first is None:
        return opset, opset
    while last < highest and since(op, last + 1) == first:
        last += 1
    return first, last
