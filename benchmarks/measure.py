"""Times of whole processes and of calls, taken in turns so that a noisy machine is fair to all."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: ours against a peer, and what the ratio has to be."""

    what: str
    ours: float
    peer: str
    theirs: float
    target: str = ""
    unit: str = "ms"  # or MB: then ours and theirs are bytes

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    def __str__(self) -> str:
        factor = 1e3 if self.unit == "ms" else 1e-6
        ours, theirs = (f"{value * factor:,.1f} {self.unit}" for value in (self.ours, self.theirs))
        cells = (self.what, ours, self.peer, theirs, f"{self.ratio:.2f}", self.target)
        return f"| {' | '.join(cells)} |"


def processes(
    commands: Mapping[str, Command],
    *,
    runs: int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    before: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return the median seconds of each command, run in turns; `before` runs untimed."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            before()
            started = time.perf_counter()
            done = subprocess.run(
                command,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                capture_output=True,
                check=False,
            )
            times[name].append(time.perf_counter() - started)
            if done.returncode:
                sys.exit(f"{' '.join(command)}\n{done.stderr.decode()}")
    return {name: statistics.median(taken) for name, taken in times.items()}


def timed(
    codes: Mapping[str, str],
    *,
    runs: int,
    env: Mapping[str, str],
    cwd: Path,
    before: Callable[[], None],
) -> dict[str, float]:
    """Return the median of the seconds that each piece of Python code prints, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(runs):
        for name, code in codes.items():
            before()
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, **env},
                cwd=cwd,
                capture_output=True,
                check=False,
                text=True,
            )
            if done.returncode:
                sys.exit(done.stderr)
            times[name].append(float(done.stdout.split()[-1]))
    return {name: statistics.median(taken) for name, taken in times.items()}


def seconds_to_import(module: str, *, runs: int) -> float:
    """Return the median seconds of an import alone, without the interpreter's own start."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(runs)
    ]
    return statistics.median(taken)


def calls(call: Callable[[], object], *, runs: int) -> float:
    """Return the median seconds of a call."""
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def peak_memory(command: Command, env: Mapping[str, str]) -> int:
    """Return the largest resident set of a command, in bytes."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        env={**os.environ, **env},
        capture_output=True,
        check=True,
    )
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
