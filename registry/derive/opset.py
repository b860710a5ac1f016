"""A held variant at another opset: from which one it is made, and when it is good enough."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.recipes import command
from onnxzoo.registry.core.records import Graph, Progress, Variant
from onnxzoo.registry.derive.derive import (
    Proof,
    Recipe,
    derive,
    label_holder,
    label_taken_error,
    make,
)
from onnxzoo.registry.derive.reachable_opsets import at_opset
from onnxzoo.registry.measure.input_files import Examples
from onnxzoo.registry.runtime.compatibility import Runtime, installed, misfits, refusal
from onnxzoo.registry.runtime.random_nodes import MOST

KIND = "opset"
TOLERANCE = 1e-3  # absolute and relative, of every output's element


@dataclass(frozen=True, slots=True)
class Converted:
    """A variant at another opset.

    Attributes:
        new: False where it was held already.
        proof: how it compares with its parent; None where it was held already.
    """

    parent: Variant
    variant: Variant
    new: bool
    proof: Proof | None


def to_opset(
    registry: Registry,
    variant: Variant,
    opset: int | None,
    *,
    runtime: Runtime | None = None,
    label: str | None = None,
    inputs: Examples | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Make a variant at another opset and keep it in the same version.

    What the version holds at that opset already, in the same precision, is returned as it is,
    unless a label of its own is asked for.

    Args:
        registry: where the variant is held.
        variant: what to convert.
        opset: of the default domain; None for the highest up to its own that `runtime` reads.
        runtime: the release that is to run it: its IR version comes down as far as need be.
        label: the new variant's; None for its parent's, with the opset where that is taken.
        inputs: to compare outputs on; None for reference data that are held, else samples.
        progress: told of bytes.

    Raises:
        UsageError: if there is no such opset, or the label stands for something else.
        Refused: naming the op that stands in the way, or how far the outputs lie apart; nothing
            is kept then.
    """
    opset = opset_for(variant, opset, runtime)
    held = held_at(registry, variant, opset, runtime)
    if held is not None and (label is None or held.ref == variant.ref):
        return Converted(variant, held, new=False, proof=None)
    recipe = _recipe(registry, variant, opset, runtime)
    label = label or _label(registry, variant, opset, runtime)
    if other := label_holder(
        registry, variant, label, lambda made: recipe.options.items() <= made.items()
    ):
        raise label_taken_error(other)
    with _naming(registry, variant, opset):
        agree = judge(variant, opset, runtime)
        made = derive(
            registry,
            variant,
            recipe,
            label=label,
            inputs=inputs,
            judge=agree,
            progress=progress,
        )
    return Converted(variant, made.added.variant, made.added.new, made.proof)


def try_opset(
    registry: Registry,
    variant: Variant,
    opset: int,
    *,
    runtime: Runtime | None = None,
    inputs: Examples | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Try a conversion: make and compare the variant, keep nothing."""
    recipe = _recipe(registry, variant, opset, runtime)
    with (
        _naming(registry, variant, opset),
        make(registry, variant, recipe, inputs=inputs, progress=progress) as made,
    ):
        judge(variant, opset, runtime)(made.proof, made.graph)
        return made.proof


def opset_for(variant: Variant, opset: int | None, runtime: Runtime | None) -> int:
    """Return the opset to convert to: the highest up to the variant's own that a release reads.

    Raises:
        UsageError: if neither is given.
        Refused: if the release does not read the opset that was asked for.
    """
    if runtime is None:
        if opset is None:
            raise UsageError("to which opset?", hint=f"zoo convert {variant.ref} --opset 17")
        return opset
    highest = runtime.opsets[""]
    if opset is not None and opset > highest:
        raise Refused(
            f"opset {opset} is above {highest}, the highest that {runtime} runs",
            hint=f"zoo convert {variant.ref} --for {runtime.name}=={runtime.version}",
        )
    return opset or min(variant.opset or highest, highest)


def judge(
    parent: Variant, opset: int, runtime: Runtime | None = None
) -> Callable[[Proof, Graph], None]:
    """Return a check that rejects a model with the wrong opset or diverging outputs."""

    def agree(proof: Proof, graph: Graph) -> None:
        if graph.opset != opset:
            raise Refused(f"opset {opset} was asked for; what was made is at {graph.opset}")
        if runtime is not None and (reasons := misfits(graph, runtime)):
            raise refusal(parent.ref, reasons, runtime, None)
        drift = proof.drift
        if drift.relative is None or drift.max is None:
            raise Refused(
                f"whether it is the same model at opset {graph.opset} cannot be told: {drift.why}",
                hint=f"inputs that it takes: zoo convert {parent.ref} --opset {opset} "
                "--inputs DATA",
            )
        if drift.spread is not None:
            if drift.spread > MOST:
                raise Refused(
                    f"the model is random, and at opset {graph.opset} its outputs lie "
                    f"{drift.spread:.3g} standard errors from those of `{parent.ref}`; "
                    f"allowed are {MOST:g}"
                )
            return
        if drift.relative > TOLERANCE:
            raise Refused(
                f"at opset {graph.opset} its outputs lie up to {drift.max:.3g} from those of "
                f"`{parent.ref}`, {drift.relative:.3g} of what they are; allowed are {TOLERANCE:g}"
            )

    return agree


def held_at(
    registry: Registry, variant: Variant, opset: int, runtime: Runtime | None = None
) -> Variant | None:
    """Return a variant, or the same one of its version, if it is at an opset and a release runs it.

    Without a release its IR version does not matter.
    """

    def fits(held: Variant) -> bool:
        return held.opset == opset and (runtime is None or not misfits(held.graph, runtime))

    if fits(variant):
        return variant
    return next(
        (
            held
            for held in registry.list(name=variant.name)
            if (held.version, held.precision) == (variant.version, variant.precision)
            and fits(held)
            and _is_same(registry, held, variant)
        ),
        None,
    )


def _is_same(registry: Registry, one: Variant, two: Variant) -> bool:
    """Tell whether two variants differ in their opset alone, as labels or lineage tell it."""
    plain = [v.variant in {v.precision, f"{v.precision}-opset{v.opset}"} for v in (one, two)]
    return all(plain) or original(registry, one).digest == original(registry, two).digest


def original(registry: Registry, variant: Variant) -> Variant:
    """Return the variant to convert from, if held: errors do not add up that way."""
    lineage = variant.lineage
    if lineage is None or lineage.parent is None or lineage.recipe.get("kind") != KIND:
        return variant
    for parent in registry.holding(lineage.parent):
        if (parent.name, parent.version) == (variant.name, variant.version):
            return original(registry, parent)
    return variant


def _label(registry: Registry, variant: Variant, opset: int, runtime: Runtime | None = None) -> str:
    """Return a variant's label at another opset: its own, with the opset if needed."""
    own = variant.variant.removesuffix(f"-opset{variant.opset}")
    held = registry.list(name=variant.name)
    taken = own in {one.variant for one in held if one.version == variant.version}
    if opset == variant.opset and runtime is not None:
        return f"{own}-ir{runtime.ir_version}"
    return f"{own}-opset{opset}" if taken else own


def _recipe(
    registry: Registry, variant: Variant, opset: int, runtime: Runtime | None = None
) -> Recipe:
    """Return the recipe, after checking that its result could run here and there."""
    here = installed()
    highest = here.opsets[""]
    if opset < 1:
        raise UsageError(f"`{opset}` is no opset; the lowest is 1")
    if opset > highest:
        raise Refused(
            f"opset {opset} is above {highest}, the highest that {here} runs",
            hint=f"zoo convert {variant.ref} --opset {highest}",
        )
    registry.check_there(variant)
    options = {"opset": opset, "from": variant.opset}
    if runtime is None:
        return Recipe(KIND, options)
    if reasons := misfits(at_opset(variant.graph, opset, runtime.ir_version), runtime):
        raise refusal(variant.ref, reasons, runtime, None)
    return Recipe(KIND, {**options, "ir_version": runtime.ir_version})


@contextmanager
def _naming(registry: Registry, variant: Variant, opset: int) -> Iterator[None]:
    """Turn a child's hint into a command with the model's name.

    For a converted model that is its exporter's, which may know what this converter does not.
    """
    try:
        yield
    except Refused as error:
        name = f"{variant.name}:{_label(registry, variant, opset)}@{variant.version}"
        exporter = command(original(registry, variant), name=name, opset=opset)
        if exporter:
            error.hint = exporter
        elif error.hint and error.hint.startswith("--opset"):
            error.hint = f"zoo convert {variant.ref} {error.hint}"
        raise
