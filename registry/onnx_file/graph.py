"""Read a model's graph into onnx's messages, and leave the weights' bytes on disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.onnx_file.wire import BYTES, FIXED32, FIXED64, VARINT, Field, Reader, varint

if TYPE_CHECKING:
    from onnx import ModelProto

_SMALL = 4096  # bytes of a tensor's payload that are read: scalars, shapes and axes
_DEEPEST = 100  # messages within messages; protobuf's own limit
_DATA = {4, 5, 6, 7, 9, 10, 11}  # TensorProto's fields of values
# Fields that hold a message of these kinds. Source: onnx.proto (IR version 13).
_WITHIN = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}


def read_bare(path: Path) -> "ModelProto":
    """Return a model without the payloads of large tensors; names, types and dims are there.

    Raises:
        InvalidModel: if the file is not a readable protobuf.
    """
    import onnx

    with path.open("rb", buffering=0) as file:
        reader = Reader(file, path.name)
        whole = Field(0, None, 0, reader.size)
        model: ModelProto = onnx.ModelProto.FromString(_message(reader, whole, "model", 0))
        return model


def _message(reader: Reader, message: Field, kind: str, depth: int) -> bytes:
    if depth > _DEEPEST:
        raise reader.malformed(f"messages nest deeper than {_DEEPEST}")
    written = bytearray()
    for found in reader.fields(message.start, message.end):
        within = _WITHIN.get(kind, {}).get(found.number)
        if found.kind == VARINT:
            written += _tag(found) + varint(found.value or 0)
        elif found.kind in {FIXED32, FIXED64}:
            written += _tag(found) + reader.payload(found)
        elif within is not None and found.kind == BYTES:
            inner = _message(reader, found, within, depth + 1)
            written += _tag(found) + varint(len(inner)) + inner
        elif not (kind == "tensor" and found.number in _DATA and _length(found) > _SMALL):
            written += _tag(found) + varint(_length(found)) + reader.payload(found)
    return bytes(written)


def _tag(field: Field) -> bytes:
    return varint(field.number << 3 | field.kind)


def _length(field: Field) -> int:
    return field.end - field.start
