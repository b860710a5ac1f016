"""Make index entries of the variants in `.zoo` files."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from onnxzoo.registry.archive.snapshot import Contents
from onnxzoo.registry.archive.tar import opened
from onnxzoo.registry.core.errors import NotFound, ZooError
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.sources.web import WebSource
from onnxzoo.zoo_index.sources.zoo_file import SUFFIX, manifest_of


def entries_below(path: Path) -> list[Entry]:
    """Return the entries of a `.zoo` file, or of a folder's: each variant's highest version.

    Raises:
        NotFound: if the folder has no such file, or the file is not there.
        Refused, IntegrityError: if one is not what it should be.
    """
    with reading(path):
        paths = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not paths:
        raise NotFound(f"no `{SUFFIX}` file in `{path}`", hint="mend ZOO_INDEX, or unset it")
    found: list[tuple[int, Entry]] = []
    for file in paths:
        try:
            with opened(file) as packed:
                found += _entries(packed.contents, file.absolute().as_uri())
        except ZooError as error:
            hint = error.hint or f"mend `{file}`, or take it out of ZOO_INDEX"
            raise type(error)(error.message, hint=hint) from error
    return _highest(found)


def entries_at(url: str, settings: Settings) -> list[Entry]:
    """Return the entries of a `.zoo` file on a web server; only its head is fetched.

    Raises:
        RemoteError: if it cannot be had, or the server gives no parts of files.
        Refused, IntegrityError: if it is not what it should be.
    """
    web = WebSource(url, settings)
    return _highest(_entries(manifest_of(web)[0], web.url))


def _entries(contents: Contents, where: str) -> Iterator[tuple[int, Entry]]:
    for model, version, variant in contents.variants():
        entry = Entry(
            name=model.name,
            variant=variant.label,
            precision=variant.precision,
            source=f"{where}#{variant.digest}",
            files=contents.bundles[variant.digest].files,
            opset=variant.opset,
            task=model.task,
            license=version.license,
            tags=model.tags,
        )
        yield version.number, entry


def _highest(found: Iterable[tuple[int, Entry]]) -> list[Entry]:
    """Return one entry of each variant: an index has no versions."""
    best: dict[tuple[str, str], tuple[int, Entry]] = {}
    for number, entry in found:
        key = entry.name, entry.variant
        if key not in best or number > best[key][0]:
            best[key] = number, entry
    return [entry for _, entry in best.values()]
