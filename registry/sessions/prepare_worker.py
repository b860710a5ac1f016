"""Prepare a model in a child process: open, optimise and prove it within limits."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import InvalidModel, Refused, UsageError, ZooError
from onnxzoo.registry.core.files import clear, size_of
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.core.sandbox import Limits, answer, under_way, wants_memory
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.runtime.builds import runtime
from onnxzoo.registry.runtime.providers import CPU, Provider, name_of
from onnxzoo.registry.runtime.random_nodes import (
    MOST,
    is_random,
    run_several,
    standard_errors_apart,
)
from onnxzoo.registry.runtime.session import (
    compiles,
    infer,
    open_prepared,
    open_session,
    save_prepared,
    signature,
)
from onnxzoo.registry.sample_inputs.kinds import kinds_of
from onnxzoo.registry.sample_inputs.sample_inputs import sample_inputs
from onnxzoo.registry.sample_inputs.sizes import key, open_axes
from onnxzoo.registry.sample_inputs.values import draw
from onnxzoo.registry.sessions.session_cache import GRAPH, WEIGHTS, Look, PreparedSessions, seal
from onnxzoo.registry.testdata.held_inputs import held_inputs

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# How far outputs may lie apart, as a share of the largest one, where they are not the CPU's.
# TensorRT chooses kernels by timing them, cuDNN too, and what was compiled twice rounds twice: with
# the 10 bits that TF32 and half precision have, 1e-3 an operation. Other weights lie further apart.
_TOLERANCE = 1e-2
_SAMPLES = 4  # of two sizes
_PROTOBUF = 1 << 31  # bytes. Source: protobuf's documentation, "Proto Limits"
_SHOWN = 200  # characters of what the checker says
_LARGE_PART = 0.25  # of the memory; what a run that fails for want of good inputs does not take
_GROWTH = 20  # times the model's bytes that what is prepared may take on disk …
_LITTLE = 50_000_000  # … where it is more than this: folded constants can be anything in size


def main(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Open a model and, where prepared sessions are kept, make an entry of it and keep it.

    All of it happens here, so that a parent that ends meanwhile costs nothing.
    """
    sessions = PreparedSessions(Path(request["root"]), request["limit"])
    path, providers = Path(request["path"]), _with_tuples(request["providers"])
    if not sessions.limit:
        try:
            session = open_session(path, providers, strict=False)
        except InvalidModel:
            _check_valid(path)
            raise
        _run_once(session, request)
        return {}
    with sessions.stage(request["key"]) as folder:
        held = Path(request["held"]) if request.get("held") else None
        failed: InvalidModel | None = None
        try:
            look = _look(path, folder / "entry", providers, held, request)
        except InvalidModel as error:
            _check_valid(path)
            failed, look = error, _does_not_open(path, folder / "entry", error)
        seal(folder / "entry", request["digest"], look)
        sessions.keep(folder / "entry", request["key"])
    if failed is not None:
        raise failed
    return {}


def _check_valid(path: Path) -> None:
    """Raise Refused for a model that no runtime opens, with the finding of onnx's checker.

    A model of opsets or ops that this onnx does not know is left alone.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if path.stat().st_size >= _PROTOBUF:
        raise Refused(
            f"`{path.name}` has {show_size(path.stat().st_size)}; a protobuf has at most 2 GB",
            hint="onnx.save(model, FILE, save_as_external_data=True) keeps the weights beside it",
        )
    graph = describe(path)
    known = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": onnx.defs.onnx_ml_opset_version()}
    if any(graph.opsets.get(domain, 0) > newest for domain, newest in known.items()):
        return
    foreign = tuple(f"{domain}." for domain in graph.opsets if domain)
    if not all(op.startswith(foreign) or onnx.defs.has(op) for op in graph.ops):
        return
    try:
        onnx.checker.check_model(str(path))
    except (DecodeError, ValueError):  # the runtime has said what is wrong
        return
    except onnx.checker.ValidationError as error:
        said = " ".join(str(error).split())[:_SHOWN].rstrip(".")
        raise Refused(f"`{path.name}` is not a valid ONNX model: {said}") from error


def _does_not_open(path: Path, entry: Path, error: InvalidModel) -> Look:
    entry.mkdir()
    return Look(0, 0, why_not=error.message.replace(f"`{path}`", "it"), opens=False)


def _with_tuples(providers: Sequence[Any]) -> list[Provider]:
    """Turn providers from JSON into onnxruntime's tuples; it ignores lists."""
    return [one if isinstance(one, str) else (one[0], one[1]) for one in providers]


def _look(
    path: Path,
    entry: Path,
    providers: Sequence[Provider],
    held: Path | None,
    request: Mapping[str, Any],
) -> Look:
    runtime()  # so that its own memory is not counted as the model's

    before = _peak_memory()
    started = time.perf_counter()
    session = open_session(path, providers, strict=False)
    open_seconds = time.perf_counter() - started
    memory = max(0, _peak_memory() - before)
    _run_once(session, request)
    proof: _Proof | None = None
    try:
        proof = _Proof.of(session, path, held)
        del session
        seconds = _prepare(path, entry, providers, proof)
    except MemoryError:
        raise
    except Exception as error:
        said = error.message if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        if wants_memory(said):
            raise
        clear(entry)
        entry.mkdir()
        why_not = said.replace(f"`{entry / GRAPH}`", "what was prepared")
        return Look(open_seconds, memory, None, why_not, sizes=proof.sizes if proof else None)
    return Look(open_seconds, memory, seconds, sizes=proof.sizes)


def _run_once(session: "InferenceSession", request: Mapping[str, Any]) -> None:
    """Run a model once, where it has open axes at the size 1.

    That it does not run on such inputs says nothing of it. That it took a large part of the memory
    before it failed does, whatever the runtime calls that: a tensor that doubles in a loop fails
    with 0.43 of the rest taken.

    Raises:
        MemoryError: if it had not enough.
    """
    before, rest = _peak_memory(), _left(Limits(*request["limits"]))
    try:
        inputs = signature(session)[0]
        infer(session, draw(inputs, kinds_of(inputs, None), {}, seed=0))
    except (Refused, UsageError) as error:
        if wants_memory(error.message) or _peak_memory() - before > _LARGE_PART * rest:
            raise MemoryError from error
    under_way(request)


def _on_cpu(providers: Sequence[Provider]) -> bool:
    return not providers or name_of(providers[0]) == CPU


@dataclass(frozen=True, slots=True)
class _Proof:
    """A plain session's signature, and its outputs for sample inputs.

    Of a model with random nodes: what it gives several times over.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    metadata: Mapping[str, str]
    cases: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]

    @classmethod
    def of(cls, session: "InferenceSession", path: Path, held: Path | None) -> "_Proof":
        metadata = session.get_modelmeta().custom_metadata_map
        feeds = list(held_inputs(held, describe(path))) if held else []
        feeds = feeds or list(sample_inputs(session, path, count=_SAMPLES).feeds)
        random = is_random(session, feeds[0], path)
        runs = [run_several(session, feed) if random else [infer(session, feed)] for feed in feeds]
        return cls(*signature(session), metadata, list(zip(feeds, runs, strict=True)))

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the open axes in the first inputs."""
        feeds = self.cases[0][0]
        return {
            key(one, place): feeds[one.name].shape[place] for one, place in open_axes(self.inputs)
        }

    def hold_against(self, session: "InferenceSession", *, tolerance: float) -> None:
        """Raise Refused unless a session is the same model; to the bit, without a tolerance."""
        metadata = session.get_modelmeta().custom_metadata_map
        # To a compiled form onnxruntime adds for which drivers it is.
        kept = self.metadata.items() <= metadata.items()
        if signature(session) != (self.inputs, self.outputs) or not kept:
            raise Refused("what was prepared has other inputs, outputs or metadata")
        for feeds, (outputs, *more) in self.cases:
            if more:
                if (
                    far := standard_errors_apart([outputs, *more], run_several(session, feeds))
                ) > MOST:
                    raise Refused(
                        "the model is random, and what was prepared gives outputs "
                        f"{far:.1f} standard errors from its own; expected at most {MOST:g}"
                    )
                continue
            again = infer(session, feeds)
            if not all(_alike(again[name], value, tolerance) for name, value in outputs.items()):
                raise Refused("what was prepared gives other outputs than the model")


def _prepare(path: Path, entry: Path, providers: Sequence[Provider], proof: _Proof) -> float:
    """Write an entry and return the seconds that it takes to open."""
    made = entry.with_name("made")
    made.mkdir()
    save_prepared(path, made / GRAPH, WEIGHTS, providers)
    _check_size(size_of(made), size_of(path.parent))
    made.rename(entry)  # as it will be when it is kept: what it names has to be found from there
    _mend_inputs(entry / GRAPH, [tensor.name for tensor in proof.inputs])
    started = time.perf_counter()
    session = open_prepared(entry / GRAPH, providers, strict=compiles(providers))
    seconds = time.perf_counter() - started
    proof.hold_against(session, tolerance=0 if _on_cpu(providers) else _TOLERANCE)
    return seconds


def _check_size(prepared: int, plain: int) -> None:
    if prepared > max(_LITTLE, _GROWTH * plain):
        raise Refused(
            f"what was prepared takes {show_size(prepared)}, the model {show_size(plain)}"
        )


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


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    """Tell whether two outputs are equal, or as near as a share of the largest value."""
    import numpy as np

    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_alike(a, b, tolerance) for a, b in pairs)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _alike(value, other[key], tolerance) for key, value in one.items()
        )
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    floats = one.dtype.kind in "fc"
    if not (tolerance and floats):
        return bool(np.array_equal(one, other, equal_nan=floats))
    largest = np.abs(other[np.isfinite(other)]).max(initial=0)
    return bool(np.allclose(one, other, rtol=0, atol=tolerance * float(largest), equal_nan=True))


def _left(limits: Limits) -> int:
    """Return how many bytes a process may still take, of what its limit counts.

    The limit is on addresses, of which libraries and threads take more than they use.
    Source: the Linux manual pages proc_pid_statm(5) and setrlimit(2).
    """
    try:
        counts = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return limits.memory - _peak_memory()
    pages = int(counts[5] if limits.reserves else counts[0])
    return limits.memory - pages * os.sysconf("SC_PAGE_SIZE")


def _peak_memory() -> int:
    """Return the most bytes that were resident; 0 where the system does not tell.

    On Linux `getrusage` counts the process before exec too: a child of a large parent begins with
    the parent's peak, and its own growth shows only beyond that.
    Source: the Linux manual page proc_pid_status(5), "VmHWM".
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    answer(main)
