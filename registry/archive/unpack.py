"""The bundles of a `.zoo` file, staged: every byte held against its manifest, every model seen."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onnxzoo.registry.archive.snapshot import Contents, Place, VersionOut, draft_of
from onnxzoo.registry.archive.tar import Packed
from onnxzoo.registry.core.errors import IntegrityError, Refused
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.records import Draft, Graph, Progress
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.store import Stage, Store

_DATA_FILE = re.compile(r"[a-z0-9._-]+/test_data_set_\d+/(input|output)_\d+\.pb")

# What bundles may take: versions share a content, some dozen times a large file of weights.
_GROWTH = 100  # times the archive's files …
_LITTLE = 1_000_000_000  # … where it is more than this many bytes


@dataclass(frozen=True, slots=True)
class Staged:
    """Staged bundles of an archive: the missing ones, and every model's graph.

    Attributes:
        stages: by digest.
        graphs: by place.
        new: each model that was not held at its place: the bundle's folder, and a draft.
    """

    stages: Mapping[str, Stage]
    graphs: Mapping[Place, Graph]
    new: Mapping[Place, tuple[Path, Draft]]


@contextmanager
def staged(
    packed: Packed, store: Store, held: Collection[Place], progress: Progress | None = None
) -> Iterator[Staged]:
    """Read a whole archive; give its bundles in staging folders, all of them proven.

    Args:
        packed: the archive.
        store: where bundles are held.
        held: the places of the models that the registry has.
        progress: told of the bytes of all files.

    Raises:
        IntegrityError: if a byte is not what it should be.
        Refused, InvalidModel: if something in it is no plain file, no model, or unfit.
    """
    contents = packed.contents
    _check_size(packed)
    with ExitStack() as stack:
        stages = {
            digest: stack.enter_context(store.stage())
            for digest, manifest in sorted(contents.bundles.items())
            if not store.holds(manifest)
        }
        _unpack(packed, stages, progress)
        folders = {
            digest: stages[digest].folder if digest in stages else store.path(digest)
            for digest in contents.bundles
        }
        graphs = _graphs(contents, folders)
        for model, version in contents.versions():
            if version.test_data:
                ref = f"{model.name}@{version.number}"
                _check_data(ref, version, contents.bundles, folders[version.test_data], graphs)
        new = {
            variant.place: (
                folders[variant.digest],
                draft_of(model, version, variant, graphs[variant.place]),
            )
            for model, version, variant in contents.variants()
            if variant.digest in stages or variant.place not in held
        }
        yield Staged(stages, graphs, new)


def _check_size(packed: Packed) -> None:
    """Refuse an archive that would fill the disk: one content may be named many times."""
    bundles, there = packed.contents.bundles.values(), packed.contents.bytes
    total, most = sum(manifest.bytes for manifest in bundles), max(_LITTLE, _GROWTH * there)
    if total > most:
        raise Refused(
            f"the files of `{packed.name}` take {show_size(there)} and would become "
            f"{show_size(total)}; at most {show_size(most)} are expected",
            hint="if it is yours, export the models to several files",
        )


def _unpack(packed: Packed, stages: Mapping[str, Stage], progress: Progress | None) -> None:
    contents, done = packed.contents, 0
    wanted: dict[str, list[tuple[Stage, str]]] = {}
    for digest, stage in stages.items():
        for file in contents.bundles[digest].files:
            wanted.setdefault(file.sha256, []).append((stage, file.path))
    for member in contents.members:
        chunks = _counted(packed.chunks(member), packed, done, progress)
        targets = wanted.get(member.sha256, [])
        for stage, path in targets[:1]:
            stage.write(chunks, path)
        for stage, path in targets[1:]:
            first, there = targets[0]
            stage.copy(first.folder / there, path)
        for _ in chunks:  # a bundle that is held is read all the same
            pass
        done += member.bytes


def _counted(
    chunks: Iterator[bytes], packed: Packed, done: int, progress: Progress | None
) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if progress:
            progress(packed.name, done, packed.contents.bytes)


def _graphs(contents: Contents, folders: Mapping[str, Path]) -> dict[Place, Graph]:
    """Describe each model, with the same checks as for a pulled one."""
    from onnxzoo.registry.onnx_file.describe import describe
    from onnxzoo.registry.onnx_file.kind import check

    graphs: dict[Place, Graph] = {}
    for model, version, variant in contents.variants():
        path = folders[variant.digest] / variant.entry
        if variant.place not in graphs:
            check(path)
            graphs[variant.place] = describe(path)
        there = {file.path for file in contents.bundles[variant.digest].files}
        for location in graphs[variant.place].external:
            if str(PurePosixPath(variant.entry).parent / location) not in there:
                ref = f"{model.name}:{variant.label}@{version.number}"
                raise IntegrityError(f"`{ref}` keeps weights in `{location}`, which is not with it")
    return graphs


def _check_data(
    ref: str,
    version: VersionOut,
    bundles: Mapping[str, Manifest],
    folder: Path,
    graphs: Mapping[Place, Graph],
) -> None:
    """Raise unless reference data lie as they are kept, and are for the version's models."""
    from onnxzoo.registry.testdata.sets import read, sets

    for file in bundles[str(version.test_data)].files:
        if not _DATA_FILE.fullmatch(file.path):
            raise Refused(f"the test data of `{ref}` hold `{file.path}`, which is none")
    for variant in version.variants:
        for found in sets(folder / variant.label):
            read(found, graphs[variant.place])
