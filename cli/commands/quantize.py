"""The command that makes a variant of another precision."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.format import UNKNOWN, compared_on, number, share
from onnxzoo.cli.output import info, print_json, print_line, table, variant_document
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.derive.derive import Proof
    from onnxzoo.registry.derive.quantize import Quantized


def quantize(
    ref: options.Known,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="PRECISION",
            help="int8, uint8, int4, fp16, bf16 or qdq.",
            autocompletion=completion.words("int8", "uint8", "int4", "fp16", "bf16", "qdq"),
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="dynamic, static or weight-only; else the one that fits.", metavar="HOW"),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="For static: .npz, a folder of .npy, .npz or images, or random."
        ),
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="HOW", help="Of images: imagenet, 0-1 or -1-1.")
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="To compare on; else the calibration data, or random."),
    ] = None,
    ops: Annotated[
        list[str] | None, typer.Option(metavar="OP[,OP…]", help="Op types to quantize.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="OP|NODE[,…]", help="Op types and nodes that stay as they are."),
    ] = None,
    min_cosine: Annotated[
        float,
        typer.Option(
            min=-1, max=1, metavar="N", help="Least cosine similarity to the parent's outputs."
        ),
    ] = 0.9,
    max_drift: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="How far outputs may lie apart.")
    ] = None,
    min_labels: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="N", help="Share of equal labels; of a classifier 0.5."),
    ] = None,
    min_correlation: Annotated[
        float,
        typer.Option(min=-1, max=1, metavar="N", help="How well its outputs follow the parent's."),
    ] = 0.5,
    search: Annotated[
        bool, typer.Option("--search", help="Try several recipes; keep the smallest within bounds.")
    ] = False,
    label: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="Its label; else what was asked for.")
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Quantize a model; keep the result if accuracy holds.

    The new variant is compared with its parent, and refused past the bounds.
    """
    from onnxzoo.registry.derive.acceptance import Bounds
    from onnxzoo.registry.derive.quantization import convolutional
    from onnxzoo.registry.derive.quantize import quantize as make
    from onnxzoo.zoo_index.zoo import Zoo

    silent = quiet or json
    with Zoo() as zoo:
        with progress(zoo.settings, quiet=silent, verb="fetched") as report:
            parent = zoo.obtain(ref, progress=report)
        with progress(zoo.settings, quiet=silent, counts=search) as report:
            made = make(
                zoo.registry,
                parent,
                to,
                method=method,
                calibrate=calibrate,
                preprocess=preprocess,
                inputs=inputs,
                ops=_words(ops),
                exclude=_words(exclude),
                bounds=Bounds(min_cosine, max_drift, min_labels, min_correlation),
                search=search,
                label=label,
                progress=report,
            )
    if json:
        print_json(_document(made))
    elif quiet:
        print_line(made.derived.added.variant.ref)
    else:
        _show(made, search=search)
        if search and not (to or method or calibrate) and convolutional(parent.graph):
            info("int8 and uint8 were left out: of convolutions they need --calibrate DATA")


def _words(given: Sequence[str] | None) -> list[str]:
    return [word.strip() for text in given or () for word in text.split(",") if word.strip()]


def _show(made: "Quantized", *, search: bool) -> None:
    if search:
        table(
            ("TO", *_FIGURES, "VERDICT", "RECIPE"),  # on a narrow terminal the last give way
            (
                (trial.options.to, *_figures(trial.proof), _verdict(made, trial), trial.options)
                for trial in made.trials
            ),
        )
    variant = made.derived.added.variant
    table(
        ("REFERENCE", "SIZE", *_FIGURES),
        [(variant.ref, show_size(variant.bytes), *_figures(made.derived.proof))],
    )
    proof = made.derived.proof
    info(f"outputs {compared_on(proof.drift.shapes, proof.drift.unproven)}")
    if proof.size > 1 and (proof.latency or 0) > 1:
        info("warning: it is larger and slower than what it was made from")
    info(f"made so: {made.options}")
    if not made.derived.added.new:
        info("these bytes were held already")


_FIGURES = ("RATIO", "LATENCY", "DRIFT", "COSINE", "CORR", "LABELS")


def _figures(proof: "Proof | None") -> Sequence[str]:
    if proof is None:
        return [UNKNOWN] * len(_FIGURES)
    return (
        f"{proof.size:.2f}x",
        UNKNOWN if proof.latency is None else f"{proof.latency:.2f}x",
        number(proof.drift.max),
        number(proof.drift.cosine, 6),
        number(proof.drift.correlation),
        share(proof.drift.labels),
    )


def _verdict(made: "Quantized", trial: Any) -> str:
    return trial.why or ("kept" if trial.options == made.options else "fit")


def _document(made: "Quantized") -> Mapping[str, Any]:
    return {
        **variant_document(made.derived.added.variant),
        **_proof_document(made.derived.proof),
        "new": made.derived.added.new,
        "tried": [
            {
                "recipe": trial.options.written(),
                **(_proof_document(trial.proof) if trial.proof else {}),
                "unfit": trial.why,
            }
            for trial in made.trials
        ],
    }


def _proof_document(proof: "Proof") -> Mapping[str, Any]:
    return {
        "size_ratio": proof.size,
        "latency_ratio": proof.latency,
        "drift_max": proof.drift.max,
        "drift_cosine": proof.drift.cosine,
        "drift_correlation": proof.drift.correlation,
        "drift_labels": proof.drift.labels,
        "samples": proof.samples,
        "compared_on": proof.drift.shapes,
        "unproven": proof.drift.unproven,
    }
