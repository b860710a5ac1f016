"""Measure held variants: latency, throughput, time to open, memory.

Every measurement is made in a fresh child process that opens one variant with `Registry.load`, so
that its figures are of that variant alone and of what users get. Several variants take turns in
rounds, so that a noisy machine is unfair to none.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core import errors
from onnxzoo.registry.core.errors import Refused, UsageError, ZooError
from onnxzoo.registry.core.records import Context, Measurement, Progress, Variant
from onnxzoo.registry.measure.bench_inputs import data_of
from onnxzoo.registry.runtime.machine import here
from onnxzoo.registry.sample_inputs.axes import batch_axis, batched, check_axes
from onnxzoo.registry.sample_inputs.sizes import is_batch, key, open_axes

# -P: a module in the current folder must not stand in for one of ours.
_WORKER = (sys.executable, "-P", "-m", "onnxzoo.registry.measure.bench_worker")
_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Effort:
    """The number and duration of runs of each configuration.

    Attributes:
        warmup: runs that are not counted, in every process.
        runs: runs that are counted, in all; None for as many as the seconds allow.
        seconds: for the runs that are counted, in all.
        rounds: processes that share them; never more than the runs. Where no number of runs is
            given, up to three times as many, until the medians of the last rounds agree.
        timeout: seconds after which a process is stopped.
    """

    warmup: int = 5
    runs: int | None = None
    seconds: float = 2.0
    rounds: int = 3
    timeout: float = 600.0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.runs == 0 or (self.runs or 1) < 0:
            raise UsageError("a measurement needs one run and one round at least")

    def shares(self) -> list[int | None]:
        """Return the runs of each round; None: as many as the seconds allow.

        >>> Effort(runs=5).shares()
        [2, 2, 1]
        """
        if self.runs is None:
            return [None] * self.rounds
        rounds = min(self.rounds, self.runs)
        each, more = divmod(self.runs, rounds)
        return [each + (number < more) for number in range(rounds)]


USUAL = Effort()
_STABLE = 0.05  # of the median: how far the medians of rounds may lie apart
_MOST = 3  # times the rounds, for a median that does not settle


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration: a variant, on so many threads, at a batch size.

    Attributes:
        threads: of one operator; None for onnxruntime's own choice.
        batch: examples in a batch; None for what the graph or the inputs fix, else 1.
        axes: sizes of open axes by their names, or by input and position (``x:1``); the batch's
            own becomes `batch`.
        device: see `onnxzoo.load`.
        inputs: a file or folder of inputs to run on, as `input_files.feeds` reads it. Without, and
            without sizes, the version's test data are taken; else sample inputs.
        preprocess: of images; see there.
    """

    variant: Variant
    threads: int | None = None
    batch: int | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    device: str = "auto"
    inputs: Path | None = None
    preprocess: str | None = None

    def __post_init__(self) -> None:
        name = batch_axis(self.variant.graph.inputs)
        if name is not None and name in self.axes:
            size = self.axes[name]
            if self.batch not in {None, size}:
                raise UsageError(
                    f"`{name}` is the batch: it cannot be `{size}` and `{self.batch}`",
                    hint="leave one of them out",
                )
            object.__setattr__(self, "batch", size)
            others = {axis: n for axis, n in self.axes.items() if axis != name}
            object.__setattr__(self, "axes", others)
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"a batch of `{self.batch}` is none; expected 1 at least")

    def size(self) -> int:
        """Return the batch size that this comes to.

        Raises:
            UsageError: if the graph fixes another one.
        """
        try:
            return batched(self.variant.graph.inputs, self.batch)[1]
        except UsageError as error:
            raise UsageError(
                f"`{self.variant.ref}`: {error.message}", hint="leave the batch out"
            ) from error

    def context(self, provider: str | None = None) -> Context:
        """Return the context of its figures.

        Args:
            provider: the execution provider that ran; None for the one that is tried first.
        """
        from onnxzoo.registry.runtime.providers import first_provider

        axes = " ".join(f"{name}={size}" for name, size in sorted(self.axes.items()))
        named: Context = {"axes": axes} if axes else {}
        return {
            **named,
            **here(provider or first_provider(self.device)),
            "threads": self.threads,
            "batch": self.size(),
        }


@dataclass(frozen=True, slots=True)
class Figures:
    """Measurements of one configuration.

    Attributes:
        trial: the configuration.
        context: what they hold under: machine, runtime, threads, batch, the shapes of the inputs.
        measurements: one a metric.
        runs: how many were counted; None where they are of an earlier run.
        medians: the median latency of each round, in seconds.
    """

    trial: Trial
    context: Context
    measurements: tuple[Measurement, ...]
    runs: int | None = None
    medians: tuple[float, ...] = ()

    @property
    def stable(self) -> bool | None:
        """True if the last rounds' medians agree; None after one round."""
        spread = self.value("latency_spread")
        return None if spread is None else spread <= _STABLE

    def value(self, metric: str) -> float | None:
        """Return a metric's value, None if it could not be measured here."""
        return next((m.value for m in self.measurements if m.metric == metric), None)


def bench(
    registry: Registry,
    trials: Sequence[Trial],
    *,
    effort: Effort = USUAL,
    progress: Progress | None = None,
) -> list[Figures]:
    """Measure configurations, keep their figures as measurements, and return them in order.

    Args:
        registry: where the variants are held.
        trials: what to measure.
        effort: how long.
        progress: told of the processes that are done.

    Raises:
        UsageError: if a variant cannot be run at a batch size, or its inputs cannot be made up.
        Refused: if a variant does not open or run, or a process takes longer than its limit.
    """
    check_sizes(trials)
    for trial in trials:
        trial.size()
    _prepare(registry, trials)
    data = [data_of(registry, trial) for trial in trials]
    asks = [
        _request(registry, trial, effort, given=bool(own))
        for trial, own in zip(trials, data, strict=True)
    ]
    answers: list[list[dict[str, Any]]] = [[] for _ in trials]
    shares = effort.shares()
    done = 0
    while done < len(shares):
        for index, (trial, ask) in enumerate(zip(trials, asks, strict=True)):
            if progress:
                progress("measuring", done * len(trials) + index, len(shares) * len(trials))
            answers[index].append(_ask(trial, ask | {"runs": shares[done]}, effort))
        done += 1
        unsettled = any(_spread(_medians(rounds), effort.rounds) > _STABLE for rounds in answers)
        if effort.runs is None and done == len(shares) < _MOST * effort.rounds and unsettled:
            shares.append(None)
    if progress:
        progress("measuring", len(shares) * len(trials), len(shares) * len(trials))
    found = [
        _figures(trial, effort, own, rounds)
        for trial, own, rounds in zip(trials, data, answers, strict=True)
    ]
    registry.keep_figures((one.trial.variant.digest, one.measurements) for one in found)
    return found


def check_sizes(trials: Sequence[Trial]) -> None:
    """Raise UsageError for an axis that a variant does not have.

    One beside the first whose inputs are fixed throughout has nothing to set.
    """
    for number, trial in enumerate(trials):
        inputs, ref = trial.variant.graph.inputs, trial.variant.ref
        if number == 0 or any(not isinstance(axis, int) for t in inputs for axis in t.shape or ()):
            try:
                check_axes(trial.axes, inputs)
            except UsageError as error:
                raise UsageError(f"`{ref}`: {error.message}", hint=f"zoo show {ref}") from error


def kept(registry: Registry, trial: Trial) -> Figures | None:
    """Return the newest measurements of a configuration here; None if there are none."""
    wanted = _comparable({**trial.context(), "inputs": data_of(registry, trial)})
    there = registry.measurements(trial.variant.digest)
    same = [m for m in there if "shapes" in m.context and _comparable(m.context) == wanted]
    if not same:
        return None
    newest = max(same, key=lambda m: m.at).context
    found = tuple(m for m in same if m.context == newest)
    figures = Figures(trial, newest, found)
    return None if figures.value("latency_p50") is None else figures


def _comparable(context: Context) -> Context:
    """Return a context without its input-dependent keys: shapes, and the batch of given inputs."""
    given = context.get("inputs")
    left_out = {"shapes", "inputs"} | ({"batch"} if given else set())
    return {"inputs": given, **{k: v for k, v in context.items() if k not in left_out}}


def _prepare(registry: Registry, trials: Sequence[Trial]) -> None:
    """Prepare the variants first, so that nothing is prepared beside the measurement."""
    for trial in {(t.variant.digest, t.device): t for t in trials}.values():
        with suppress(ZooError):  # the measurement itself says what is wrong
            registry.loader.look(trial.variant, device=trial.device)


def _request(registry: Registry, trial: Trial, effort: Effort, *, given: bool) -> dict[str, Any]:
    """Return a worker's request; without inputs, with sizes of all dynamic axes."""
    settings = registry.settings
    request = {
        "settings": {
            "home": str(settings.home),
            "cache": str(settings.cache),
            "database_url": settings.database_url,
        },
        "ref": trial.variant.ref,
        "threads": trial.threads,
        "batch": trial.batch,
        "axes": dict(trial.axes),
        "device": trial.device,
        "inputs": None if trial.inputs is None else str(trial.inputs),
        "preprocess": trial.preprocess,
        "warmup": effort.warmup,
        "seconds": effort.seconds / effort.rounds,
    }
    if given or all(
        is_batch(*axis) or key(*axis) in trial.axes
        for axis in open_axes(trial.variant.graph.inputs)
    ):
        return request
    # Found by a process of its own: a size that does not run takes memory, too.
    return request | {"axes": _ask(trial, request | {"only_sizes": True}, effort)["sizes"]}


def _ask(trial: Trial, request: Mapping[str, Any], effort: Effort) -> dict[str, Any]:
    try:
        done = subprocess.run(
            _WORKER,
            input=json.dumps(request),
            capture_output=True,
            timeout=effort.timeout,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Refused(
            f"measuring `{trial.variant.ref}` took over {effort.timeout:g} s, its limit",
            hint="ask for fewer runs, a smaller batch or a longer --timeout",
        ) from error
    return _answer(trial.variant.ref, done)


def _answer(ref: str, done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    if not done.stdout:
        words = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise Refused(f"measuring `{ref}` ended with exit status {done.returncode}: {words[0]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" not in answer:
        return answer
    failed = answer["error"]
    kind: type[ZooError] = getattr(errors, failed["type"])
    message = failed["message"]
    raise kind(message if ref in message else f"`{ref}`: {message}", hint=failed["hint"])


def _figures(
    trial: Trial, effort: Effort, data: str | None, rounds: Sequence[dict[str, Any]]
) -> Figures:
    import numpy as np

    first, medians = rounds[0], _medians(rounds)
    given: Context = {"inputs": data} if data else {}
    context: Context = {
        **trial.context(first["provider"]),
        **given,
        "batch": first["batch"],
        "shapes": first["shapes"],
    }
    latencies = np.concatenate([answer["latencies"] for answer in rounds])
    values: list[tuple[str, float | None, str]] = [
        (f"latency_p{percent}", float(np.percentile(latencies, percent)), "s")
        for percent in _PERCENTILES
    ]
    values += [
        ("latency_spread", _spread(medians, effort.rounds) if len(medians) > 1 else None, ""),
        ("throughput", sum(one["examples"] for one in rounds) / float(latencies.sum()), "1/s"),
        ("open_time", median(answer["open"] for answer in rounds), "s"),
        ("peak_memory", max(answer["peak"] for answer in rounds), "B"),
        ("private_memory", _median(answer["private"] for answer in rounds), "B"),
    ]
    measurements = tuple(
        Measurement(metric, value, unit, context)
        for metric, value, unit in values
        if value is not None
    )
    return Figures(trial, context, measurements, len(latencies), medians)


def _medians(rounds: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    return tuple(median(answer["latencies"]) for answer in rounds)


def _spread(medians: Sequence[float], last: int) -> float:
    """Return how far the last medians lie apart, as a share of their median."""
    recent = medians[-last:]
    return (max(recent) - min(recent)) / median(recent)


def _median(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
