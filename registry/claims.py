"""What a bundle's sidecar claims, checked before anyone believes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from onnxzoo.registry.errors import IntegrityError, ZooError
from onnxzoo.registry.manifest import File, Manifest
from onnxzoo.registry.names import LATEST, Ref, check_word
from onnxzoo.registry.records import Lineage, utc
from onnxzoo.registry.store import Store

FORMAT = 1  # of a sidecar; a newer one is for a newer onnxzoo
LARGEST = 16 << 20  # bytes; far more than any has
_MOST = (1 << 31) - 1  # in a column of integers


@dataclass(frozen=True, slots=True)
class VersionClaim:
    """A version of a model, and what holds of the whole model."""

    name: str
    task: str | None
    tags: tuple[str, ...]
    model_created_at: str
    number: int
    origin: str | None
    license: str | None
    aliases: tuple[str, ...]
    created_at: str


@dataclass(frozen=True, slots=True)
class VariantClaim:
    """A variant that stands on the bundle."""

    version: VersionClaim
    label: str
    entry: str
    source: str
    revision: str | None
    created_at: str
    lineage: Lineage | None

    @property
    def ref(self) -> str:
        """The reference of the variant."""
        return f"{self.version.name}:{self.label}@{self.version.number}"


@dataclass(frozen=True, slots=True)
class DataClaim:
    """A version whose reference data the bundle is."""

    version: VersionClaim
    source: str

    @property
    def ref(self) -> str:
        """The reference of the version."""
        return f"{self.version.name}@{self.version.number}"


@dataclass(frozen=True, slots=True)
class Claims:
    """A sidecar, and when it was written."""

    written_at: datetime
    manifest: Manifest
    variants: tuple[VariantClaim, ...]
    data: tuple[DataClaim, ...]


def read(store: Store, digest: str) -> Claims:
    """Return what the sidecar of a bundle claims.

    Raises:
        IntegrityError: if it is not what the registry writes: malformed, of another bundle, with
            names or paths that no registry gives.
    """
    path = store.sidecar(digest)
    try:
        return parse(_content(path), digest)
    except OSError as error:
        raise _no_sidecar(path, (error.strerror or str(error)).lower()) from error
    except KeyError as error:
        raise _no_sidecar(path, f"it has no {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_sidecar(path, str(error).lower()) from error
    except ZooError as error:
        raise _no_sidecar(path, error.message) from error


def _no_sidecar(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"`{path}` is no sidecar of a bundle: {why}")


def _content(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    if b"\\u0000" in text:
        raise ValueError("it has a NUL in it, which PostgreSQL takes for no text")
    return _object(json.loads(text))


def parse(content: Mapping[str, Any], digest: str) -> Claims:
    """Return what the content of a sidecar claims of a bundle; errors are of many kinds."""
    if content["format"] != FORMAT:
        raise ValueError(f"it has format {content['format']!r}; this onnxzoo reads {FORMAT}")
    files = [File(_text(f, "path"), _text(f, "sha256"), _number(f, "bytes", 1 << 62))
             for f in _objects(content["files"])]  # fmt: skip
    manifest = Manifest.of(files)
    if manifest.digest != digest:
        raise ValueError(f"its files make the bundle {manifest.digest}")
    written_at = datetime.fromisoformat(_time(content, "written_at"))
    variants = tuple(_variant(fields, manifest) for fields in _objects(content["variants"]))
    data = tuple(
        DataClaim(_version(fields), _text(fields, "source"))
        for fields in _objects(content["reference_data"])
    )
    return Claims(written_at, manifest, variants, data)


def _version(fields: Mapping[str, Any]) -> VersionClaim:
    number = _number(fields, "version", _MOST)
    if number < 1:
        raise ValueError(f"a version has the number {number}")
    return VersionClaim(
        name=Ref(_text(fields, "name")).name,
        task=_text_or_none(fields, "task"),
        tags=_words(fields, "tags"),
        model_created_at=_time(fields, "model_created_at"),
        number=number,
        origin=_text_or_none(fields, "origin"),
        license=_text_or_none(fields, "license"),
        aliases=tuple(
            check_word(word, "alias")
            for word in _words(fields, "aliases")
            if word != LATEST and not word.isdecimal()
        ),
        created_at=_time(fields, "version_created_at"),
    )


def _variant(fields: Mapping[str, Any], manifest: Manifest) -> VariantClaim:
    entry = _text(fields, "entry")
    if entry not in {file.path for file in manifest.files}:
        raise ValueError(f"`{entry}` is none of its files")
    return VariantClaim(
        version=_version(fields),
        label=check_word(_text(fields, "variant"), "variant"),
        entry=entry,
        source=_text(fields, "source"),
        revision=_text_or_none(fields, "revision"),
        created_at=_time(fields, "created_at"),
        lineage=None if fields["lineage"] is None else _lineage(_object(fields["lineage"])),
    )


def _lineage(fields: Mapping[str, Any]) -> Lineage:
    recipe = _object(fields["recipe"])
    return Lineage(_text_or_none(fields, "parent"), _text(fields, "called"), recipe)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} instead of an object")
    return value


def _objects(value: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")
    return [_object(item) for item in value]


def _text(fields: Mapping[str, Any], key: str) -> str:
    """Return a text that every database takes."""
    value = fields[key]
    if not isinstance(value, str):
        raise TypeError(f"`{key}` is no text")
    value.encode()  # a lone surrogate is a ValueError
    return value


def _text_or_none(fields: Mapping[str, Any], key: str) -> str | None:
    return None if fields[key] is None else _text(fields, key)


def _words(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    words = fields[key]
    if not isinstance(words, list):
        raise TypeError(f"`{key}` is no list")
    return tuple(dict.fromkeys(_text({key: word}, key) for word in words))


def _number(fields: Mapping[str, Any], key: str, most: int) -> int:
    value = fields[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"`{key}` is {value!r}; expected 0 to {most}")
    return value


def _time(fields: Mapping[str, Any], key: str) -> str:
    text = _text(fields, key)
    return utc(text).isoformat()
