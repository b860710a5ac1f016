"""Places that refuse: a small disk, no inodes, a read-only disk, no rights, limits; cut files."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.cases import Effort, Tried, copy
from tests.faults.errors import refused
from tests.faults.invariants import broken, state
from tests.faults.kills import unclear
from tests.faults.runner import Ended, Runner
from tests.faults.tasks import matrix
from tests.support import models

_LONG = 60  # seconds
_DISKS = ("size=400k", "size=600k", "size=1m", "nr_inodes=30", "nr_inodes=45", "size=4m")
_NOBODY = 65534
_BIG = 8  # million bytes of the model that does not fit
_COMMANDS = (
    ("register", "big.onnx", "--name", "big"),
    ("pull", "light-squeezenet"),
    ("tag", "kept", "fresh"),
    ("rm", "-y", "kept@2"),
    ("gc",),
    ("quantize", "matrix", "--to", "int8"),
)
_WRITING = (("export", "kept", "-o", "out.zoo"), ("lock", "kept", "-o", "zoo.lock"))
_BEFORE = "lock-version = 1\n"  # what a file held that is to be replaced
_READING = (
    ("list",), ("show", "kept"), ("path", "kept"), ("verify",), ("run", "kept"),
    ("gc", "--dry-run"),
)  # fmt: skip


def places(runner: Runner, folder: Path, effort: Effort) -> Tried:
    """Run commands in places that refuse them; only some if time is short."""
    commands = _COMMANDS if effort.seconds > _LONG else _COMMANDS[:3]
    template = folder / "template"
    template.mkdir(parents=True)
    matrix(runner, template / "home")
    models.sized(template / "big.onnx", _BIG)
    broke, count = list[str](), 0
    for part in (_file_limits, _small_disks, _closed, _no_rights, _outputs, _cut_files):
        tried = part(runner, folder, template, commands)
        broke += tried.broke
        count += tried.count
    return Tried("places", count, broke)


def _file_limits(
    runner: Runner, folder: Path, template: Path, commands: Sequence[tuple[str, ...]]
) -> Tried:
    broke, count = list[str](), 0
    for words in commands:
        for limit in (4_000, 9_000, 150_000):
            copy(template, folder / "case")
            home = folder / "case" / "home"
            ended = runner.run(words, home, limits={"RLIMIT_FSIZE": limit})
            broke += _held(f"{words} with files of {limit} bytes", home, template, ended)
            broke += _again(runner, words, home)
            count += 1
    return Tried("file limits", count, broke)


def _small_disks(
    runner: Runner, folder: Path, template: Path, commands: Sequence[tuple[str, ...]]
) -> Tried:
    broke, count = list[str](), 0
    for options in _DISKS if len(commands) > 3 else _DISKS[1::3]:
        for words in commands:
            with mounted(folder / "disk", "tmpfs", "-o", options) as disk:
                if disk is None:
                    return Tried("small disks", count, broke)
                if not _fits(template / "home", disk):
                    continue
                ended = runner.run(_beside(words, template), disk / "home")
                broke += _held(f"{words} on {options}", disk / "home", template, ended)
                _mount("-o", "remount,size=64m,nr_inodes=9000", str(disk))
                broke += _again(runner, _beside(words, template), disk / "home")
                count += 1
    return Tried("small disks", count, broke)


def _closed(
    runner: Runner, folder: Path, template: Path, commands: Sequence[tuple[str, ...]]
) -> Tried:
    broke, count = list[str](), 0
    for kind, close in (("a full disk", _fill), ("a read-only disk", _freeze)):
        with mounted(folder / "disk", "tmpfs", "-o", "size=1m") as disk:
            if disk is None:
                break
            _fits(template / "home", disk)
            close(disk)
            for words in commands:
                ended = runner.run(_beside(words, template), disk / "home")
                broke += [f"{words} on {kind}: {line}" for line in refused(ended)]
                count += 1
            for words in _READING:
                ended = runner.run(words, disk / "home")
                broke += [f"{words} on {kind}: {ended}"] if ended.code else []
                count += 1
    return Tried("closed disks", count, broke)


def _no_rights(
    runner: Runner, _: Path, template: Path, commands: Sequence[tuple[str, ...]]
) -> Tried:
    if os.geteuid() != 0:
        return Tried("no rights", 0, [])
    broke, count = list[str](), 0
    place = runner.folder / "nobody"  # pytest's own folders are closed to others
    copy(template, place)
    for words in (*commands, *_READING):
        ended = runner.run(words, place / "home", uid=_NOBODY)
        broke += [f"{words} as nobody: {line}" for line in refused(ended)]
        broke += [f"{words} as nobody: {ended}"] if words in _READING and ended.code else []
        count += 1
    return Tried("no rights", count, broke)


def _outputs(runner: Runner, folder: Path, template: Path, _: Sequence[tuple[str, ...]]) -> Tried:
    """Write files of the user's own into places that refuse them; what was there stays."""
    broke, count = list[str](), 0
    copy(template, folder / "case")
    home, disk = folder / "case" / "home", folder / "outputs"
    for where, make in (("no folder", _nothing), ("full", _full), ("read-only", _frozen)):
        with make(disk) as there:
            if there is None:
                continue
            for words in _WRITING:
                target = there / words[-1]
                before = _files(there)
                ended = runner.run((*words[:-1], target), home)
                found = refused(ended) + ([] if ended.code else ["it said that it is done"])
                found += broken(home)
                found += [f"left behind: {name}" for name in _files(there) ^ before]
                broke += [f"{words} into {where}: {line}" for line in found]
                count += 1
    return Tried("outputs", count, broke)


def _cut_files(runner: Runner, folder: Path, template: Path, _: Sequence[tuple[str, ...]]) -> Tried:
    """Import a file that was cut off; nothing of it is kept."""
    broke, count = list[str](), 0
    copy(template, folder / "case")
    home, cut = folder / "case" / "home", folder / "case" / "cut.zoo"
    runner.run(("export", "matrix", "-o", cut), home)
    whole = cut.read_bytes()
    runner.run(("rm", "-y", "matrix"), home)
    held = state(home)
    for length in (0, 1, 511, 512, 600, len(whole) // 2, len(whole) - 1025, len(whole) - 1):
        cut.write_bytes(whole[:length])
        ended = runner.run(("import", cut), home)
        found = unclear(ended, {4, 5}) + broken(home)
        found += ["half done"] if state(home) != held else []
        broke += [f"import of {length} bytes of {len(whole)}: {line}" for line in found]
        count += 1
    return Tried("cut files", count, broke)


def _held(what: str, home: Path, template: Path, ended: Ended) -> list[str]:
    before, now = state(template / "home"), state(home)
    found = refused(ended) + broken(home)
    if ended.code and now != before:
        found.append(f"half done: {now ^ before}")
    return [f"{what}: {line}" for line in found]


def _again(runner: Runner, words: tuple[str, ...], home: Path) -> list[str]:
    ended = runner.run(words, home)
    done = ended.code == 0 or (words[0] == "rm" and ended.code == 3)
    return ([] if done else [f"{words} again: {ended}"]) + broken(home)


def _beside(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Return a command with the file that it reads on another disk."""
    return tuple(str(folder / word) if word.endswith(".onnx") else word for word in words)


def _files(folder: Path) -> set[tuple[str, bytes]]:
    return {(path.name, path.read_bytes()) for path in folder.glob("*")}


@contextmanager
def _nothing(disk: Path) -> Iterator[Path | None]:
    yield disk / "none"


@contextmanager
def _full(disk: Path) -> Iterator[Path | None]:
    """Give a disk with files of before, and no byte left."""
    with mounted(disk, "tmpfs", "-o", "size=64k") as there:
        if there is not None:
            for words in _WRITING:
                (there / words[-1]).write_text(_BEFORE)
            _fill(there)
        yield there


@contextmanager
def _frozen(disk: Path) -> Iterator[Path | None]:
    with mounted(disk, "tmpfs", "-o", "size=64k") as there:
        if there is not None:
            for words in _WRITING:
                (there / words[-1]).write_text(_BEFORE)
            _freeze(there)
        yield there


def _fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(1024)):
            pass


def _freeze(disk: Path) -> None:
    _mount("-o", "remount,ro", str(disk))


def _fits(home: Path, disk: Path) -> bool:
    try:
        copy(home, disk / "home")
    except OSError:
        return False
    return True


@contextmanager
def mounted(folder: Path, kind: str, *options: str) -> Iterator[Path | None]:
    """Give a file system in a folder; None where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _mount("-t", kind, *options, kind, str(folder)):
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


def _mount(*words: str) -> bool:
    try:
        return not subprocess.run(["mount", *words], check=False, capture_output=True).returncode
    except FileNotFoundError:
        return False
