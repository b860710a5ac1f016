"""Parse and validate a bundle's sidecar file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from onnxzoo.registry.core import decode
from onnxzoo.registry.core.errors import IntegrityError, ZooError
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import check_name, check_word
from onnxzoo.registry.core.records import Lineage
from onnxzoo.registry.store import Store

FORMAT = 1  # of a sidecar; a newer one is for a newer onnxzoo
LARGEST = 16 << 20  # bytes; far more than any has


@dataclass(frozen=True, slots=True)
class VersionClaim:
    """A version of a model, with the model's metadata."""

    name: str
    task: str | None
    tags: tuple[str, ...]
    model_created_at: str
    number: int
    origin: str | None
    license: str | None
    aliases: tuple[str, ...]
    alias_variants: Mapping[str, str]  # labels; not of one whose variant was removed
    created_at: str
    records_variants: bool  # of aliases; an older onnxzoo did not


@dataclass(frozen=True, slots=True)
class VariantClaim:
    """A variant that stands on the bundle."""

    version: VersionClaim
    label: str
    precision: str
    opset: int
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
    """The version that a reference data bundle belongs to."""

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

    @property
    def all(self) -> "tuple[VariantClaim | DataClaim, ...]":
        """The claims of both kinds."""
        return *self.variants, *self.data


def read(store: Store, digest: str) -> Claims:
    """Read and validate a bundle's sidecar.

    Raises:
        IntegrityError: if it is not what the registry writes: malformed, of another bundle, with
            names or paths that no registry gives.
    """
    path = store.sidecar(digest)
    try:
        return parse(_content(path), digest)
    except OSError as error:
        raise _no_sidecar(path, (error.strerror or str(error)).lower()) from error
    except (TypeError, ValueError, RecursionError) as error:
        said = str(error)
        raise _no_sidecar(path, f"{said[:1].lower()}{said[1:]}") from error
    except ZooError as error:
        raise _no_sidecar(path, error.message) from error


def _no_sidecar(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"`{path}` is no sidecar of a bundle: {why}")


def _content(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    content = decode.mapping(json.loads(text))
    decode.check_plain(content)
    return content


def parse(content: Mapping[str, Any], digest: str) -> Claims:
    """Parse a sidecar's content; errors are of many kinds."""
    number = decode.get(content, "format", decode.whole)
    if number != FORMAT:
        raise ValueError(f"it has format {number}; this onnxzoo reads {FORMAT}")
    manifest = Manifest.of(decode.get(content, "files", decode.each(decode.file)))
    if manifest.digest != digest:
        raise ValueError(f"its files make the bundle {manifest.digest}")
    variants = decode.get(content, "variants", decode.each(_variant))
    paths = {file.path for file in manifest.files}
    for variant in variants:
        if variant.entry not in paths:
            raise ValueError(f"`{variant.entry}` is none of its files")
    return Claims(
        decode.get(content, "written_at", decode.time),
        manifest,
        variants,
        decode.get(content, "reference_data", decode.each(_data)),
    )


def _version(values: Any) -> VersionClaim:
    return VersionClaim(
        name=check_name(decode.get(values, "name", decode.text)),
        task=decode.get(values, "task", decode.maybe(decode.text)),
        tags=decode.get(values, "tags", _distinct),
        model_created_at=decode.get(values, "model_created_at", _stamp),
        number=decode.get(values, "version", decode.version_number),
        origin=decode.get(values, "origin", decode.maybe(decode.text)),
        license=decode.get(values, "license", decode.maybe(decode.text)),
        aliases=tuple(
            check_word(word, "alias")
            for word in decode.get(values, "aliases", _distinct)
            if decode.may_be_alias(word)
        ),
        alias_variants=decode.labels(values, "alias_variants"),
        created_at=decode.get(values, "version_created_at", _stamp),
        records_variants="alias_variants" in decode.mapping(values),
    )


def _variant(values: Any) -> VariantClaim:
    return VariantClaim(
        version=_version(values),
        label=decode.get(values, "variant", decode.word("variant")),
        precision=decode.get(values, "precision", decode.text),
        opset=decode.get(values, "opset", decode.whole),
        entry=decode.get(values, "entry", decode.text),
        source=decode.get(values, "source", decode.text),
        revision=decode.get(values, "revision", decode.maybe(decode.text)),
        created_at=decode.get(values, "created_at", _stamp),
        lineage=decode.get(values, "lineage", decode.maybe(decode.lineage)),
    )


def _data(values: Any) -> DataClaim:
    return DataClaim(_version(values), decode.get(values, "source", decode.text))


def _distinct(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(decode.each(decode.text)(value)))


def _stamp(value: Any) -> str:
    return decode.time(value).isoformat()
