"""Ops that ONNX defines by other ops, which run in their place where they have no kernel.

Source: ONNX IR specification, "Functions"; onnx/defs/schema.cc, "ValidateReferencedOpsInFuncton".
"""

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.runtime.capabilities import Operators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import FunctionProto

# Gone before a kernel is looked for: Constant becomes a weight, Dropout is taken out.
# Source: onnxruntime, core/optimizer/dropout_elimination.cc; proved by the tests.
VANISH = {"Constant", "Dropout"}
_VALUES: dict[str, Any] = {
    "INT": 1, "INTS": [1], "FLOAT": 1.0, "FLOATS": [1.0], "STRING": "a", "STRINGS": ["a"],
}  # fmt: skip


def since_of(op: str, opset: int, there: Operators) -> int | None:
    """Return the opset that introduced an op's current definition, None if it is not there yet."""
    known = [since for since, _ in there.versions.get(op, ()) if since <= opset]
    return known[-1] if known else None


def without_kernel(op: str, opset: int, there: Operators) -> tuple[str, ...]:
    """Return the ops without a kernel on the CPU that an op runs as; none where it may run.

    An op runs by a kernel of its own, or as the function that it stands for. Of a body that depends
    on attributes and types the ops count that are in all of its forms.
    """
    since = since_of(op, opset, there)
    if since is None or op in VANISH:
        return ()
    if any(kernel.runs(since) for kernel in (there.kernels or {}).get(op, ())):
        return ()
    domain, _, name = op.rpartition(".")
    found = bodies(domain, name, opset)
    if found is None:
        return ()
    if not found:
        return (op,)
    shared = frozenset.intersection(*found) - {op}
    return tuple(sorted({one for inner in shared for one in without_kernel(inner, opset, there)}))


@cache
def bodies(domain: str, name: str, opset: int) -> tuple[frozenset[str], ...] | None:
    """Return the ops of the default domain in each body that an op may stand for.

    Many bodies depend on attributes and on the types of inputs. All types that the op accepts are
    tried, with the attributes that it demands; they are the samples that a verdict rests on.
    onnxruntime does not use a fixed body whose ops have changed since it was written.

    Args:
        domain: of the op.
        name: of the op.
        opset: of the model.

    Returns:
        One set of ops for each body; none where the op is no function; None where the installed
        onnx does not know the op, or cannot write any of its bodies.
    """
    from onnx import defs

    try:
        schema: Any = defs.get_schema(name, opset, domain)  # the stubs lack some of its methods
    except defs.SchemaError:
        return None
    if schema.has_function:
        written = [version for version in schema.function_opset_versions if version <= opset]
        body = _parse(schema.get_function_with_opset_version(max(written))) if written else None
        found = [body] if body is not None and _is_current(body, opset) else []
    elif schema.has_context_dependent_function:
        found = list(_contexts(schema, opset))
        if not found:
            return None
    else:
        return ()
    return tuple({_ops(body): None for body in found})


def _contexts(schema: Any, opset: int) -> "Iterator[FunctionProto]":
    """Yield the bodies for each type that the first input may have."""
    from onnx import helper

    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    needed = [item for item in schema.attributes.values() if item.required]
    kinds = {item.name: str(item.type).rpartition(".")[2] for item in needed}
    if not versions or not set(kinds.values()) <= set(_VALUES):
        return
    attributes = {name: _VALUES[kind] for name, kind in kinds.items()}
    names = [f"x{number}" for number in range(max(schema.min_input, 1))]
    outputs = [f"y{number}" for number in range(max(schema.min_output, 1))]
    node = helper.make_node(schema.name, names, outputs, domain=schema.domain, **attributes)
    for types in _types(schema, len(names)):
        with suppress(Exception):  # onnx raises what it likes where it has no body
            yield _parse(
                schema.get_context_dependent_function_with_opset_version(
                    max(versions), node.SerializeToString(), types
                )
            )


def _types(schema: Any, inputs: int) -> "Iterator[list[bytes]]":
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
    words = [schema.inputs[min(n, len(schema.inputs) - 1)].type_str for n in range(inputs)]
    for first in allowed.get(words[0], [words[0]]):
        chosen = [first if w == words[0] else next(iter(allowed.get(w, [w]))) for w in words]
        types = [_type(word) for word in chosen]
        if None not in types:
            yield [one for one in types if one is not None]


def _type(word: str) -> bytes | None:
    """Return the TypeProto of ``tensor(float16)``; None where it is no tensor."""
    from onnx import TensorProto, helper

    kind, _, inner = word.rstrip(")").partition("(")
    number = dict(TensorProto.DataType.items()).get(inner.upper())
    if kind != "tensor" or number is None:
        return None
    serialized: bytes = helper.make_tensor_type_proto(number, None).SerializeToString()
    return serialized


def _parse(body: bytes) -> "FunctionProto":
    from onnx import FunctionProto

    parsed = FunctionProto()
    parsed.ParseFromString(body)
    return parsed


def _ops(body: "FunctionProto") -> frozenset[str]:
    return frozenset(node.op_type for node in body.node if node.domain in {"", "ai.onnx"})


def _is_current(body: "FunctionProto", opset: int) -> bool:
    """Return whether the ops of a body have unchanged definitions at the model's opset."""
    from onnx import defs

    written = {item.domain: item.version for item in body.opset_import}.get("", opset)
    try:
        return all(
            defs.get_schema(op, written, "").since_version
            == defs.get_schema(op, opset, "").since_version
            for op in _ops(body)
        )
    except defs.SchemaError:
        return True
