"""Choosing by a goal: by figures measured on this machine, else by a written order."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import NamedTuple, Protocol, TypeVar

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.records import Context, Measurement
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.database.queries import context_text
from onnxzoo.registry.onnx_file.precisions import PRECISIONS
from onnxzoo.registry.resolve.choose import (
    Candidate,
    Choice,
    Constraints,
    Ranking,
    beside,
    choose,
    nearness,
    usual,
)
from onnxzoo.registry.runtime.machine import here
from onnxzoo.registry.runtime.providers import CPU, first_provider

# Fastest first. On a processor of two cores with AVX2, as a share of fp32's time: static qdq 0.59
# to 0.96, operators of int8 0.60 to 0.93, fp16 and bf16 1.0 to 1.1 (they are cast), int4 1.1 to
# 1.5; dynamic int8 0.6 with matrix products and up to 5.5 with convolutions.
_FAST_ON_CPU = ("qdq", "int8", "uint8", "fp32", "bf16", "fp16", "int4", "uint4", "fp64")
# Elsewhere half precision is what the hardware is built for, and onnxruntime has few kernels for
# quantized operators. Source: onnxruntime's documentation, "Quantize ONNX models", "On GPU".
_FAST_ELSEWHERE = ("fp16", "bf16", "fp32", "int4", "uint4", "qdq", "int8", "uint8", "fp64")

Figures = Mapping[str, Sequence[Measurement]]
"""Measurements by the digest of their bundle."""


class Bundled(Candidate, Protocol):
    """A candidate with a bundle's digest."""

    @property
    def digest(self) -> str: ...  # noqa: D102


C = TypeVar("C", bound=Bundled)


class _Ground(NamedTuple):
    """The base of a ranking: the model's name if held, its figures, the provider."""

    name: str | None
    figures: Figures
    provider: str


def pick(
    candidates: Sequence[C],
    wish: Constraints,
    name: str | None,
    figures: Figures,
    *,
    fits: Callable[[C], bool],
) -> Choice[C] | None:
    """Return the candidate that is wished for, its goal and its drift included.

    Figures count only where every candidate has them, in one context on this machine.

    Args:
        candidates: the variants of one version.
        wish: what is asked.
        name: the model's, for what to type to measure it; None where it is not held.
        figures: what is known of the candidates.
        fits: see `choose`.

    Raises:
        UsageError: if there is no such goal.
    """
    goal, most = wish.get("prefer"), wish.get("max_drift")
    if goal is not None and goal not in GOALS:
        raise UsageError(f"`{goal}` is no goal; expected {', '.join(GOALS)}")
    if goal is None and most is None:
        return choose(candidates, wish, fits=fits)
    ground = _Ground(name, figures, first_provider(wish.get("device", "auto")))
    drifts = drifts_of(candidates, figures, ground.provider)
    choice = choose(
        candidates,
        wish,
        fits=fits,
        within=lambda c: most is None or drifts.get(c.digest, inf) <= most,
        rank=(lambda left: GOALS[goal](left, ground)) if goal else None,
    )
    rests = most is not None or goal == "accuracy"
    left_out = uncounted(candidates, figures, ground.provider) if rests else None
    if choice is None or left_out is None:
        return choice
    again = f"; zoo compare {name}" if name else ""
    return choice._replace(why=f"{choice.why}; {left_out}{again}")


def drifts_of(candidates: Sequence[C], figures: Figures, provider: str) -> Mapping[str, float]:
    """Return how far candidates' outputs lie from full precision's, as measured here, by digest.

    What is nearest to full precision among them is held to be the measure of the others: 0. What
    was compared on inputs that show nothing, or on inputs of unknown sizes, does not count.

    Args:
        candidates: all variants of a version.
        figures: what is known of them.
        provider: the execution provider that ran them.
    """
    nearest = min(map(nearness, candidates), default=0)
    full = {c.digest for c in candidates if nearness(c) == nearest}
    found = dict.fromkeys(full, 0.0)
    context = here(provider)
    for candidate in candidates:
        known = [m for m in _drifts(candidate, figures, context, full) if not _no_proof(m.context)]
        if known and candidate.digest not in full:
            # On a user's inputs, or on reference data.
            real = [m for m in known if {"inputs", "given"} & m.context.keys()]
            found[candidate.digest] = max(m.value for m in real or known)
    return found


def uncounted(candidates: Sequence[C], figures: Figures, provider: str) -> str | None:
    """Return why a drift that was measured here does not count; None where each that was does."""
    nearest = min(map(nearness, candidates), default=0)
    full = {c.digest for c in candidates if nearness(c) == nearest}
    counted = drifts_of(candidates, figures, provider)
    for candidate in candidates:
        if candidate.digest not in counted:
            for m in _drifts(candidate, figures, here(provider), full):
                return f"the drift of `{candidate.variant}` does not count: {_no_proof(m.context)}"
    return None


def _drifts(
    candidate: C, figures: Figures, context: Context, full: set[str]
) -> Sequence[Measurement]:
    """Return the drifts of a candidate from full precision that were measured here."""
    return [
        m
        for m in figures.get(candidate.digest, ())
        if m.metric == "drift_max" and _holds(m, context) and m.context.get("base") in full
    ]


def _no_proof(context: Context) -> str | None:
    """Return why a drift with this context says nothing; None where it does."""
    if not context.get("shapes"):
        return "on which sizes of inputs it was measured is not recorded"
    if context.get("unproven"):
        return str(context["unproven"])
    return None


def _speed(candidates: Sequence[C], ground: _Ground) -> Ranking[C]:
    values = _shared(candidates, ground, "latency_p50")
    if values is not None:
        spreads = _shared(candidates, ground, "latency_spread") or {}
        return _by_latency(candidates, values, max(spreads.values(), default=0))
    how = f"; {_unmeasured(candidates, ground)}: zoo bench {ground.name} --all"
    order = _FAST_ON_CPU if ground.provider == CPU else _FAST_ELSEWHERE
    return _by_order(
        candidates, order, f"comes first in the order of speed{how if ground.name else ''}"
    )


def _by_latency(candidates: Sequence[C], values: Mapping[str, float], spread: float) -> Ranking[C]:
    """Rank by latency; variants within the spread of the runs are equally fast.

    Of those equals what was not derived comes first, then what is nearest to full precision.
    """
    bound = min(values.values()) * (1 + spread)
    if sum(value <= bound for value in values.values()) < 2:  # noqa: PLR2004
        return _by_figures(candidates, values, "is the fastest as measured here", _milliseconds)
    best_first = sorted(
        candidates,
        key=lambda c: (max(values[c.digest], bound), values[c.digest] > bound, c.derived, usual(c)),
    )

    def why(found: C) -> str:
        others = [
            f"`{c.variant}` {_milliseconds(values[c.digest])}" for c in best_first if c is not found
        ]
        words = f"is as fast as any here, within the {spread:.0%} that the runs lie apart"
        return f"{words}: {_milliseconds(values[found.digest])}{beside(others)}"

    return Ranking(best_first, why)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _unmeasured(candidates: Sequence[C], ground: _Ground) -> str:
    """Return which candidates have no latency of this machine, in words."""
    context = here(ground.provider)
    missing = [
        f"`{c.variant}`"
        for c in candidates
        if not any(
            m.metric == "latency_p50" and _holds(m, context)
            for m in ground.figures.get(c.digest, ())
        )
    ]
    if not missing:
        return "not all were measured under the same conditions"
    if len(missing) == len(candidates):
        return "none was measured here"
    return f"not all were measured here, not {', '.join(missing)}"


def _size(candidates: Sequence[C], _: _Ground) -> Ranking[C]:
    return _by_size(candidates, "is the smallest")


def _memory(candidates: Sequence[C], ground: _Ground) -> Ranking[C]:
    values = _shared(candidates, ground, "peak_memory")
    if values is not None:
        words = "takes the least memory as measured here"
        return _by_figures(candidates, values, words, lambda b: show_size(int(b)))
    return _by_size(candidates, "takes the least memory by the size of its files")


def _accuracy(candidates: Sequence[C], ground: _Ground) -> Ranking[C]:
    drifts = drifts_of(candidates, ground.figures, ground.provider)
    if all(c.digest in drifts for c in candidates):
        words = "drifts the least as measured here"
        return _by_figures(candidates, drifts, words, lambda d: f"{d:.3g}")
    return _by_order(candidates, PRECISIONS, "is nearest to full precision")


GOALS = {"speed": _speed, "size": _size, "memory": _memory, "accuracy": _accuracy}


def _holds(measurement: Measurement, context: Context) -> bool:
    return context.items() <= measurement.context.items()


def _shared(candidates: Sequence[C], ground: _Ground, metric: str) -> Mapping[str, float] | None:
    """Return a metric of all candidates by digest, of the newest run that has all; else None."""
    digests, context = {c.digest for c in candidates}, here(ground.provider)
    runs: defaultdict[str, dict[str, Measurement]] = defaultdict(dict)
    for digest in digests:
        for m in ground.figures.get(digest, ()):
            if m.metric == metric and "shapes" in m.context and _holds(m, context):
                runs[context_text(m.context)][digest] = m
    whole = [run for run in runs.values() if len(run) == len(digests)]
    if not whole:
        return None
    newest = max(whole, key=lambda run: max(m.at for m in run.values()))
    return {digest: m.value for digest, m in newest.items()}


def _by_figures(
    candidates: Sequence[C],
    values: Mapping[str, float],
    words: str,
    show: Callable[[float], str],
) -> Ranking[C]:
    def why(found: C) -> str:
        others = [f"`{c.variant}` {show(values[c.digest])}" for c in best_first if c is not found]
        return f"{words}: {show(values[found.digest])}{beside(others)}"

    best_first = sorted(candidates, key=lambda c: (values[c.digest], usual(c)))
    return Ranking(best_first, why)


def _by_size(candidates: Sequence[C], words: str) -> Ranking[C]:
    def why(found: C) -> str:
        others = [f"`{c.variant}` {show_size(c.bytes)}" for c in best_first if c is not found]
        return f"{words}: {show_size(found.bytes)}{beside(others)}"

    best_first = sorted(candidates, key=lambda c: (c.bytes, usual(c)))
    return Ranking(best_first, why)


def _by_order(candidates: Sequence[C], order: Sequence[str], words: str) -> Ranking[C]:
    def place(candidate: C) -> int:
        precision = candidate.precision
        return order.index(precision) if precision in order else len(order)

    return Ranking(sorted(candidates, key=lambda c: (place(c), usual(c))), lambda _: words)
