"""Progress bars on a terminal or in a notebook, for the command line and for a load that pulls."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID

_PATIENCE = 0.3  # seconds; what is done sooner shows no bar
_STEP = 0.05  # seconds between two updates of a bar; drawing costs time too
_LONGEST = 40  # characters of a file's name beside its bar


@contextmanager
def reporting(settings: Settings, progress: Progress | None) -> Iterator[Progress | None]:
    """Give a long task's listener: the caller's, else bars where somebody watches.

    Args:
        settings: a log of continuous integration is read later, not watched.
        progress: the caller's.
    """
    notebook = "ipykernel" in sys.modules
    watched = notebook or (sys.stderr is not None and sys.stderr.isatty() and not settings.ci)
    if progress is not None or not watched:
        yield progress
    else:
        with shown(counts=False) as bars:
            yield bars


@contextmanager
def shown(*, counts: bool) -> Iterator[Progress]:
    """Give a listener that draws bars on the standard error.

    Args:
        counts: what is counted is things, not bytes.
    """
    bars = _Bars(counts=counts)
    try:
        yield bars
    finally:
        bars.close()


class _Bars:
    """A bar a file, with size, speed and time left; rich is imported when the first is due."""

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self._started = self._updated = time.monotonic()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, label: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._updated < _STEP and done != total:
            return
        self._updated = now
        if self._bars is None:
            if now - self._started < _PATIENCE:
                return
            self._bars = _bars(counts=self._counts)
            self._bars.start()
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(visible(_short(label)), total=total)
        self._bars.update(self._tasks[label], completed=done, total=total)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()


def _bars(*, counts: bool) -> "Bars":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class Amount(DownloadColumn):
        def render(self, task: "Task") -> Text:
            return super().render(task) if task.completed else Text()

    class Speed(TransferSpeedColumn):
        def render(self, task: "Task") -> Text:
            return super().render(task) if task.completed else Text()

    class Time(TimeRemainingColumn):
        """The remaining time; the elapsed time if the end is unknown."""

        def render(self, task: "Task") -> Text:
            if task.total is None:
                return TimeElapsedColumn().render(task)
            return super().render(task)

    amounts = [MofNCompleteColumn()] if counts else [Amount(), Speed()]
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        *amounts,
        Time(),
        console=Console(stderr=True),
        expand=True,
    )


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else "…" + label[1 - _LONGEST :]
