"""A lower opset where onnx's converter has no step down: ops that only gained types stay.

One opset at a time: what changed in its types alone is hidden from the converter, which sees to
the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.onnx_file.op_versions import (
    differs_in_types_only,
    is_default,
    may_differ_in_types_only,
    schema,
    since,
)
from onnxzoo.registry.onnx_file.protos import graphs, nodes

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, TypeProto

_HIDDEN = "onnxzoo.hidden"  # a domain that the converter passes by
_DEFAULT = {"", "ai.onnx"}
_KNOWN = 512  # elements of a constant that may be indices or axes


class NoStep(Exception):
    """No step down from an opset: the converter's words, and the opset."""

    def __init__(self, why: str, opset: int) -> None:
        super().__init__(why)
        self.opset = opset


def lower(model: "ModelProto", opset: int, target: int) -> "ModelProto":
    """Return a model at a lower opset, step by step.

    Args:
        model: without weights; it is left as it is.
        opset: its own.
        target: the lower one.

    Raises:
        NoStep: with what onnx's converter says of the op that it has no step for.
    """
    import onnx

    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    typed = False
    for version in range(opset, target, -1):
        changed = [node for node in nodes(lowered) if _changes(node, version)]
        if changed and not typed:
            lowered, typed = _infer(lowered), True
            changed = [node for node in nodes(lowered) if _changes(node, version)]
        types = value_types(lowered) if changed else {}
        constants = _constants(lowered) if changed else {}
        kept = [n for n in changed if differs_in_types_only(n, version, types, constants)]
        drop_defaults(kept, version, version - 1)
        if len(kept) < len(changed):
            lowered, typed = _step(lowered, kept, version), False
        else:
            _name_opset(lowered, version - 1)
    return lowered


def value_types(model: "ModelProto") -> Mapping[str, set[str]]:
    """Return the types of a model's values by name, several where graphs share a name.

    A type is written as ONNX's schemas write it: ``tensor(float)``, ``seq(tensor(int64))``.
    """
    found: dict[str, set[str]] = {}
    for graph in graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if word := _word(value.type):
                found.setdefault(value.name, set()).add(word)
        for tensor in graph.initializer:
            found.setdefault(tensor.name, set()).add(f"tensor({_element(tensor.data_type)})")
    return found


def drop_defaults(found: "Sequence[NodeProto]", opset: int, target: int) -> None:
    """Remove attributes at their default that an op has not at another opset."""
    for node in found:
        now, then = _schema(node, opset), _schema(node, target)
        if now is None or then is None:
            continue
        for attribute in list(node.attribute):
            known = attribute.name in now.attributes
            if known and attribute.name not in then.attributes and is_default(attribute, now):
                node.attribute.remove(attribute)


def type_misfit(model: "ModelProto", op: str, version: int) -> str | None:
    """Return the types of an op's inputs where they alone keep it from the opset below."""
    if not may_differ_in_types_only(op, version):
        return None
    typed = _infer(model)
    types, old = value_types(typed), schema(op, version - 1)
    for node in nodes(typed):
        if node.op_type == op and node.domain in _DEFAULT:
            for name, formal in zip(node.input, old.inputs, strict=False):
                if outside := sorted(types.get(name, set()) - set(formal.types)):
                    return outside[0]
    return None


def _changes(node: "NodeProto", version: int) -> bool:
    return node.domain in _DEFAULT and since(node.op_type, version) == version


def _schema(node: "NodeProto", opset: int) -> Any:
    return schema(node.op_type, opset) if node.domain in _DEFAULT else None


def _infer(model: "ModelProto") -> "ModelProto":
    from onnx import shape_inference

    return shape_inference.infer_shapes(model)


def _step(model: "ModelProto", kept: "Sequence[NodeProto]", version: int) -> "ModelProto":
    """Convert a model to the opset below, except for some of its nodes."""
    from onnx import version_converter

    for node in kept:
        node.domain = _HIDDEN
    drop_defaults(list(nodes(model)), version, version - 1)
    if kept:
        model.opset_import.add(domain=_HIDDEN, version=1)
    try:
        made = version_converter.convert_version(model, version - 1)
    except Exception as error:
        raise NoStep(str(error), version) from error
    for node in nodes(made):
        if node.domain == _HIDDEN:
            node.domain = ""
    for entry in [entry for entry in made.opset_import if entry.domain == _HIDDEN]:
        made.opset_import.remove(entry)
    return made


def _name_opset(model: "ModelProto", version: int) -> None:
    for entry in model.opset_import:
        if entry.domain in _DEFAULT:
            entry.version = version


def _constants(model: "ModelProto") -> Mapping[str, Any]:
    """Return the small whole numbers that a model holds, by name."""
    from onnx import TensorProto, numpy_helper

    return {
        name: numpy_helper.to_array(tensor)
        for name, tensor in _tensors(model)
        if tensor.data_type in {TensorProto.INT32, TensorProto.INT64}
        and tensor.data_location != TensorProto.EXTERNAL
        and len(tensor.dims) <= 1
        and sum(tensor.dims) <= _KNOWN
    }


def _tensors(model: "ModelProto") -> "Iterator[tuple[str, TensorProto]]":
    for graph in graphs(model):
        yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in nodes(model):
        value: AttributeProto
        for value in node.attribute:
            if node.op_type == "Constant" and value.name == "value":
                yield node.output[0], value.t


def _word(kind: "TypeProto") -> str:
    """Return a type as schemas write it, nothing where it is not known."""
    for field, word in (("sequence_type", "seq"), ("optional_type", "optional")):
        if kind.HasField(field):
            inner = _word(getattr(kind, field).elem_type)
            return f"{word}({inner})" if inner else ""
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type:
        return f"tensor({_element(kind.tensor_type.elem_type)})"
    return ""


def _element(number: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(number)).lower()
