"""Represent the content of a `.zoo` file: models with all metadata, as consistent values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import fold
from onnxzoo.registry.core.records import Draft, Graph, Lineage, Measurement

Place = tuple[str, str]  # a bundle's digest, and the path of a model in it

_LONGEST = 100  # bytes of a member's name that a plain tar header holds


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive: its name there, its SHA-256 and its size."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class VariantOut:
    """One variant as it was held where it was exported; its graph is in its bytes.

    Precision and opset are there for those who list an archive; who imports it looks himself.
    """

    label: str
    precision: str
    opset: int
    digest: str
    entry: str
    source: str
    revision: str | None
    created_at: datetime
    lineage: Lineage | None

    @property
    def place(self) -> Place:
        """The model's place in the bundle; a bundle may hold several."""
        return self.digest, self.entry


@dataclass(frozen=True, slots=True)
class VersionOut:
    """One version, with the digest and the source of its reference data."""

    number: int
    origin: str | None
    license: str | None
    created_at: datetime
    variants: tuple[VariantOut, ...]
    test_data: str | None = None
    test_data_source: str | None = None


@dataclass(frozen=True, slots=True)
class ModelOut:
    """A model in an archive: its metadata and its versions."""

    name: str
    task: str | None
    tags: tuple[str, ...]
    created_at: datetime
    aliases: Mapping[str, int]
    alias_variants: Mapping[str, str]  # labels, of those whose variant goes along
    versions: tuple[VersionOut, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything in an archive.

    Attributes:
        models: sorted by name.
        bundles: manifests by their digests: models' and reference data's.
        measurements: by the digest of what was measured.
        members: the archive's files in their order; each content is there once.
    """

    models: tuple[ModelOut, ...]
    bundles: Mapping[str, Manifest]
    measurements: Mapping[str, tuple[Measurement, ...]]
    members: tuple[Member, ...]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(member.bytes for member in self.members)

    def versions(self) -> Iterator[tuple[ModelOut, VersionOut]]:
        """Yield every version with its model."""
        for model in self.models:
            yield from ((model, version) for version in model.versions)

    def variants(self) -> Iterator[tuple[ModelOut, VersionOut, VariantOut]]:
        """Yield every variant with its model and its version."""
        for model, version in self.versions():
            yield from ((model, version, variant) for variant in version.variants)


@dataclass(frozen=True, slots=True)
class Exported:
    """A written archive: its content, and the SHA-256 of the whole file."""

    contents: Contents
    sha256: str


def draft_of(model: ModelOut, version: VersionOut, variant: VariantOut, graph: Graph) -> Draft:
    """Return the draft of a variant that an import is to place."""
    return Draft(
        name=model.name,
        entry=variant.entry,
        graph=graph,
        source=variant.source,
        label=variant.label,
        revision=variant.revision,
        origin=version.origin,
        license=version.license,
        task=model.task,
        tags=model.tags,
        lineage=variant.lineage,
    )


def members_of(models: tuple[ModelOut, ...], bundles: Mapping[str, Manifest]) -> tuple[Member, ...]:
    """Return the members of an archive: each content once, named by its digest.

    ``models/NAME@VERSION/VARIANT/…`` and ``test-data/NAME@VERSION/…``, so that an archive that
    is unpacked by other means gives folders that onnxruntime opens.
    """
    folders: dict[str, str] = {}
    for folder, digest in _folders(models):
        folders.setdefault(digest, folder)
    found: dict[str, Member] = {}
    for digest, folder in folders.items():
        for file in bundles[digest].files:
            name = f"{folder}/{file.path}"
            if len(name.encode()) > _LONGEST:
                name = f"long/{file.sha256}"
            found.setdefault(file.sha256, Member(name, file.sha256, file.bytes))
    return tuple(found.values())


def _folders(models: tuple[ModelOut, ...]) -> Iterator[tuple[str, str]]:
    for model in models:
        for version in model.versions:
            ref = f"{model.name}@{version.number}"
            for variant in version.variants:
                yield f"models/{ref}/{variant.label}", variant.digest
            if version.test_data:
                yield f"test-data/{ref}", version.test_data


def validate(contents: Contents, where: str) -> Contents:
    """Return contents as given, if their parts speak of each other and of nothing else.

    Args:
        contents: what an archive says.
        where: the archive, for errors.

    Raises:
        ValueError: if they do not.
        Refused: if a member has another name than ours would have, such as one that climbs.
    """
    _check_names(contents)
    used = {variant.digest for _, _, variant in contents.variants()}
    used |= {version.test_data for _, version in contents.versions() if version.test_data}
    if used != set(contents.bundles):
        raise ValueError("its bundles are not those that its models name")
    for model, version, variant in contents.variants():
        files = contents.bundles[variant.digest].files
        if variant.entry not in {file.path for file in files}:
            ref = f"{model.name}:{variant.label}@{version.number}"
            raise ValueError(f"`{ref}` has no file `{variant.entry}`")
    wanted = {(f.sha256, f.bytes) for bundle in contents.bundles.values() for f in bundle.files}
    there = [(member.sha256, member.bytes) for member in contents.members]
    if sorted(wanted) != sorted(there):
        raise ValueError("its members are not the files of its bundles")
    for member, ours in zip(
        contents.members, members_of(contents.models, contents.bundles), strict=True
    ):
        if member.name != ours.name:
            raise Refused(f"`{where}` names a member `{member.name}`; expected `{ours.name}`")
    return contents


def _check_names(contents: Contents) -> None:
    _none_twice([fold(model.name) for model in contents.models], "model")
    for model in contents.models:
        _none_twice(list(model.tags), f"tag of `{model.name}`")
        numbers = [version.number for version in model.versions]
        if numbers != sorted(set(numbers)) or not numbers:
            raise ValueError(f"the versions of `{model.name}` are not in order, or none")
        if not set(model.aliases.values()) <= set(numbers):
            raise ValueError(f"an alias of `{model.name}` points to no version")
        there = {(v.number, one.label) for v in model.versions for one in v.variants}
        if not {(model.aliases.get(a), to) for a, to in model.alias_variants.items()} <= there:
            raise ValueError(f"an alias of `{model.name}` points to no variant")
    for model, version in contents.versions():
        labels = [variant.label for variant in version.variants]
        _none_twice(labels, f"variant of `{model.name}@{version.number}`")
        if not labels:
            raise ValueError(f"`{model.name}@{version.number}` has no variant")


def _none_twice(words: list[str], kind: str) -> None:
    if len(set(words)) != len(words):
        twin = next(word for word in words if words.count(word) > 1)
        raise ValueError(f"the {kind} `{twin}` is there twice")
