"""Progress: moving bars on a terminal, one line per file elsewhere."""

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnxzoo.cli.output import safe, talk
from onnxzoo.registry.settings import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID

    from onnxzoo.registry.records import Progress
    from onnxzoo.registry.settings import Settings

_PATIENCE = 0.3  # seconds; what is done sooner shows no bar
_STEP = 0.05  # seconds between two updates of a bar; drawing costs time too
_OWN_WORDS = ("preparing ", "environment of ")  # begin labels of what is no file of a task
_LONGEST = 40  # characters of a file's name beside its bar


@contextmanager
def progress(
    settings: "Settings", *, quiet: bool, verb: str | None = None, counts: bool = False
) -> "Iterator[Progress | None]":
    """Give what a long task reports to: bars on a terminal, else lines or nothing.

    Args:
        settings: a log of continuous integration is read later, not watched.
        quiet: report nothing.
        verb: begins the line of each file that is done, such as ``fetched``; None: no lines.
        counts: what is counted is things, not bytes.
    """
    retries = logging.getLogger("onnxzoo.retry")
    before = retries.level
    if quiet:
        retries.setLevel(logging.ERROR)
    try:
        with _reporting(settings, quiet=quiet, verb=verb, counts=counts) as report:
            yield report
    finally:
        retries.setLevel(before)


@contextmanager
def _reporting(
    settings: "Settings", *, quiet: bool, verb: str | None, counts: bool
) -> "Iterator[Progress | None]":
    watched = sys.stderr.isatty() and not settings.ci
    if quiet or not (watched or verb):
        yield None
    elif not watched:
        yield _Lines(verb or "")
    else:
        bars = _Bars(counts=counts)
        try:
            yield bars
        finally:
            bars.close()


class _Lines:
    """One line when a file is done."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._started: dict[str, float] = {}
        self._done: set[str] = set()

    def __call__(self, label: str, done: int, total: int | None) -> None:
        started = self._started.setdefault(label, time.monotonic())
        if done == total and label not in self._done:
            self._done.add(label)
            took = time.monotonic() - started
            said = label if label.startswith(_OWN_WORDS) else f"{self._verb} {label}"
            talk(f"{said}: {show_size(done)} in {took:.1f} s")


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
            self._tasks[label] = self._bars.add_task(safe(_short(label)), total=total)
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
        """What is left; of what has no end that is known, what has gone by."""

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
