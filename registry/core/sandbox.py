"""Child processes of ours: one module, one request, a cap on memory and time, an answer in a file.

What runs there may crash, hang or print; the parent hears one answer or one clear error.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from onnxzoo.registry.core import errors
from onnxzoo.registry.core.errors import Refused, StorageError, ZooError
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.sandbox_answer import Told, read_answer
from onnxzoo.registry.core.settings import Settings, child_environment
from onnxzoo.registry.core.staging import held

_ANSWER = "answer.json"
_LOG = "log"
_LAST = 64 << 10  # bytes of a log that are read
_LOUDEST = 64 << 20  # bytes of a log; a child that goes on is stuck in a loop
_NOT_WRITTEN = 7  # a child's exit code where its answer finds no room
_MEMORY_A_CORE = 256 << 20  # bytes of address space: a thread's stack and arena
_UNDER_WAY = "under-way"
_PATIENCE = 4  # times its seconds that a child may wait for a processor besides
_STEP = 0.05  # seconds between two reports of progress
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_SHOWN = 300  # characters of what a crashed child said last
_NEW_USER, _NEW_NETWORK = 0x1000_0000, 0x4000_0000  # CLONE_NEWUSER, CLONE_NEWNET
_NO_MEMORY = ("bad_alloc", "bad allocation", "failed to allocate memory", "out of memory")


class Limits(NamedTuple):
    """Limits of a child process.

    Attributes:
        memory: bytes of address space, or of data where that says nothing.
        seconds: of wall clock.
        reserves: it reserves more address space than it uses, as CUDA does.
        first: seconds until it has to call `under_way`; None: no such step.
    """

    memory: int
    seconds: int
    reserves: bool = False
    first: int | None = None


class Budget(NamedTuple):
    """Default limits of a child process by the size of its input.

    Attributes:
        memory: bytes of address space for the interpreter and the libraries.
        times: and so many times the size.
        seconds: for what takes its time whatever the size.
        rate: bytes a second, at the least.
    """

    memory: int
    times: int
    seconds: int
    rate: int

    def limits(self, size: int, settings: Settings, *, reserves: bool = False) -> Limits:
        """Return the limits for a size in bytes, or the user's own."""
        threads = _MEMORY_A_CORE * (os.cpu_count() or 1)
        return Limits(
            settings.max_memory or self.memory + threads + self.times * size,
            settings.max_seconds or self.seconds + size // self.rate,
            reserves,
        )


def ask(
    command: Sequence[str],
    request: Mapping[str, Any],
    folder: Path,
    *,
    doing: str,
    limits: Limits,
    tell: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
    outlives: bool = False,
) -> dict[str, Any]:
    """Run a child on a request and return its answer.

    Args:
        command: an interpreter and a module whose main is `answer`.
        request: JSON values.
        folder: an empty folder for the answer and for what the child prints.
        doing: what it does, in words that follow on "while": ``converting `x.pt```.
        limits: of its memory and time.
        tell: called now and then, to report progress.
        environment: its variables; None for the parent's, without what is secret.
        outlives: it goes on when the parent ends, since what it makes is of use all the same.

    Raises:
        ZooError: the child's own, or Refused if it passed a limit or crashed.
    """
    parent = None if outlives else os.getpid()
    sent = {**request, "folder": str(folder), "limits": limits, "parent": parent}
    with reporting_storage(folder):
        (folder / "request.json").write_text(json.dumps(sent), encoding="utf-8")
        with (folder / _LOG).open(
            "w+b"
        ) as log:  # held open: the child may put another in its place
            code = _run(
                [*command, str(folder / "request.json")],
                folder,
                limits,
                tell,
                log=log,
                environment=environment or child_environment(isolated=False),
                doing=doing,
            )
            said = _last_words(log)
    told = _answered(folder, code, doing)
    if not told.bounded:
        _warn_of_no_bound(sys.platform)
    if told.values is not None:
        return dict(told.values)
    if told.error is not None:
        raise told.error
    if code == _NOT_WRITTEN:
        raise StorageError(f"`{folder}` takes no more while {doing}", hint="free some space")
    raise _broken(code, said, doing, limits, _seconds(limits, folder), no_memory=told.short)


def _answered(folder: Path, code: int | None, doing: str) -> Told:
    """Return a child's answer; half an answer of a broken child counts as none."""
    try:
        return read_answer(folder / _ANSWER, doing)
    except Refused:
        if code == 0:
            raise
        return Told()


@cache
def _warn_of_no_bound(system: str) -> None:
    """Say once a process that memory is not bounded on this system."""
    logger().warning(
        "%s does not bound the memory of child processes: one that takes too much is not stopped",
        system,
    )


def answer(main: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Be the child: read the request, keep to its limits, do it, write the answer."""
    request = json.loads(Path(sys.argv[1]).read_bytes())
    told: dict[str, Any]
    try:
        if request["parent"] is not None:
            _die_with(request["parent"])
        bounded = _limit(Limits(*request["limits"]))
        with held(Path(request["folder"])):  # it may outlive the process that made the folder
            told = {"answer": main(request), "bounded": bounded}
    except MemoryError:
        told = {"limit": "memory"}
    except ZooError as error:
        failed = {"type": _known(error), "message": error.message, "hint": error.hint}
        told = {"limit": "memory"} if wants_memory(str(error)) else {"error": failed}
    except OSError as error:  # a full disk, mostly
        where = error.filename or request["folder"]
        said = f"`{where}`: {(error.strerror or str(error)).lower()}"
        told = {"error": {"type": "StorageError", "message": said, "hint": "free some space"}}
    try:
        (Path(request["folder"]) / _ANSWER).write_text(json.dumps(told), encoding="utf-8")
    except OSError:
        sys.exit(_NOT_WRITTEN)


def under_way(request: Mapping[str, Any]) -> None:
    """Tell the parent that the first step is done: from here on `Limits.seconds` is the limit."""
    (Path(request["folder"]) / _UNDER_WAY).touch()


def _known(error: ZooError) -> str:
    """Return the nearest class of an error that the parent knows: a converter may have its own."""
    return next(one.__name__ for one in type(error).__mro__ if hasattr(errors, one.__name__))


def leave_network() -> bool:
    """Cut this process off from every network, loopback too; return whether that was allowed.

    On Linux only, before any thread starts. Whoever is not root needs a user namespace for it, in
    which it stays who it is. Source: network_namespaces(7), user_namespaces(7).
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    unshare = ctypes.CDLL(None).unshare
    if unshare(_NEW_NETWORK) == 0:
        return True
    if (probe := os.fork()) == 0:  # some systems allow the first step only: no way back from there
        os._exit(not _leave_as_user(unshare))
    return os.waitpid(probe, 0)[1] == 0 and _leave_as_user(unshare)


def _leave_as_user(unshare: Callable[[int], int]) -> bool:
    user, group, own = os.geteuid(), os.getegid(), Path("/proc/self")
    if unshare(_NEW_NETWORK | _NEW_USER):
        return False
    try:
        (own / "setgroups").write_text("deny")
        (own / "uid_map").write_text(f"{user} {user} 1")
        (own / "gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return False
    return True


def wants_memory(text: str) -> bool:
    """Tell whether an error's text says that memory could not be had."""
    return any(words in text.lower() for words in _NO_MEMORY)


def _run(
    command: Sequence[str],
    folder: Path,
    limits: Limits,
    tell: Callable[[], None],
    *,
    log: IO[bytes],
    environment: Mapping[str, str],
    doing: str,
) -> int | None:
    """Run a child and return its exit code, None if its time was up."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=dict(environment),
    )
    try:
        started = time.monotonic()
        while _worked(child.pid, started, limits) < _seconds(limits, folder):
            if _has_ended(child):
                _kill(child)  # what it started and left
                return child.wait()
            tell()
            if os.fstat(log.fileno()).st_size > _LOUDEST:
                raise Refused(f"a process printed over {_LOUDEST >> 20} MiB while {doing}")
        return None
    finally:
        if child.returncode is None:
            _kill(child)
        child.wait()


def _has_ended(child: "subprocess.Popen[bytes]") -> bool:
    """Wait for a child for a moment, and return whether it has ended.

    It is not reaped where the system can tell without: so its number, which is that of its group,
    cannot be another's yet. Source: the Linux manual page waitid(2), "WNOWAIT".
    """
    if not hasattr(os, "waitid"):  # macOS, Windows
        with suppress(subprocess.TimeoutExpired):
            child.wait(_STEP)
        return child.returncode is not None
    until, pause = time.monotonic() + _STEP, 0.0005
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with suppress(ChildProcessError):  # reaped by this program's own handler of SIGCHLD
        while os.waitid(os.P_PID, child.pid, ended) is None:
            left = until - time.monotonic()
            if left <= 0:
                return False
            pause = min(2 * pause, left)
            time.sleep(pause)
    return True


def _seconds(limits: Limits, folder: Path) -> int:
    """Return the seconds that a child has, by how far it is."""
    if limits.first is None or (folder / _UNDER_WAY).exists():
        return limits.seconds
    return min(limits.first, limits.seconds)


def _worked(pid: int, started: float, limits: Limits) -> float:
    """Return the seconds since a child started, less its wait for a processor.

    Linux counts them, in nanoseconds; elsewhere none are left out.
    Source: the Linux kernel's documentation, scheduler/sched-stats, "/proc/<pid>/schedstat".
    """
    waited = 0.0
    with suppress(OSError, ValueError, IndexError):
        waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return time.monotonic() - started - min(waited, _PATIENCE * limits.seconds)


def _last_words(log: IO[bytes]) -> str:
    log.seek(max(0, os.fstat(log.fileno()).st_size - _LAST))
    return log.read(_LAST).decode("utf-8", errors="replace").strip()


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill a child with all that it started, and has not left its group."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # all of it has ended
            os.killpg(child.pid, signal.SIGKILL)
    elif child.returncode is None:
        child.kill()


def _broken(
    code: int | None, said: str, doing: str, limits: Limits, seconds: int, *, no_memory: bool
) -> Refused:
    memory = limits.memory
    if code is None or code == -getattr(signal, "SIGALRM", 0):
        return Refused(
            f"{seconds} s were not enough while {doing}",
            hint=f"if you trust it, allow more: export ZOO_MAX_SECONDS={2 * seconds}",
        )
    killed = code == -getattr(signal, "SIGKILL", 9) or ((code or 0) < 0 and wants_memory(said))
    if no_memory or killed:
        return Refused(
            f"{memory / 1e9:.1f} GB of memory were not enough while {doing}",
            hint=f"if you trust it, allow more: export ZOO_MAX_MEMORY={2 * memory // 10**9 + 1}GB",
        )
    last = said.splitlines()[-1][:_SHOWN] if said else "it said nothing"
    return Refused(f"a process crashed (exit {code}) while {doing}: {last}")


def _die_with(parent: int) -> None:
    """Have this process killed when its parent is gone, even if that was killed itself.

    Only Linux can; elsewhere the time that `_limit` allows is the bound. A thread of the parent
    started this process and waits for it, so that thread's end is the parent's.

    Source: the Linux manual page prctl(2), "PR_SET_PDEATHSIG".
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it was gone before it could be asked for
        os.kill(os.getpid(), signal.SIGKILL)


def _limit(limits: Limits) -> bool:
    """Bound this process: its memory, and its time even if its parent is gone.

    Returns:
        whether the system took the limit: macOS refuses it with EINVAL, a ValueError.
        Source: cpython#84698.
    """
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only bound
        return True
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm((1 + _PATIENCE) * limits.seconds)
    kind = resource.RLIMIT_DATA if limits.reserves else resource.RLIMIT_AS
    try:
        _, hard = resource.getrlimit(kind)
        bound = limits.memory if hard == resource.RLIM_INFINITY else min(limits.memory, hard)
        resource.setrlimit(kind, (bound, hard))
    except (ValueError, OSError):
        return False
    return True
