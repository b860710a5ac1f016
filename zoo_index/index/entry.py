"""One line of an index: a variant that can be pulled, with its files' hashes and sizes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from onnxzoo.registry.core import decode
from onnxzoo.registry.core.errors import Refused, ZooError
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.core.names import check_name, check_word
from onnxzoo.registry.core.records import Tensor

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
    def derived(self) -> bool:
        """False: an index does not say whether a variant was derived."""
        return False

    @property
    def opsets(self) -> Mapping[str, int]:
        """The known opsets by domain: the default domain's."""
        return {} if self.opset is None else {"": self.opset}

    @property
    def functions(self) -> None:
        """None: an index does not say whether a model defines functions."""


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
    except (ValueError, TypeError, RecursionError, ZooError) as error:
        raise Refused(f"{where}: {error}", hint=_MEND) from error


def entry_of(values: Any) -> Entry:
    """Return the entry that a decoded JSON object stands for.

    Raises:
        ValueError, TypeError, ZooError: if it is not one.
    """
    if not isinstance(values, dict):
        raise TypeError(f"expected a JSON object, found {type(values).__name__}")
    decode.check_plain(values)
    for key in _REQUIRED:
        if key not in values:
            raise ValueError(f"`{key}` is missing")
    known = [key for key in _READERS if values.get(key) is not None]
    return Entry(**{key: decode.get(values, key, _READERS[key]) for key in known})


def dump(entry: Entry) -> str:
    """Return an entry's line: compact JSON, fields in order, unknown ones left out."""
    values = {f.name: getattr(entry, f.name) for f in fields(entry)}
    kept = {key: value for key, value in values.items() if value not in (None, (), {})}
    for key in ("inputs", "outputs"):
        if key in kept:
            kept[key] = [_tensor_values(tensor) for tensor in kept[key]]
    if "ops" in kept:
        kept["ops"] = dict(sorted(kept["ops"].items()))
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False, default=asdict)


def _tensor(value: Any) -> Tensor:
    values = {"dtype": _UNKNOWN, "shape": None} | decode.mapping(value)
    return Tensor(
        decode.get(values, "name", decode.text),
        decode.get(values, "dtype", decode.text),
        decode.get(values, "shape", decode.maybe(decode.each(_axis))),
    )


def _axis(value: Any) -> int | str | None:
    if value is None or type(value) in {int, str}:
        return value  # type: ignore[no-any-return]
    raise TypeError("an axis is a number, a name or null")


def _tensor_values(tensor: Tensor) -> dict[str, Any]:
    values = asdict(tensor)
    return values if tensor.dtype != _UNKNOWN else {k: values[k] for k in ("name", "shape")}


def _counts(value: Any) -> dict[str, int]:
    return {op: decode.get(value, op, decode.whole) for op in decode.mapping(value)}


_READERS: dict[str, Callable[[Any], Any]] = {
    "name": decode.text,
    "variant": decode.text,
    "precision": decode.text,
    "source": decode.text,
    "files": decode.each(decode.file),
    "opset": decode.whole,
    "revision": decode.text,
    "task": decode.text,
    "license": decode.text,
    "tags": decode.each(decode.text),
    "aliases": decode.each(decode.text),
    "ir_version": decode.whole,
    "inputs": decode.each(_tensor),
    "outputs": decode.each(_tensor),
    "parameters": decode.whole,
    "ops": _counts,
    "collection": decode.text,
    "exporter": decode.text,
    "test_data": decode.file,
}


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"`{twin}` is given twice")
    return values
