"""Detect the type of a file from its first bytes."""

import json
import re
from pathlib import Path

from onnxzoo.registry.core.errors import IntegrityError, InvalidModel
from onnxzoo.registry.onnx_file.wire import CutOff, Reader

_HEAD = 4096  # bytes; every mark below lies within
_TAR = 257, b"ustar"  # offset and magic
_CONVERT = "zoo convert FILE --name NAME"
# Formats that are not ONNX: magic bytes, their true name, and the way to ONNX where there is one.
# Source: each format's own specification; the magic numbers of file(1).
_OTHERS: tuple[tuple[bytes, str, str | None], ...] = (
    (b"PK\x03\x04", "a zip archive (PyTorch's .pt and Keras's .keras are such)", _CONVERT),
    (b"\x80\x02", "a pickle, which can run code when it is loaded", _CONVERT),
    (b"\x80\x03", "a pickle, which can run code when it is loaded", _CONVERT),
    (b"\x80\x04", "a pickle, which can run code when it is loaded", _CONVERT),
    (b"\x80\x05", "a pickle, which can run code when it is loaded", _CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras's .h5 is such)", _CONVERT),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it first"),
    (b"(\xb5/\xfd", "a Zstandard archive", "unpack it first"),
    (b"GGUF", "a GGUF model", None),
)
# TensorFlow Lite and onnxruntime keep a FlatBuffers file identifier at byte 4.
_FLATBUFFERS = {b"TFL3": "a TensorFlow Lite model", b"ORTM": "an ORT-format model"}
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?s:.*?)size (\d+)")
_HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_MODEL_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}  # of ModelProto, in onnx.proto
_GRAPH = 7


def check(path: Path) -> None:
    """Refuse a file that does not look like an ONNX model, naming its real type.

    Raises:
        IntegrityError: if it is what a failed download leaves: a web page, an error in JSON or
            XML, a Git LFS pointer, nothing, or only a part of a model.
        InvalidModel: if it is another format.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    _check_download(head, path)
    _check_format(head, path)
    _check_whole(path)


def _check_download(head: bytes, path: Path) -> None:
    pointer = _POINTER.match(head)
    text = head.lstrip()
    if not head:
        what = "empty"
    elif pointer:
        what = f"a Git LFS pointer to a file of {int(pointer[1])} bytes, not the file itself"
    elif _HTML.match(head):
        what = "an HTML page, not a model"
    elif text.startswith(b"<?xml"):
        what = "an XML document, not a model"
    elif text.startswith((b"{", b"[")) and _is_text(head) and path.suffix != ".json":
        what = f"a JSON document, not a model: {_message(head)}"
    else:
        return
    raise IntegrityError(f"`{path.name}` is {what}")


def _check_format(head: bytes, path: Path) -> None:
    found = [(name, hint) for magic, name, hint in _OTHERS if head.startswith(magic)]
    if name := _FLATBUFFERS.get(head[4:8]):
        found.append((name, _CONVERT if name.startswith("a TensorFlow") else None))
    if head[_TAR[0] :].startswith(_TAR[1]):
        found.append(("a tar archive", "unpack it first"))
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < path.stat().st_size:
        found.append(("a safetensors file: weights without a graph", None))
    if not found and _is_text(head):
        found.append(("plain text", None))
    if found:
        name, hint = found[0]
        raise InvalidModel(f"`{path.name}` is {name}; expected an ONNX model", hint=hint)


def _check_whole(path: Path) -> None:
    """Walk the outermost fields: one that goes beyond the file's end was cut off."""
    with path.open("rb", buffering=0) as file:
        reader = Reader(file, path.name)
        numbers = set()
        try:
            for field in reader.fields(0, reader.size):
                numbers.add(field.number)
        except CutOff as error:
            if numbers and numbers <= _MODEL_FIELDS:
                raise IntegrityError(
                    f"`{path.name}` is cut off: {reader.size} bytes are there, and its last "
                    "field is not complete"
                ) from error
            raise
    if _GRAPH not in numbers and numbers <= _MODEL_FIELDS:
        raise IntegrityError(f"`{path.name}` has no graph: it is cut off, or no model")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # the last character may be cut
            return False
        text = head[: error.start].decode()
    return all(char.isprintable() or char in "\r\n\t" for char in text)


def _message(head: bytes) -> str:
    """Return a JSON error's message, shortened."""
    text = head.decode("utf-8", "replace")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return text[:80]
    error = values.get("error", values) if isinstance(values, dict) else values
    return str(error)[:200]
