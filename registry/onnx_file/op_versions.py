"""Track the changes of ONNX's ops from opset to opset, by their schemas.

Most changes only add types of tensors. What a schema does not say is in the tables below.

Source: onnx, `onnx.defs` and "Operators" (docs/Changelog.md).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto

    Types = Mapping[str, Collection[str]]  # by value: "tensor(float)"; several where names repeat

LOWEST = 7  # the lowest opset that every onnxruntime runs, and that is told from schemas
# Attributes that must be absent or at their default for an op to do what it did before a version.
_AT_DEFAULT: Mapping[tuple[str, int], tuple[str, ...]] = {
    ("ArgMax", 12): ("select_last_index",), ("ArgMin", 12): ("select_last_index",),
    ("AveragePool", 10): ("ceil_mode",), ("AveragePool", 19): ("dilations", "ceil_mode"),
    ("Cast", 19): ("saturate",), ("Cast", 24): ("round_mode",),
    ("CastLike", 19): ("saturate",), ("CastLike", 24): ("round_mode",),
    ("Constant", 11): ("sparse_value",),
    ("Constant", 12): (
        "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings",
    ),
    ("DepthToSpace", 11): ("mode",), ("DequantizeLinear", 21): ("block_size",),
    ("DequantizeLinear", 23): ("output_dtype",), ("GatherND", 12): ("batch_dims",),
    ("GRU", 14): ("layout",), ("LSTM", 14): ("layout",), ("RNN", 14): ("layout",),
    ("LpPool", 18): ("ceil_mode", "dilations"), ("MaxPool", 10): ("ceil_mode", "dilations"),
    ("QuantizeLinear", 19): ("saturate",), ("QuantizeLinear", 21): ("block_size", "output_dtype"),
    ("QuantizeLinear", 23): ("precision",), ("Range", 27): ("stash_type",),
    ("Resize", 18): ("antialias", "axes", "keep_aspect_ratio_policy"),
    ("Reshape", 14): ("allowzero",),
    ("Resize", 19): ("keep_aspect_ratio_policy",), ("ScatterElements", 16): ("reduction",),
    ("ScatterND", 16): ("reduction",), ("Shape", 15): ("end", "start"),
    ("SpaceToDepth", 28): ("mode",), ("TopK", 11): ("largest", "sorted"),
}  # fmt: skip
# Values of attributes that a version brought: (op, version) -> attribute and value.
_NEW_VALUES: Mapping[tuple[str, int], tuple[str, Collection[bytes]]] = {
    ("Pad", 19): ("mode", {b"wrap"}),
    ("Resize", 19): ("coordinate_transformation_mode", {b"half_pixel_symmetric"}),
    ("ScatterElements", 18): ("reduction", {b"max", b"min"}),
    ("ScatterND", 18): ("reduction", {b"max", b"min"}),
}
# Changed in what they compute, with schemas that look alike: negative indices of OneHot, the
# masks of Attention.
_OTHER = {("OneHot", 11), ("Attention", 24), ("Attention", 25)}
# The IR version that brought a type. Source: onnx.proto, "enum Version".
_TYPES_SINCE = {
    "float8_e4m3fn": 9, "float8_e4m3fnuz": 9, "float8_e5m2": 9, "float8_e5m2fnuz": 9, "uint4": 10,
    "int4": 10, "float4_e2m1fn": 11, "float8_e8m0fnu": 12, "uint2": 13, "int2": 13,
    "float6_e2m3fn": 14, "float6_e3m2fn": 14,
}  # fmt: skip
# Opset 11 let axes, and indices of these inputs, count from the end.
_FROM_THE_END = 11
_INDICES = {"Gather": 1, "Slice": 3}


@cache
def schema(op: str, opset: int) -> Any:
    """Return the schema of an op of the default domain at an opset, None where there is none."""
    from onnx import defs

    try:
        return defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None


def since(op: str, opset: int) -> int | None:
    """Return the opset that introduced an op's current definition, None if it is not there.

    >>> since("Relu", 17), since("Gelu", 17)
    (14, None)
    """
    found = schema(op, opset)
    return None if found is None else int(found.since_version)


def ir_version(opsets: Mapping[str, int]) -> int:
    """Return the IR version of the first ONNX release that had these opsets.

    >>> ir_version({"": 17})
    8
    """
    from onnx import helper

    pairs = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return int(helper.find_min_ir_version_for(pairs, ignore_unknown=True))


def ir_version_of_types(dtypes: Iterable[str]) -> int:
    """Return the lowest IR version with all these tensor types, 3 at least.

    >>> ir_version_of_types(["float32", "int4"])
    10
    """
    return max((_TYPES_SINCE.get(dtype, 3) for dtype in dtypes), default=3)


@cache
def may_differ_in_types_only(op: str, version: int) -> bool:
    """Tell whether some uses of an op's version are uses of the one before it, but for types.

    >>> may_differ_in_types_only("Relu", 14), may_differ_in_types_only("Softmax", 13)
    (True, False)
    """
    new, old = schema(op, version), schema(op, version - 1)
    if new is None or old is None or version - 1 < LOWEST or (op, version) in _OTHER:
        return False
    if new.deprecated or old.deprecated:
        return False
    kept = _AT_DEFAULT.get((op, version), ())
    return (
        len(new.inputs) >= len(old.inputs)
        and _options(new.outputs) == _options(old.outputs)
        and set(old.attributes) <= set(new.attributes)
        and all(
            name in kept if name not in old.attributes else _is_alike(known, old.attributes[name])
            for name, known in new.attributes.items()
        )
    )


def differs_in_types_only(
    node: "NodeProto", version: int, types: "Types", constants: Mapping[str, Any]
) -> bool:
    """Tell whether a node of a version of its op is one of the version before, as it stands.

    Its attributes are those of the version before, or at defaults that mean what that did, and
    the types of its inputs and outputs are allowed there. Where a type is not known, it is not.

    Args:
        node: of the default domain.
        version: the opset that brought this version of its op.
        types: of values, such as ``tensor(float)``.
        constants: the arrays that are known, by name.
    """
    op = node.op_type
    if not may_differ_in_types_only(op, version):
        return False
    new, old = schema(op, version), schema(op, version - 1)
    named = {attribute.name: attribute for attribute in node.attribute}
    for name in _AT_DEFAULT.get((op, version), ()):
        if name in named and not is_default(named[name], new):
            return False
    name, values = _NEW_VALUES.get((op, version), ("", ()))
    if name in named and named[name].s in values:
        return False
    if version == _FROM_THE_END and _counts_from_the_end(node, constants):
        return False
    return _is_complete(node.input, old) and _allows(node, old, types)


def is_default(attribute: "AttributeProto", known: Any) -> bool:
    """Tell whether an attribute has the value that its op's schema gives it when it is absent."""
    from onnx import AttributeProto

    bare = AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    default = known.attributes[attribute.name].default_value
    return bool(default.type == attribute.type and default == bare)


def _options(formals: Sequence[Any]) -> list[str]:
    return [formal.option.name for formal in formals]


def _is_alike(new: Any, old: Any) -> bool:
    return bool(new.type == old.type and new.default_value == old.default_value)


def _counts_from_the_end(node: "NodeProto", constants: Mapping[str, Any]) -> bool:
    axes = [a for a in node.attribute if "axis" in a.name or "axes" in a.name]
    if any(axis.i < 0 or any(i < 0 for i in axis.ints) for axis in axes):
        return True
    place = _INDICES.get(node.op_type)
    if place is None or place >= len(node.input) or not node.input[place]:
        return False
    indices = constants.get(node.input[place])
    return indices is None or bool((indices < 0).any())


def _is_complete(inputs: Sequence[str], old: Any) -> bool:
    """Tell whether a node has the inputs that an op takes, and no more."""
    variadic = bool(old.inputs) and old.inputs[-1].option.name == "Variadic"
    if len(inputs) > len(old.inputs) and not variadic and any(inputs[len(old.inputs) :]):
        return False
    return all(
        number < len(inputs) and inputs[number]
        for number, formal in enumerate(old.inputs)
        if formal.option.name == "Single"
    )


def _allows(node: "NodeProto", old: Any, types: "Types") -> bool:
    """Tell whether an op takes the types of a node's inputs and outputs, one for each parameter."""
    parameters = {constraint.type_param_str for constraint in old.type_constraints}
    bound: dict[str, Collection[str]] = {}
    for names, formals in ((node.input, old.inputs), (node.output, old.outputs)):
        for number, name in enumerate(names):
            if not name:
                continue
            if not formals:
                return False
            formal, found = formals[min(number, len(formals) - 1)], types.get(name)
            if not found or not set(found) <= set(formal.types):
                return False
            word = formal.type_str
            if (
                word in parameters
                and formal.is_homogeneous
                and bound.setdefault(word, found) != found
            ):
                return False
    return True
