"""Signals that ask a command to end: it tidies up, says so, and leaves nothing behind it."""

import signal
from pathlib import Path

from tests.faults.cases import Effort, Tried, tried
from tests.faults.kills import unclear
from tests.faults.runner import Ended, Fault, Point, Runner

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def signals(runner: Runner, _: Path, effort: Effort) -> Tried:
    """Send each command a signal at so many of its calls."""
    return tried("signals", runner, effort, _signal, _ended)


def _signal(point: Point, number: int) -> Fault:
    name = _NUMBERS[number % len(_NUMBERS)].name.removeprefix("SIG")
    return Fault(f"signal={name}", point)


def _ended(ended: Ended) -> list[str]:
    """Return what is wrong with how it ended; 0: it was done already, 5, 7: a child was struck."""
    found = unclear(ended, {0, 5, 7, *(128 + number for number in _NUMBERS)})
    if ended.code > 128 and ended.err.count("interrupted: ") != 1:
        found.append(f"did not say that it was interrupted: {ended.err}")
    return found
