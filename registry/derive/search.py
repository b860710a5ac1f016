"""The search among recipes: one after the other is made, and only the best so far is held."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.records import Progress, Variant
from onnxzoo.registry.derive.acceptance import Bounds, Trial, better, unfit
from onnxzoo.registry.derive.derive import Made, Recipe, make
from onnxzoo.registry.derive.quantization import Options
from onnxzoo.registry.measure.input_files import Examples


@contextmanager
def best(
    registry: Registry,
    parent: Variant,
    options: Sequence[Options],
    *,
    inputs: Examples | None,
    bounds: Bounds,
    progress: Progress | None,
) -> Iterator[tuple[Options, Made, tuple[Trial, ...]]]:
    """Give the best variant that recipes make, its recipe, and all that were tried.

    Raises:
        Refused: if none is fit.
    """
    trials: list[Trial] = []
    found: tuple[Options, Made] | None = None
    doing = f"trying recipes for {parent.ref}"
    with ExitStack() as held:
        for number, one in enumerate(options):
            if progress:
                progress(doing, number, len(options))
            with ExitStack() as trying:
                try:
                    recipe = Recipe("quantize", one.written())
                    made = trying.enter_context(make(registry, parent, recipe, inputs=inputs))
                except Refused as error:
                    trials.append(Trial(one, None, error.message))
                    continue
                trials.append(Trial(one, made.proof, unfit(made.proof, bounds)))
                if not trials[-1].why and (found is None or better(made.proof, found[1].proof)):
                    held.close()
                    held.push(trying.pop_all())
                    found = one, made
        if progress:
            progress(doing, len(options), len(options))
        if found is None:
            raise _none(trials)
        yield (*found, tuple(trials))


def _none(trials: Sequence[Trial]) -> Refused:
    proven = [trial for trial in trials if trial.proof and trial.proof.drift.cosine is not None]
    if not proven:
        return Refused(f"none of {len(trials)} recipes could be made: {trials[0].why}")
    nearest = max(proven, key=lambda trial: trial.proof.drift.cosine or 0)  # type: ignore[union-attr]
    return Refused(
        f"none of {len(trials)} recipes keeps within the bounds; the nearest, "
        f"`{nearest.options}`: {nearest.why}",
        hint="real inputs (--inputs, --calibrate), --exclude, wider bounds, or --to fp16",
    )
