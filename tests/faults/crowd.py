"""Crowds: many processes at one registry; none may lose what it was told is done."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.cases import Effort, Tried
from tests.faults.invariants import broken, leftovers, state
from tests.faults.runner import SECONDS, Runner, bare
from tests.support import models

_ROOT = Path(__file__).parents[2]
_LIGHT = ("light-squeezenet", "light-shufflenet")
_LEAST = 4  # deeds of each, however slow the machine is
_HOLD = """
import os, signal, sys
from pathlib import Path
from onnxzoo.registry.database.database import Database
with Database(Path(sys.argv[1])).write():
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def crowd(runner: Runner, folder: Path, effort: Effort) -> Tried:
    """Let processes pull, register, alias, remove and collect the same bytes for some time."""
    folder.mkdir(parents=True)
    home, seconds = folder / "home", effort.seconds
    for value in range(3):
        models.linear(folder / f"m{value}.onnx", value=value)
    words = [sys.executable, "-m", "tests.faults.crowd"]
    environment = {**bare(home), "PYTHONPATH": str(_ROOT)}
    members = [
        subprocess.Popen(
            [*words, str(folder), str(number), str(seconds)],
            cwd=_ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(effort.processes)
    ]  # fmt: skip
    broke, done, expected = [], 0, set()
    for number, member in enumerate(members):
        try:
            out, err = member.communicate(timeout=seconds + SECONDS)
        except subprocess.TimeoutExpired:
            member.kill()
            broke.append(f"process {number} hangs: {member.communicate()[1][-400:]}")
            continue
        if member.returncode:
            broke.append(f"process {number}: {err[-800:]}")
            continue
        told = json.loads(out)
        done += told["done"]
        expected |= set(told["held"])
    broke += broken(home)
    held = {str(row[1]) for row in state(home) if row[0] == "variant" and row[1] != "shared"}
    broke += [f"lost, or there again: {name}" for name in held ^ expected] if not broke else []
    ended = runner.run(["gc"], home)
    broke += [f"gc: {ended}"] if ended.code else []
    return Tried("deeds of a crowd", done, broke + broken(home) + leftovers(home))


class StoppedWriter:
    """A process that stands still in the middle of writing, and a command that waits for it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._home = folder / "home"
        environment = {**bare(self._home), "PYTHONPATH": str(_ROOT)}
        self._holder = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(self._home / "registry.db")], env=environment
        )
        os.waitpid(self._holder.pid, os.WUNTRACED)
        self._waiting = subprocess.Popen(
            [sys.executable, "-m", "onnxzoo", "gc"],
            env=environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def outcome(self, runner: Runner) -> Tried:
        """Wait until the command gives up; it must name who stands still."""
        err = self._waiting.communicate(timeout=SECONDS)[1]
        broke = []
        if self._waiting.returncode != 8 or "Traceback" in err:
            broke.append(f"stopped writer: exit {self._waiting.returncode}: {err}")
        if Path("/proc/locks").exists() and f"process {self._holder.pid} " not in err:
            broke.append(f"process {self._holder.pid} was not named: {err}")
        os.kill(self._holder.pid, signal.SIGCONT)
        self._holder.wait()
        ended = runner.run(["gc"], self._home)
        broke += [f"after it went on: {ended}"] if ended.code else []
        return Tried("stopped writers", 1, broke)


def stopped_writer(runner: Runner, folder: Path, _: Effort) -> Tried:
    """See what becomes of a command while a process that writes stands still."""
    return StoppedWriter(folder).outcome(runner)


def _main(folder: Path, number: int, seconds: float) -> None:
    """Be one of the crowd: do what comes by chance, and check what was done all along."""
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.errors import NotFound, Refused
    from onnxzoo.zoo_index.zoo import Zoo

    chance, mine, done = random.Random(number), set[str](), 0
    until = time.monotonic() + seconds
    with Zoo(Registry()) as zoo:
        registry = zoo.registry
        while time.monotonic() < until or done < _LEAST:
            name = f"w{number}-{chance.randrange(3)}"
            deed = chance.choice(("pull", "register", "remove", "shared", "alias", "gc"))
            try:
                if deed == "pull":
                    zoo.pull(chance.choice(_LIGHT), name=name)
                    mine.add(name)
                elif deed == "register":
                    path = folder / f"m{chance.randrange(3)}.onnx"
                    registry.register(path, name, new_version=True)
                    mine.add(name)
                elif deed == "remove" and name in mine:
                    registry.remove(name, force=True)
                    mine.discard(name)
                elif deed == "shared":
                    registry.register(folder / f"m{chance.randrange(3)}.onnx", "shared")
                    registry.alias("shared", chance.choice("abc"))
                elif deed == "alias":
                    registry.remove("shared", force=True)
                else:
                    registry.gc()
            except (NotFound, Refused):
                if deed not in {"shared", "alias"}:
                    raise  # nobody else touches what is mine
            for held in mine:
                registry.check_there(registry.resolve(held))
            done += 1
    print(json.dumps({"done": done, "held": sorted(mine)}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
