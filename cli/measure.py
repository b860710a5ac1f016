"""Commands that measure: bench, compare."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.figures import (
    UNKNOWN,
    compared_on,
    duration,
    inputs_of,
    memory,
    number,
    percent,
    rate,
    share,
    threads_of,
)
from onnxzoo.cli.output import date, document, line, table, talk
from onnxzoo.cli.progress import progress
from onnxzoo.registry.errors import UsageError
from onnxzoo.registry.visible import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.bench import Effort, Figures
    from onnxzoo.registry.compare import Compared
    from onnxzoo.registry.records import Variant
    from onnxzoo.zoo_index.zoo import Zoo

_METRICS = (
    "latency_p50", "latency_p95", "latency_p99", "latency_spread", "throughput", "open_time",
    "peak_memory", "private_memory",
)  # fmt: skip
_Refs = Annotated[
    list[str],
    typer.Argument(
        metavar="REF",
        help="NAME[:VARIANT][@VERSION]; pulled if not held.",
        autocompletion=completion.known_references,
    ),
]
_Inputs = Annotated[
    Path | None,
    typer.Option(metavar="DATA", help="A file or folder of inputs, as for `zoo quantize`."),
]
_Preprocess = Annotated[
    str | None, typer.Option(metavar="HOW", help="Of images: imagenet, 0-1 or -1-1.")
]
_Runs = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Runs that are counted, instead of seconds.")
]
_Seconds = Annotated[
    float,
    typer.Option(
        min=0.0, metavar="S", help="For the runs that are counted, of each configuration."
    ),
]
_Warmup = Annotated[int, typer.Option(min=0, metavar="N", help="Runs before those that count.")]
_Timeout = Annotated[
    float, typer.Option(min=0.0, metavar="S", help="Seconds that one process may take.")
]


def bench(
    refs: _Refs,
    all_: Annotated[
        bool, typer.Option("--all", help="Every held variant of the version, too.")
    ] = False,
    batch: Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="Batch sizes, such as 1,8.")
    ] = None,
    threads: Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="Threads of one operator, such as 1,2.")
    ] = None,
    axis: options.Axis = None,
    inputs: _Inputs = None,
    preprocess: _Preprocess = None,
    runs: _Runs = None,
    seconds: _Seconds = 2.0,
    warmup: _Warmup = 5,
    timeout: _Timeout = 600.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure latency, throughput and memory.

    And the time to open. Runs on your inputs, else on the model's test data, else on sample inputs
    of usual sizes. The figures are kept with their context.
    """
    from onnxzoo.registry.bench import Trial
    from onnxzoo.registry.bench import bench as measure
    from onnxzoo.zoo_index.zoo import Zoo

    sizes, counts = _counts(batch, "--batch 1,8"), _counts(threads, "--threads 1,2")
    axes, effort = options.axes(axis), _effort(runs, seconds, warmup, timeout)
    path = _data(inputs, preprocess)
    with Zoo() as zoo:
        variants = _obtained(zoo, refs, quiet=quiet or json)
        if all_:
            variants = _distinct(other for v in variants for other in _siblings(zoo, v))
        trials = [
            Trial(variant, number_of_threads, size_of_batch, axes, device, path, preprocess)
            for size_of_batch in sizes
            for number_of_threads in counts
            for variant in variants
        ]
        with progress(zoo.settings, quiet=quiet or json, counts=True) as report:
            found = measure(zoo.registry, trials, effort=effort, progress=report)
    if json:
        document([_document(figures) for figures in found])
    elif quiet:
        for variant in variants:
            line(variant.ref)
    else:
        headers = ("REFERENCE", "BATCH", "THREADS", "P50", "P95", "P99", "SPREAD", "THROUGHPUT",
                   "OPEN", "PEAK", "PRIVATE", "RUNS")  # fmt: skip
        table(headers, map(_row, found))
        _talk_of(found)


def compare(
    refs: _Refs,
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
    inputs: _Inputs = None,
    preprocess: _Preprocess = None,
    runs: _Runs = None,
    seconds: _Seconds = 2.0,
    warmup: _Warmup = 5,
    timeout: _Timeout = 600.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Compare variants or versions with the first.

    Size, latency, memory, and the drift of their outputs. One reference without a variant stands
    for all variants of its version.
    """
    from onnxzoo.registry.compare import compare as held_against
    from onnxzoo.zoo_index.zoo import Zoo

    axes, effort = options.axes(axis), _effort(runs, seconds, warmup, timeout)
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
        document([_compared_document(item) for item in found])
    elif quiet:
        for item in found:
            line(item.variant.ref)
    else:
        _show_compared(found)
        if plot is not None:
            talk(f"drawn in {plot}")


def _data(inputs: Path | None, preprocess: str | None) -> Path | None:
    """Return where the user's inputs lie.

    Raises:
        NotFound, UsageError: if there are none, or the preprocessing does not fit them.
    """
    from onnxzoo.registry.derive.calibrate import check_preprocess, located

    examples = None if inputs is None else located(inputs, preprocess)
    check_preprocess(preprocess, examples)
    return examples.path if examples else None


def _effort(runs: int | None, seconds: float, warmup: int, timeout: float) -> "Effort":
    from onnxzoo.registry.bench import Effort

    return Effort(warmup=warmup, runs=runs, seconds=seconds, timeout=timeout)


def _counts(text: str | None, example: str) -> list[int | None]:
    """Return the numbers of a list, as ``1,8`` is one; None alone if nothing was asked for."""
    if text is None:
        return [None]
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"`{text}` is not a list of counts", hint=f"for example: {example}")
    return [int(word) for word in dict.fromkeys(words)]


def _obtained(zoo: "Zoo", refs: Sequence[str], *, quiet: bool) -> "list[Variant]":
    with progress(zoo.settings, quiet=quiet, verb="fetched") as report:
        return _distinct(zoo.obtain(ref, progress=report) for ref in refs)


def _compared(zoo: "Zoo", refs: Sequence[str], *, quiet: bool) -> "list[Variant]":
    """Return the variants that references stand for: at least two."""
    from onnxzoo.registry.names import Ref

    variants = _obtained(zoo, refs, quiet=quiet)
    if len(refs) == 1 and Ref.parse(refs[0]).variant is None:
        variants = _distinct([variants[0], *_siblings(zoo, variants[0])])
    if len(variants) == 1:
        name = variants[0].name
        raise UsageError(
            f"`{variants[0].ref}` is all that was named; a comparison needs two or more",
            hint=f"zoo versions {name} ; zoo opsets {name}",
        )
    return variants


def _siblings(zoo: "Zoo", variant: "Variant") -> "list[Variant]":
    held = zoo.registry.list(name=variant.name)
    return [other for other in held if other.version == variant.version]


def _distinct(variants: "Iterable[Variant]") -> "list[Variant]":
    return list({variant.ref: variant for variant in variants}.values())


def _talk_of(found: "Iterable[Figures]") -> None:
    """Say on which inputs latencies were measured, and which of them did not settle."""
    on: dict[str, list[str]] = {}
    for figures in found:
        on.setdefault(inputs_of(figures.context), []).append(figures.trial.variant.ref)
    for words, refs in on.items():
        talk(
            f"measured on {words}" + (f": {', '.join(dict.fromkeys(refs))}" if len(on) > 1 else "")
        )
    for figures in found:
        if figures.stable is False:
            recent = sorted(figures.medians)
            talk(
                f"{figures.trial.variant.ref}: the latency is not stable: medians of "
                f"{len(recent)} rounds from {duration(recent[0])} to {duration(recent[-1])}; "
                "measure on an idle machine, or with --threads 1 or more --seconds"
            )


def _row(figures: "Figures") -> Sequence[object]:
    p50, p95, p99, spread, throughput, opened, peak, private = map(figures.value, _METRICS)
    return (
        figures.trial.variant.ref,
        figures.context["batch"],
        threads_of(figures.context),
        duration(p50),
        duration(p95),
        duration(p99),
        percent(spread),
        rate(throughput),
        duration(opened),
        memory(peak),
        memory(private),
        UNKNOWN if figures.runs is None else figures.runs,
    )


def _document(figures: "Figures") -> dict[str, Any]:
    variant = figures.trial.variant
    return {
        "ref": variant.ref,
        "name": variant.name,
        "version": variant.version,
        "variant": variant.variant,
        "digest": variant.digest,
        "runs": figures.runs,
        "stable": figures.stable,
        **{metric: figures.value(metric) for metric in _METRICS},
        "context": figures.context,
    }


def _compared_document(item: "Compared") -> Mapping[str, Any]:
    return _document(item.figures) | {
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
                f"{item.ratio:.2f}x",
                number(item.drift.max),
                number(item.drift.cosine, 6),
                number(item.drift.correlation),
                share(item.drift.labels),
                memory(item.figures.value("peak_memory")),
            )
            for item in found
        ),
    )  # fmt: skip
    _talk_of([item.figures for item in found])
    grounds = [(item.drift.shapes, item.drift.unproven) for item in found if item.drift.shapes]
    for shapes, unproven in dict.fromkeys(grounds):
        talk(f"outputs {compared_on(shapes, unproven)}")
    for item in found:
        if item.drift.why:
            talk(f"{item.variant.ref} has no drift ({UNKNOWN}): {item.drift.why}")
    if not found[0].fresh:
        when = min(m.at for item in found for m in item.figures.measurements)
        talk(f"latency and memory as measured on {date(when)}; --fresh measures again")
