"""Changing a variant's precision: the recipe, the judgement, and the search among recipes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.derive import calibrate as calibration
from onnxzoo.registry.derive.frame import Derived, Made, Proof, Recipe, keep, make
from onnxzoo.registry.derive.recipes import CAST, Options, candidates, choose
from onnxzoo.registry.errors import InvalidModel, Refused, UsageError
from onnxzoo.registry.machine import describe_machine
from onnxzoo.registry.records import Progress, Variant

if TYPE_CHECKING:
    import numpy as np

    Data = str | Path | Iterable[Mapping[str, np.ndarray[Any, Any]]]

# Below this cosine of all outputs a model fell apart. Of four models the recipes that kept what
# the model is for (labels, neighbours, masks) were all above .94, those that did not below .40.
MIN_COSINE = 0.9
_QUANTIZED = {"int8", "uint8", "int4", "uint4", "qdq"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a variant has to keep to: cosine of its outputs, and largest absolute difference."""

    min_cosine: float = MIN_COSINE
    max_drift: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe that was tried: what came of it, or why nothing did."""

    options: Options
    proof: Proof | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Quantized:
    """A variant that was made and kept, and all recipes that were tried for it."""

    derived: Derived
    options: Options
    trials: tuple[Trial, ...]


def quantize(
    registry: Registry,
    parent: Variant,
    to: str | None,
    *,
    method: str | None = None,
    calibrate: "Data | None" = None,
    preprocess: str | None = None,
    inputs: Path | None = None,
    ops: Sequence[str] = (),
    exclude: Sequence[str] = (),
    bounds: Bounds = Bounds(),
    search: bool = False,
    label: str | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Make a variant of another precision, compare it with its parent, and keep it if it is fit.

    Args:
        registry: where the parent is held.
        parent: what it is made from, in fp32.
        to: ``int8``, ``uint8``, ``int4``, ``fp16``, ``bf16`` or ``qdq``; None, with a search, for
            whichever serves best.
        method: ``dynamic``, ``static`` or ``weight-only``; None for the one that fits.
        calibrate: for static quantization: a `.npz`, a folder of `.npy`, `.npz` or images,
            ``random``, or inputs by name, one after the other.
        preprocess: how images become inputs: a key of `calibrate.PREPROCESSING`.
        inputs: what to compare on, in the same forms; None for the calibration data, or seeded
            random ones where there is none.
        ops: op types to quantize, instead of the recipe's.
        exclude: op types and nodes that stay as they are.
        bounds: what the variant has to keep to.
        search: try a handful of recipes; of those within the bounds the smallest is kept, of
            those within a twentieth of its size the fastest, of those within a tenth of its time
            the one whose outputs lie nearest.
        label: the variant's; None for what was asked for.
        progress: told of bytes; of recipes, while a search goes on.

    Raises:
        UsageError, NotFound: if what was asked for does not go together, or data is missing.
        Refused: if it cannot be made, or is not fit; nothing is kept then.
    """
    _check(parent, to, search=search)
    with _data(registry, calibrate, preprocess) as settings:
        asked = {**settings, **({"ops": tuple(ops)} if ops else {}), "exclude": tuple(exclude)}
        options = [
            replace(one, **(asked if one.method == "static" else _plain(asked)))
            for one in _recipes(parent, to, method, search=search, data=bool(settings))
        ]
        options = [one for n, one in enumerate(options) if one not in options[:n]]
        inputs = inputs or _known(settings)
        _check_label(registry, parent, label or to, None if search else options[0])
        if search:
            return _best(
                registry,
                parent,
                options,
                inputs=inputs,
                bounds=bounds,
                label=label,
                progress=progress,
            )
        recipe = Recipe("quantize", options[0].written())
        with (
            _advised(options[0]),
            make(registry, parent, recipe, inputs=inputs, progress=progress) as made,
        ):
            if why := unfit(made.proof, bounds):
                raise Refused(why, hint=_advice(options[0]))
            derived = keep(registry, parent, made, label=label or options[0].to)
    trial = Trial(options[0], derived.proof, None)
    return Quantized(derived, options[0], (trial,))


def unfit(proof: Proof, bounds: Bounds) -> str | None:
    """Return why a variant is not fit to be kept, None if it is."""
    drift = proof.drift
    if drift.cosine is None or drift.max is None:
        return f"its outputs cannot be compared with its parent's: {drift.why}"
    if drift.cosine < bounds.min_cosine:
        return (
            f"it fell apart: the cosine of its outputs with its parent's is `{drift.cosine:.3f}`; "
            f"expected at least `{bounds.min_cosine:g}`"
        )
    if bounds.max_drift is not None and drift.max > bounds.max_drift:
        return (
            f"its outputs lie up to `{drift.max:.3g}` from its parent's; "
            f"expected at most `{bounds.max_drift:g}`"
        )
    return None


def _check(parent: Variant, to: str | None, *, search: bool) -> None:
    if to is None and not search:
        raise UsageError("to what precision?", hint="--to int8, or --search")
    if parent.precision in _QUANTIZED:
        raise Refused(
            f"`{parent.ref}` is {parent.precision} already",
            hint=f"quantize from full precision: zoo versions {parent.name}",
        )


def _check_label(
    registry: Registry, parent: Variant, label: str | None, options: Options | None
) -> None:
    """Refuse a label that stands for something else, before minutes go into what cannot be kept."""
    for held in registry.list(name=parent.name):
        if (held.version, held.variant) != (parent.version, label):
            continue
        lineage = held.lineage
        same = lineage and lineage.parent == parent.digest and options
        if same and lineage and _same(options, lineage.recipe):
            continue
        raise UsageError(
            f"`{held.ref}` is held and was made otherwise", hint="--label NAME keeps both"
        )


def _same(options: Options | None, recipe: Mapping[str, Any]) -> bool:
    """Tell whether a recipe is the same; where data lay in the meantime does not matter."""
    written = dict(options.written()) if options else {}
    if "calibrate_digest" in written:
        written.pop("calibrate")
    return all(recipe.get(name) == value for name, value in written.items()) and all(
        name in {"kind", "tools", "calibrate", *written} for name in recipe
    )


def _recipes(
    parent: Variant, to: str | None, method: str | None, *, search: bool, data: bool
) -> list[Options]:
    features = describe_machine().features
    if not search:
        return [choose(parent.graph, features, to or "", method, data=data)]
    found = list(candidates(parent.graph, features, to, method, data=data))
    if not found:  # says why
        return [choose(parent.graph, features, to or "int8", method, data=data)]
    return found


def _plain(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in asked.items() if name in {"ops", "exclude"}}


@contextmanager
def _data(
    registry: Registry, given: "Data | None", preprocess: str | None
) -> Iterator[Mapping[str, Any]]:
    """Give the options that calibration data stands for."""
    if preprocess is not None and preprocess not in calibration.PREPROCESSING:
        known = ", ".join(f"`{name}`" for name in calibration.PREPROCESSING)
        raise UsageError(f"`{preprocess}` is not a preprocessing; expected {known}")
    if given is None:
        yield {}
    elif given == calibration.RANDOM:
        yield {"calibrate": calibration.RANDOM}
    elif isinstance(given, str | Path):
        yield _located(Path(given), preprocess)
    else:
        with registry.store.stage() as stage:
            folder = calibration.write(given, stage.folder / "calibration")
            yield _located(folder, preprocess)


def _located(path: Path, preprocess: str | None) -> Mapping[str, Any]:
    return {
        "calibrate": str(path.absolute()),
        "calibrate_digest": calibration.digest(path),
        "preprocess": preprocess,
    }


def _known(settings: Mapping[str, Any]) -> Path | None:
    """Return calibration data to compare on: random inputs lie outside its ranges."""
    data = settings.get("calibrate", calibration.RANDOM)
    return None if data == calibration.RANDOM else Path(data)


def _best(
    registry: Registry,
    parent: Variant,
    options: Sequence[Options],
    *,
    inputs: Path | None,
    bounds: Bounds,
    label: str | None,
    progress: Progress | None,
) -> Quantized:
    """Try recipes one after the other, holding only the best so far, and keep that."""
    trials: list[Trial] = []
    best: tuple[Options, Made] | None = None
    with ExitStack() as held:
        for number, one in enumerate(options):
            if progress:
                progress(f"trying recipes for {parent.ref}", number, len(options))
            with ExitStack() as trying:
                try:
                    recipe = Recipe("quantize", one.written())
                    made = trying.enter_context(make(registry, parent, recipe, inputs=inputs))
                except Refused as error:
                    trials.append(Trial(one, None, error.message))
                    continue
                trials.append(Trial(one, made.proof, unfit(made.proof, bounds)))
                if not trials[-1].why and (best is None or better(made.proof, best[1].proof)):
                    held.close()
                    held.push(trying.pop_all())
                    best = one, made
        if progress:
            progress(f"trying recipes for {parent.ref}", len(options), len(options))
        if best is None:
            raise _none(trials)
        derived = keep(registry, parent, best[1], label=label or best[0].to)
    return Quantized(derived, best[0], tuple(trials))


_SAME_SIZE = 0.05  # of the smaller one: of two so near in size, time decides
_SAME_TIME = 0.1  # of the shorter one: ratios of one recipe repeat within about that


def better(one: Proof, two: Proof) -> bool:
    """Tell whether one variant is to be kept rather than another; both are fit."""
    times = one.latency or 0, two.latency or 0
    if abs(one.size - two.size) > _SAME_SIZE * min(one.size, two.size):
        return one.size < two.size
    if abs(times[0] - times[1]) > _SAME_TIME * min(times):
        return times[0] < times[1]
    return (one.drift.cosine or 0) > (two.drift.cosine or 0)


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


@contextmanager
def _advised(options: Options) -> Iterator[None]:
    """Say what to try next where something came out that onnxruntime does not open."""
    try:
        yield
    except InvalidModel as error:
        raise Refused(
            f"what came out does not open: {error.message}", hint=_advice(options)
        ) from error


def _advice(options: Options) -> str:
    """Return what to try next after a recipe that did not serve."""
    others: dict[str, Callable[[], str]] = {
        "dynamic": lambda: "--method static --calibrate DATA, or --method weight-only",
        "static": lambda: (
            "inputs as the model will see them: --calibrate DATA"
            if options.calibrate == calibration.RANDOM
            else "--exclude OP|NODE for what is sensitive, more calibration data, --to uint8"
        ),
        "weight-only": lambda: "--to int8" if options.to == "int4" else "--exclude NODE",
        CAST: lambda: (
            "--exclude OP|NODE for what overflows"
            + (", or --to bf16" if options.to == "fp16" else "")
        ),
    }
    return f"{others[options.method]()}; real inputs to compare on: --inputs DATA; or --search"
