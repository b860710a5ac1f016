"""Fork safely in a process with threads: end uses first, renew state in the child.

A child has one thread. A lock that another thread held stays locked in it for ever, and SQLite
goes on counting a transaction of a thread that is not there. So a fork waits until nobody is
inside `in_use`; what registered with `at_fork` lets go before it, and makes its locks again in
the child.

Source: SQLite's "How To Corrupt An SQLite Database File", section "Carrying an open database
connection across a fork()"; the Python documentation of os.register_at_fork.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol
from weakref import WeakSet

_PATIENCE = 35  # seconds that a fork waits at most: longer than a transaction waits for its turn


class _Forked(Protocol):
    def before_fork(self) -> None: ...

    def after_fork(self) -> None: ...


class _Gate:
    """Counts the threads that are inside, and keeps others out while a fork goes on."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.Lock())
        self.depth = threading.local()
        self.inside = 0
        self.forking = 0  # threads: several may fork at once


_gate = _Gate()
_ours: "WeakSet[_Forked]" = WeakSet()


def at_fork(one: _Forked) -> None:
    """Have an object's `before_fork` called before each fork, and `after_fork` in the child."""
    with _gate.changed:
        _ours.add(one)


@contextmanager
def in_use() -> Iterator[None]:
    """Keep forks of other threads out of a block, for a bounded time."""
    depth = getattr(_gate.depth, "count", 0)
    if not depth:
        with _gate.changed:
            _gate.changed.wait_for(lambda: not _gate.forking, _PATIENCE)
            _gate.inside += 1
    _gate.depth.count = depth + 1
    gate = _gate
    try:
        yield
    finally:
        gate.depth.count = depth
        if not depth and gate is _gate:  # a child has another; a lost thread may hold the old one
            with gate.changed:
                gate.inside -= 1
                gate.changed.notify_all()


def _before() -> None:
    own = 1 if getattr(_gate.depth, "count", 0) else 0
    with _gate.changed:
        _gate.forking += 1
        _gate.changed.wait_for(lambda: _gate.inside <= own, _PATIENCE)
        known = list(_ours)
    with ExitStack() as every:  # an error of one stops none of the others
        for one in known:
            every.callback(one.before_fork)


def _in_parent() -> None:
    with _gate.changed:
        _gate.forking -= 1
        _gate.changed.notify_all()


def _in_child() -> None:
    global _gate  # noqa: PLW0603  (its lock may be held by a thread that is not here)
    _gate = _Gate()
    with ExitStack() as every:
        for one in list(_ours):
            every.callback(one.after_fork)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
