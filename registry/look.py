"""The first look at a model: in a child process with a cap on its memory and time."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from onnxzoo.registry.child import Limits, ask
from onnxzoo.registry.prepared import Prepared, PreparedSessions
from onnxzoo.registry.records import Progress
from onnxzoo.registry.sessions import CPU, Provider, name_of
from onnxzoo.registry.settings import Settings
from onnxzoo.registry.store import size_of

# Address space: the interpreter, numpy and onnxruntime take 1 GB of it, each core's threads some,
# and optimising a model takes its weights four times over (measured: resnet50, vgg19, BERT-base).
_MEMORY = 3 << 30  # bytes
_MEMORY_A_CORE = 128 << 20
_TIMES_ITS_SIZE = 8
_SECONDS = 120
_BYTES_A_SECOND = 5_000_000  # measured: vgg19's 575 MB take 10 s on two slow cores


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
    limits = Limits(
        settings.max_memory
        or _MEMORY + _MEMORY_A_CORE * (os.cpu_count() or 1) + _TIMES_ITS_SIZE * size,
        settings.max_seconds or _SECONDS + size // _BYTES_A_SECOND,
        reserves=bool(providers) and name_of(providers[0]) != CPU,
    )
    with sessions.stage(key) as folder:

        def tell() -> None:
            if progress:
                progress(f"prepare {path.name}", min(size_of(folder), size - 1), size)

        ask(
            [sys.executable, "-P", "-m", "onnxzoo.registry.looker"],
            {
                "path": str(path),
                "into": str(folder),
                "digest": digest,
                "providers": _as_words(providers),
            },
            folder,
            doing=f"opening `{path.name}`",
            limits=limits,
            tell=tell,
        )
        sessions.keep(folder / "entry", key)
    if progress:
        progress(f"prepare {path.name}", size, size)
    return sessions.find(key)


def _as_words(providers: Sequence[Provider]) -> list[object]:
    """Return providers as JSON; onnxruntime takes their options as words anyway."""
    return [
        one if isinstance(one, str) else (one[0], {key: str(one[1][key]) for key in one[1]})
        for one in providers
    ]
