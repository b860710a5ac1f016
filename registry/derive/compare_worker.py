"""The child that compares a derived model with its parent: outputs, and time in turns."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.sandbox import answer
from onnxzoo.registry.measure.comparison_inputs import ground
from onnxzoo.registry.measure.drift import Drift, Unlike, between, expect
from onnxzoo.registry.runtime.providers import CPU
from onnxzoo.registry.runtime.session import infer, open_session, signature
from onnxzoo.registry.sample_inputs.sample_inputs import shapes_text

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_SECONDS = 3.0  # for the runs that are timed
_RUNS = 2000  # at most: enough for a median of what takes microseconds


def main(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a model's outputs and time compare with its base's."""
    base, other = (open_session(Path(request[key]), [CPU]) for key in ("base", "model"))
    path, held = Path(request["base"]), request["held"]
    on = ground(
        base,
        path,
        inputs=request["inputs"],
        preprocess=request["preprocess"],
        held=Path(held) if held else None,
        samples=request["samples"],
    )
    inputs, feeds = signature(other)[0], on.feeds
    try:
        drift = between(inputs, other, expect(base, path, on))
        latency = _ratio(base, other, feeds[0]) if request["timed"] else None
    except Unlike as error:
        drift, latency = Drift(why=str(error), shapes=shapes_text(feeds)), None
    return {"drift": asdict(drift), "latency": latency, "samples": len(feeds)}


def _ratio(base: "InferenceSession", other: "InferenceSession", feed: Any) -> float:
    """Return the median time of the other's runs over the base's, taken in turns."""
    taken: tuple[list[float], list[float]] = [], []
    until = time.perf_counter() + _SECONDS
    while (done := len(taken[0])) < 3 or (done < _RUNS and time.perf_counter() < until):  # noqa: PLR2004
        for session, times in zip((base, other), taken, strict=True):
            started = time.perf_counter()
            infer(session, feed)
            times.append(time.perf_counter() - started)
    return median(taken[1][1:]) / median(taken[0][1:])


if __name__ == "__main__":
    answer(main)
