"""What a bundle's sidecar claims, checked before anyone believes it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from onnxzoo.registry import told
from onnxzoo.registry.errors import IntegrityError, ZooError
from onnxzoo.registry.manifest import Manifest
from onnxzoo.registry.names import check_name, check_word
from onnxzoo.registry.records import Lineage
from onnxzoo.registry.store import Store

FORMAT = 1  # of a sidecar; a newer one is for a newer onnxzoo
LARGEST = 16 << 20  # bytes; far more than any has


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

    @property
    def all(self) -> "tuple[VariantClaim | DataClaim, ...]":
        """The claims of both kinds."""
        return *self.variants, *self.data


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
    content = told.mapping(json.loads(text))
    told.check_plain(content)
    return content


def parse(content: Mapping[str, Any], digest: str) -> Claims:
    """Return what the content of a sidecar claims of a bundle; errors are of many kinds."""
    number = told.get(content, "format", told.whole)
    if number != FORMAT:
        raise ValueError(f"it has format {number}; this onnxzoo reads {FORMAT}")
    manifest = Manifest.of(told.get(content, "files", told.each(told.file)))
    if manifest.digest != digest:
        raise ValueError(f"its files make the bundle {manifest.digest}")
    variants = told.get(content, "variants", told.each(_variant))
    paths = {file.path for file in manifest.files}
    for variant in variants:
        if variant.entry not in paths:
            raise ValueError(f"`{variant.entry}` is none of its files")
    return Claims(
        told.get(content, "written_at", told.time),
        manifest,
        variants,
        told.get(content, "reference_data", told.each(_data)),
    )


def _version(values: Any) -> VersionClaim:
    return VersionClaim(
        name=check_name(told.get(values, "name", told.text)),
        task=told.get(values, "task", told.maybe(told.text)),
        tags=told.get(values, "tags", _distinct),
        model_created_at=told.get(values, "model_created_at", _stamp),
        number=told.get(values, "version", told.version_number),
        origin=told.get(values, "origin", told.maybe(told.text)),
        license=told.get(values, "license", told.maybe(told.text)),
        aliases=tuple(
            check_word(word, "alias")
            for word in told.get(values, "aliases", _distinct)
            if told.may_be_alias(word)
        ),
        alias_variants=told.labels(values, "alias_variants"),
        created_at=told.get(values, "version_created_at", _stamp),
        records_variants="alias_variants" in told.mapping(values),
    )


def _variant(values: Any) -> VariantClaim:
    return VariantClaim(
        version=_version(values),
        label=told.get(values, "variant", told.word("variant")),
        precision=told.get(values, "precision", told.text),
        opset=told.get(values, "opset", told.whole),
        entry=told.get(values, "entry", told.text),
        source=told.get(values, "source", told.text),
        revision=told.get(values, "revision", told.maybe(told.text)),
        created_at=told.get(values, "created_at", _stamp),
        lineage=told.get(values, "lineage", told.maybe(told.lineage)),
    )


def _data(values: Any) -> DataClaim:
    return DataClaim(_version(values), told.get(values, "source", told.text))


def _distinct(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(told.each(told.text)(value)))


def _stamp(value: Any) -> str:
    return told.time(value).isoformat()
