"""Runs ``zoo`` commands: as they are, or with a fault at one system call, put in by strace."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

SECONDS = 120  # after which a command hangs
# What changes a file system, by the names that one machine or another knows them by.
CHANGES = (
    "write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range",
    "fsync", "fdatasync", "sync_file_range", "ftruncate", "truncate", "fallocate",
    "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
    "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat",
    "chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat", "open", "openat", "creat",
)  # fmt: skip
_TRACE = ",".join(f"?{name}" for name in CHANGES)
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)")


class Ended(NamedTuple):
    """How a command ended: its exit code, or minus the signal that killed it; what it said."""

    code: int
    out: str
    err: str


class Point(NamedTuple):
    """A system call of a command: the nth of its kind in its thread."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} #{self.number}"


class Call(NamedTuple):
    """A system call as it was made: which, and with what (with ``-y``: the paths of its files)."""

    thread: int
    name: str
    said: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens in the place of a call: ``signal=KILL`` before it, or ``error=ENOSPC``."""

    what: str
    at: Point
    ever_after: bool = False

    @property
    def words(self) -> list[str]:
        """The options of strace."""
        when = f"{self.at.number}{'+' if self.ever_after else ''}"
        return [
            "-e",
            f"trace={self.at.call}",
            "-e",
            f"inject={self.at.call}:{self.what}:when={when}",
        ]

    def __str__(self) -> str:
        return f"{self.what} at {self.at}{' and after' if self.ever_after else ''}"


class Runner:
    """Runs commands one after another in children of one process that has everything imported.

    Attributes:
        folder: for what lasts as long as the runner.
    """

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.server"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.folder = Path(tempfile.mkdtemp(prefix="zoo-faults-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.kill()
        self._server.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self,
        words: Sequence[object],
        home: Path,
        *,
        fault: Fault | None = None,
        calls: Path | None = None,
        environment: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        uid: int = 0,
    ) -> Ended:
        """Run one command.

        Args:
            words: after ``zoo``.
            home: ``ZOO_HOME``.
            fault: put in.
            calls: where to write down the calls that change something.
            environment: beside the bare one.
            limits: of the process, such as ``RLIMIT_FSIZE``.
            uid: of another user.
        """
        out, err = self.folder / "out", self.folder / "err"
        for path in (out, err):
            path.unlink(missing_ok=True)
        self.folder.chmod(0o777)
        self._ask(
            {
                "words": [*map(str, words)],
                "environment": bare(home) | dict(environment or {}),
                "folder": str(home.parent),
                "out": str(out),
                "err": str(err),
                "limits": dict(limits or {}),
                "uid": uid,
                "stop": fault is not None or calls is not None,
            }
        )
        pid = int(self._answer())
        tracer = None
        if fault is not None:
            tracer = _trace(pid, [*fault.words, "-o", "/dev/null"])
        elif calls is not None:
            tracer = _trace(pid, ["-y", "-e", f"trace={_TRACE}", "-o", str(calls)])
        code = int(self._answer())
        if tracer is not None:
            tracer.wait()
        return Ended(code, _text(out), _text(err))

    def _ask(self, request: Mapping[str, object]) -> None:
        assert self._server.stdin
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()

    def _answer(self) -> str:
        assert self._server.stdout
        return self._server.stdout.readline()


def bare(home: Path) -> dict[str, str]:
    """Return the environment of a command: nothing of the user's, no preparing, a home."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(home.parent),
        "ZOO_HOME": str(home),
        "ZOO_CACHE_SIZE": "0",
        "ZOO_FIRST_LOOK": "0",
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def calls_in(path: Path) -> list[Call]:
    """Return the calls that `Runner.run` wrote down, in their order."""
    lines = path.read_text(errors="replace").splitlines()
    return [Call(int(m[1]), m[2], m[3]) for line in lines if (m := _CALL.match(line))]


def points(calls: Sequence[Call], below: Path) -> list[Point]:
    """Return the calls that change something below a folder, in their order, each once."""
    found: dict[Point, None] = {}
    seen: Counter[tuple[int, str]] = Counter()
    for call in calls:
        seen[call.thread, call.name] += 1
        if str(below) in call.said and _changes(call):
            found[Point(call.name, seen[call.thread, call.name])] = None
    return list(found)


def _changes(call: Call) -> bool:
    return not call.name.startswith("open") or "O_CREAT" in call.said


@cache
def traces() -> bool:
    """Tell whether strace is there and may put faults in."""
    if shutil.which("strace") is None:
        return False
    tried = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=getppid:error=EIO"]
    child = "import os, time; time.sleep(0.3)"
    done = subprocess.run(
        [*tried, sys.executable, "-S", "-c", child], check=False, capture_output=True
    )
    if done.returncode:
        return False
    with subprocess.Popen(["sleep", "60"]) as process:
        with _trace(process.pid, ["-o", "/dev/null"]) as tracer:
            attached = tracer.poll() is None
            process.kill()
        return attached


def _trace(pid: int, options: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Attach strace to a stopped process, and let that go on."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", *options, "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    status = Path(f"/proc/{pid}/status")
    until = time.monotonic() + SECONDS
    while "TracerPid:\t0\n" in status.read_text() and tracer.poll() is None:
        if time.monotonic() > until:
            raise TimeoutError(f"strace does not attach to {pid}")
        time.sleep(0.002)
    time.sleep(0.005)
    os.kill(pid, signal.SIGCONT)
    return tracer


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
