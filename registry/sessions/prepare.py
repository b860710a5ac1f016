"""The first look at a model: in a child process with a cap on its memory and time."""

import sys
from collections.abc import Sequence
from pathlib import Path

from onnxzoo.registry.core.files import size_of
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.sandbox import Budget, ask
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.runtime.providers import CPU, Provider, name_of
from onnxzoo.registry.sessions.session_cache import Prepared, PreparedSessions

# The interpreter, numpy and onnxruntime take 1 GB of address space, and optimising a model takes
# its weights four times over; vgg19's 575 MB take 10 s on two slow cores (measured).
_FIRST = Budget(memory=0, times=0, seconds=20, rate=5_000_000)  # until it has run once
_OPS = 100  # a second, at the least
_BUDGET = Budget(memory=3 << 30, times=8, seconds=120, rate=5_000_000)


def look(
    path: Path,
    digest: str,
    key: str,
    sessions: PreparedSessions,
    *,
    providers: Sequence[Provider],
    settings: Settings,
    progress: Progress | None = None,
    outlives: bool = False,
    held: Path | None = None,
    ops: int = 0,
) -> Prepared | None:
    """Open, prepare and prove a model in a child process, and keep the result.

    Args:
        path: the `.onnx` file.
        digest: its bundle's.
        key: the entry's; see `session_cache.key_of`.
        sessions: where entries are kept.
        providers: execution providers, as onnxruntime takes them.
        settings: the bounds on memory and time, where the user set them.
        progress: told of the bytes that the child wrote.
        outlives: the child goes on when this process ends, for the next one's sake.
        held: the folder of reference data that the model has, to prove it on.
        ops: nodes of the graph: until it has run once, it has 20 s, and more by size and ops.

    Raises:
        InvalidModel: if onnxruntime cannot open it.
        Refused: if it passed a limit, or crashed, while it was opened or first run.
        StorageError: if an entry cannot be written.
    """
    size = size_of(path.parent)
    reserves = bool(providers) and name_of(providers[0]) != CPU
    limits = _BUDGET.limits(size, settings, reserves=reserves)
    first = _FIRST.limits(size, settings).seconds + ops // _OPS
    limits = limits._replace(first=first, seconds=max(first, limits.seconds))
    if settings.max_seconds is not None:
        limits = limits._replace(first=None, seconds=settings.max_seconds)
    with sessions.stage(key) as folder:

        def tell() -> None:
            if progress:
                progress(f"preparing {path.name}", min(sessions.being_made(key), size - 1), size)

        ask(
            [sys.executable, "-P", "-m", "onnxzoo.registry.sessions.prepare_worker"],
            {
                "path": str(path),
                "root": str(sessions.root),
                "limit": sessions.limit,
                "key": key,
                "digest": digest,
                "providers": _as_words(providers),
                "held": None if held is None else str(held),
            },
            folder,
            doing=f"opening `{path.name}`",
            limits=limits,
            tell=tell,
            outlives=outlives,
        )
    if progress:
        progress(f"preparing {path.name}", size, size)
    return sessions.find(key)


def _as_words(providers: Sequence[Provider]) -> list[object]:
    """Return providers as JSON; onnxruntime takes their options as words anyway."""
    return [
        one if isinstance(one, str) else (one[0], {key: str(one[1][key]) for key in one[1]})
        for one in providers
    ]
