"""``kill -9`` before every call that changes something, and signals that ask a command to end."""

import signal
from collections.abc import Sequence
from pathlib import Path

from tests.faults.cases import Tried, Trial, alive, sample
from tests.faults.runner import Ended, Fault, Runner
from tests.faults.tasks import TASKS, Task

_CLEAN = {0, 5, 7}  # a child was killed: the parent says what became of it


def kills(runner: Runner, folder: Path, tasks: Sequence[Task] = TASKS, *, most: int) -> Tried:
    """Kill each command before so many of its calls."""
    broke, count = [], 0
    for task in tasks:
        trial = Trial.of(runner, task, folder / task.name.replace(" ", "-"))
        for point in sample(trial.points, most, task.name):
            broke += trial.strike(runner, Fault("signal=KILL", point), _killed)
            count += 1
    return Tried("kill points", count, broke)


def _killed(ended: Ended) -> list[str]:
    if ended.code == -signal.SIGKILL:
        return []
    return unclear(ended, _CLEAN)


def unclear(ended: Ended, codes: set[int]) -> list[str]:
    """Return what is wrong with how a command ended: its exit code, a traceback, no message."""
    found = [] if ended.code in codes else [f"exit {ended.code}: {ended.err.strip()[-400:]}"]
    if "Traceback" in ended.err or "a bug in onnxzoo" in ended.err:
        found.append(f"a bug: {ended.err.strip()[-600:]}")
    if ended.code > 0 and ended.err.count("error: ") != 1 and ended.code < 128:
        found.append(f"not one message: {ended.err.strip()[-400:]}")
    return found
