"""Resolve a reference to its rows, or to an error that lists the alternatives."""

from collections.abc import Callable, Sequence

from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.names import Ref, fold
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.database.database import Rows
from onnxzoo.registry.database.queries import (
    Held,
    Row,
    graph_of,
    held,
    listed,
    measurements,
    variant_of,
)
from onnxzoo.registry.resolve.choose import Choice, Constraints, Ranking, choose, usual, wanted


def with_variant(ref: str, variant: str | None) -> Ref:
    """Return a parsed reference with the variant that was asked for beside it.

    >>> with_variant("resnet50@2", "int8")
    Ref(name='resnet50', variant='int8', version='2')
    """
    parsed = Ref.parse(ref)
    if variant is None or parsed.variant == variant:
        return parsed
    if parsed.variant is not None:
        raise UsageError(f"`{ref}` names a variant already; `{variant}` was asked for beside it")
    return Ref(parsed.name, variant, parsed.version)


def version_of(rows: Rows, ref: Ref) -> list[Held]:
    """Return the variants of the version that a reference means; at least one.

    Raises:
        NotFound: if no such model or version is held.
    """
    found = held(rows, ref.name, ref.version)
    if not found:
        raise _not_held(rows, ref)
    return found


def chosen(rows: Rows, ref: Ref, wish: Constraints) -> Choice[Held]:
    """Return the chosen variant of the version that a reference means.

    Raises:
        NotFound: if no such model, version or variant is held.
        UsageError: if the wish makes no sense.
    """
    candidates, wish = version_of(rows, ref), {**wish, "variant": ref.variant}
    fits = _fits(wish.get("runtime"))
    if wish.get("prefer") is None and wish.get("max_drift") is None:
        meant = None if ref.variant else variant_of(rows, ref.name, ref.version)
        named = next((held for held in candidates if held.row["id"] == meant), None)
        choice = choose(candidates, wish, fits=fits)
        if named is not None:
            choice = _as_aliased(ref, wish, named, candidates, fits=fits) or choice
    else:
        from onnxzoo.registry.resolve.goals import pick

        figures = {held.digest: measurements(rows, held.digest) for held in candidates}
        choice = pick(candidates, wish, ref.name, figures, fits=fits)
    if choice is None:
        raise no_variant(ref, wish, candidates)
    return choice


def _as_aliased(
    ref: Ref,
    wish: Constraints,
    named: Held,
    candidates: Sequence[Held],
    *,
    fits: Callable[[Held], bool],
) -> Choice[Held] | None:
    """Return the variant that an alias recorded, or the nearest that runs in its place.

    None where the wish excludes it: then the wish decides.
    """
    if choose([named], wish, fits=fits) is None:
        return None

    def nearest(held: Held) -> tuple[bool, bool, tuple[int, int, str]]:
        return held.precision != named.precision, held.derived, usual(held)

    why = f"`{named.variant}` is what `{ref}` was set to"
    if len(candidates) == 1 or fits(named):
        return Choice(named, why)
    choice = choose(
        [held for held in candidates if held is not named],
        wish,
        fits=fits,
        rank=lambda left: Ranking(sorted(left, key=nearest), str),
    )
    if choice is None or not fits(choice.found):
        return Choice(named, f"{why}; nothing held runs")
    runtime = wish.get("runtime") or "the installed onnxruntime"
    return Choice(
        choice.found,
        f"`{choice.found.variant}` is the nearest that runs; {why}, and does not run",
        f"`{ref}` means `{ref_of(named.row)}`, which {runtime} does not run; "
        f"`{ref_of(choice.found.row)}` is taken in its place",
    )


def _fits(runtime: str | None) -> Callable[[Held], bool]:
    """Return the question that a choice among held variants asks, if it must."""

    def fits(held: Held) -> bool:
        from onnxzoo.registry.runtime.compatibility import opens, release, runs

        graph = graph_of(held.row)
        return opens(graph) if runtime is None else runs(graph, release(runtime)) is not False

    return fits


def all_of(rows: Rows, ref: Ref) -> Sequence[Row]:
    """Return the rows of everything that a reference means.

    ``NAME`` means every version, ``NAME@VERSION`` every variant of it, ``NAME:VARIANT`` that
    variant of the latest version.

    Raises:
        NotFound: if no such model, version or variant is held.
    """
    found = version_of(rows, ref)
    if ref.variant is not None:
        labelled = [h.row for h in found if h.variant == ref.variant]
        if not labelled:
            raise no_variant(ref, {"variant": ref.variant}, found)
        return labelled
    return listed(rows, name=ref.name) if ref.version is None else [h.row for h in found]


def digest_of(rows: Rows, digest: str) -> str:
    """Return a digest as given, if a bundle of it is held.

    Raises:
        NotFound: if there is none.
    """
    if not rows("SELECT 1 FROM bundle WHERE digest = :digest", digest=digest):
        raise NotFound(f"no bundle `{digest}` is held", hint="zoo list --json shows digests")
    return digest


def ref_of(row: Row) -> str:
    """Return the reference that always means exactly this row's variant."""
    return f"{row['name']}:{row['label']}@{row['number']}"


def no_variant(ref: Ref, wish: Constraints, there: Sequence[Held]) -> NotFound:
    """Return the error for a version that is held, without the variant that was wished for."""
    known = ", ".join(f"`{h.variant}` (opset {h.opset}, {show_size(h.bytes)})" for h in there)
    return NotFound(
        f"no variant{wanted(wish)} of `{ref.name}@{there[0].row['number']}` is held; "
        f"it has {known}",
        hint=f"zoo compare {ref.name}" if wish.get("max_drift") else f"zoo opsets {ref.name}",
    )


def _near(rows: Rows, name: str) -> list[str]:
    """Return at most three names of held models that are near to one that is not."""
    from difflib import get_close_matches

    names = {row["key"]: str(row["name"]) for row in rows("SELECT key, name FROM model")}
    return [names[key] for key in get_close_matches(fold(name), names, n=3, cutoff=0.7)]


def _not_held(rows: Rows, ref: Ref) -> NotFound:
    versions = sorted({row["number"] for row in listed(rows, name=ref.name)})
    if not versions:
        near = _near(rows, ref.name)
        meant = f"; did you mean {', '.join(f'`{name}`' for name in near)}?" if near else ""
        hint = f"zoo search {near[0] if near else ref.name}"
        return NotFound(f"no model `{ref.name}` is held{meant}", hint=hint)
    aliases = rows(
        "SELECT DISTINCT a.name FROM alias a JOIN model m ON m.id = a.model_id "
        "WHERE m.key = :key ORDER BY a.name",
        key=fold(ref.name),
    )
    words = [*map(str, versions), *(row["name"] for row in aliases)]
    there = ", ".join(f"`{word}`" for word in words)
    return NotFound(
        f"no version `{ref.version}` of `{ref.name}`; it has {there}",
        hint=f"zoo versions {ref.name}",
    )
