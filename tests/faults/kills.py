"""``kill -9`` before every call that changes something, and signals that ask a command to end."""

import signal
from pathlib import Path

from tests.faults.cases import Effort, Tried, tried
from tests.faults.runner import Ended, Fault, Runner

_CLEAN = {0, 5, 7}  # a child was killed: the parent says what became of it


def kills(runner: Runner, _: Path, effort: Effort) -> Tried:
    """Kill each command before so many of its calls."""
    return tried(
        "kill points", runner, effort, lambda point, _: Fault("signal=KILL", point), _killed
    )


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
