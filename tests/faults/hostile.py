"""Hostile models through the whole command: each is refused by name, and nothing of it is kept."""

import shutil
import time
from pathlib import Path

from tests.faults.cases import Effort, Tried
from tests.faults.invariants import broken, leftovers, state
from tests.faults.kills import unclear
from tests.faults.runner import Ended, Runner
from tests.faults.tasks import one
from tests.support import hostile as models

_REFUSED = {3, 4, 5}  # 3: weights that are not there; 4: a file that is cut off
_COMMANDS = ("register", "pull")


def hostile(runner: Runner, folder: Path, effort: Effort) -> Tried:
    """Let each hostile model be registered, and pulled as a file, in a registry that holds another.

    Those that a short effort leaves out are of the end.
    """
    home = folder / "home"
    folder.mkdir(parents=True)
    one(runner, home)
    held, broke, count = _all_of(home), list[str](), 0
    until = time.monotonic() + effort.seconds
    for case in list(models.cases())[: effort.most]:
        for word in _COMMANDS:
            if time.monotonic() > until:
                return Tried("hostile models", count, broke)
            place = folder / "case"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            ended = runner.run([word, case.build(place), "--name", "net"], home)
            found = _refused(ended) + broken(home)
            found += [f"kept: {name}" for name in _all_of(home) - held]
            found += [f"lost: {name}" for name in held - _all_of(home)]
            broke += [f"{word} {case.name}: {line}" for line in found + leftovers(home)]
            count += 1
    return Tried("hostile models", count, broke)


def _refused(ended: Ended) -> list[str]:
    found = unclear(ended, _REFUSED)
    return [*found, f"said on stdout: {ended.out}"] if ended.out else found


def _all_of(home: Path) -> set[object]:
    """Return everything that is held: what the rows say, and every path in the store."""
    store = home / "store"
    there = {str(path.relative_to(store)) for path in store.rglob("*")}
    return {*state(home), *(there - {"registry"})}  # the registry's id is no model's
