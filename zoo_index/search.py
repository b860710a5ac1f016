"""Search held and pullable models as one list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.names import fold, keys_of
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.derive.reachable_opsets import at_opset, convertible_opsets, reach_by_trying
from onnxzoo.registry.runtime.compatibility import Requirements, Runtime, Verdict, judge, misfits
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.zoo import Zoo

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

    from onnxzoo.registry.api import Registry


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A variant that is held, or can be pulled, or both.

    Attributes:
        ref: its exact reference, if it is held.
        can_pull: whether an index has it.
        runs_here: whether it runs on the runtime that was asked; None if nobody asked, or too
            little is known of it.
        misfits: why it does not.
        converts_to: the opsets that it surely can be converted to, and runs at; None if nobody
            asked.
        may_convert_to: those that have to be tried; None if nobody asked.
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
    runs_here: bool | None = None
    misfits: tuple[str, ...] = ()
    converts_to: tuple[int, ...] | None = None
    may_convert_to: tuple[int, ...] | None = None


def search(
    zoo: Zoo,
    words: Sequence[str] = (),
    *,
    task: str | None = None,
    opset: "SpecifierSet | None" = None,
    max_bytes: int | None = None,
    license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
    runs_on: Runtime | None = None,
) -> list[SearchHit]:
    """Return the models that match every word and condition, held ones first.

    Args:
        zoo: the registry and the indexes.
        words: each must occur in the name, task, tags, precision or ops (an index's: exporter
            too).
        task: such as ``image-classification``.
        opset: a constraint; what has no recorded opset does not match one.
        max_bytes: the size of all files together.
        license: an SPDX identifier, upper and lower case alike.
        runs_on: leave out what does not run there, or is not known to.
    """
    entries = zoo.indexes.search(
        words, task=task, opset=opset, max_bytes=max_bytes, license=license
    )
    bounds = {"task": task, "max_bytes": max_bytes, "license": license}
    bounds["opset"] = None if opset is None else str(opset)
    held = [
        _found(variant, runs_on, zoo.registry) for variant in _held(zoo, words, entries, **bounds)
    ]
    found = _merged(held, entries, runs_on)
    return [item for item in found if runs_on is None or item.runs_here]


def _held(zoo: Zoo, words: Sequence[str], entries: Sequence[Entry], **bounds: Any) -> list[Variant]:
    """Return the held variants that mention every word, and further matches of the index."""
    keys = keys_of(words)
    by_word = [
        variant
        for variant in zoo.registry.list(words, ops=True, **bounds)
        if _mentions(variant, keys)
    ]
    offered = {(entry.name, entry.variant) for entry in entries}
    names = zoo.registry.names().intersection(name for name, _ in offered)
    by_index = [
        variant
        for name in sorted(names)
        for variant in zoo.registry.list(name=name, **bounds)
        if (variant.name, variant.variant) in offered
    ]
    found = {variant.ref: variant for variant in (*by_word, *by_index)}
    return sorted(found.values(), key=lambda variant: variant.name)


def of_model(
    zoo: Zoo, name: str, runs_on: Runtime | None = None, *, converts_up_to: int | None = None
) -> list[SearchHit]:
    """Return every variant of a model, held or in an index; none if nobody knows it.

    Args:
        zoo: the registry and the indexes.
        name: the model's.
        runs_on: say whether each runs there.
        converts_up_to: say to which opsets up to this one each can surely be converted.
    """
    entries = zoo.indexes.find(name)
    names = {entry.name for entry in entries} or {name}
    held = {v.ref: v for known in names for v in zoo.registry.list(name=known)}
    found = _merged(
        [_found(variant, runs_on, zoo.registry) for variant in held.values()], entries, runs_on
    )
    if converts_up_to is None:
        return found
    offered = {entry.variant: entry for entry in entries}
    return [
        replace(item, converts_to=sure, may_convert_to=maybe)
        for item in found
        for sure, maybe in [_conversions(_needs(item, held, offered), converts_up_to, runs_on)]
    ]


def _conversions(
    needs: Requirements, highest: int, runs_on: Runtime | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a model's reachable opsets for a runtime: sure ones, and ones to try.

    Its own is among them where its IR version alone is too high.
    """
    if not needs.opset:
        return (), ()
    sure = convertible_opsets(needs, highest)
    own = [needs.opset] if runs_on and misfits(needs, runs_on) else []
    above = range(max(needs.opset, *sure, 0) + 1, highest + 1)

    def fits(opset: int) -> bool:
        return opset <= highest and (
            runs_on is None or not misfits(at_opset(needs, opset, runs_on.ir_version), runs_on)
        )

    tried = (*reach_by_trying(needs), *above)
    return tuple(filter(fits, sorted([*sure, *own]))), tuple(filter(fits, tried))


def _needs(
    item: SearchHit, held: Mapping[str, Variant], offered: Mapping[str, Entry]
) -> Requirements:
    return held[item.ref].graph if item.ref else offered[item.variant]


def _mentions(variant: Variant, keys: Sequence[str]) -> bool:
    words = (
        variant.name,
        variant.task or "",
        *variant.tags,
        variant.precision,
        variant.graph.producer,
    )
    text = fold("\n".join((*words, variant.graph.producer, *variant.graph.ops)))
    return all(key in text for key in keys)


def _merged(
    held: Sequence[SearchHit], entries: Sequence[Entry], runs_on: Runtime | None
) -> list[SearchHit]:
    """Return the held variants, then the index's other ones."""
    offered = {(entry.name, entry.variant) for entry in entries}
    there = {(found.name, found.variant) for found in held}
    return [
        *(
            replace(found, can_pull=True) if (found.name, found.variant) in offered else found
            for found in held
        ),
        *(_found(entry, runs_on) for entry in entries if (entry.name, entry.variant) not in there),
    ]


def _found(
    item: Variant | Entry, runs_on: Runtime | None, registry: "Registry | None" = None
) -> SearchHit:
    if runs_on is None:
        verdict = Verdict(None)
    elif isinstance(item, Variant):
        verdict = registry.loader.judge(item, runs_on) if registry else judge(item.graph, runs_on)
    else:
        verdict = judge(item, runs_on)
    return SearchHit(
        name=item.name,
        variant=item.variant,
        precision=item.precision,
        opset=item.opset,
        bytes=item.bytes,
        source=item.source,
        license=item.license,
        task=item.task,
        tags=item.tags,
        ref=item.ref if isinstance(item, Variant) else None,
        can_pull=isinstance(item, Entry),
        runs_here=verdict.runs,
        misfits=verdict.misfits,
    )
