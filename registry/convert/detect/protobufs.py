"""Detect the message type of a protobuf from the fields of its outermost message.

Nothing of the weights is read. Source: the `.proto` files of ONNX, Core ML, TensorFlow, Paddle,
Caffe2, Caffe and CNTK.
"""

from collections import Counter
from pathlib import Path

from onnxzoo.registry.core.errors import InvalidModel
from onnxzoo.registry.onnx_file.wire import Field, Reader

_ENOUGH = 2000  # fields; a GraphDef has one a node
_HEAD = 1 << 16
_ONNX_IR = 40  # higher IR versions are none
# Core ML's models that onnxmltools knows: pipelines, regressors, classifiers, networks, features.
_CLASSIC = {200, 201, 202, *range(300, 304), *range(400, 404), 500, *range(600, 605), 607, 609, 900}
_CORE_ML = dict.fromkeys(_CLASSIC, "coreml-classic") | {502: "coreml-mlprogram"}
_CORE_MLS = range(200, 3001)  # all of Core ML's models
_TENSOR = {1, 2, 4, 5, 7, 8, 9}  # of ONNX's TensorProto, without segments and external data


def kind(path: Path) -> str | None:
    """Return the format of a protobuf in `formats`' words, None for an unknown one."""
    with path.open("rb", buffering=0) as file:
        reader = Reader(file, path.name)
        try:
            return _kind(reader)
        except InvalidModel:
            return None


def _kind(reader: Reader) -> str | None:
    fields: list[Field] = []
    for found in reader.fields(0, reader.size):
        fields.append(found)
        if len(fields) == _ENOUGH:
            break
    if not fields:
        return None
    count = Counter((field.number, field.value is None) for field in fields)
    numbers = {field.number for field in fields}
    return (
        _core_ml(count, numbers)
        or _onnx(fields, count)
        or _starting(reader, fields[0], count, numbers)
    )


def _core_ml(count: Counter[tuple[int, bool]], numbers: set[int]) -> str | None:
    types = [number for number in numbers if number in _CORE_MLS]
    if count[1, False] == 1 and count[2, True] == 1 and len(types) == 1:
        return _CORE_ML.get(types[0], "coreml-other")
    return None


def _onnx(fields: list[Field], count: Counter[tuple[int, bool]]) -> str | None:
    versions = [field.value or 0 for field in fields if field.number == 1]
    if len(versions) == 1 and versions[0] <= _ONNX_IR and count[7, True] == 1 and count[8, True]:
        return "onnx"
    return None


def _starting(
    reader: Reader, first: Field, count: Counter[tuple[int, bool]], numbers: set[int]
) -> str | None:
    head = reader.payload(first._replace(start=0, end=min(reader.size, _HEAD)))
    body = reader.payload(first._replace(end=min(first.end, first.start + 64)))
    if b"primitive_functions" in head or b"root_uid" in head:
        return "cntk"
    if count[2, False] == 1 and numbers <= _TENSOR:
        return "onnx-tensor"
    if first.number != 1:
        return None
    if first.value is not None:
        saved = numbers <= {1, 2} and count[1, False] == 1 and count[2, True]
        return "tf-savedmodel" if saved else None
    return _named(body, count, numbers)


def _named(body: bytes, count: Counter[tuple[int, bool]], numbers: set[int]) -> str | None:
    """Distinguish messages with a name and messages with a node in field 1."""
    if body.startswith(b"\x0a") and numbers <= {1, 2, 3, 4}:
        return "tf-graphdef"
    if body.startswith(b"\x08") and numbers <= {1, 4, 5}:
        return "paddle"
    if body.isascii() and body.decode().isprintable() and count[1, True] == 1:
        if count[100, True]:
            return "caffe"
        if count[2, True] and numbers <= set(range(1, 11)):
            return "caffe2"
    return None
