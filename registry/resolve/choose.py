"""Choose one of the variants that a reference leaves open, and say why."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypedDict, TypeVar

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.onnx_file.precisions import PRECISIONS

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_SHOWN = 3  # variants named in a sentence beside the chosen one


class Constraints(TypedDict, total=False):
    """Constraints on a variant beyond its reference; a missing or None key is open.

    Attributes:
        variant: a label or a precision, instead of the reference's.
        opset: a number or a constraint on the default domain's opset, such as ``"<=13"``.
        max_bytes: of all its files together.
        prefer: a goal: ``"speed"``, ``"size"``, ``"memory"`` or ``"accuracy"``.
        max_drift: the largest absolute difference of an output from the full precision's, as
            `onnxzoo.registry.measure.compare` measured it here; what was not measured is not taken.
        runtime: prefer what this release runs, ``"onnxruntime==1.17"``; None: the installed.
        device: that is to run it, see `onnxzoo.load`: figures count that were measured there.
    """

    variant: str | None
    opset: str | int | None
    max_bytes: int | None
    prefer: str | None
    max_drift: float | None
    runtime: str | None
    device: str


class Candidate(Protocol):
    """A candidate's fields: a label, a precision, an opset (None: not recorded), a size.

    What was derived from another variant (converted, quantized) is taken where it is asked for,
    or where nothing else runs.
    """

    @property
    def variant(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def opset(self) -> int | None: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def derived(self) -> bool: ...  # noqa: D102


C = TypeVar("C", bound=Candidate)


class Ranking(NamedTuple, Generic[C]):
    """Candidates, best first, and the reason for the first."""

    best_first: Sequence[C]
    why: Callable[[C], str]


class Choice(NamedTuple, Generic[C]):
    """The candidate that was taken, and one sentence that says why.

    Attributes:
        warning: tells that it is not the one that the reference means, and why.
    """

    found: C
    why: str
    warning: str | None = None


def choose(
    candidates: Sequence[C],
    wish: Constraints,
    *,
    fits: Callable[[C], bool],
    within: Callable[[C], bool] = lambda _: True,
    rank: "Callable[[Sequence[C]], Ranking[C]] | None" = None,
) -> Choice[C] | None:
    """Return the candidate that is wished for, or None if none is.

    A variant is matched by its label or by its precision, opset and size by their bounds. Of what
    is left, the exact label wins; then, of what the runtime runs, what ranks best: without a
    ranking what was not derived, there the precision nearest to fp32, and there the highest
    opset. Where nothing runs, it is the nearest precision's lowest opset.

    Args:
        candidates: the variants of one version, in any order.
        wish: its `variant`, `opset` and `max_bytes` are looked at here.
        fits: tells whether the runtime runs a candidate; asked only if it matters, of the best
            first, so that one question is mostly enough.
        within: tells whether a candidate keeps the other bounds.
        rank: another order than by precision.
    """
    variant, constraint = wish.get("variant"), parse_opset(wish.get("opset"))
    most = wish.get("max_bytes")
    if most is not None and not isinstance(most, int | float):
        raise UsageError(f"`{most}` is not a number of bytes", hint="for example: 3_000_000")
    left = [
        c
        for c in candidates
        if _named(c, variant)
        and _at_opset(c, constraint)
        and (most is None or c.bytes <= most)
        and within(c)
    ]
    exact = next((c for c in left if c.variant == variant), None)
    if exact is not None:
        return Choice(exact, f"`{variant}` was asked for by name")
    if len(left) < 2:  # noqa: PLR2004
        what = f"variant{wanted(wish)}" if len(candidates) > 1 else "variant that there is"
        return Choice(left[0], f"`{left[0].variant}` is the only {what}") if left else None
    best_first, why = (rank or _by_precision)(left)
    passed: list[str] = []
    for found in best_first:
        if fits(found):
            return Choice(found, f"`{found.variant}` {why(found)}{_not_run(passed)}")
        passed.append(found.variant)
    lowest = min(left, key=lambda c: (nearness(c), c.opset or 0, c.variant))
    return Choice(lowest, f"`{lowest.variant}` is nearest to what runs, but none does")


def wanted(wish: Constraints) -> str:
    """Return a wish in words, to follow on the word "variant".

    >>> wanted({"variant": "int8", "opset": "<=12", "max_bytes": 5_000_000})
    ' `int8` at opset `<=12` of at most 5.0 MB'
    """
    words = f" `{wish['variant']}`" if wish.get("variant") else ""
    if wish.get("opset") is not None:
        words += f" at opset `{wish['opset']}`"
    if (most := wish.get("max_bytes")) is not None:
        words += f" of at most {show_size(most)}"
    if (drift := wish.get("max_drift")) is not None:
        words += f" within a drift of `{drift:g}`"
    return words


def nearness(candidate: Candidate) -> int:
    """Return how far a candidate's precision lies from full precision: its place in the order."""
    precision = candidate.precision
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)


def usual(candidate: Candidate) -> tuple[int, int, str]:
    """Return the key under which candidates are ranked by precision, then by opset."""
    return nearness(candidate), -(candidate.opset or 0), candidate.variant


def beside(shown: Sequence[str]) -> str:
    """Return the other candidates in words, to follow on the chosen one.

    >>> beside(["`fp32` 102.6 MB"]), beside([])
    ('; `fp32` 102.6 MB', '')
    """
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"; {', '.join(shown[:_SHOWN])}{more}" if shown else ""


def parse_opset(text: str | int | None) -> "SpecifierSet | None":
    """Return the constraint that ``12``, ``'12'`` or ``'<=13,!=11'`` stands for.

    Raises:
        UsageError: if it is neither a number nor a version specifier.

    Source: Python packaging user guide, "Version specifiers".
    """
    if text is None:
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    words = str(text).strip()
    try:
        return SpecifierSet(f"=={words}" if words.isdecimal() else words)
    except InvalidSpecifier as error:
        raise UsageError(
            f"`{text}` is not an opset; expected a number or a constraint",
            hint="for example: --opset 12, --opset '<=13', --opset '>=11,<18'",
        ) from error


def _by_precision(candidates: Sequence[C]) -> Ranking[C]:
    def why(found: C) -> str:
        others = [f"`{c.variant}`" for c in candidates if c is not found]
        return f"is nearest to full precision, at the highest opset that runs{beside(others)}"

    return Ranking(sorted(candidates, key=lambda c: (c.derived, usual(c))), why)


def _named(candidate: Candidate, variant: str | None) -> bool:
    return variant is None or variant in {candidate.variant, candidate.precision}


def _at_opset(candidate: Candidate, opset: "SpecifierSet | None") -> bool:
    if opset is None:
        return True
    return candidate.opset is not None and opset.contains(str(candidate.opset))


def _not_run(passed: Sequence[str]) -> str:
    named = ", ".join(f"`{variant}`" for variant in passed)
    return f"; {named} {'does' if len(passed) == 1 else 'do'} not run" if passed else ""
