"""One case: a home, a command with a fault in it, and everything that must hold afterwards."""

import random
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.faults.invariants import State, between, broken, leftovers, state
from tests.faults.runner import Ended, Fault, Point, Runner, calls_in, points
from tests.faults.tasks import TASKS, Task

_OF_ITS_OWN = ("home", ".cache")  # HOME is there, too, and libraries of a child use it
_DEATH = 5.0  # seconds that a child may take to notice that its parent is gone


@dataclass(frozen=True, slots=True)
class Tried:
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
    made: bytes | None  # what the file that it makes is in the end

    @classmethod
    def of(cls, runner: Runner, task: Task, folder: Path) -> "Trial":
        """Prepare a task in a new folder, and run it once to see where it can be struck."""
        template, tried, calls = folder / "template", folder / "whole", folder / "calls"
        template.mkdir(parents=True)
        task.prepare(runner, template / "home")
        before = state(template / "home")
        copy(template, tried)
        ended = runner.run(task.words, tried / "home", calls=calls, environment=task.environment)
        if ended.code:
            raise RuntimeError(f"{task.name}: {ended}")
        found = points(calls_in(calls), tried)
        made = _content(tried, task.makes)
        return cls(task, template, found, before, state(tried / "home"), made)

    def strike(
        self, runner: Runner, fault: Fault, judge: Callable[[Ended], list[str]]
    ) -> list[str]:
        """Run the command with a fault in it, hold everything, run it again; say what broke."""
        case = self.template.with_name("case")
        copy(self.template, case)
        environment = self.task.environment
        ended = runner.run(self.task.words, case / "home", fault=fault, environment=environment)
        wait_for_children(case)
        lasting = alive(case)
        found = [f"processes go on: {lasting}"] if lasting else []
        found += judge(ended) + self._sound(case / "home") + self.made_of(case, ended)
        if ended.code == 0 and state(case / "home") != self.after:
            found.append("it said that it is done")
        again = runner.run(self.task.words, case / "home", environment=environment)
        if again.code not in self.task.again:
            found.append(f"again: {again}")
        found += [f"again: {line}" for line in broken(case / "home")]
        if state(case / "home") != self.after:
            found.append(f"again: another state: {state(case / 'home') ^ self.after}")
        if _content(case, self.task.makes) != self.made:
            found.append(f"again: {self.task.makes} is not what it should be")
        found += _collected(runner, case / "home")
        return [f"{self.task.name}, {fault}: {line}" for line in found]

    def _sound(self, home: Path) -> list[str]:
        return broken(home) + between(self.before, state(home), self.after)

    def made_of(self, case: Path, ended: Ended) -> list[str]:
        """Hold the files beside the home: one is made whole or stays, and nothing else changes."""
        found, makes = [], self.task.makes
        made, before = _content(case, makes), _content(self.template, makes)
        if made != self.made and (ended.code == 0 or made != before):
            found.append(f"{makes} is half-made: {len(made or b'')} bytes")
        new = {path.name for path in case.iterdir()} - {
            path.name for path in self.template.iterdir()
        }
        if ended.code >= 0:  # who was killed cannot tidy up
            found += [f"left behind: {name}" for name in new - {makes, *_OF_ITS_OWN}]
        return found


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a part may try.

    Attributes:
        seconds: about so long; what is tried first of each task says most.
        most: so many points of each task at most.
        tasks: the commands.
        processes: of a crowd.
        stride: of what is tried one after another, every so manieth.
    """

    seconds: float
    most: int = 10**6
    tasks: Sequence[Task] = TASKS
    processes: int = 20
    stride: int = 1


def tried(
    kind: str,
    runner: Runner,
    effort: Effort,
    fault: Callable[[Point, int], Fault],
    judge: Callable[[Ended], list[str]],
) -> Tried:
    """Strike each command at as many of its points as the effort allows, and hold everything."""
    return struck(kind, runner, effort, lambda *at: at[0].strike(runner, fault(*at[1:]), judge))


def struck(
    kind: str, runner: Runner, effort: Effort, strike: Callable[[Trial, Point, int], list[str]]
) -> Tried:
    """Do something at as many points of each command as the effort allows, in shares of the time.

    Args:
        kind: what is counted.
        runner: of the commands.
        effort: which, and how much.
        strike: says what broke of a trial, at a point, the nth that is tried.
    """
    broke, count, until = list[str](), 0, time.monotonic() + effort.seconds
    for left, task in zip(range(len(effort.tasks), 0, -1), effort.tasks, strict=True):
        now = time.monotonic()
        end = now + (until - now) / left
        trial = trial_of(runner, task)
        for number, point in enumerate(sample(trial.points, effort.most, f"{kind} {task.name}")):
            broke += strike(trial, point, number)
            count += 1
            if time.monotonic() > end:
                break
    return Tried(kind, count, broke)


@cache
def trial_of(runner: Runner, task: Task) -> Trial:
    """Return a task made ready, once for all parts."""
    return Trial.of(runner, task, runner.folder / task.name.replace(" ", "-"))


def _content(folder: Path, name: str | None) -> bytes | None:
    path = folder / name if name else None
    return path.read_bytes() if path and path.exists() else None


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
    """Return so many points at most, by chance; the kinds of calls take turns."""
    by_call: dict[str, list[Point]] = {}
    for point in found:
        by_call.setdefault(point.call, []).append(point)
    chance = random.Random(str(seed))
    chosen: list[Point] = []
    for kind in by_call.values():
        chance.shuffle(kind)
    while len(chosen) < min(most, len(found)):
        for kind in by_call.values():
            if kind and len(chosen) < most:
                chosen.append(kind.pop())
    return chosen
