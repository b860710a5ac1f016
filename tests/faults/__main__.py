"""``python -m tests.faults [--minutes N] [--task TASK] [PART…]``: the long versions of all parts.

It says how much was tried, and what broke: nothing may. A part is a function of a runner, an empty
folder and an effort that returns what it `Tried`; to add one, put it into `PARTS`.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.cases import Effort, Tried
from tests.faults.crowd import crowd, stopped_writer
from tests.faults.errors import errors
from tests.faults.hostile import hostile
from tests.faults.kills import kills
from tests.faults.places import places
from tests.faults.power import order, power
from tests.faults.rebuilds import rebuilds
from tests.faults.runner import Runner, traces
from tests.faults.servers import servers
from tests.faults.signals import signals
from tests.faults.tasks import TASKS

Part = Callable[[Runner, Path, Effort], Tried]
PARTS: dict[str, Part] = {
    "kills": kills,
    "errors": errors,
    "signals": signals,
    "places": places,
    "order": order,
    "power": power,
    "crowd": crowd,
    "stopped": stopped_writer,
    "servers": servers,
    "rebuilds": rebuilds,
    "hostile": hostile,
}
_TRACED = {"kills", "errors", "signals", "order", "power", "rebuilds"}


def main() -> int:
    """Run the parts and print what they tried; return 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="of each part, about")
    parser.add_argument("--task", action="append", help="only this command; repeatable")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    tasks = [task for task in TASKS if not asked.task or task.name in asked.task]
    effort, broke = Effort(asked.minutes * 60, tasks=tasks), 0
    with Runner() as runner, tempfile.TemporaryDirectory(prefix="zoo-faults-") as folder:
        for name in asked.parts or PARTS:
            if name in _TRACED and not traces():
                print(f"{name:8}  left out: strace is not here, or not allowed")
                continue
            started = time.monotonic()
            tried = PARTS[name](runner, Path(folder) / name, effort)
            took = (time.monotonic() - started) / 60
            print(
                f"{name:8}  {tried.count:6} {tried.kind}, {len(tried.broke)} broke, {took:.1f} min"
            )
            for line in tried.broke:
                print(f"          {line}")
            sys.stdout.flush()
            broke += len(tried.broke)
    return min(broke, 1)


if __name__ == "__main__":
    sys.exit(main())
