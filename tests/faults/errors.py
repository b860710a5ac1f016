"""Errors of the disk in the place of every call that changes something: full, broken, no rights."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.cases import Tried, Trial, sample
from tests.faults.kills import unclear
from tests.faults.runner import Ended, Fault, Point, Runner
from tests.faults.tasks import TASKS, Task

_REFUSED = {7, 8, 9}  # storage, busy, database
_OF_OPEN = ("EMFILE", "ENOSPC", "EACCES", "EROFS", "EIO")
_OF_CHANGES = ("ENOSPC", "EIO", "EDQUOT", "EROFS")


def errors(
    runner: Runner, folder: Path, tasks: Sequence[Task] = TASKS, *, most: int
) -> Tried:
    """Let so many calls of each command fail, each once or from then on."""
    broke, count = [], 0
    for task in tasks:
        trial = Trial.of(runner, task, folder / task.name.replace(" ", "-"))
        for number, point in enumerate(sample(trial.points, most, task.name)):
            broke += trial.strike(runner, _fault(point, number), refused)
            count += 1
    return Tried("error points", count, broke)


def refused(ended: Ended) -> list[str]:
    """Return what is wrong with a command that the disk refused something: 0 if it got over it."""
    return unclear(ended, _REFUSED | {0})


def _fault(point: Point, number: int) -> Fault:
    """Return the error that comes next in turn for a call."""
    errors = _OF_OPEN if point.call.startswith(("open", "creat")) else _OF_CHANGES
    return Fault(f"error={errors[number % len(errors)]}", point, ever_after=number % 3 == 0)
