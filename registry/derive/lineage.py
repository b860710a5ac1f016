"""Show a variant's ancestors and descendants, as a tree and in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.recipes import in_words
from onnxzoo.registry.core.records import Lineage, Variant


@dataclass(frozen=True, slots=True)
class Relative:
    """A variant in a family tree, with its children.

    Attributes:
        ref: its reference; of one that is not held what it was called, or where it came from.
        digest: of its bundle; None for a source that was no model of the registry.
        lineage: how it was made; None where it was not, or nobody knows.
        held: whether the registry has it.
    """

    ref: str
    digest: str | None
    lineage: Lineage | None
    held: bool
    children: "tuple[Relative, ...]" = ()


def family(registry: Registry, variant: Variant) -> Relative:
    """Return the tree of a variant's ancestors and of everything that was made of them.

    A parent that is held no longer is the root: what it was made from went with it.
    """
    *_, oldest = variant, *ancestors(registry, variant)
    lineage = oldest.lineage
    if lineage is None or parent_of(registry, lineage) is not None:  # the start, or a circle
        return _of(registry, oldest, set())
    made = _made_of(registry, lineage.parent, seen=set()) or (_of(registry, oldest, set()),)
    return Relative(lineage.called, lineage.parent, None, held=False, children=made)


def ancestors(registry: Registry, variant: Variant) -> Iterator[Variant]:
    """Yield the held variants that a variant was made from, its parent first, each once."""
    seen = {variant.ref}
    while variant.lineage and (parent := parent_of(registry, variant.lineage)):
        if parent.ref in seen:
            return
        seen.add(parent.ref)
        yield parent
        variant = parent


def parent_of(registry: Registry, lineage: Lineage) -> Variant | None:
    """Return a variant's parent, under its old name if several variants have its bytes."""
    if lineage.parent is None:
        return None
    held = registry.holding(lineage.parent)
    same = [variant for variant in held if variant.ref == lineage.called]
    return next(iter([*same, *held]), None)


def lines(root: Relative, asked: str) -> Iterator[str]:
    """Yield the lines that draw a tree; the one that was asked for is marked.

    >>> child = Relative("m:int8@1", "b", Lineage("a", "m:fp32@1", {"kind": "quantize"}), held=True)
    >>> print(*lines(Relative("m:fp32@1", "a", None, held=False, children=(child,)), "m:int8@1"),
    ...       sep="\\n")
    m:fp32@1 (held no longer)
    └─ m:int8@1  quantize  ← this one
    """
    yield _line(root, asked)
    yield from _branches(root, asked, "")


def _branches(of: Relative, asked: str, before: str) -> Iterator[str]:
    for number, child in enumerate(of.children, 1):
        last = number == len(of.children)
        yield f"{before}{'└─' if last else '├─'} {_line(child, asked)}"
        yield from _branches(child, asked, before + ("   " if last else "│  "))


def _line(relative: Relative, asked: str) -> str:
    gone = "" if relative.held else " (held no longer)" if relative.digest else " (a source)"
    how = f"  {in_words(relative.lineage)}" if relative.lineage else ""
    return f"{relative.ref}{gone}{how}{'  ← this one' if relative.ref == asked else ''}"


def _of(registry: Registry, variant: Variant, seen: set[str]) -> Relative:
    children = _made_of(registry, variant.digest, seen=seen | {variant.ref})
    return Relative(variant.ref, variant.digest, variant.lineage, held=True, children=children)


def _made_of(registry: Registry, digest: str | None, *, seen: set[str]) -> tuple[Relative, ...]:
    """Return the variants derived from a bundle, each once on a branch."""
    if digest is None:
        return ()
    found = registry.derived(digest)
    return tuple(_of(registry, child, seen) for child in found if child.ref not in seen)
