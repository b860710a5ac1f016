"""Open a model to register: a `.onnx` file, a protobuf text file, or one in memory."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.core.errors import InvalidModel, NotFound, UsageError
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.onnx_file.kind import check

_MEMORY = "model.onnx"  # the name of a model that came without a file
_HEAD = 4096  # bytes
_LARGEST_TEXT = 1 << 28  # bytes; parsed it takes some ten times that of memory
_LARGEST = (1 << 31) - 1  # bytes of a serialised protobuf
# The first field of a ModelProto in protobuf's text format. Source: onnx.proto, "ModelProto".
_TEXT = re.compile(
    rb"(\s|#[^\n]*\n)*(ir_version|opset_import|producer_name|producer_version|domain|model_version"
    rb"|doc_string|graph|metadata_props|functions|training_info)\s*[:{<]"
)


class Given(NamedTuple):
    """A model to register.

    Attributes:
        entry: what its file is called in the bundle.
        source: what the registry keeps as its source.
        file: where it lies, with its external data beside it; None for a model in memory.
        content: its bytes, where they are not those of the file.
    """

    entry: str
    source: str
    file: Path | None
    content: bytes | None = None


def is_in_memory(model: object) -> bool:
    """Tell whether a value is an ONNX model: a ModelProto, its bytes, or torch's ONNXProgram."""
    return isinstance(model, bytes | bytearray | memoryview) or _proto(model) is not None


def given_model(model: Any) -> Given:
    """Return the model in a path, a ModelProto or its bytes.

    Raises:
        NotFound: if there is no such file.
        UsageError: if it is a folder, or no model at all.
        InvalidModel, IntegrityError: if a file is no ONNX model, or only a part of one.
    """
    if isinstance(model, str | Path):
        return _of_file(Path(model).expanduser())
    if isinstance(model, bytes | bytearray | memoryview):
        return Given(_MEMORY, "code:bytes", None, bytes(model))
    proto = _proto(model)
    if proto is None:
        raise UsageError(
            f"a `{type(model).__name__}` is no ONNX model; expected a path, a ModelProto"
        )
    if proto.ByteSize() > _LARGEST:
        raise UsageError(
            f"the model takes {show_size(proto.ByteSize())}; a protobuf holds 2 GB at most",
            hint="onnx.save(model, FILE, save_as_external_data=True), then register FILE",
        )
    return Given(_MEMORY, "code:onnx.ModelProto", None, proto.SerializeToString())


def _proto(model: Any) -> Any:
    """Return the ModelProto that a value is, or has as torch's ONNXProgram."""
    inner = getattr(model, "model_proto", None) if _is(model, "torch", "ONNXProgram") else model
    return inner if _is(inner, "onnx", "ModelProto") else None


def _is(value: object, package: str, name: str) -> bool:
    kind = type(value)
    return kind.__name__ == name and kind.__module__.partition(".")[0] == package


def _of_file(path: Path) -> Given:
    with reading(path):
        if path.is_dir():
            raise UsageError(f"`{path}` is a folder; expected an `.onnx` file")
        if not path.is_file():
            raise NotFound(f"no file `{path}`")
        with path.open("rb") as file:
            is_text = _TEXT.match(file.read(_HEAD)) is not None
        if not is_text:
            check(path)
            return Given(path.name, str(path.absolute()), path)
    return Given(f"{path.stem}.onnx", str(path.absolute()), path, _parsed(path))


def _parsed(path: Path) -> bytes:
    """Return the binary form of a ModelProto in protobuf's text format."""
    from google.protobuf import text_format
    from onnx import ModelProto

    if path.stat().st_size > _LARGEST_TEXT:
        raise InvalidModel(
            f"`{path.name}` is text of {show_size(path.stat().st_size)}; "
            f"at most {show_size(_LARGEST_TEXT)} are read",
            hint="onnx.save(onnx.load(FILE), 'model.onnx') makes a binary file of it",
        )
    try:
        text = path.read_text(encoding="utf-8")
        return bytes(text_format.Parse(text, ModelProto()).SerializeToString())
    except (text_format.ParseError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidModel(
            f"`{path.name}` is no ONNX model in protobuf's text: {reason}"
        ) from error
