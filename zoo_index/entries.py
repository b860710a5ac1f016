"""One line of an index: a variant that can be pulled, with its files' hashes and sizes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from onnxzoo.registry.errors import Refused, ZooError
from onnxzoo.registry.manifest import File, Manifest
from onnxzoo.registry.names import check_name, check_word
from onnxzoo.registry.records import Tensor

_UNKNOWN = "unknown"  # a dtype that nobody recorded
_MEND = "mend the line, or take the index out of ZOO_INDEX"
_REQUIRED = ("name", "variant", "precision", "source", "files")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A variant that can be pulled.

    What nobody recorded is None or empty, never guessed.

    Attributes:
        source: where the files are, as ``zoo pull`` takes it: ``hf://org/repo``, ``https://…``.
        files: by their path inside the source, which is their path inside the bundle too.
        revision: the commit of the source at which the hashes were seen.
        aliases: other names for it; one that several lines carry means their model.
        ops: how often each op type occurs.
        test_data: the archive of reference inputs and outputs: path, SHA-256, size.
    """

    name: str
    variant: str
    precision: str
    source: str
    files: tuple[File, ...]
    opset: int | None = None
    revision: str | None = None
    task: str | None = None
    license: str | None = None
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    ir_version: int | None = None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    parameters: int | None = None
    ops: Mapping[str, int] = field(default_factory=dict)
    collection: str | None = None
    exporter: str | None = None
    test_data: File | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_word(self.variant, "variant")
        check_word(self.precision, "precision")
        if not any(file.path.lower().endswith(".onnx") for file in Manifest.of(self.files).files):
            raise Refused("none of the files is an `.onnx` file")
        if "://" not in self.source:
            raise Refused(f"the source `{self.source}` is not a URL")

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def digest(self) -> str:
        """The digest of the bundle that these files make."""
        return Manifest.of(self.files).digest

    @property
    def opsets(self) -> Mapping[str, int]:
        """What is known of the opsets by domain: the default one's."""
        return {} if self.opset is None else {"": self.opset}

    @property
    def functions(self) -> None:
        """Whether the model defines functions of its own: an index does not say."""


def parse(line: str, where: str) -> Entry:
    """Return the entry that a line of an index holds; keys that are not known are ignored.

    Args:
        line: a JSON object.
        where: the file and the line's number, for the error.

    Raises:
        Refused: if the line is malformed.
    """
    try:
        values = json.loads(line, object_pairs_hook=_without_twins)
        return entry_of(values)
    except json.JSONDecodeError as error:
        said = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
        raise Refused(f"{where} is not JSON: {said}", hint=_MEND) from error
    except (ValueError, TypeError, ZooError) as error:
        raise Refused(f"{where}: {error}", hint=_MEND) from error


def entry_of(values: Any) -> Entry:
    """Return the entry that a decoded JSON object stands for.

    Raises:
        ValueError, TypeError, ZooError: if it is not one.
    """
    if not isinstance(values, dict):
        raise TypeError(f"expected a JSON object, found {type(values).__name__}")
    for key in _REQUIRED:
        if key not in values:
            raise ValueError(f"`{key}` is missing")
    known = {key: values[key] for key in _READERS if values.get(key) is not None}
    return Entry(**{key: _read(key, value) for key, value in known.items()})


def dump(entry: Entry) -> str:
    """Return an entry's line: compact JSON, fields in order, what is not known left out."""
    values = {f.name: getattr(entry, f.name) for f in fields(entry)}
    kept = {key: value for key, value in values.items() if value not in (None, (), {})}
    for key in ("inputs", "outputs"):
        if key in kept:
            kept[key] = [_tensor_values(tensor) for tensor in kept[key]]
    if "ops" in kept:
        kept["ops"] = dict(sorted(kept["ops"].items()))
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False, default=asdict)


def _read(key: str, value: Any) -> Any:
    try:
        return _READERS[key](value)
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"`{key}` is malformed: {reason}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {json.dumps(value)[:40]}")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a whole number, found {json.dumps(value)[:40]}")
    return value


def _file(value: Any) -> File:
    return File(_text(value["path"]), _text(value["sha256"]), _number(value["bytes"]))


def _tensor(value: Any) -> Tensor:
    shape = value.get("shape")
    if shape is not None and not all(type(axis) in {int, str, type(None)} for axis in shape):
        raise TypeError("an axis is a number, a name or null")
    return Tensor(
        _text(value["name"]),
        _text(value.get("dtype", _UNKNOWN)),
        None if shape is None else tuple(shape),
    )


def _tensor_values(tensor: Tensor) -> dict[str, Any]:
    values = asdict(tensor)
    return values if tensor.dtype != _UNKNOWN else {k: values[k] for k in ("name", "shape")}


def _each(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError("expected a list")
        return tuple(map(read, value))

    return read_all


def _counts(value: Any) -> dict[str, int]:
    return {_text(op): _number(count) for op, count in value.items()}


_READERS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "variant": _text,
    "precision": _text,
    "source": _text,
    "files": _each(_file),
    "opset": _number,
    "revision": _text,
    "task": _text,
    "license": _text,
    "tags": _each(_text),
    "aliases": _each(_text),
    "ir_version": _number,
    "inputs": _each(_tensor),
    "outputs": _each(_tensor),
    "parameters": _number,
    "ops": _counts,
    "collection": _text,
    "exporter": _text,
    "test_data": _file,
}


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"`{twin}` is given twice")
    return values
