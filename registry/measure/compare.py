"""Variants side by side: size, latency, memory, and the drift of their outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.records import Context, Measurement, Progress, Variant
from onnxzoo.registry.measure.bench import USUAL, Effort, Figures, Trial, bench, check_sizes, kept
from onnxzoo.registry.measure.comparison_inputs import SAMPLES
from onnxzoo.registry.measure.drift import Drift, drift, ground_of
from onnxzoo.registry.measure.input_files import check_preprocess, digest, located

_METRICS = ("max", "cosine", "labels", "correlation")
_GROUND = {"shapes", "unproven", "given"}  # of a drift's context: known once it is measured


@dataclass(frozen=True, slots=True)
class Compared:
    """One of several variants; the first of them is the base.

    Attributes:
        figures: latency and memory.
        drift: from the base; the base's own is 0, 1, 1, 1.
        ratio: its median latency as a multiple of the base's.
        fresh: measured now, and not kept from an earlier run.
    """

    variant: Variant
    figures: Figures
    drift: Drift
    ratio: float
    fresh: bool


def compare(
    registry: Registry,
    variants: Sequence[Variant],
    *,
    threads: int | None = None,
    batch: int | None = None,
    axes: Mapping[str, int] | None = None,
    device: str = "auto",
    effort: Effort = USUAL,
    samples: int = SAMPLES,
    inputs: Path | None = None,
    preprocess: str | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> list[Compared]:
    """Compare variants with the first of them, and store the new measurements.

    Figures that were measured here before, in the same context, are taken again; if those of one
    variant are missing, all are measured anew, in turns, so that their ratios are of one time.

    Args:
        registry: where they are held.
        variants: two or more.
        threads: see `Trial`, as for batch, axes and device.
        batch: None for what the base's graph fixes, else 1.
        axes: sizes of other open axes.
        device: see `onnxzoo.load`.
        effort: how long, where it has to be measured.
        samples: seeded inputs on which outputs are compared.
        inputs: what outputs are compared on in their place; see `drift`, as for preprocess.
        preprocess: of images.
        fresh: measure everything again.
        progress: told of the processes that are done.

    Raises:
        UsageError, Refused: see `bench`.
        NotFound: if there are no such inputs.
    """
    examples = None if inputs is None else located(inputs, preprocess)
    check_preprocess(preprocess, examples)
    path = examples.path if examples else None
    first = Trial(variants[0], threads, batch, axes or {}, device, path, preprocess)
    trials = _trials(first, variants)
    check_sizes(trials)
    reference = None if axes or batch else registry.test_data(variants[0].ref)
    on = _On(samples, path, preprocess, reference.digest if reference else None)
    drifts = _drifts(registry, trials, on, fresh=fresh)
    held = [] if fresh else [kept(registry, trial) for trial in trials]
    again = [figures for figures in held if figures is not None]
    measured = fresh or len(again) < len(trials)
    figures = bench(registry, trials, effort=effort, progress=progress) if measured else again
    return [
        Compared(trial.variant, f, d, _ratio(f, figures[0]), measured)
        for trial, f, d in zip(trials, figures, drifts, strict=True)
    ]


def _trials(base: Trial, variants: Sequence[Variant]) -> list[Trial]:
    """Return a trial a variant: at the batch asked for, else at the base's where it can be."""
    size = base.size()
    batch = size if base.batch is not None or size > 1 else None
    trials = [base, *(replace(base, variant=variant, batch=batch) for variant in variants[1:])]
    if base.batch is not None:
        return trials
    return [trial if _runs(trial) else replace(trial, batch=None) for trial in trials]


def _runs(trial: Trial) -> bool:
    try:
        trial.size()
    except UsageError:
        return False
    return True


def _ratio(one: Figures, base: Figures) -> float:
    """Return a median latency as a multiple of the base's: of rounds, where both had the same."""
    if one.medians and len(one.medians) == len(base.medians):  # in turns: noise strikes both
        return median(a / b for a, b in zip(one.medians, base.medians, strict=True))
    value, first = one.value("latency_p50"), base.value("latency_p50")
    if value is None or not first:  # a latency is measured of every trial
        raise RuntimeError("a latency is missing")
    return value / first


class _On(NamedTuple):
    """The inputs of an output comparison; reference data by their digest."""

    samples: int
    inputs: Path | None
    preprocess: str | None
    held: str | None

    def context(self) -> Context:
        """Return the inputs' part of a drift's context."""
        if self.inputs is None:
            return {"inputs": self.held} if self.held else {"samples": self.samples}
        named: Context = {"preprocess": self.preprocess} if self.preprocess else {}
        return {"inputs": digest(self.inputs), **named}


def _drifts(registry: Registry, trials: Sequence[Trial], on: _On, *, fresh: bool) -> list[Drift]:
    """Return every variant's drift from the first: stored, else measured and stored."""
    base, *others = trials
    about = {"base": base.variant.digest, **on.context()}
    contexts = [{**trial.context(), **about} for trial in others]
    found = {} if fresh else _kept_drifts(registry, others, contexts)
    missing = [trial.variant for trial in others if trial.variant.ref not in found]
    if missing:
        measured = drift(
            registry,
            base.variant,
            missing,
            batch=base.batch,
            axes=base.axes,
            samples=on.samples,
            inputs=on.inputs,
            preprocess=on.preprocess,
            device=base.device,
        )
        found |= {variant.ref: d for variant, d in zip(missing, measured, strict=True)}
        registry.keep_figures(
            (trial.variant.digest, _measurements(now, {**context, **ground_of(now)}))
            for trial, context in zip(others, contexts, strict=True)
            if trial.variant in missing and (now := found[trial.variant.ref])
        )
    return [Drift(0.0, 1.0, 1.0, 1.0), *(found[trial.variant.ref] for trial in others)]


def _kept_drifts(
    registry: Registry, trials: Sequence[Trial], contexts: Sequence[Context]
) -> dict[str, Drift]:
    found = {}
    for trial, context in zip(trials, contexts, strict=True):
        for m in sorted(registry.measurements(trial.variant.digest), key=lambda m: m.at):
            rest = {key: value for key, value in m.context.items() if key not in _GROUND}
            if m.metric == "drift_max" and rest == context and "shapes" in m.context:
                found[trial.variant.ref] = _kept_drift(registry, trial.variant, m.context)
    return found


def _kept_drift(registry: Registry, variant: Variant, context: Context) -> Drift:
    """Return the stored drift of a context."""
    there = {
        m.metric: m.value for m in registry.measurements(variant.digest) if m.context == context
    }
    shapes, unproven = (context.get(key) for key in ("shapes", "unproven"))
    return Drift(
        there["drift_max"],
        there.get("drift_cosine"),
        there.get("drift_labels"),
        there.get("drift_correlation"),
        shapes=str(shapes),
        unproven=str(unproven) if unproven else None,
        given="given" in context,
    )


def _measurements(found: Drift, context: Context) -> list[Measurement]:
    values = [(f"drift_{name}", getattr(found, name)) for name in _METRICS]
    return [Measurement(name, value, "", context) for name, value in values if value is not None]
