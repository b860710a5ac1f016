"""Compare measured variants: size, latency, memory, drift."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.commands.bench import (
    distinct,
    effort_of,
    figures_document,
    obtain,
    say_conditions,
    siblings,
)
from onnxzoo.cli.format import UNKNOWN, compared_on, duration, memory, number, share
from onnxzoo.cli.options import (
    InputData,
    Measured,
    Preprocess,
    ProcessTimeout,
    RunCount,
    RunSeconds,
    WarmupRuns,
)
from onnxzoo.cli.output import date, info, print_json, print_line, table
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.core.records import Variant
    from onnxzoo.registry.measure.compare import Compared
    from onnxzoo.zoo_index.zoo import Zoo


def compare(
    refs: Measured,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg|png", help="Draw size, latency and drift.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what was measured here before.")
    ] = False,
    batch: Annotated[int | None, typer.Option(min=1, metavar="N", help="Batch size.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads of one operator.")
    ] = None,
    axis: options.Axis = None,
    samples: Annotated[
        int, typer.Option(min=1, metavar="N", help="Inputs on which outputs are compared.")
    ] = 8,
    inputs: InputData = None,
    preprocess: Preprocess = None,
    runs: RunCount = None,
    seconds: RunSeconds = 2.0,
    warmup: WarmupRuns = 5,
    timeout: ProcessTimeout = 600.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Compare variants or versions with the first.

    Size, latency, memory, and the drift of their outputs. One reference without a variant stands
    for all variants of its version.
    """
    from onnxzoo.registry.measure.compare import compare as held_against
    from onnxzoo.zoo_index.zoo import Zoo

    axes, effort = options.axes(axis), effort_of(runs, seconds, warmup, timeout)
    if plot is not None:
        from onnxzoo.cli.plot import check

        check(plot)
    with Zoo() as zoo:
        variants = _compared(zoo, refs, quiet=quiet or json)
        with progress(zoo.settings, quiet=quiet or json, counts=True) as report:
            found = held_against(
                zoo.registry,
                variants,
                threads=threads,
                batch=batch,
                axes=axes,
                device=device,
                effort=effort,
                samples=samples,
                inputs=inputs,
                preprocess=preprocess,
                fresh=fresh,
                progress=report,
            )
    if plot is not None:
        from onnxzoo.cli.plot import draw

        draw(found, plot)
    if json:
        print_json([_compared_document(item) for item in found])
    elif quiet:
        for item in found:
            print_line(item.variant.ref)
    else:
        _show_compared(found)
        if plot is not None:
            info(f"drawn in {plot}")


def _compared(zoo: "Zoo", refs: Sequence[str], *, quiet: bool) -> "list[Variant]":
    """Return the variants that references stand for: at least two."""
    from onnxzoo.registry.core.names import Ref

    variants = obtain(zoo, refs, quiet=quiet)
    if len(refs) == 1 and Ref.parse(refs[0]).variant is None:
        variants = distinct([variants[0], *siblings(zoo, variants[0])])
    if len(variants) == 1:
        name = variants[0].name
        raise UsageError(
            f"`{variants[0].ref}` is all that was named; a comparison needs two or more",
            hint=f"zoo versions {name} ; zoo opsets {name}",
        )
    return variants


def _compared_document(item: "Compared") -> Mapping[str, Any]:
    return figures_document(item.figures) | {
        "precision": item.variant.precision,
        "opset": item.variant.opset,
        "bytes": item.variant.bytes,
        "ratio": item.ratio,
        "drift_max": item.drift.max,
        "drift_cosine": item.drift.cosine,
        "drift_correlation": item.drift.correlation,
        "drift_labels": item.drift.labels,
        "drift_unknown": item.drift.why,
        "compared_on": item.drift.shapes,
        "unproven": item.drift.unproven,
        "measured_now": item.fresh,
    }


def _ratio(item: "Compared", base: "Compared") -> str:
    """Return a latency ratio for people; ``~`` marks one of latencies that did not settle.

    It is the median of the rounds' ratios, and need not be that of the two latencies shown.
    """
    settled = item is base or (item.figures.stable and base.figures.stable) is not False
    return f"{'' if settled else '~'}{item.ratio:.2f}x"


def _show_compared(found: "Sequence[Compared]") -> None:
    table(
        ("REFERENCE", "SIZE", "PRECISION", "OPSET", "P50", "RATIO", "DRIFT", "COSINE", "CORR",
         "LABELS", "MEMORY"),
        (
            (
                item.variant.ref,
                show_size(item.variant.bytes),
                item.variant.precision,
                item.variant.opset,
                duration(item.figures.value("latency_p50")),
                _ratio(item, found[0]),
                number(item.drift.max),
                number(item.drift.cosine, 6),
                number(item.drift.correlation),
                share(item.drift.labels),
                memory(item.figures.value("peak_memory")),
            )
            for item in found
        ),
    )  # fmt: skip
    say_conditions([item.figures for item in found])
    grounds = [(item.drift.shapes, item.drift.unproven) for item in found if item.drift.shapes]
    for shapes, unproven in dict.fromkeys(grounds):
        info(f"outputs {compared_on(shapes, unproven)}")
    for item in found:
        if item.drift.why:
            info(f"{item.variant.ref} has no drift ({UNKNOWN}): {item.drift.why}")
    if not found[0].fresh:
        when = min(m.at for item in found for m in item.figures.measurements)
        info(f"latency and memory as measured on {date(when)}; --fresh measures again")
