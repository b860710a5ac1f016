"""Which opsets a model can surely be converted to, told from its ops without converting it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxzoo.registry.fit import Needs

_FUNCTIONS_SINCE = 8  # the IR version that brought functions, which have opsets of their own


def reach(needs: "Needs", highest: int) -> tuple[int, ...]:
    """Return the other opsets at which every op of a model is what it is now.

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


def _may_hold_functions(needs: "Needs") -> bool:
    if needs.functions is not None:
        return bool(needs.functions)
    return needs.ir_version is None or needs.ir_version >= _FUNCTIONS_SINCE


def _same(op: str, opset: int, highest: int) -> tuple[int, int]:
    """Return the first and the last opset at which an op is what it is in this one."""
    since, last = _since(op, opset), opset
    if since is None:
        return opset, opset
    while last < highest and _since(op, last + 1) == since:
        last += 1
    return since, last


def _since(op: str, opset: int) -> int | None:
    from onnx import defs

    try:
        return int(defs.get_schema(op, opset, "").since_version)
    except defs.SchemaError:
        return None
