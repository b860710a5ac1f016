"""Half-made files and folders: named for who makes them, and held by a lock while they are made.

A name says which process makes it: host, number, kernel and namespace of that number, start time.
A number alone means nothing in another container, and is given again. Across containers of one
kernel the held lock tells, and across machines the age.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EMFILE, ENFILE
from functools import cache
from pathlib import Path

_DAY = 86_400  # seconds
# Source: Microsoft's documentation of OpenProcess, GetExitCodeProcess and system error codes.
_QUERY, _STILL_ACTIVE, _ACCESS_DENIED = 0x1000, 259, 5
# No /proc, or one that may not be read. A lack of open files is an error: a name without its owner
# would be taken for another machine's.
_NO_PROC = (FileNotFoundError, NotADirectoryError, PermissionError)
# Windows has neither of the flags, nor such a lock.
_TO_LOCK = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_GRACE = 60  # seconds between making a folder and holding it, with much room


def staging_name() -> str:
    """Return a new name for a file or folder of this process; see `abandoned`."""
    pid = os.getpid()
    where = ".".join((*_kernel(), _start(pid)))
    return f"{_host()}-{pid}-{where}-{os.urandom(4).hex()}"


@contextmanager
def staging_folder(path: Path) -> Iterator[Path]:
    """Make a folder and hold it until the end of the block; see `abandoned`."""
    path.mkdir(parents=True)
    with held(path):
        yield path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file or folder that is being made, so that nobody takes it for abandoned.

    Where a file system or an operating system has no such lock, the name has to do.
    """
    descriptor = _opened(path)
    try:
        if descriptor is not None:
            hold(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def hold(descriptor: int) -> None:
    """Hold an open file or folder until it is closed; several processes may.

    Source: the Linux manual page flock(2): the lock belongs to the open file, whoever has it.
    """
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Lock a file, made if need be, and tell whether nobody else has; it is not waited for."""
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):  # read-only, or a file system without locks
        yield True
        return
    try:
        yield True
    finally:
        lock.release()


def abandoned(path: Path, prefix: str = "") -> bool:
    """Return whether the process that makes a file is gone, or may be: a day old, elsewhere.

    Args:
        path: its name ends in what `staging_name` gave, and maybe a word without a hyphen.
        prefix: what its name begins with.
    """
    host, pid, where = _owner(path.name.removeprefix(prefix))
    if _is_held(path):
        return False
    kernel, space, start = where or (*_kernel(), "")  # an older onnxzoo did not say
    ours = host == _host() and (kernel == _kernel()[0] == "" or where is None)
    if not (kernel and kernel == _kernel()[0] and where) and not ours:
        return _age(path) > _DAY
    if space == _kernel()[1]:
        return not _lives(pid, start)
    return _age(path) > (_GRACE if _can_be_held(path) else _DAY)


def _owner(name: str) -> tuple[str, str, tuple[str, str, str] | None]:
    head, _, where = name.rpartition("-")[0].rpartition("-")
    if where.count(".") != 2:  # noqa: PLR2004  (an older onnxzoo's: host-pid-random)
        return head, where, None
    host, _, pid = head.rpartition("-")
    kernel, space, start = where.split(".")
    return host, pid, (kernel, space, start)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0


def _opened(path: Path) -> int | None:
    if sys.platform == "win32":  # neither opens a folder nor has such a lock
        return None
    try:
        return os.open(path, _TO_LOCK)
    except OSError:
        return None


def _is_held(path: Path) -> bool:
    return _try_lock(path) is False


def _can_be_held(path: Path) -> bool:
    return _try_lock(path) is not None


def _try_lock(path: Path) -> bool | None:
    """Return whether a path can be locked by one alone; None where there are no locks.

    A process that can open no more files cannot tell: then it counts as held.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(path, _TO_LOCK)
    except OSError as error:
        return False if error.errno in {EMFILE, ENFILE} else None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return True


def _lives(pid: str, start: str) -> bool:
    """Tell whether a process lives that has this number and, where that is known, this start."""
    if not pid.isdecimal():
        return True
    now = _start(int(pid))
    if start and now:
        return now == start
    if sys.platform == "win32":
        return _lives_on_windows(int(pid))
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _lives_on_windows(pid: int) -> bool:
    """Tell whether a process lives: ``os.kill(pid, 0)`` would send it a Ctrl-C there."""
    if sys.platform == "win32":
        import ctypes

        kernel, code = ctypes.windll.kernel32, ctypes.c_ulong()
        handle = kernel.OpenProcess(_QUERY, 0, pid)
        if not handle:
            return bool(kernel.GetLastError() == _ACCESS_DENIED)
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == _STILL_ACTIVE
    return True


@cache
def _host() -> str:
    import platform  # costs 3 ms, which opening a session has not got

    return platform.node()


@cache
def _kernel() -> tuple[str, str]:
    """Return the names of this boot of this machine, and of the namespace of process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (a link to no path)
    except _NO_PROC:
        return "", ""
    return boot.strip().replace("-", "")[:12], f"{space:x}"


def _start(pid: int) -> str:
    """Return when a process started, in ticks since the boot; empty where that cannot be told.

    Source: the Linux manual page proc_pid_stat(5), field 22.
    """
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115  (another namespace's)
            return ""
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (*_NO_PROC, ProcessLookupError):
        return ""
    fields = text[text.rfind(b")") + 2 :].split()
    return "ended" if fields[0] in {b"Z", b"X"} else fields[19].decode("ascii")
