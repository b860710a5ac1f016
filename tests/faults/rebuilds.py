"""The database is lost after a fault, and made again: it must know what was done, and no more."""

from dataclasses import replace
from pathlib import Path

from tests.faults.cases import Effort, Trial, Tried, copy, struck
from tests.faults.invariants import between, broken, state
from tests.faults.runner import Fault, Point, Runner

_NAMES = {"register", "pull", "alias", "tag", "rm", "import", "sync"}
_FAULTS = ("signal=KILL", "error=ENOSPC", "signal=TERM")


def rebuilds(runner: Runner, _: Path, effort: Effort) -> Tried:
    """Strike commands that change what is held, and make the database again from the store."""
    tasks = [task for task in effort.tasks if task.name in _NAMES]
    return struck(
        "rebuilds",
        runner,
        replace(effort, tasks=tasks),
        lambda trial, point, number: _rebuilt(runner, trial, point, number),
    )


def _rebuilt(runner: Runner, trial: Trial, point: Point, number: int) -> list[str]:
    fault = Fault(_FAULTS[number % len(_FAULTS)], point)
    home = trial.template.with_name("case") / "home"
    copy(trial.template, home.parent)
    ended = runner.run(trial.task.words, home, fault=fault)
    told = state(home)
    made = runner.run(["doctor", "--rebuild", "--force"], home)
    found = [f"{made}"] if made.code else []
    now = state(home)
    found += broken(home) + between(trial.before, now, trial.after)
    if len(now) < min(len(trial.before), len(trial.after)):  # such as an alias that is nowhere
        found.append(f"lost on the way: {(trial.before | trial.after) - now}")
    if ended.code >= 0 and now != told:
        found.append(f"not what was told: {now ^ told}")
    return [f"{trial.task.name}, {fault}, made again: {line}" for line in found]
