"""One case: a home, a command with a fault in it, and everything that must hold afterwards."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.faults.invariants import State, between, broken, leftovers, state
from tests.faults.runner import Ended, Fault, Point, Runner, calls_in, points
from tests.faults.tasks import Task

_DEATH = 5.0  # seconds that a child may take to notice that its parent is gone


class Tried(NamedTuple):
    """What a part tried: how many of what, and how the invariants broke, a line each."""

    kind: str
    count: int
    broke: Sequence[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """A task made ready: its home as it begins, what its whole run does, and what comes of it."""

    task: Task
    template: Path
    points: Sequence[Point]
    before: State
    after: State

    @classmethod
    def of(cls, runner: Runner, task: Task, folder: Path) -> "Trial":
        """Prepare a task in a new folder, and run it once to see where it can be struck."""
        template, tried, calls = folder / "template", folder / "whole", folder / "calls"
        template.mkdir(parents=True)
        task.prepare(runner, template / "home")
        before = state(template / "home")
        copy(template, tried)
        ended = runner.run(
            task.words, tried / "home", calls=calls, environment=task.environment
        )
        if ended.code:
            raise RuntimeError(f"{task.name}: {ended}")
        found = points(calls_in(calls), tried)
        return cls(task, template, found, before, state(tried / "home"))

    def strike(
        self, runner: Runner, fault: Fault | None, judge: Callable[[Ended], list[str]], **how: object
    ) -> list[str]:
        """Run the command with a fault in it, hold everything, run it again; say what broke."""
        case = self.template.with_name("case")
        copy(self.template, case)
        environment = self.task.environment
        ended = runner.run(self.task.words, case / "home", fault=fault, environment=environment, **how)  # type: ignore[arg-type]
        wait_for_children(case)
        found = judge(ended) + self._sound(case / "home")
        if ended.code == 0 and state(case / "home") != self.after:
            found.append("it said that it is done")
        again = runner.run(self.task.words, case / "home", environment=environment)
        if again.code not in self.task.again:
            found.append(f"again: {again}")
        found += [f"again: {line}" for line in broken(case / "home")]
        if state(case / "home") != self.after:
            found.append(f"again: another state: {state(case / 'home') ^ self.after}")
        found += _collected(runner, case / "home")
        return [f"{self.task.name}, {fault}: {line}" for line in found]

    def _sound(self, home: Path) -> list[str]:
        return broken(home) + between(self.before, state(home), self.after)


def _collected(runner: Runner, home: Path) -> list[str]:
    """Collect the garbage; return what is left of it."""
    held = state(home)
    ended = runner.run(["gc"], home)
    found = [] if ended.code == 0 else [f"gc: {ended}"]
    found += [f"gc: {line}" for line in broken(home) + between(held, state(home), held)]
    return found + [f"gc left: {path}" for path in leftovers(home)]


def copy(source: Path, target: Path) -> None:
    """Put a copy of a folder in the place of another."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def wait_for_children(folder: Path) -> None:
    """Wait until no process works in a folder; what lives on for long is told by `alive`."""
    until = time.monotonic() + _DEATH
    while alive(folder) and time.monotonic() < until:
        time.sleep(0.05)


def alive(folder: Path) -> list[int]:
    """Return the processes whose working folder is this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def sample(found: Sequence[Point], most: int, seed: object) -> list[Point]:
    """Return so many points at most: of each kind of call some, the last ones above all."""
    if len(found) <= most:
        return list(found)
    by_call: dict[str, list[Point]] = {}
    for point in found:
        by_call.setdefault(point.call, []).append(point)
    chance, chosen = random.Random(str(seed)), []
    for kind in by_call.values():
        chance.shuffle(kind)
    while len(chosen) < most:
        for kind in by_call.values():
            if kind and len(chosen) < most:
                chosen.append(kind.pop())
    return chosen
