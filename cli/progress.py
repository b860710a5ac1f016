"""Progress: moving bars on a terminal, one line per file elsewhere."""

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnxzoo.cli.output import info
from onnxzoo.registry.core.progress_bars import shown
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnxzoo.registry.core.records import Progress
    from onnxzoo.registry.core.settings import Settings

_OWN_WORDS = ("preparing ", "environment of ")  # begin labels of what is no file of a task


@contextmanager
def progress(
    settings: "Settings", *, quiet: bool, verb: str | None = None, counts: bool = False
) -> "Iterator[Progress | None]":
    """Give a long task its progress report: bars on a terminal, else lines or nothing.

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
        with shown(counts=counts) as bars:
            yield bars


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
            info(f"{said}: {show_size(done)} in {took:.1f} s")
