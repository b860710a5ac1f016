"""Describe an ONNX file without reading its weights.

The protobuf's fields are walked in the file and tensors' payloads skipped, so that time and memory
depend on the graph and not on the weights.

Source: onnx.proto (IR version 13), field numbers and the meaning of each.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from onnxzoo.registry.core.records import Axis, Graph, Tensor, Weights
from onnxzoo.registry.onnx_file.dtypes import BITS, NAMES
from onnxzoo.registry.onnx_file.precisions import precision_of
from onnxzoo.registry.onnx_file.wire import Field, Reader

_DEEPEST = 100  # messages within messages; protobuf's own limit
_LONGEST = 1 << 20  # bytes in a name; a longer one is an attack or an accident
_SHORT = 1024  # bytes kept of a metadata value that is not kept whole: some hold whole files
_WHOLE = 128 << 10  # bytes of a metadata value that is kept whole; lists of labels take some 80 kB
_METADATA = 512 << 10  # bytes of all metadata that are kept; entries beyond are left out
_NAMES = 1 << 20  # bytes of names and shapes of a graph; every row of a model holds them
_MOST = 1 << 62  # elements: a number of 64 bits, with a sign, counts bytes
_BYTE = 8  # bits
_EXTERNAL = 1  # TensorProto.DataLocation
_IN_BLOCKS = {"MatMulNBits", "GatherBlockQuantized"}  # their attribute `bits` is 4 if not written


@dataclass(slots=True)
class _Weights:
    """Counters of a walk: ops, elements by dtype, external files, functions, bits.

    ``said`` counts the characters of all metadata.
    """

    ops: Counter[str] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    external: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    bits: set[int] = field(default_factory=set)
    said: int = 0


def describe(path: Path) -> Graph:
    """Describe an ONNX file; weights stay on disk.

    Args:
        path: a `.onnx` file; its external data need not be present.

    Raises:
        InvalidModel: if the file is not a readable ONNX model.

    Source: ONNX IR specification; onnx.proto, "ModelProto".
    """
    with path.open("rb", buffering=0) as file:
        return _model(Reader(file, path.name))


def _model(reader: Reader) -> Graph:
    weights = _Weights()
    ir_version, producer, graph = 0, ["", ""], None
    opsets: dict[str, int] = {}
    metadata: dict[str, str] = {}
    for found in reader.fields(0, reader.size):
        match found.number:
            case 1:
                ir_version = _number(reader, found)
            case 2 | 3:
                producer[found.number - 2] = _text(reader, found)
            case 7:
                if graph is not None:
                    raise reader.malformed("it holds two graphs")
                graph = found
            case 8:
                domain, version = _opset(reader, found)
                opsets["" if domain == "ai.onnx" else domain] = version
            case 14:
                key, value = _entry(reader, found, shorten=True)
                weights.said += len(key) + len(value)
                metadata |= {key: value} if weights.said <= _METADATA else {}
            case 25:
                _function(reader, found, weights)
    if graph is None:
        raise reader.malformed("it has no graph")
    _check_versions(reader, ir_version, opsets)
    inputs, outputs = _graph(reader, graph, weights, 0)
    _check_names(reader, (*inputs, *outputs), weights, opsets)
    return Graph(
        ir_version=ir_version,
        opset=opsets.get("", 0) if opsets else 1,
        opsets=dict(sorted(opsets.items())),
        producer=" ".join(filter(None, producer))[:_SHORT],
        inputs=inputs,
        outputs=outputs,
        ops=dict(sorted(weights.ops.items())),
        parameters=sum(weights.elements.values()),
        precision=precision_of(weights.ops, weights.elements, weights.bits, inputs),
        external=tuple(sorted(weights.external)),
        metadata=metadata,
        functions=tuple(sorted(weights.functions)),
        weights={
            dtype: Weights(count, weights.bytes[dtype])
            for dtype, count in weights.elements.most_common()
            if count
        },
    )


def _check_versions(reader: Reader, ir_version: int, opsets: dict[str, int]) -> None:
    if not ir_version:
        raise reader.malformed("it has no IR version")
    if not opsets and ir_version >= 3:  # noqa: PLR2004  (since when the field is required)
        raise reader.malformed("it names no opset")


def _check_names(
    reader: Reader, tensors: Sequence[Tensor], weights: _Weights, opsets: Mapping[str, int]
) -> None:
    """Refuse a model with names too long for a registry, where each row keeps them."""
    names = (*weights.ops, *weights.elements, *weights.external, *weights.functions, *opsets)
    size = sum(map(len, names))
    for tensor in tensors:
        axes = tensor.shape or ()
        size += len(tensor.name) + sum(len(axis) if isinstance(axis, str) else 1 for axis in axes)
    if size + len(names) + len(tensors) > _NAMES:
        raise reader.malformed(f"its inputs, outputs, ops and files take over {_NAMES} bytes")


def _graph(
    reader: Reader, graph: Field, weights: _Weights, depth: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Walk a GraphProto; return its inputs that are no initialisers, and its outputs."""
    if depth > _DEEPEST:
        raise reader.malformed(f"graphs nest deeper than {_DEEPEST}")
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    initialised: set[str] = set()
    for found in reader.fields(graph.start, graph.end):
        match found.number:
            case 1:
                _node(reader, found, weights, depth)
            case 5:
                initialised.add(_weight(reader, found, weights))
            case 11:
                inputs.append(_value(reader, found))
            case 12:
                outputs.append(_value(reader, found))
            case 15:
                initialised.add(_sparse(reader, found, weights))
    return tuple(t for t in inputs if t.name not in initialised), tuple(outputs)


def _node(reader: Reader, node: Field, weights: _Weights, depth: int) -> None:
    op = domain = ""
    bits: set[int] = set()
    compiled: dict[str, int | str] = {}
    for found in reader.fields(node.start, node.end):
        match found.number:
            case 4:
                op = _text(reader, found)
            case 5:
                _attribute(reader, found, weights, depth)
                if op in _IN_BLOCKS:
                    bits |= _bits(reader, found)
                elif op == "Constant":
                    _constant(reader, found, weights)
                elif op == "EPContext":
                    compiled |= _compiled(reader, found)
            case 7:
                domain = _text(reader, found)
    if op in _IN_BLOCKS:
        weights.bits |= bits or {4}
    outside = domain == "com.microsoft" and compiled.get("embed_mode") == 0
    if outside and compiled.get("ep_cache_context"):
        weights.external.add(str(PurePosixPath(str(compiled["ep_cache_context"]))))
    weights.ops[_op(domain, op)] += 1


def _op(domain: str, name: str) -> str:
    return name if domain in {"", "ai.onnx"} else f"{domain}.{name}"


def _attribute(reader: Reader, attribute: Field, weights: _Weights, depth: int) -> None:
    for found in reader.fields(attribute.start, attribute.end):
        match found.number:
            case 5 | 10:
                _weight(reader, found, weights)
            case 6 | 11:
                _graph(reader, found, weights, depth + 1)
            case 22 | 23:
                _sparse(reader, found, weights)


def _constant(reader: Reader, attribute: Field, weights: _Weights) -> None:
    """Count a Constant's values outside of tensors: ``value_float``, ``value_ints``, …."""
    for found in reader.fields(attribute.start, attribute.end):
        match found.number:
            case 2 | 7:
                _count(weights, "float32", (found.end - found.start) // 4)
            case 3 | 8:
                _count(weights, "int64", sum(1 for _ in reader.varints(found)))
            case 4 | 9:
                _count(weights, "string", 1, found.end - found.start)


def _bits(reader: Reader, attribute: Field) -> set[int]:
    """Return the value of an attribute that is called ``bits``."""
    name, value = "", 0
    for found in reader.fields(attribute.start, attribute.end):
        if found.number == 1:
            name = _text(reader, found)
        elif found.number == 3:  # noqa: PLR2004  (AttributeProto.i)
            value = _number(reader, found)
    return {value} if name == "bits" else set()


def _compiled(reader: Reader, attribute: Field) -> dict[str, int | str]:
    """Return an attribute that is a number or a short text; `check_safe` checks its values."""
    name = ""
    value: int | str = 0
    for found in reader.fields(attribute.start, attribute.end):
        match found.number:
            case 1:
                name = _text(reader, found)
            case 3:
                value = _number(reader, found)
            case 4 if found.end - found.start <= _LONGEST:  # else it is the compiled graph itself
                value = _text(reader, found)
    return {name: value}


def _function(reader: Reader, function: Field, weights: _Weights) -> None:
    name = domain = ""
    for found in reader.fields(function.start, function.end):
        match found.number:
            case 1:
                name = _text(reader, found)
            case 7:
                _node(reader, found, weights, 0)
            case 10:
                domain = _text(reader, found)
    weights.functions.add(_op(domain, name))


def _weight(reader: Reader, tensor: Field, weights: _Weights) -> str:
    """Count a TensorProto's elements; return its name."""
    dims: list[int] = []
    dtype, location, name, outside, text = 0, 0, "", "", 0
    for found in reader.fields(tensor.start, tensor.end):
        match found.number:
            case 1:
                dims += reader.varints(found)
            case 2:
                dtype = _number(reader, found)
            case 6:
                text += found.end - found.start
            case 8:
                name = _text(reader, found)
            case 13:
                key, value = _entry(reader, found)
                outside = value if key == "location" else outside
            case 14:
                location = _number(reader, found)
    if location == _EXTERNAL:
        if not outside:
            raise reader.malformed(f"the tensor `{name}` is external, but names no file")
        weights.external.add(str(PurePosixPath(outside)))  # `./w.bin` is `w.bin`; `..` stays
    _count(weights, _dtype(dtype), _elements(reader, dims), text)
    return name


def _elements(reader: Reader, dims: list[int]) -> int:
    count = 1
    for size in dims:
        count *= size
        if count > _MOST:
            raise reader.malformed(f"a tensor has more than {_MOST} elements")
    return count


def _count(weights: _Weights, dtype: str, elements: int, text: int = 0) -> None:
    weights.elements[dtype] += elements
    weights.bytes[dtype] += text + (elements * BITS.get(dtype, _BYTE) + _BYTE - 1) // _BYTE


def _sparse(reader: Reader, tensor: Field, weights: _Weights) -> str:
    name = ""
    for found in reader.fields(tensor.start, tensor.end):
        if found.number == 1:
            name = _weight(reader, found, weights)
        elif found.number == 2:  # noqa: PLR2004  (SparseTensorProto.indices: no parameters)
            _weight(reader, found, _Weights(external=weights.external))
    return name


def _value(reader: Reader, value: Field) -> Tensor:
    name, dtype, shape = "", "undefined", None
    for found in reader.fields(value.start, value.end):
        if found.number == 1:
            name = _text(reader, found)
        elif found.number == 2:  # noqa: PLR2004  (ValueInfoProto.type)
            dtype, shape = _type(reader, found, 0)
    return Tensor(name, dtype, shape)


def _type(reader: Reader, kind: Field, depth: int) -> tuple[str, tuple[Axis, ...] | None]:
    """Return a TypeProto in onnxruntime's words, and a tensor's shape."""
    if depth > _DEEPEST:
        raise reader.malformed(f"types nest deeper than {_DEEPEST}")
    for found in reader.fields(kind.start, kind.end):
        match found.number:
            case 1:
                return _tensor_type(reader, found)
            case 8:
                dtype, shape = _tensor_type(reader, found)
                return f"sparse_tensor({dtype})", shape
            case 4 | 9:
                word = "seq" if found.number == 4 else "optional"  # noqa: PLR2004
                return f"{word}({_element(reader, found, 1, depth)})", None
            case 5:
                keys = [
                    _number(reader, f)
                    for f in reader.fields(found.start, found.end)
                    if f.number == 1
                ]
                key = _dtype(keys[-1] if keys else 0)
                return f"map({key},{_element(reader, found, 2, depth)})", None
    return "undefined", None


def _element(reader: Reader, kind: Field, number: int, depth: int) -> str:
    for found in reader.fields(kind.start, kind.end):
        if found.number == number:
            dtype, _ = _type(reader, found, depth + 1)
            return dtype if "(" in dtype else f"tensor({dtype})"
    return "undefined"


def _tensor_type(reader: Reader, kind: Field) -> tuple[str, tuple[Axis, ...] | None]:
    dtype, shape = 0, None
    for found in reader.fields(kind.start, kind.end):
        if found.number == 1:
            dtype = _number(reader, found)
        elif found.number == 2:  # noqa: PLR2004  (TypeProto.Tensor.shape)
            shape = tuple(
                _axis(reader, axis)
                for axis in reader.fields(found.start, found.end)
                if axis.number == 1
            )
    return _dtype(dtype), shape


def _axis(reader: Reader, axis: Field) -> Axis:
    size: Axis = None
    for found in reader.fields(axis.start, axis.end):
        if found.number == 1:
            number = _signed(_number(reader, found))
            size = number if number >= 0 else None  # exporters write -1 for what is open
        elif found.number == 2:  # noqa: PLR2004  (Dimension.dim_param)
            size = _text(reader, found) or None
    return size


def _opset(reader: Reader, opset: Field) -> tuple[str, int]:
    domain, version = "", 0
    for found in reader.fields(opset.start, opset.end):
        if found.number == 1:
            domain = _text(reader, found)
        elif found.number == 2:  # noqa: PLR2004  (OperatorSetIdProto.version)
            version = _number(reader, found)
    return domain, version


def _entry(reader: Reader, entry: Field, *, shorten: bool = False) -> tuple[str, str]:
    """Return a StringStringEntryProto; a long value is refused, or shortened if that will do."""
    pair = {}
    for found in reader.fields(entry.start, entry.end):
        long = found.value is None and found.end - found.start > _WHOLE
        if shorten and long:
            pair[found.number] = reader.text(found._replace(end=found.start + _SHORT)) + "…"
        else:
            pair[found.number] = _text(reader, found)
    return pair.get(1, ""), pair.get(2, "")


def _number(reader: Reader, found: Field) -> int:
    if found.value is None:
        raise reader.malformed(f"field {found.number} is not a number")
    return found.value


def _text(reader: Reader, found: Field) -> str:
    if found.value is not None or found.end - found.start > _LONGEST:
        raise reader.malformed(f"field {found.number} is not a name")
    return reader.text(found)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _dtype(number: int) -> str:
    return NAMES[number] if number < len(NAMES) else f"dtype{number}"
