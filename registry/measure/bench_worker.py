"""The child process in which one variant is measured alone; see `onnxzoo.registry.measure.bench`.

It reads a JSON request on its standard input and writes a JSON answer on its standard output:
what else prints there, such as a custom operator, is sent to the standard error.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import ZooError
from onnxzoo.registry.core.settings import Settings

_KILO = 1024  # bytes; the unit of /proc and, on Linux, of getrusage
_RESET_PEAK = "5"  # Source: proc(5), "/proc/pid/clear_refs"


def main() -> None:
    """Answer the request on the standard input."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = json.load(sys.stdin)
    try:
        with Registry(settings=_settings(request["settings"])) as registry:
            result = measure(registry, request)
    except ZooError as error:
        result = {
            "error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}
        }
    with answer:
        json.dump(result, answer)


def measure(registry: Registry, request: dict[str, Any]) -> dict[str, Any]:
    """Open a variant as a user would, run it, and return the figures.

    Args:
        registry: where it is held.
        request: ``ref``, ``threads``, ``batch``, ``axes``, ``inputs``, ``preprocess``, ``device``,
            ``warmup``, ``runs`` (None: until ``seconds`` are over) and ``seconds``; or
            ``only_sizes``: nothing is measured, and the sizes of open axes are returned.
    """
    from onnxzoo.registry.measure.bench_inputs import batch_of, inputs_for, sizes_of
    from onnxzoo.registry.runtime.session import infer, options_with
    from onnxzoo.registry.runtime.tensor_values import runner
    from onnxzoo.registry.sample_inputs.sample_inputs import shapes_text

    variant = registry.resolve(request["ref"])
    options = options_with(request["threads"])
    _import_all()
    gc.collect()
    before = _Memory()
    started = time.perf_counter()
    session = registry.load(variant.ref, device=request["device"], session_options=options)
    opened = time.perf_counter() - started
    feeds = inputs_for(registry, session, variant, request)
    if request.get("only_sizes"):
        return {"sizes": sizes_of(feeds[0], variant.graph.inputs)}
    for number in range(request["warmup"]):
        infer(session, feeds[number % len(feeds)])
    latencies = _timed(
        [runner(session, feed) for feed in feeds], request["runs"], seconds=request["seconds"]
    )
    batches = [batch_of(feed, variant.graph.inputs) for feed in feeds]
    return {
        "open": opened,
        "latencies": latencies,
        "peak": before.peak_growth(),
        "private": before.private_growth(),
        "provider": session.get_providers()[0],
        "batch": batches[0],
        "examples": sum(batches[number % len(feeds)] for number in range(len(latencies))),
        "shapes": shapes_text(feeds),
    }


class _Memory:
    """The memory of this process at one moment, to subtract it later."""

    def __init__(self) -> None:
        with suppress(OSError):  # not Linux, or not allowed
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        self._resident = _status("VmRSS")
        self._most = _most_resident()
        self._private = _private_dirty()

    def peak_growth(self) -> int:
        """Return the growth of peak resident memory since the start, in bytes."""
        peak = _status("VmHWM")
        if peak is None or self._resident is None:
            return max(_most_resident() - self._most, 0)
        return max(peak - self._resident, 0)

    def private_growth(self) -> int | None:
        """Return by how many bytes the memory that no other process can share grew, if known."""
        now = _private_dirty()
        return None if now is None or self._private is None else max(now - self._private, 0)


def _timed(
    each: Sequence[Callable[[], object]], runs: int | None, *, seconds: float
) -> list[float]:
    """Return the seconds of each run: of so many, or of as many as the time allows, at least 1."""
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < runs if runs else not taken or time.perf_counter() < until:
        run = each[len(taken) % len(each)]
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return taken


def _import_all() -> None:
    # What opening imports belongs to every variant alike.
    from onnxzoo.registry.runtime.session import runtime_version

    runtime_version()


def _status(key: str) -> int | None:
    return _kilobytes(Path("/proc/self/status"), key)


def _private_dirty() -> int | None:
    return _kilobytes(Path("/proc/self/smaps_rollup"), "Private_Dirty")


def _kilobytes(path: Path, key: str) -> int | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * _KILO
    return None


def _most_resident() -> int:
    """Return the most bytes that were ever resident; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * _KILO


def _settings(fields: dict[str, str | None]) -> Settings:
    return replace(
        Settings.from_env(),
        home=Path(str(fields["home"])),
        cache=Path(str(fields["cache"])),
        database_url=fields["database_url"],
    )


if __name__ == "__main__":
    main()
