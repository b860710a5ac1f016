"""Progress: moving bars on a terminal, one line per file elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnxzoo.cli.output import safe, size, talk
from onnxzoo.registry.records import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PATIENCE = 0.3  # seconds; what is done sooner shows no bar
_LONGEST = 40  # characters of a file's name beside its bar


@contextmanager
def progress(*, quiet: bool, ci: bool, verb: str) -> Iterator[Progress | None]:
    """Give what a long task reports to: bars, lines, or nothing when quiet.

    Args:
        quiet: report nothing.
        ci: a log is read later, not watched: one line a file, as when stderr is no terminal.
        verb: what is being done, such as ``pulling``.
    """
    if quiet:
        yield None
    elif ci or not sys.stderr.isatty():
        yield _Lines(verb)
    else:
        bars = _Bars()
        try:
            yield bars
        finally:
            bars.close()


class _Lines:
    """One line when a file is done."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._started: dict[str, float] = {}

    def __call__(self, label: str, done: int, total: int | None) -> None:
        started = self._started.setdefault(label, time.monotonic())
        if done == total:
            took = time.monotonic() - started
            talk(f"{self._verb} {label}: {size(done)} in {took:.1f} s")


class _Bars:
    """A bar a file, with size, speed and time left; rich is imported when the first is due."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, label: str, done: int, total: int | None) -> None:
        if self._bars is None:
            if time.monotonic() - self._started < _PATIENCE:
                return
            self._bars = _bars()
            self._bars.start()
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(safe(_short(label)), total=total)
        self._bars.update(self._tasks[label], completed=done, total=total)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        expand=True,
    )


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else "…" + label[1 - _LONGEST :]
