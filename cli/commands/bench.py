"""Measure held variants: latency, throughput, memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.format import UNKNOWN, duration, inputs_of, memory, percent, rate, threads_of
from onnxzoo.cli.options import (
    InputData,
    Measured,
    Preprocess,
    ProcessTimeout,
    RunCount,
    RunSeconds,
    WarmupRuns,
)
from onnxzoo.cli.output import info, print_json, print_line, table
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import UsageError

if TYPE_CHECKING:
    from onnxzoo.registry.core.records import Variant
    from onnxzoo.registry.measure.bench import Effort, Figures
    from onnxzoo.zoo_index.zoo import Zoo

_METRICS = (
    "latency_p50", "latency_p95", "latency_p99", "latency_spread", "throughput", "open_time",
    "peak_memory", "private_memory",
)  # fmt: skip


def bench(
    refs: Measured,
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
    """Measure latency, throughput and memory.

    And the time to open. Runs on your inputs, else on the model's test data, else on sample inputs
    of usual sizes. The figures are kept with their context.
    """
    from onnxzoo.registry.measure.bench import Trial
    from onnxzoo.registry.measure.bench import bench as measure
    from onnxzoo.zoo_index.zoo import Zoo

    sizes, counts = _counts(batch, "--batch 1,8"), _counts(threads, "--threads 1,2")
    axes, effort = options.axes(axis), effort_of(runs, seconds, warmup, timeout)
    path = _data(inputs, preprocess)
    with Zoo() as zoo:
        variants = obtain(zoo, refs, quiet=quiet or json)
        if all_:
            variants = distinct(other for v in variants for other in siblings(zoo, v))
        trials = [
            Trial(variant, number_of_threads, size_of_batch, axes, device, path, preprocess)
            for size_of_batch in sizes
            for number_of_threads in counts
            for variant in variants
        ]
        with progress(zoo.settings, quiet=quiet or json, counts=True) as report:
            found = measure(zoo.registry, trials, effort=effort, progress=report)
    if json:
        print_json([figures_document(figures) for figures in found])
    elif quiet:
        for variant in variants:
            print_line(variant.ref)
    else:
        headers = ("REFERENCE", "BATCH", "THREADS", "P50", "P95", "P99", "SPREAD", "THROUGHPUT",
                   "OPEN", "PEAK", "PRIVATE", "RUNS")  # fmt: skip
        table(headers, map(_row, found))
        say_conditions(found)


def _data(inputs: Path | None, preprocess: str | None) -> Path | None:
    """Return where the user's inputs lie.

    Raises:
        NotFound, UsageError: if there are none, or the preprocessing does not fit them.
    """
    from onnxzoo.registry.measure.input_files import check_preprocess, located

    examples = None if inputs is None else located(inputs, preprocess)
    check_preprocess(preprocess, examples)
    return examples.path if examples else None


def effort_of(runs: int | None, seconds: float, warmup: int, timeout: float) -> "Effort":
    """Return how long and how often to measure."""
    from onnxzoo.registry.measure.bench import Effort

    return Effort(warmup=warmup, runs=runs, seconds=seconds, timeout=timeout)


def _counts(text: str | None, example: str) -> list[int | None]:
    """Return the numbers of a list, as ``1,8`` is one; None alone if nothing was asked for."""
    if text is None:
        return [None]
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"`{text}` is not a list of counts", hint=f"for example: {example}")
    return [int(word) for word in dict.fromkeys(words)]


def obtain(zoo: "Zoo", refs: Sequence[str], *, quiet: bool) -> "list[Variant]":
    """Return the variants of references, pulled where they are not held."""
    with progress(zoo.settings, quiet=quiet, verb="fetched") as report:
        return distinct(zoo.obtain(ref, progress=report) for ref in refs)


def siblings(zoo: "Zoo", variant: "Variant") -> "list[Variant]":
    """Return the held variants of the same version."""
    held = zoo.registry.list(name=variant.name)
    return [other for other in held if other.version == variant.version]


def distinct(variants: "Iterable[Variant]") -> "list[Variant]":
    """Return the variants without repetitions."""
    return list({variant.ref: variant for variant in variants}.values())


def say_conditions(found: "Iterable[Figures]") -> None:
    """Say on which inputs latencies were measured, and which of them did not settle."""
    on: dict[str, list[str]] = {}
    for figures in found:
        on.setdefault(inputs_of(figures.context), []).append(figures.trial.variant.ref)
    for words, refs in on.items():
        info(
            f"measured on {words}" + (f": {', '.join(dict.fromkeys(refs))}" if len(on) > 1 else "")
        )
    for figures in found:
        if figures.stable is False:
            recent = sorted(figures.medians)
            info(
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


def figures_document(figures: "Figures") -> dict[str, Any]:
    """Return the measurements of one variant for JSON."""
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
