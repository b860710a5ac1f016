"""Errors of the disk in the place of every call that changes something: full, broken, no rights."""

from pathlib import Path

from tests.faults.cases import Effort, Tried, tried
from tests.faults.kills import unclear
from tests.faults.runner import Ended, Fault, Point, Runner

_REFUSED = {7, 8, 9}  # storage, busy, database
_OF_OPEN = ("EMFILE", "ENOSPC", "EACCES", "EROFS", "EIO")
_OF_CHANGES = ("ENOSPC", "EIO", "EDQUOT", "EROFS")


def errors(runner: Runner, _: Path, effort: Effort) -> Tried:
    """Let so many calls of each command fail, each once or from then on."""
    return tried("error points", runner, effort, _fault, refused)


def refused(ended: Ended) -> list[str]:
    """Return what is wrong with a command that the disk refused something: 0 if it got over it."""
    codes = _REFUSED | {0}
    if "a process crashed" in ended.err:  # a child that could not read even Python's own files
        codes = codes | {5}
    return unclear(ended, codes)


def _fault(point: Point, number: int) -> Fault:
    """Return the error that comes next in turn for a call."""
    errors = _OF_OPEN if point.call.startswith(("open", "creat")) else _OF_CHANGES
    lasts = number % 3 == 0 and point.call != "write"  # or the message could not be written
    return Fault(f"error={errors[number % len(errors)]}", point, ever_after=lasts)
