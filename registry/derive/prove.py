"""The child that compares a derived model with its parent: outputs, and time in turns."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.child import answer
from onnxzoo.registry.drift import Drift, Unlike, between
from onnxzoo.registry.errors import NotFound, Refused, UsageError
from onnxzoo.registry.sessions import CPU, infer, open_session, random_inputs, signature

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]

_SECONDS = 3.0  # for the runs that are timed
_SIZES = (1, 2, 8, 32, 64, 224)  # tried for open axes, until the parent runs


def main(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a model's outputs and time compare with its base's."""
    base, other = (open_session(Path(request[key]), [CPU]) for key in ("base", "model"))
    given = request["inputs"]
    feeds = list(read_inputs(Path(given))) if given else made_up(base, request["samples"])
    expected = [infer(base, feed) for feed in feeds]
    inputs, _ = signature(other)
    try:
        drift = between(inputs, other, feeds, expected)
        latency = _ratio(base, other, feeds[0]) if request["timed"] else None
    except Unlike as error:
        drift, latency = Drift(why=str(error)), None
    return {"drift": asdict(drift), "latency": latency, "samples": len(feeds)}


def read_inputs(path: Path) -> "Iterator[Mapping[str, Array]]":
    """Yield the inputs by name that a `.npz` holds, or every `.npz` of a folder, by name.

    Raises:
        NotFound, UsageError: if there is none, or one is not what `numpy.savez` writes.
    """
    import numpy as np

    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise NotFound(f"no `.npz` at `{path}`")
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                yield {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, EOFError) as error:
            raise UsageError(f"`{file}` is not what numpy.savez writes") from error


def made_up(session: "InferenceSession", samples: int) -> "Sequence[Mapping[str, Array]]":
    """Return seeded random inputs on which a session runs; open axes get the first size that does.

    Raises:
        Refused: if it runs on none.
    """
    inputs, _ = signature(session)
    open_axes = {
        axis if isinstance(axis, str) else ""
        for tensor in inputs
        for axis in tensor.shape or ()
        if not isinstance(axis, int)
    }
    for size in _SIZES if open_axes else (1,):
        axes = dict.fromkeys(open_axes, size)
        try:
            infer(session, random_inputs(inputs, axes=axes))
        except (Refused, UsageError):
            continue
        return [random_inputs(inputs, seed=seed, axes=axes) for seed in range(samples)]
    raise Refused("no inputs could be made up on which the model runs", hint="give --inputs FILE")


def _ratio(base: "InferenceSession", other: "InferenceSession", feed: Any) -> float:
    """Return the median time of the other's runs over the base's, taken in turns."""
    taken: tuple[list[float], list[float]] = [], []
    until = time.perf_counter() + _SECONDS
    while len(taken[0]) < 3 or time.perf_counter() < until:  # noqa: PLR2004
        for session, times in zip((base, other), taken, strict=True):
            started = time.perf_counter()
            infer(session, feed)
            times.append(time.perf_counter() - started)
    return median(taken[1][1:]) / median(taken[0][1:])


if __name__ == "__main__":
    answer(main)
