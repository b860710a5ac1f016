"""Convert a held variant to another opset, for the command convert."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.cli.format import compared_on
from onnxzoo.cli.output import info, print_json, print_line, show_plan, variant_document
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import NotFound
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.derive.derive import Proof
    from onnxzoo.registry.derive.opset import Converted
    from onnxzoo.registry.measure.input_files import Examples
    from onnxzoo.registry.runtime.compatibility import Runtime
    from onnxzoo.zoo_index.zoo import Zoo


def convert_opset(
    name: str,
    opset: int | None,
    *,
    for_: str | None,
    label: str | None,
    inputs: Path | None,
    dry_run: bool,
    quiet: bool,
    json: bool,
) -> None:
    """Make a variant at another opset, or for a release, compare its outputs, and keep it."""
    from onnxzoo.registry.derive.opset import to_opset
    from onnxzoo.registry.measure.input_files import located
    from onnxzoo.registry.runtime.compatibility import release
    from onnxzoo.zoo_index.derive import parent_of
    from onnxzoo.zoo_index.zoo import Zoo

    runtime = release(for_) if for_ is not None else None
    on = None if inputs is None else located(inputs, None)
    with Zoo() as zoo:
        if dry_run:
            _try(zoo, name, opset, runtime, on, quiet=quiet, json=json)
            return
        with progress(zoo.settings, quiet=quiet or json, verb="fetched") as report:
            parent = parent_of(zoo, name, progress=report)
        with progress(zoo.settings, quiet=quiet or json) as report:
            done = to_opset(
                zoo.registry,
                parent,
                opset,
                runtime=runtime,
                label=label,
                inputs=on,
                progress=report,
            )
    if json:
        more = {"new": done.new, "parent": done.parent.ref, "proof": _proof_document(done.proof)}
        print_json(variant_document(done.variant) | more)
    elif quiet:
        print_line(done.variant.ref)
    else:
        _say(done)


def _try(
    zoo: "Zoo",
    name: str,
    opset: int | None,
    runtime: "Runtime | None",
    on: "Examples | None",
    *,
    quiet: bool,
    json: bool,
) -> None:
    from onnxzoo.registry.derive.opset import held_at, opset_for, try_opset
    from onnxzoo.zoo_index.derive import parent_of

    try:
        zoo.resolve(name)
    except NotFound:
        plan = zoo.plan(name)  # raises what there is to say of a name that nobody knows
        show_plan(plan)
        info("dry run: it would be fetched; whether it converts is known after that")
        return
    parent = parent_of(zoo, name)
    opset = opset_for(parent, opset, runtime)
    held = held_at(zoo.registry, parent, opset, runtime)
    proof = None
    if held is None:
        with progress(zoo.settings, quiet=quiet or json) as report:
            proof = try_opset(
                zoo.registry, parent, opset, runtime=runtime, inputs=on, progress=report
            )
    if json:
        more = {"opset": opset, "held": held.ref if held else None}
        print_json({"parent": parent.ref, **more, "proof": _proof_document(proof)})
    elif held:
        print_line(held.ref if quiet else f"{held.ref} is held already")
    else:
        print_line(parent.ref if quiet else f"{parent.ref} can be converted to opset {opset}")
        if proof and not quiet:
            print_line(f"  {_proof_words(proof)}")
    if not quiet:
        info("dry run: nothing was kept")


def _say(done: "Converted") -> None:
    variant = done.variant
    if done.proof is None or not done.new:
        print_line(f"{variant.ref} is held already")
        return
    print_line(f"converted {done.parent.ref} to {variant.ref}  {_made(done)}")
    print_line(f"  {_proof_words(done.proof)}")


def _made(done: "Converted") -> str:
    pairs = [
        ("opset", done.parent.opset, done.variant.opset),
        ("IR version", done.parent.graph.ir_version, done.variant.graph.ir_version),
    ]
    changed = [f"{what} {old} → {new}" for what, old, new in pairs if old != new]
    return ", ".join([done.variant.precision, *changed, show_size(done.variant.bytes)])


def _proof_words(proof: "Proof") -> str:
    drift = proof.drift
    words = [] if drift.max is None else [f"outputs within {drift.max:.3g}"]
    words += [] if drift.labels is None else [f"{100 * drift.labels:.4g} % equal labels"]
    words += [] if drift.spread is None else [f"random: {drift.spread:.2g} standard errors apart"]
    words += [f"on {proof.samples} inputs", f"size ×{proof.size:.3g}"]
    words += [] if proof.latency is None else [f"latency ×{proof.latency:.2f}"]
    return f"{', '.join(words)}; {compared_on(drift.shapes, drift.unproven)}"


def _proof_document(proof: "Proof | None") -> dict[str, Any] | None:
    from dataclasses import asdict

    return asdict(proof) if proof else None
