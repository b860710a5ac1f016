"""Compose two models: outputs of the first become inputs of the second."""

from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import Refused

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


_PREFIX = "preprocessing/"  # of the first model's inner names, where both have the same


class Unmergeable(Refused, ValueError):
    """Two models that cannot become one; `onnx.hub` raised a ValueError."""


def merged(first: "ModelProto", second: "ModelProto", names: tuple[str, str]) -> "ModelProto":
    """Return two models as one, at the higher of their opsets.

    Args:
        first: whose outputs are the second's inputs, in their order.
        second: what takes them.
        names: of both, for the error.

    Raises:
        Unmergeable: if they differ in the opset of a domain other than the default one, or the
            one does not fit to the other, or cannot be raised to the other's opset.
    """
    from onnx.compose import add_prefix, check_overlapping_names, merge_models

    one, two = _opsets(first), _opsets(second)
    for domain in (one.keys() & two.keys()) - {""}:
        if one[domain] != two[domain]:
            raise Unmergeable(
                f"`{names[0]}` has opset {one[domain]} of `{domain}`, `{names[1]}` has "
                f"{two[domain]}; only the default domain's can be raised"
            )
    highest = max(one.get("", 0), two.get("", 0))
    first, second = (_raised(m, highest, n) for m, n in zip((first, second), names, strict=True))
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    for out, into in zip(first.graph.output, _inputs(second), strict=False):
        kinds = [value.type.tensor_type.elem_type for value in (out, into)]
        if len(set(kinds)) > 1:
            raise Unmergeable(
                f"the output `{out.name}` of `{names[0]}` and the input `{into.name}` of "
                f"`{names[1]}` hold other types"
            )
    try:
        if check_overlapping_names(first.graph, second.graph, _pairs(first, second)):
            first = add_prefix(first, _PREFIX, rename_inputs=False)
        return merge_models(first, second, io_map=_pairs(first, second))
    except Exception as error:
        raise Unmergeable(f"`{names[0]}` and `{names[1]}` do not fit together: {error}") from error


def _opsets(model: "ModelProto") -> dict[str, int]:
    return {
        "" if entry.domain == "ai.onnx" else entry.domain: entry.version
        for entry in model.opset_import
    }


def _pairs(first: "ModelProto", second: "ModelProto") -> list[tuple[str, str]]:
    both = zip(first.graph.output, _inputs(second), strict=False)
    return [(out.name, into.name) for out, into in both]


def _inputs(model: "ModelProto") -> "list[ValueInfoProto]":
    """Return the inputs without weights, which are inputs too up to IR version 3."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _raised(model: "ModelProto", opset: int, name: str) -> "ModelProto":
    """Return a model at an opset of the default domain that is not below its own."""
    from onnx import checker, version_converter

    if _opsets(model).get("", opset) == opset:
        return model
    try:
        raised = version_converter.convert_version(model, opset)
        checker.check_model(raised)
    except Exception as error:
        raise Unmergeable(f"`{name}` cannot be raised to opset {opset}: {error}") from error
    return raised
