"""Predict whether a model runs on an onnxruntime, and why not, before a download.

Only what is certain is a misfit: what nobody recorded, or only the runtime could tell while it
opens the model, is none.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

from onnxzoo.registry.core.errors import Misfit, NotFound
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.runtime import capabilities as asked
from onnxzoo.registry.runtime import releases
from onnxzoo.registry.runtime.capabilities import Kernel, Operators
from onnxzoo.registry.runtime.op_functions import VANISH, since_of, without_kernel
from onnxzoo.registry.runtime.providers import CPU, providers_of
from onnxzoo.registry.runtime.session import runtime_version

_GUARANTEED = 7  # the lowest opset that every release runs. Source: the same page
_FUNCTIONS_SINCE = 8  # the IR version that brought functions of a model's own
_ONNX = ("", "ai.onnx.ml")  # domains whose ops ONNX defines, and no model
# Half precision is not among them: onnxruntime casts around a node that has only a float32 kernel.
_DTYPES = {"fp64": ("float64", "tensor(double)"), "bf16": ("bfloat16", "tensor(bfloat16)")}
_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)", "tensor(bfloat16)"}
# Ops whose output may be of another float type than their inputs.
# Source: ONNX operators, those with a dtype as an attribute, or a fixed one.
_RETYPE = {
    "Bernoulli", "BlackmanWindow", "Cast", "CastLike", "ConstantOfShape", "DequantizeLinear",
    "EyeLike", "HammingWindow", "HannWindow", "ImageDecoder", "MelWeightMatrix", "Multinomial",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "TfIdfVectorizer",
}  # fmt: skip
_LOWEST_IR = 3  # an older one names no opset, and is read all the same
_SHOWN = 3  # reasons in an error; `zoo show` has them all


class Requirements(Protocol):
    """Requirements of a model: from a held one's graph, or a line of an index."""

    @property
    def ir_version(self) -> int | None: ...  # noqa: D102
    @property
    def opset(self) -> int | None: ...  # noqa: D102
    @property
    def opsets(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def ops(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def functions(self) -> Sequence[str] | None: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def inputs(self) -> Sequence[Tensor]: ...  # noqa: D102
    @property
    def outputs(self) -> Sequence[Tensor]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Runtime:
    """An onnxruntime and its limits.

    Attributes:
        ir_version: the highest IR version it reads.
        opsets: the highest opset it runs, by domain; the default domain is ``""``.
        operators: the ops it knows; None where only its number is known, not the runtime itself.
    """

    name: str
    version: str
    ir_version: int
    opsets: Mapping[str, int]
    operators: Operators | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()

    @property
    def is_known(self) -> bool:
        """Tell whether it is installed, or a release in the table."""
        return bool(self.version)


class Verdict(NamedTuple):
    """The prediction: runs, does not run and why, or unknown (None)."""

    runs: bool | None
    misfits: tuple[str, ...] = ()


@cache
def installed() -> Runtime:
    """Return the installed onnxruntime; it is asked once a process, which costs 30 ms."""
    return Runtime(
        name="onnxruntime",
        version=runtime_version(),
        ir_version=asked.highest_ir_version(),
        opsets={domain: asked.highest_opset(domain) for domain in asked.DOMAINS},
        operators=asked.operators(),
    )


def release(spec: str) -> Runtime:
    """Return another release of onnxruntime, as far as is known without it.

    >>> release("onnxruntime==1.17").opsets[""]
    20

    Raises:
        UsageError: if it is not ``onnxruntime==N.N``, or a release that nobody asked.
    """
    found = releases.find(spec)
    opsets = {"": found.opset, "ai.onnx.ml": found.ml_opset}
    return Runtime(found.name, found.version, found.ir_version, opsets)


def runtime_for(spec: str | None) -> Runtime:
    """Return the release that was asked for, or without one the installed runtime.

    Where none is installed it is one of which nothing is known, by which nothing is judged.
    """
    if spec is not None:
        return release(spec)
    try:
        return installed()
    except NotFound:  # reading needs none
        return Runtime("onnxruntime", "", 0, {})


def judge(needs: Requirements, runtime: Runtime, device: str = "auto") -> Verdict:
    """Return whether a model runs, and why not.

    Args:
        needs: what is known of the model; what is not known is no misfit.
        runtime: the installed one, or another release.
        device: as for `open_session`; on another than the CPU kernels are not asked for.
    """
    if not runtime.is_known:
        return Verdict(runs=None)
    reasons = tuple(_versions(needs, runtime)) or tuple(_operators(needs, runtime, device))
    if reasons:
        return Verdict(runs=False, misfits=reasons)
    is_known = needs.opset is not None and not _is_open(needs, runtime)
    return Verdict(runs=True if is_known else None)


def misfits(needs: Requirements, runtime: Runtime, device: str = "auto") -> tuple[str, ...]:
    """Return why a model does not run, in words; nothing if no reason is certain."""
    return judge(needs, runtime, device).misfits


def runs(needs: Requirements, runtime: Runtime, device: str = "auto") -> bool | None:
    """Tell whether a model runs; None where too little is known to say so."""
    return judge(needs, runtime, device).runs


def opens(needs: Requirements) -> bool:
    """Tell whether the installed runtime accepts a model's opsets and IR version: one question."""
    return asked.accepts(tuple(needs.opsets.items()), max(needs.ir_version or 0, _LOWEST_IR))


def refusal(ref: str, reasons: Sequence[str], runtime: Runtime, nearest: str | None) -> Misfit:
    """Return the error for a model that does not run, without a hint.

    Args:
        ref: the model.
        reasons: what `misfits` said, at least one.
        runtime: where it does not run.
        nearest: the nearest variant that does.
    """
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    way_out = f"; `{nearest}` does" if nearest else ""
    why = "; ".join(reasons[:_SHOWN])
    return Misfit(f"`{ref}` does not run on {runtime}: {why}{more}{way_out}")


def _versions(needs: Requirements, runtime: Runtime) -> Iterator[str]:
    if needs.ir_version is not None and needs.ir_version > runtime.ir_version:
        yield (
            f"IR version {needs.ir_version} is above {runtime.ir_version}, "
            f"the highest that {runtime} reads"
        )
    for domain, opset in needs.opsets.items():
        highest = runtime.opsets.get(domain)
        if highest is not None and opset > highest:
            yield (
                f"opset {opset} of {domain or 'ai.onnx'} is above {highest}, "
                f"the highest that {runtime} runs"
            )


def _operators(needs: Requirements, runtime: Runtime, device: str) -> Iterator[str]:
    """Yield missing ops and, on the CPU, ops without a kernel."""
    if runtime.operators is None:
        yield from (
            "no kernel for `{1}` of {0}".format(*_split(op))
            for op in needs.ops
            if _split(op)[0] not in asked.DOMAINS and _is_foreign(op, needs)
        )
        return
    kernels = runtime.operators.kernels is not None
    only_cpu = kernels and list(providers_of(device)) == [CPU]
    dtype = _dtype(needs) if only_cpu else None
    opsets = {} if _may_hold_functions(needs) else needs.opsets  # a function has its own
    for op in needs.ops:
        reason = _absent(op, needs, opsets, runtime.operators)
        if reason is None and only_cpu and "If" not in needs.ops:  # a branch may never be taken
            reason = _without_kernel(op, opsets, runtime.operators, dtype)
        if reason is not None:
            yield reason


def _absent(
    op: str, needs: Requirements, opsets: Mapping[str, int], there: Operators
) -> str | None:
    domain, name = _split(op)
    versions = there.versions.get(op)
    if versions is None and domain not in _ONNX:
        return f"no kernel for `{name}` of {domain}" if _is_foreign(op, needs) else None
    opset = opsets.get(domain)
    if opset is None:
        return None
    missing = f"no op `{name}` in opset {opset} of {domain or 'ai.onnx'}"
    if versions is None:
        return missing
    since = since_of(op, opset, there)
    if since is None:
        return f"{missing}: it came with {versions[0][0]}"
    return f"{missing}: it ended with {since}" if (since, True) in versions else None


def _without_kernel(
    op: str, opsets: Mapping[str, int], there: Operators, dtype: tuple[str, str] | None
) -> str | None:
    domain, name = _split(op)
    opset = opsets.get(domain)
    if domain not in _ONNX or name in VANISH or opset is None:
        return None
    since = since_of(op, opset, there)
    if since is None:
        return None
    kernels = [kernel for kernel in (there.kernels or {}).get(op, ()) if kernel.runs(since)]
    missing = () if kernels else without_kernel(op, opset, there)
    if missing:
        inner = ", ".join(f"`{one}`" for one in missing if one != op)
        inside = f" (it runs as {inner})" if inner else ""
        return (
            f"no kernel for `{name}` of opset {since} of {domain or 'ai.onnx'} on the CPU{inside}"
        )
    if kernels and dtype is not None and not _takes(kernels, dtype[1]):
        return f"no kernel for `{name}` in {dtype[0]} on the CPU"
    return None


def _takes(kernels: Sequence[Kernel], dtype: str) -> bool:
    """Tell whether an op runs in a float type, or may be there for values that are no floats."""
    types: defaultdict[str, set[str]] = defaultdict(set)  # by type parameter, of all its kernels
    for kernel in kernels:
        for name, listed in kernel.dtypes.items():
            types[name].update(listed)
    floats = [listed for listed in types.values() if _FLOATS & listed]
    return not floats or any(dtype in listed or not listed <= _FLOATS for listed in floats)


def _dtype(needs: Requirements) -> tuple[str, str] | None:
    """Return the float type that the whole graph computes in, where that is certain."""
    found = _DTYPES.get(needs.precision)
    if found is None or _RETYPE & set(needs.ops) or any(_split(op)[0] for op in needs.ops):
        return None
    values = {tensor.dtype for tensor in (*needs.inputs, *needs.outputs)}
    floats = {dtype for dtype in values if "float" in dtype}
    return found if floats == {found[0]} and "unknown" not in values else None


def _is_foreign(op: str, needs: Requirements) -> bool:
    """Tell whether an op of a domain that onnxruntime may not know is certainly not there."""
    if needs.functions is not None:
        return op not in needs.functions
    return needs.ir_version is not None and needs.ir_version < _FUNCTIONS_SINCE


def _may_hold_functions(needs: Requirements) -> bool:
    """Tell whether ops may come from functions of the model's own, with opsets of their own."""
    if needs.functions is not None:
        return bool(needs.functions)
    foreign = any(_split(op)[0] not in asked.DOMAINS for op in needs.ops)
    return foreign and (needs.ir_version is None or needs.ir_version >= _FUNCTIONS_SINCE)


def _is_open(needs: Requirements, runtime: Runtime) -> bool:
    """Tell whether something is left that only opening the model would tell."""
    there = runtime.operators
    if needs.opset is not None and 0 < needs.opset < _GUARANTEED and not (there and needs.ops):
        return True
    own = set(needs.functions or ())
    if there is None:
        return any(_split(op)[0] not in _ONNX and op not in own for op in needs.ops)
    return any(
        op not in own and (op not in there.versions or op not in (there.kernels or ()))
        for op in needs.ops
        if _split(op)[0] not in _ONNX
    )


def _split(op: str) -> tuple[str, str]:
    domain, _, name = op.rpartition(".")
    return domain, name
