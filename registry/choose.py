"""The rule that picks one variant among those that a reference leaves open."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from onnxzoo.registry.errors import UsageError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

# Nearest to full precision first: what a user who named no variant would miss least.
PRECISIONS = ("fp32", "fp64", "fp16", "bf16", "qdq", "int8", "uint8", "int4", "uint4")


class Candidate(Protocol):
    """What the rule looks at: a label, a precision and an opset (None: not recorded)."""

    @property
    def variant(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def opset(self) -> int | None: ...  # noqa: D102


C = TypeVar("C", bound=Candidate)


def choose(
    candidates: Sequence[C],
    *,
    variant: str | None,
    opset: "SpecifierSet | None",
    fits: Callable[[C], bool],
) -> C | None:
    """Return the candidate that was asked for, or None if none is.

    A variant is matched by its label or by its precision, an opset by its constraint. Of what is
    left, the exact label wins; then, of what the runtime runs, the precision nearest to fp32 and
    there the highest opset. Where nothing runs, it is the nearest precision's lowest opset.

    Args:
        candidates: the variants of one version, in any order.
        variant: a label or a precision; None for any.
        opset: a constraint on the default domain's opset; None for any.
        fits: tells whether the runtime runs a candidate; asked only if it matters, of the best
            first, so that one question is mostly enough.
    """
    left = [c for c in candidates if _named(c, variant) and _within(c, opset)]
    exact = [c for c in left if c.variant == variant]
    if exact or len(left) < 2:  # noqa: PLR2004
        return next(iter(exact or left), None)
    best_first = sorted(left, key=lambda c: (_nearness(c), -(c.opset or 0), c.variant))
    first = next((c for c in best_first if fits(c)), None)
    return first or min(left, key=lambda c: (_nearness(c), c.opset or 0, c.variant))


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


def _named(candidate: Candidate, variant: str | None) -> bool:
    return variant is None or variant in {candidate.variant, candidate.precision}


def _within(candidate: Candidate, opset: "SpecifierSet | None") -> bool:
    if opset is None:
        return True
    return candidate.opset is not None and opset.contains(str(candidate.opset))


def _nearness(candidate: Candidate) -> int:
    precision = candidate.precision
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
