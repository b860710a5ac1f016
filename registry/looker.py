"""What the first look's child process does: open, prepare and prove a model within its limits.

Run by `registry.look` as ``python -m onnxzoo.registry.looker REQUEST``; the answer goes into a
file, since what onnxruntime prints is not ours.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.errors import Refused, UsageError, ZooError
from onnxzoo.registry.prepared import GRAPH, WEIGHTS, Look, seal
from onnxzoo.registry.records import Tensor
from onnxzoo.registry.sessions import (
    Provider,
    infer,
    open_optimised,
    open_session,
    random_inputs,
    save_optimised,
    signature,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ANSWER = "answer.json"
_SIZES = (1, 2, 8, 32, 64, 224)  # tried for open axes, until the model runs
_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory", "out of memory")


def main() -> None:
    """Do what the request says and write the answer into its folder."""
    request = json.loads(sys.argv[1])
    folder = Path(request["into"])
    _limit(request["memory"], request["seconds"])
    try:
        look = _look(Path(request["path"]), folder / "entry", _with_tuples(request["providers"]))
        seal(folder / "entry", request["digest"], look)
        answer = {"looked": "yes"}
    except MemoryError:
        answer = {"limit": "memory"}
    except ZooError as error:
        answer = {"limit": "memory"} if _wants_memory(error) else {"refused": error.message}
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _with_tuples(providers: Sequence[Any]) -> list[Provider]:
    """Make providers that came as JSON what onnxruntime takes; given lists, it opens on the CPU."""
    return [one if isinstance(one, str) else (one[0], one[1]) for one in providers]


def _look(path: Path, entry: Path, providers: Sequence[Provider]) -> Look:
    entry.mkdir()
    import onnxruntime  # noqa: F401  (so that its own memory is not counted as the model's)

    before = _peak_memory()
    started = time.perf_counter()
    session = open_session(path, providers, strict=False)
    open_seconds = time.perf_counter() - started
    memory = max(0, _peak_memory() - before)
    try:
        proof = _Proof.of(session)
        del session
        seconds = _prepare(path, entry, providers, proof)
    except (Refused, UsageError) as error:
        if _wants_memory(error):
            raise
        for file in entry.iterdir():
            file.unlink()
        return Look(open_seconds, memory, None, error.message)
    return Look(open_seconds, memory, seconds)


@dataclass(frozen=True, slots=True)
class _Proof:
    """What a session on the plain file says of itself, and what it gives for made-up inputs."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    metadata: Mapping[str, str]
    cases: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]

    @classmethod
    def of(cls, session: "InferenceSession") -> "_Proof":
        metadata = session.get_modelmeta().custom_metadata_map
        return cls(
            *signature(session),
            metadata,
            [(feeds, infer(session, feeds)) for feeds in _cases(session)],
        )

    def hold_against(self, session: "InferenceSession") -> None:
        """Raise Refused unless a session is the same model, to the bit."""
        described = *signature(session), session.get_modelmeta().custom_metadata_map
        if described != (self.inputs, self.outputs, self.metadata):
            raise Refused("the optimised graph has other inputs, outputs or metadata")
        for feeds, outputs in self.cases:
            again = infer(session, feeds)
            if not all(_equal(again[name], value) for name, value in outputs.items()):
                raise Refused("the optimised graph gives other outputs than the model")


def _prepare(path: Path, entry: Path, providers: Sequence[Provider], proof: _Proof) -> float:
    """Write an entry and return the seconds that it takes to open."""
    save_optimised(path, entry / GRAPH, WEIGHTS, providers)
    _mend_inputs(entry / GRAPH, [tensor.name for tensor in proof.inputs])
    started = time.perf_counter()
    session = open_optimised(entry / GRAPH, providers, strict=False)
    seconds = time.perf_counter() - started
    proof.hold_against(session)
    return seconds


def _mend_inputs(graph: Path, names: Sequence[str]) -> None:
    """Take out the inputs that onnxruntime leaves in, without their values, where IR 3 had them."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    there = {tensor.name for tensor in model.graph.initializer}
    extra = [i for i in model.graph.input if i.name not in names and i.name not in there]
    if extra:
        for value in extra:
            model.graph.input.remove(value)
        onnx.save(model, graph)


def _cases(session: "InferenceSession") -> Iterator[Mapping[str, Any]]:
    """Yield two sets of seeded inputs on which the model runs.

    Raises:
        Refused: if none can be made up.
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
        feeds = random_inputs(inputs, axes=axes)
        try:
            infer(session, feeds)
        except (Refused, UsageError) as error:
            if _wants_memory(error):
                raise
            continue
        yield feeds
        yield random_inputs(inputs, seed=1, axes=axes)
        return
    raise Refused("no inputs could be made up on which the model runs")


def _equal(one: Any, other: Any) -> bool:
    import numpy as np

    if not isinstance(one, np.ndarray):
        return bool(one == other)
    same = one.dtype == other.dtype and one.shape == other.shape
    return same and bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))


def _wants_memory(error: ZooError) -> bool:
    return any(word in error.message for word in _MEMORY)


def _limit(memory: int, seconds: int) -> None:
    """Bound this process: its address space, and its time even if its parent is gone."""
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only bound
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(seconds)


def _peak_memory() -> int:
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
