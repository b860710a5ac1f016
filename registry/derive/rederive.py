"""Rebuild a derived variant from its parent, and compare it with the held one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, UsageError
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.records import Progress, Variant
from onnxzoo.registry.derive.derive import Made, Recipe, make, prove
from onnxzoo.registry.derive.lineage import parent_of
from onnxzoo.registry.derive.opset import TOLERANCE
from onnxzoo.registry.derive.quantization import Options
from onnxzoo.registry.measure.drift import Drift
from onnxzoo.registry.measure.input_files import digest


@dataclass(frozen=True, slots=True)
class Again:
    """The comparison of a rebuilt variant with the held one.

    Attributes:
        bytes_agree: whether every file is the same.
        drift: of the outputs.
        tools: what it was made with, then and now, where that is not the same.
    """

    variant: Variant
    parent: Variant
    bytes_agree: bool
    drift: Drift
    tools: dict[str, tuple[str | None, str | None]]

    @property
    def outputs_agree(self) -> bool:
        """True if all outputs lie within the absolute and relative tolerance."""
        return self.drift.relative is not None and self.drift.relative <= TOLERANCE


def rederive(registry: Registry, variant: Variant, *, progress: Progress | None = None) -> Again:
    """Make a variant again by its recipe, and compare; nothing is kept.

    Raises:
        UsageError: if it was not made from a model of a registry.
        NotFound: if its parent is held no longer, or its calibration data are gone.
        IntegrityError: if it is damaged, or its parent or its calibration data are not what they
            were.
    """
    registry.check_there(variant)
    with remade(registry, variant, progress=progress) as (parent, made):
        same = made.stage.manifest.digest == variant.digest
        drift = Drift(0.0, 1.0, 1.0, relative=0.0)
        if not same:
            drift = prove(registry, variant, made.stage).drift
        tools = _changed(variant, made)
    return Again(variant, parent, same, drift, tools)


@contextmanager
def remade(
    registry: Registry, variant: Variant, *, progress: Progress | None = None
) -> Iterator[tuple[Variant, Made]]:
    """Give a variant's parent, and the recipe's result of today; see `rederive`."""
    lineage = variant.lineage
    if lineage is None or lineage.parent is None:
        raise UsageError(
            f"`{variant.ref}` was not made from another model of the registry",
            hint=f"zoo show {variant.ref} says where it came from",
        )
    parent = parent_of(registry, lineage)
    if parent is None:
        raise NotFound(
            f"`{lineage.called}`, which `{variant.ref}` was made from, is held no longer"
        )
    registry.check_there(parent)
    recipe = _recipe(variant.ref, lineage.recipe)
    _check_data(variant.ref, recipe.options)
    with make(registry, parent, recipe, progress=progress, timed=False) as made:
        yield parent, made


def _recipe(ref: str, recipe: Mapping[str, Any]) -> Recipe:
    """Return a valid recipe; an imported one may be anything."""
    kind, tools = recipe.get("kind"), recipe.get("tools", {})
    options = {name: value for name, value in recipe.items() if name not in {"kind", "tools"}}
    words = isinstance(tools, dict) and all(isinstance(one, str) for one in tools.values())
    if not isinstance(kind, str) or kind not in _SOUND or not words or not _SOUND[kind](options):
        raise Refused(
            f"the recipe of `{ref}` is none that onnxzoo wrote, or reads",
            hint=f"zoo show {ref} says what it is",
        )
    return Recipe(kind, options)


def _check_data(ref: str, options: Mapping[str, Any]) -> None:
    """Refuse calibration data of a recipe that are missing or changed."""
    data, wanted = options.get("calibrate"), options.get("calibrate_digest")
    if not (data and wanted):
        return
    path = Path(data)
    said = f"the calibration data of `{ref}`, `{path}`,"
    hint = f"put `{path.name}` back as it was, and run this again"
    with reading(path):
        if not (path.is_file() or path.is_dir()):
            raise NotFound(f"{said} are there no longer", hint=hint)
        if digest(path) != wanted:
            raise IntegrityError(f"{said} are not what they were", hint=hint)


def _is_opset(options: Mapping[str, Any]) -> bool:
    return type(options.get("opset")) is int


def _is_precision(options: Mapping[str, Any]) -> bool:
    kinds = {one.name: one.type for one in fields(Options)}
    return {"to", "method"} <= options.keys() <= kinds.keys() and all(
        _is(value, kinds[name]) for name, value in options.items()
    )


def _is(value: object, kind: Any) -> bool:
    if kind == Sequence[str]:
        return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)
    return type(value) in (get_args(kind) or (kind,))


_SOUND: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "opset": _is_opset,
    "quantize": _is_precision,
}


def _changed(variant: Variant, made: Made) -> dict[str, tuple[str | None, str | None]]:
    then = dict(variant.lineage.recipe.get("tools", {})) if variant.lineage else {}
    now = dict(made.lineage.recipe["tools"])
    names = sorted(then.keys() | now.keys())
    return {n: (then.get(n), now.get(n)) for n in names if then.get(n) != now.get(n)}
