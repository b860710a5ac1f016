"""The first look at a model: in a child process with a cap on its memory and time."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onnxzoo.registry.errors import InvalidModel, Refused
from onnxzoo.registry.looker import ANSWER
from onnxzoo.registry.prepared import Prepared, PreparedSessions
from onnxzoo.registry.records import Progress
from onnxzoo.registry.sessions import Provider
from onnxzoo.registry.settings import Settings
from onnxzoo.registry.store import size_of

# Address space: the interpreter, numpy and onnxruntime take 1 GB of it, each core's threads some,
# and optimising a model takes its weights four times over (measured: resnet50, vgg19, BERT-base).
_MEMORY = 3 << 30  # bytes
_MEMORY_A_CORE = 128 << 20
_TIMES_ITS_SIZE = 8
_SECONDS = 120
_BYTES_A_SECOND = 5_000_000  # measured: vgg19's 575 MB take 10 s on two slow cores
_STEP = 0.05  # seconds between two reports of progress


def look(
    path: Path,
    digest: str,
    key: str,
    sessions: PreparedSessions,
    *,
    providers: Sequence[Provider],
    settings: Settings,
    progress: Progress | None = None,
) -> Prepared | None:
    """Open a model in a child, prepare it there, prove it, and keep what was prepared.

    Args:
        path: the `.onnx` file.
        digest: its bundle's.
        key: the entry's; see `prepared.key_of`.
        sessions: where entries are kept.
        providers: execution providers, as onnxruntime takes them.
        settings: the bounds on memory and time, where the user set them.
        progress: told of the bytes that the child wrote.

    Raises:
        InvalidModel: if onnxruntime cannot open it.
        Refused: if it passed a limit, or crashed.
        StorageError: if an entry cannot be written.
    """
    size = size_of(path.parent)
    memory = settings.max_memory or (
        _MEMORY + _MEMORY_A_CORE * (os.cpu_count() or 1) + _TIMES_ITS_SIZE * size
    )
    seconds = settings.max_seconds or _SECONDS + size // _BYTES_A_SECOND
    with sessions.stage(key) as folder:
        request = {
            "path": str(path),
            "into": str(folder),
            "digest": digest,
            "providers": list(providers),
            "memory": memory,
            "seconds": seconds,
        }

        def tell() -> None:
            if progress:
                progress(f"prepare {path.name}", min(size_of(folder), size - 1), size)

        code = _run(request, folder, seconds, tell)
        _check(folder, code, path.name, memory, seconds)
        sessions.keep(folder / "entry", key)
    return sessions.find(key)


def _run(
    request: Mapping[str, object], folder: Path, seconds: int, tell: Callable[[], None]
) -> int | None:
    """Run the child and return its exit code, None if its time was up."""
    text = json.dumps(request, default=str)  # onnxruntime takes a provider's options as words
    command = [sys.executable, "-P", "-m", "onnxzoo.registry.looker", text]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                return child.wait(_STEP)
            except subprocess.TimeoutExpired:
                tell()
        return None
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def _check(folder: Path, code: int | None, name: str, memory: int, seconds: int) -> None:
    try:
        answer = json.loads((folder / ANSWER).read_bytes())
    except (OSError, ValueError):
        answer = {}
    if "looked" in answer:
        return
    if "refused" in answer:
        raise InvalidModel(answer["refused"])
    if code is None or code == -getattr(signal, "SIGALRM", 0):
        raise Refused(
            f"`{name}` did not open within {seconds} s",
            hint=f"if you trust it, allow more: export ZOO_MAX_SECONDS={2 * seconds}",
        )
    if answer.get("limit") == "memory" or code in {-signal.SIGABRT, -getattr(signal, "SIGKILL", 9)}:
        raise Refused(
            f"`{name}` wants more memory to open than the {memory / 1e9:.1f} GB it was allowed",
            hint=f"if you trust it, allow more: export ZOO_MAX_MEMORY={2 * memory // 10**9 + 1}GB",
        )
    log = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = f": {log[-1][:200]}" if log else ""
    raise Refused(f"onnxruntime crashed while it opened `{name}` (exit {code}){why}")
