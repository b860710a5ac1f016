"""Read a tensor in a file: its dims, and whether its bytes match them.

Source: onnx.proto, "TensorProto" and "SparseTensorProto".
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import prod

from onnxzoo.registry.core.text import cut
from onnxzoo.registry.onnx_file.dtypes import BITS, NAMES, STRING
from onnxzoo.registry.onnx_file.external_data import Extent, Neighbours, Where
from onnxzoo.registry.onnx_file.folding_rules import FEW, Constant
from onnxzoo.registry.onnx_file.schema import Walk, signed
from onnxzoo.registry.onnx_file.wire import BYTES, Field

RANK = 64  # axes; as many as an array of NumPy 2 has
_MOST = (1 << 63) - 1  # elements, and the size of an axis: what an int64 holds
_STRING = NAMES.index(STRING)
# Bits of one element, by TensorProto.DataType; of a string, those of its shortest one.
_BITS = {number: BITS[name] or 8 for number, name in enumerate(NAMES) if number}
_COMPLEX = {14, 15}  # two numbers an element
_PACKED = {21, 22, 23, 25, 26}  # several elements in each number of int32_data
# Which field holds the numbers of which types, where they are not raw.
_DATA = {
    "float_data": {1, 14},
    "int32_data": {2, 3, 4, 5, 6, 9, 10, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28},
    "string_data": {_STRING},
    "int64_data": {7},
    "double_data": {11, 15},
    "uint64_data": {12, 13},
}
_WIDTHS = {"float_data": 4, "double_data": 8}  # bytes of a packed number that is no varint
_EXTERNAL = 1  # TensorProto.DataLocation
# How the values of types that say a shape are read, raw.
_FORMATS = {1: "f", 6: "i", 7: "q", 11: "d"}


@dataclass(slots=True)
class _Met:
    """Fields of one tensor."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    raw: Field | None = None
    counts: dict[str, int] = field(default_factory=dict)
    numbers: list[Field] = field(default_factory=list)
    entries: list[tuple[str, str]] = field(default_factory=list)

    @property
    def dtype(self) -> int:
        """Its TensorProto.DataType."""
        return self.codes.get("data_type", 0)


def read(
    walk: Walk, within: Field, depth: int, where: Where, beside: Neighbours | None
) -> tuple[str, Constant]:
    """Walk a tensor; return its name and known values.

    Args:
        walk: the walk through its file.
        within: where the message lies.
        depth: of how many messages it is a part.
        where: what it belongs to.
        beside: the files beside the model; None where they need not be there.

    Raises:
        InvalidModel, Refused: naming the tensor.
    """
    met = _met(walk, within, depth)
    who = Where("the tensor", met.name, around=where)
    count = elements(walk, met.dims, who)
    if met.dtype not in _BITS:
        raise walk.invalid(f"{who} has the data type {met.dtype}, which ONNX has not got")
    needed = -(-count * _BITS[met.dtype] // 8)
    place = met.codes.get("data_location", 0)
    if place == _EXTERNAL:
        values = _outside(walk, met, needed, who, beside)
    elif place:
        raise walk.invalid(f"{who} has its data in the place {place}, which is none")
    else:
        _check_inside(walk, met, count, needed, who)
        values = _inside(walk, met)
    return met.name, Constant(count, _BITS[met.dtype], values, tuple(met.dims))


def read_sparse(
    walk: Walk, within: Field, depth: int, where: Where, beside: Neighbours | None
) -> tuple[str, Constant]:
    """Walk a sparse tensor; return its name, and its size as the dense one that it becomes."""
    dims: list[int] = []
    name, bits, count, indices = "", 8, 0, -1
    for spec, found, _ in walk.fields("Sparse", within, depth):
        if spec.name == "dims":
            _add_dims(walk, dims, found)
        elif spec.name == "values":
            name, values = read(walk, found, depth + 1, where, beside)
            count, bits = values.elements, values.bits
        else:
            indices = read(walk, found, depth + 1, where, beside)[1].elements
    who = Where("the sparse tensor", name, around=where)
    dense = elements(walk, dims, who)
    if indices not in {count, count * len(dims)} and not (count == 0 and indices == -1):
        raise walk.invalid(f"{who} has {count} values and {max(indices, 0)} indices")
    if count > dense:
        raise walk.invalid(f"{who} has {count} values for {dense} elements")
    return name, Constant(dense, bits, None, tuple(dims))


def elements(walk: Walk, dims: Sequence[int], who: object) -> int:
    """Return how many elements there are, where the dims are sound."""
    if len(dims) > RANK:
        raise walk.invalid(f"{who} has more than {RANK} axes")
    if any(size < 0 for size in dims):
        raise walk.invalid(f"{who} has a negative size, {min(dims)}")
    if prod(size for size in dims if size) > _MOST:
        raise walk.invalid(f"{who} has more elements than can be counted: {dims}")
    return prod(dims)


def _met(walk: Walk, within: Field, depth: int) -> _Met:
    met = _Met()
    for spec, found, text in walk.fields("Tensor", within, depth):
        match spec.name:
            case "dims":
                _add_dims(walk, met.dims, found)
            case "data_type" | "data_location":
                met.codes[spec.name] = found.value or 0
            case "name":
                met.name = text
            case "raw_data":
                met.raw = found
            case "external_data":
                met.entries.append(_entry(walk, found, depth + 1))
            case "segment":
                raise walk.invalid(
                    f"the tensor `{cut(met.name)}` is a segment, which nothing reads"
                )
            case "metadata_props":
                walk.skim(spec.kind, found, depth + 1)
            case data if data in _DATA:
                _add_data(walk, met, data, found)
    return met


def _add_dims(walk: Walk, dims: list[int], found: Field) -> None:
    dims.extend(map(signed, islice(walk.reader.varints(found), RANK + 1 - len(dims))))


def _add_data(walk: Walk, met: _Met, data: str, found: Field) -> None:
    met.counts[data] = met.counts.get(data, 0) + _count(walk, data, found)
    if len(met.numbers) < FEW:
        met.numbers.append(found)


def _entry(walk: Walk, within: Field, depth: int) -> tuple[str, str]:
    key = value = ""
    for spec, found, text in walk.fields("Entry", within, depth):
        if spec.name == "key":
            key = text
        else:
            value = walk.short(found)
    return key, value


def _count(walk: Walk, data: str, found: Field) -> int:
    """Return how many numbers a field holds, packed or not."""
    if data == "string_data":
        walk.string()
        return 1
    if found.kind != BYTES:
        return 1
    if data not in _WIDTHS:
        return walk.count(found)
    count, rest = divmod(found.end - found.start, _WIDTHS[data])
    if rest:
        raise walk.invalid(f"`{data}` breaks off within a number (at byte {found.end})")
    return count


def _check_inside(walk: Walk, met: _Met, count: int, needed: int, who: object) -> None:
    there = {data: number for data, number in met.counts.items() if number}
    raw = met.raw.end - met.raw.start if met.raw else 0
    if len(there) + bool(raw) > 1:
        raise walk.invalid(f"{who} has its data in more than one field")
    if raw or not there:
        if raw != needed or (raw and met.dtype == _STRING):
            raise walk.invalid(f"{who} has {raw} bytes; its shape {met.dims} wants {needed}")
        return
    ((data, number),) = there.items()
    if met.dtype not in _DATA[data]:
        raise walk.invalid(f"{who} has its data in `{data}`, where its type has none")
    wanted = needed if met.dtype in _PACKED else count * (1 + (met.dtype in _COMPLEX))
    if number != wanted:
        raise walk.invalid(f"{who} has {number} numbers; its shape {met.dims} wants {wanted}")


def _outside(
    walk: Walk, met: _Met, needed: int, who: object, beside: Neighbours | None
) -> tuple[float, ...] | None:
    extent = Extent.of(met.entries, who)
    if met.dtype == _STRING:
        raise walk.invalid(f"{who} holds strings, which cannot lie in `{extent.location}`")
    if beside is None:
        return None
    beside.check(extent, needed, who)
    if needed > FEW * 8 or met.dtype not in _FORMATS:
        return None
    return _unpacked(met.dtype, beside.read(extent, needed))


def _inside(walk: Walk, met: _Met) -> tuple[float, ...] | None:
    """Return the values of a tensor that is small enough to say a shape."""
    if met.dtype not in _FORMATS or prod(met.dims) > FEW:
        return None
    if met.raw is not None and met.raw.end > met.raw.start:
        return _unpacked(met.dtype, walk.reader.payload(met.raw))
    return tuple(value for found in met.numbers for value in _numbers(walk, met.dtype, found))


def _numbers(walk: Walk, dtype: int, found: Field) -> Sequence[float]:
    if _FORMATS[dtype] in "fd":
        return _unpacked(dtype, walk.reader.payload(found))
    return [signed(value) for value in walk.reader.varints(found)]


def _unpacked(dtype: int, payload: bytes) -> tuple[float, ...]:
    return tuple(value for (value,) in struct.iter_unpack(f"<{_FORMATS[dtype]}", payload))
