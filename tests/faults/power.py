"""Power cuts: what was not made durable is lost, and what is left must still be a registry."""

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.faults.cases import Effort, Trial, Tried, copy, sample, trial_of
from tests.faults.invariants import between, broken, state
from tests.faults.runner import Call, Fault, Point, Runner, calls_in
from tests.faults.tasks import TASKS

# Source: the kernel's include/uapi/linux/fs.h (FS_IOC_SHUTDOWN is _IOR('X', 125, __u32)).
_SHUTDOWN = 0x8004587D
_FLUSH_NAMES, _FLUSH_NOTHING = 1, 2  # the journal is written first, or not
_MOUNT = "loop,commit=300,data=writeback"  # nothing is written unless it is asked for
_IMAGE = 96 << 20  # bytes
_NAMES = {
    "register first", "register", "pull", "alias", "rm", "gc",
    "export", "import", "lock", "sync", "rebuild",
}  # fmt: skip


def power(runner: Runner, folder: Path, effort: Effort) -> Tried:
    """Cut the power at so many calls of each command, on a disk of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    broke, count, until = list[str](), 0, time.monotonic() + effort.seconds
    tasks = [task for task in effort.tasks if task.name in _NAMES]
    for left, task in zip(range(len(tasks), 0, -1), tasks, strict=True):
        now = time.monotonic()
        end = now + (until - now) / left
        trial = trial_of(runner, task)
        chosen = sample(trial.points, effort.most, f"power {task.name}")
        for number, point in enumerate([None, *chosen]):  # None: after it said that it was done
            if time.monotonic() > end and number:
                break
            flag = (_FLUSH_NOTHING, _FLUSH_NAMES)[number % 2]
            found = _cut(runner, trial, folder, point, flag)
            if found is None:
                return Tried("power cuts", count, broke)
            broke += [f"{task.name}, power off at {point or 'its end'}: {line}" for line in found]
            count += 1
    return Tried("power cuts", count, broke)


def _cut(
    runner: Runner, trial: Trial, folder: Path, point: Point | None, flag: int
) -> list[str] | None:
    """Run a command until a point, cut the power, and look at what is left; None: not allowed."""
    image, disk = folder / "image", folder / "disk"
    with disk_of(image, disk) as made:
        if not made:
            return None
        copy(trial.template, disk / "case")
        subprocess.run(["sync", "-f", disk], check=True)
        fault = Fault("signal=KILL", point) if point else None
        ended = runner.run(trial.task.words, disk / "case" / "home", fault=fault)
        descriptor = os.open(disk, os.O_RDONLY)
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("i", flag))
        os.close(descriptor)
    with disk_of(image, disk, fresh=False):
        home = disk / "case" / "home"
        now = state(home) if home.exists() else frozenset()
        found = broken(home) + between(trial.before, now, trial.after)
        found += trial.made_of(home.parent, ended)
        if ended.code == 0 and now != trial.after:
            found.append("it was said to be done, and is not there")
        again = runner.run(trial.task.words, home)
        if again.code not in trial.task.again or state(home) != trial.after:
            found.append(f"again: {again}")
        return found + broken(home)


@contextmanager
def disk_of(image: Path, disk: Path, *, fresh: bool = True) -> Iterator[bool]:
    """Mount a file as a disk; give whether that is allowed."""
    disk.mkdir(exist_ok=True)
    try:
        if fresh:
            image.unlink(missing_ok=True)
            with image.open("wb") as file:
                file.truncate(_IMAGE)
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
        mount = ["mount", "-t", "ext4", "-o", _MOUNT, str(image), str(disk)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield False
        return
    try:
        yield True
    finally:
        for _ in range(100):
            done = subprocess.run(["umount", disk], check=False, capture_output=True)
            if done.returncode == 0:
                break
            time.sleep(0.05)


def order(runner: Runner, folder: Path, _: Effort) -> Tried:
    """Read from the calls of whole runs that contents come before names, and names before rows."""
    broke, count = [], 0
    for task in (task for task in TASKS if task.name in {"register first", "register", "pull"}):
        folder.mkdir(parents=True, exist_ok=True)
        calls = folder / "calls"
        trial = trial_of(runner, task)
        copy(trial.template, folder / "case")
        runner.run(task.words, folder / "case" / "home", calls=calls)
        broke += [f"{task.name}: {line}" for line in _out_of_order(calls_in(calls))]
        count += 1
    return Tried("orders of calls", count, broke)


def _out_of_order(calls: Sequence[Call]) -> list[str]:
    """Return what is wrong with the one rename of a bundle into its place and what is around it."""
    renames = [n for n, c in enumerate(calls) if c.name.startswith("rename") and _to_place(c)]
    if len(renames) != 1:
        return [f"{len(renames)} renames into place; expected one"]
    at = renames[0]
    staged, place = calls[at].said.split('"')[1], calls[at].said.split('"')[3]
    written = {_file(c) for c in calls[:at] if c.name == "write" and _file(c).startswith(staged)}
    synced = {_file(c) for c in calls[:at] if c.name == "fsync"}
    found = [f"renamed before it was synced: {path}" for path in {*written, staged} - synced]
    later = [(n, _file(c)) for n, c in enumerate(calls) if n > at and "sync" in c.name]
    log = [n for n, path in later if path.endswith("registry.db-wal")]
    commit = log[-1] if log else -1
    before = {path for n, path in later if n < commit}
    names = {str(Path(place).parent), str(Path(place).parents[1])}
    return found + [f"committed before the name was synced: {name}" for name in names - before]


def _to_place(call: Call) -> bool:
    place = Path(call.said.split('"')[3])  # of a bundle: no sidecar, nor the registry's id
    return "/.staging/" in call.said.split('"')[1] and not place.suffix and place.name != "registry"


def _file(call: Call) -> str:
    """Return the path that strace shows for a call's descriptor: ``fsync(3</a/b>)``."""
    return call.said.partition("<")[2].partition(">")[0]
