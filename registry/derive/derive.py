"""Derive a variant: run a recipe in a child process, compare the result, register it.

A recipe's `kind` stands for the module beside this one that makes it (see `_WORKERS`), run by
``python -m``: `sandbox.answer` gives it ``model`` (the parent's file), ``into``
(an
empty folder for `MODEL` and its external data) and the recipe's ``options``; it answers with
``tools``, the versions of what had a part in it, and may answer with ``changed``: options that it
could not keep to, as they became.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.files import size_of
from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.names import check_word
from onnxzoo.registry.core.records import (
    AddResult,
    Draft,
    Graph,
    Lineage,
    Measurement,
    Progress,
    Variant,
)
from onnxzoo.registry.core.sandbox import Budget, Limits, ask
from onnxzoo.registry.core.sandbox_answer import check_files
from onnxzoo.registry.measure.comparison_inputs import SAMPLES
from onnxzoo.registry.measure.drift import Drift, ground_of
from onnxzoo.registry.measure.input_files import Examples
from onnxzoo.registry.runtime.machine import here
from onnxzoo.registry.runtime.providers import CPU
from onnxzoo.registry.store import Stage

MODEL = "model.onnx"
_WORKERS = {"opset": "opset_worker", "quantize": "quantize_worker", "prove": "compare_worker"}
# onnxruntime's static quantization of resnet50 takes its weights seven times over (measured).
_BUDGET = Budget(memory=4 << 30, times=12, seconds=600, rate=500_000)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe: enough to make a variant again from its parent.

    Attributes:
        kind: the module that makes it: ``quantize``, ``opset``…
        options: JSON values.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proof:
    """The comparison of a derived variant with its parent, measured in one process.

    Attributes:
        drift: of its outputs, on the same inputs.
        size: its bytes as a share of the parent's.
        latency: the median time of a run as a share of the parent's, on the CPU; None where it
            could not be run.
        samples: how many inputs were run.
    """

    drift: Drift
    size: float
    latency: float | None
    samples: int


@dataclass(frozen=True, slots=True)
class Derived:
    """The result of a derivation."""

    added: AddResult
    proof: Proof


@dataclass(frozen=True, slots=True)
class Made:
    """A derived model that is staged and proven, and not kept yet."""

    stage: Stage
    graph: Graph
    proof: Proof
    lineage: Lineage


def derive(
    registry: Registry,
    parent: Variant,
    recipe: Recipe,
    *,
    label: str | None = None,
    inputs: Examples | None = None,
    judge: Callable[[Proof, Graph], None] = lambda _proof, _graph: None,
    progress: Progress | None = None,
) -> Derived:
    """Make a variant from a held one, compare the two, and keep it in the same version.

    Args:
        registry: where the parent is held.
        parent: what it is made from.
        recipe: how.
        label: the variant's; None takes the precision of what came out.
        inputs: see `make`.
        judge: raises Refused for what must not be kept.
        progress: told of the bytes that the child wrote.

    Raises:
        Refused, InvalidModel, UsageError: if it cannot be made, or was judged unfit; nothing is
            kept then.
    """
    if label is not None:
        check_word(label, "variant")
    with make(registry, parent, recipe, inputs=inputs, progress=progress) as made:
        judge(made.proof, made.graph)
        return keep(registry, parent, made, label=label)


def label_holder(
    registry: Registry, parent: Variant, label: str, same: Callable[[Mapping[str, Any]], bool]
) -> Variant | None:
    """Return the holder of a label, unless it was made by the same recipe.

    Args:
        registry: where the parent is held.
        parent: what is derived from.
        label: of what is to be made.
        same: tells of a recipe whether it makes that.
    """
    for held in registry.list(name=parent.name):
        if (held.version, held.variant) == (parent.version, label):
            lineage = held.lineage
            if lineage and lineage.parent == parent.digest and same(lineage.recipe):
                return None
            return held
    return None


def label_taken_error(held: Variant, more: str = "") -> UsageError:
    """Return the error for a label that stands for something else."""
    return UsageError(
        f"`{held.ref}` is held and was made otherwise{more}", hint="--label NAME keeps both"
    )


def keep(registry: Registry, parent: Variant, made: Made, *, label: str | None = None) -> Derived:
    """Register the result of `make` in its parent's version, with its measurements."""
    draft = Draft(
        name=parent.name,
        entry=MODEL,
        graph=made.graph,
        source=f"zoo:{parent.ref}",
        label=label,
        version=parent.version,
        license=parent.license,
        task=parent.task,
        lineage=made.lineage,
    )
    kind = str(made.lineage.recipe["kind"])
    added = registry.publish(made.stage, draft, kind, must_open=True, domains=parent.graph.domains)
    registry.measure(added.variant.digest, _measurements(parent, made.proof))
    return Derived(added, made.proof)


@contextmanager
def make(
    registry: Registry,
    parent: Variant,
    recipe: Recipe,
    *,
    inputs: Examples | None = None,
    progress: Progress | None = None,
    timed: bool = True,
) -> Iterator[Made]:
    """Make a variant and compare it with its parent, without keeping it; see `derive`.

    The two are compared on `inputs`; None stands for reference data that the version holds, else
    for sample inputs.
    Without `timed` the two run only often enough to compare their outputs, not their time.
    """
    from onnxzoo.registry.onnx_file.describe import describe
    from onnxzoo.registry.onnx_file.kind import check
    from onnxzoo.registry.onnx_file.safety import check_safe

    limits = _BUDGET.limits(parent.bytes, registry.settings)
    with registry.store.stage() as work, registry.store.stage() as stage:
        made, asked, proved = (_folder(work.folder / name) for name in ("made", "asked", "proved"))

        def tell() -> None:
            if progress:
                progress(f"{recipe.kind} {parent.ref}", min(size_of(made), parent.bytes), None)

        doing = f"making `{recipe.kind}` of `{parent.ref}`"
        request = {"model": str(parent.path), "into": str(made), "options": dict(recipe.options)}
        command = _command(recipe.kind)
        told = ask(command, request, asked, doing=doing, limits=limits, tell=tell)
        check_files(made, recipe.kind)
        for path in sorted(made.rglob("*")):
            if path.is_file():
                stage.adopt(path, path.relative_to(made).as_posix())
        check(stage.folder / MODEL)
        check_safe(stage.folder / MODEL, domains=parent.graph.domains)  # before onnxruntime sees it
        if _hashes(stage.manifest.files) == _hashes(parent.files):
            raise Refused(f"`{recipe.kind}` left `{parent.ref}` as it was: there is nothing to do")
        held = registry.held_sets(parent)
        proof = _prove(parent, stage, inputs, held, folder=proved, limits=limits, timed=timed)
        done = {**recipe.options, **told.get("changed", {})}
        recorded = {"kind": recipe.kind, **done, "tools": told["tools"]}
        yield Made(
            stage,
            describe(stage.folder / MODEL),
            proof,
            Lineage(parent.digest, parent.ref, recorded),
        )


def prove(registry: Registry, base: Variant, stage: Stage) -> Proof:
    """Compare a staged model's outputs with a held one's; see `Proof`."""
    with registry.store.stage() as work:
        proved = _folder(work.folder / "proved")
        limits = _BUDGET.limits(base.bytes, registry.settings)
        held = registry.held_sets(base)
        return _prove(base, stage, None, held, folder=proved, limits=limits, timed=False)


def _prove(
    parent: Variant,
    stage: Stage,
    inputs: Examples | None,
    held: Path | None,
    *,
    folder: Path,
    limits: Limits,
    timed: bool,
) -> Proof:
    request = {
        "base": str(parent.path),
        "model": str(stage.folder / MODEL),
        "inputs": str(inputs.path) if inputs and inputs.path else None,
        "preprocess": inputs.preprocess if inputs else None,
        "held": None if held is None else str(held),
        "samples": SAMPLES,
        "timed": timed,
    }
    told = ask(
        _command("prove"), request, folder, doing=f"comparing it with `{parent.ref}`", limits=limits
    )
    share = stage.manifest.bytes / parent.bytes
    return Proof(Drift(**told["drift"]), share, told["latency"], told["samples"])


def _measurements(parent: Variant, proof: Proof) -> list[Measurement]:
    drift = proof.drift
    context = {**here(CPU), "base": parent.digest, "samples": proof.samples, **ground_of(drift)}
    values = asdict(proof.drift)
    return [
        Measurement(f"drift_{name}", values[name], "", context)
        for name in ("max", "cosine", "labels", "correlation")
        if values[name] is not None
    ]


def _command(kind: str) -> list[str]:
    return [sys.executable, "-P", "-m", f"onnxzoo.registry.derive.{_WORKERS[kind]}"]


def _hashes(files: Iterable[File]) -> set[str]:
    return {file.sha256 for file in files}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
