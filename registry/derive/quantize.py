"""Quantize a variant: choose a recipe, make the variant, keep it if it is fit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import InvalidModel, Refused, UsageError
from onnxzoo.registry.core.names import check_list, check_word
from onnxzoo.registry.core.records import Progress, Variant
from onnxzoo.registry.derive.acceptance import MIN_LABELS, USUAL, Bounds, Trial, advice, unfit
from onnxzoo.registry.derive.classifiers import is_classifier
from onnxzoo.registry.derive.derive import (
    Derived,
    Recipe,
    keep,
    label_holder,
    label_taken_error,
    make,
)
from onnxzoo.registry.derive.quantization import Options, candidates, choose, did_you_mean
from onnxzoo.registry.derive.search import best
from onnxzoo.registry.measure import input_files as calibration
from onnxzoo.registry.measure.input_files import Examples
from onnxzoo.registry.onnx_file.precisions import PRECISIONS
from onnxzoo.registry.runtime.machine import describe_machine

if TYPE_CHECKING:
    import numpy as np

    Data = str | Path | Iterable[Mapping[str, np.ndarray[Any, Any]]]

_QUANTIZED = set(PRECISIONS) - {"fp32", "fp64", "fp16", "bf16"}


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
    inputs: str | Path | None = None,
    ops: Sequence[str] = (),
    exclude: Sequence[str] = (),
    bounds: Bounds = USUAL,
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
        preprocess: how images become inputs: a key of `input_files.PREPROCESSING`.
        inputs: what to compare on, a path as above or ``random``; None for the calibration data,
            or seeded random ones where there is none.
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
    check_list(ops, "ops")
    check_list(exclude, "exclude")
    to = to.lower() if to else to
    _check(parent, to, ops, label, search=search)
    if bounds.min_labels is None and is_classifier(parent):
        bounds = replace(bounds, min_labels=MIN_LABELS)
    with _data(registry, calibrate, preprocess) as data:
        compared = data if inputs is None else calibration.located(inputs, preprocess)
        calibration.check_preprocess(preprocess, data, compared)
        asked = {
            **_settings(data),
            **({"ops": tuple(ops)} if ops else {}),
            "exclude": tuple(exclude),
        }
        options = [
            replace(one, **(asked if one.method == "static" else _plain(asked)))
            for one in _recipes(parent, to, method, search=search, data=data is not None)
        ]
        options = [one for n, one in enumerate(options) if one not in options[:n]]
        clashes = [_clash(registry, parent, label or one.to, one) for one in options]
        if clashes[0] and all(clashes):
            raise label_taken_error(clashes[0])
        if search:
            with best(
                registry, parent, options, inputs=compared, bounds=bounds, progress=progress
            ) as (chosen, made, trials):
                if found := _clash(registry, parent, label or chosen.to, chosen):
                    raise label_taken_error(found, f"; the best recipe is `{chosen}`")
                return Quantized(
                    keep(registry, parent, made, label=label or chosen.to), chosen, trials
                )
        return _one(
            registry,
            parent,
            options[0],
            inputs=compared,
            bounds=bounds,
            label=label,
            progress=progress,
        )


def _one(
    registry: Registry,
    parent: Variant,
    options: Options,
    *,
    inputs: Examples | None,
    bounds: Bounds,
    label: str | None,
    progress: Progress | None,
) -> Quantized:
    """Follow one recipe, and keep the result if it is fit."""
    recipe = Recipe("quantize", options.written())
    with (
        _advised(options),
        make(registry, parent, recipe, inputs=inputs, progress=progress) as made,
    ):
        if why := unfit(made.proof, bounds):
            raise Refused(why, hint=advice(options))
        derived = keep(registry, parent, made, label=label or options.to)
    return Quantized(derived, options, (Trial(options, derived.proof, None),))


def _check(
    parent: Variant, to: str | None, ops: Sequence[str], label: str | None, *, search: bool
) -> None:
    if to is None and not search:
        raise UsageError("to what precision?", hint="--to int8, or --search")
    if parent.precision in _QUANTIZED and not to == parent.precision == "qdq":
        raise Refused(
            f"`{parent.ref}` is {parent.precision} already",
            hint=f"quantize from full precision: zoo versions {parent.name}; "
            "of a QDQ model --to qdq folds weights that are float still",
        )
    if label is not None:
        check_word(label, "variant")
    there = {op.rpartition(".")[2] for op in parent.graph.ops}
    for op in ops:
        if op not in there:
            raise UsageError(
                f"`{parent.ref}` has no op of type `{op}`{did_you_mean(op, there)}",
                hint=f"zoo show {parent.ref} lists them",
            )


def _clash(registry: Registry, parent: Variant, label: str, options: Options) -> Variant | None:
    return label_holder(registry, parent, label, lambda recipe: _same(options, recipe))


def _same(options: Options, recipe: Mapping[str, Any]) -> bool:
    """Tell whether a recipe is the same; where data lay in the meantime does not matter."""
    written = dict(options.written())
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
) -> Iterator[Examples | None]:
    """Give the calibration data; write data from code to files for the duration."""
    if given is None:
        yield None
    elif isinstance(given, str | Path):
        yield calibration.located(given, preprocess)
    else:
        with registry.store.stage() as stage:
            folder = calibration.write(given, stage.folder / "calibration")
            yield calibration.located(folder, preprocess)


def _settings(data: Examples | None) -> Mapping[str, Any]:
    """Return the options that calibration data stands for."""
    if data is None or data.path is None:
        return {"calibrate": data.data} if data else {}
    return {
        "calibrate": data.data,
        "calibrate_digest": calibration.digest(data.path),
        "preprocess": data.preprocess,
    }


@contextmanager
def _advised(options: Options) -> Iterator[None]:
    """Add advice to the error for a result that onnxruntime does not open."""
    try:
        yield
    except InvalidModel as error:
        raise Refused(
            f"what came out does not open: {error.message}", hint=advice(options)
        ) from error
