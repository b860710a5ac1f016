"""What is held and what can be pulled, seen as one list."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxzoo.registry.names import fold
from onnxzoo.registry.records import Variant
from onnxzoo.zoo_index.entries import Entry
from onnxzoo.zoo_index.zoo import Zoo

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet


@dataclass(frozen=True, slots=True)
class Found:
    """A variant that is held, or can be pulled, or both.

    Attributes:
        ref: its exact reference, if it is held.
        can_pull: whether an index has it.
    """

    name: str
    variant: str
    precision: str
    opset: int | None
    bytes: int
    source: str
    license: str | None
    task: str | None
    tags: tuple[str, ...]
    ref: str | None
    can_pull: bool


def search(
    zoo: Zoo,
    words: Sequence[str] = (),
    *,
    task: str | None = None,
    opset: "SpecifierSet | None" = None,
    max_bytes: int | None = None,
    license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
) -> list[Found]:
    """Return what matches every word and every condition: held variants first.

    Args:
        zoo: the registry and the indexes.
        words: each must occur in the name, task, tags, precision or ops (an index's: exporter
            too).
        task: such as ``image-classification``.
        opset: a constraint; what has no recorded opset does not match one.
        max_bytes: the size of all files together.
        license: an SPDX identifier, upper and lower case alike.
    """
    entries = zoo.indexes.search(
        words, task=task, opset=opset, max_bytes=max_bytes, license=license
    )
    offered = {(entry.name, entry.variant) for entry in entries}
    keys = [fold(word) for word in words]
    held = [
        _found(variant, ref=variant.ref)
        for variant in zoo.registry.list()
        if (_mentions(variant, keys) or (variant.name, variant.variant) in offered)
        and task in {None, variant.task}
        and (opset is None or opset.contains(str(variant.opset)))
        and (max_bytes is None or variant.bytes <= max_bytes)
        and (license is None or license.lower() == (variant.license or "").lower())
    ]
    return _merged(held, entries)


def of_model(zoo: Zoo, name: str) -> list[Found]:
    """Return every variant of a model, held or in an index; none if nobody knows it."""
    entries = zoo.indexes.find(name)
    names = {entry.name for entry in entries} or {name}
    held = [
        _found(variant, ref=variant.ref)
        for known in names
        for variant in zoo.registry.list(name=known)
    ]
    return _merged(held, entries)


def _mentions(variant: Variant, keys: Sequence[str]) -> bool:
    words = (variant.name, variant.task or "", *variant.tags, variant.precision)
    text = fold("\n".join((*words, *variant.graph.ops)))
    return all(key in text for key in keys)


def _merged(held: Sequence[Found], entries: Sequence[Entry]) -> list[Found]:
    """Return the held variants, and after them what the index has besides."""
    offered = {(entry.name, entry.variant) for entry in entries}
    there = {(found.name, found.variant) for found in held}
    return [
        *(
            replace(found, can_pull=True) if (found.name, found.variant) in offered else found
            for found in held
        ),
        *(_found(entry) for entry in entries if (entry.name, entry.variant) not in there),
    ]


def _found(item: Variant | Entry, *, ref: str | None = None) -> Found:
    return Found(
        name=item.name,
        variant=item.variant,
        precision=item.precision,
        opset=item.opset,
        bytes=item.bytes,
        source=item.source,
        license=item.license,
        task=item.task,
        tags=item.tags,
        ref=ref,
        can_pull=ref is None,
    )
