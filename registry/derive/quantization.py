"""Choose a quantization recipe for a model and a processor, from measured figures.

Figures: one run on a processor with AVX2 and without VNNI, onnxruntime 1.32, against fp32 (size ·
outputs · time; docs/quantization.md has all of them).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.records import Graph

FORMATS = ("int8", "uint8", "int4", "fp16", "bf16", "qdq")
METHODS = ("dynamic", "static", "weight-only")
CAST = "cast"  # the method of fp16 and bf16
FOLD = "fold"  # the method of qdq for what is qdq with weights in fp32

_CONVS = ("Conv", "ConvTranspose")
_MATRICES = ("MatMul", "Gemm", "Attention", "LSTM", "EmbedLayerNormalization")
_LARGE = 300_000_000  # parameters; from there on reading weights, not multiplying, takes the time
# Instruction sets that multiply bytes without saturating 16-bit sums. Source: onnxruntime's
# documentation, "Quantize ONNX models", "When and why do I need to try U8U8?"
_EXACT = {"avx512_vnni", "avx_vnni", "amx_int8", "asimd"}
# Op types that are quantized unless told otherwise; all others stay float: normalisation, softmax,
# masks (Add, Where) and activations with a curve.
# Dynamic: per-channel weights, MiniLM .254 · cosine .992 · 0.61. With convolutions 1.6 to 5.7
# times slower than fp32, so these stay float.
_DYNAMIC = ("MatMul", "Gemm", "Gather", "Attention", "LSTM", "EmbedLayerNormalization")
# Static, of convolutions: what only moves or picks bytes joins in. Add and Clip do not: they are
# half of a hard-swish (a text detector .32 · cosine .911 · 0.93 with them, .31 · .966 · 0.95 with
# convolutions alone), and leaving them out of a residual network cost no time (1.14 with, 0.98
# without). With the range not reduced a ResNet drifts by 2.64 instead of 0.13.
_STATIC_CONV = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "MaxPool", "AveragePool",
    "GlobalAveragePool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze",
)  # fmt: skip
# Static, of matrix products: MiniLM .254 · .941 · 0.65; with all ops a cosine of .39.
_STATIC_MATRIX = ("MatMul", "Gemm", "Gather")
# Weight-only: MiniLM int8 .662 · .9997 · 1.56, int4 .604 · .967 · 1.13; with Gather .158 · .963.
_WEIGHT_ONLY = ("MatMul", "Gemm", "Gather")
# The lowest opset of each. Source: onnx, "Operators": axis of DequantizeLinear, bfloat16 of Cast,
# DynamicQuantizeLinear.
_STATIC_OPSET, _BF16_OPSET, _DYNAMIC_OPSET = 13, 13, 11
_RAISED = 17  # what is too low is raised to: since then LayerNormalization is one op


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a quantization: the child's input, and the recipe on record.

    Attributes:
        to: what was asked for: one of `FORMATS`.
        method: one of `METHODS`, `CAST` or `FOLD`.
        weights: the type of weights: ``Int8``, ``UInt8``, ``Int4``…; empty for a cast.
        activations: of inputs of ops, for static quantization.
        per_channel: a scale for each channel of a weight, instead of one for all of it.
        reduce_range: seven bits of eight, where sums of products would saturate.
        ops: op types to quantize; for a cast, none means all.
        exclude: op types and names of nodes (``*`` stands for any text) that stay as they are.
        float_head: the last convolutions stay float.
        block: elements of a weight that share a scale, for weight-only.
        symmetric: zero stays zero, for weight-only.
        accuracy_level: of MatMulNBits: 4 lets it multiply bytes.
        opset: to raise the model to first; None to leave it.
        calibrate: where calibration data lies, or ``random``.
        calibrate_digest: of that data.
        preprocess: how images become inputs.
        features: the processor's instruction sets, for which the recipe was chosen.
    """

    to: str
    method: str
    weights: str = ""
    activations: str = ""
    per_channel: bool = False
    reduce_range: bool = False
    ops: Sequence[str] = ()
    exclude: Sequence[str] = ()
    float_head: bool = False
    block: int = 32
    symmetric: bool = False
    accuracy_level: int = 0
    opset: int | None = None
    calibrate: str | None = None
    calibrate_digest: str | None = None
    preprocess: str | None = None
    features: Sequence[str] = ()

    def written(self) -> Mapping[str, Any]:
        """Return the options that were set, as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value not in (None, "", (), []) and value is not False
        }

    def __str__(self) -> str:
        words = [self.method, f"{self.activations}{self.weights}".lower() or self.to]
        if self.per_channel:
            words.append("per channel")
        if self.reduce_range:
            words.append("7 bits")
        if self.method == "weight-only":
            words.append(f"block {self.block}")
        if self.float_head:
            words.append("float head")
        if self.method in METHODS:
            words.append("+".join(self.ops[:4]) + ("+…" if len(self.ops) > 4 else ""))  # noqa: PLR2004
        return ", ".join(words)


def convolutional(graph: Graph) -> bool:
    """Tell whether convolutions dominate a model, rather than products of matrices."""
    return _count(graph, _CONVS) > 0 and _count(graph, _CONVS) >= _count(graph, _MATRICES)


def choose(
    graph: Graph, features: Sequence[str], to: str, method: str | None, *, data: bool
) -> Options:
    """Return the recipe that fits a model and a processor.

    Args:
        graph: the model's.
        features: the processor's instruction sets, as `describe_machine` returns them.
        to: one of `FORMATS`.
        method: one of `METHODS`; None for the one that fits.
        data: whether there is calibration data.

    Raises:
        UsageError: if the two do not go together, or calibration data is missing.
        Refused: if there is nothing to quantize in the model.
    """
    _check(to, method)
    if to == graph.precision == "qdq":
        return Options(to, FOLD, features=features)
    if to in {"fp16", "bf16"}:
        opset = _at_least(graph, _BF16_OPSET) if to == "bf16" else None
        return Options(to, CAST, opset=opset, features=features)
    if not _count(graph, (*_CONVS, *_MATRICES)):
        raise Refused("the model has no matrix product and no convolution: nothing to quantize")
    match method or _method(graph, to, data=data):
        case "dynamic":
            return _dynamic(graph, features, to)
        case "static":
            return _static(graph, features, to, data=data)
    return _weight_only(graph, features, to)


def candidates(
    graph: Graph, features: Sequence[str], to: str | None, method: str | None, *, data: bool
) -> Iterator[Options]:
    """Yield recipes to try: the default of each method, and its variations if `to` is given."""
    seen: list[Options] = []
    for one in _kinds(to, method, conv=convolutional(graph), data=data):
        try:
            chosen = choose(graph, features, *one, data=data)
        except (UsageError, Refused):
            continue
        for other in [chosen, *(_variations(chosen) if to else ())]:
            if other not in seen:
                seen.append(other)
                yield other


def _kinds(
    to: str | None, method: str | None, *, conv: bool, data: bool
) -> Iterator[tuple[str, str | None]]:
    for wanted in [to] if to else FORMATS[:5]:
        if wanted in {"fp16", "bf16"}:
            yield wanted, None
        elif method or wanted in {"int4", "qdq"}:
            yield wanted, method
        else:
            fitting = ("static",) if conv else METHODS
            yield from ((wanted, each) for each in fitting if data or each != "static")


def _variations(chosen: Options) -> Iterator[Options]:
    """Yield variations of a recipe that changed size, time or outputs in the figures above."""
    match chosen.method:
        case "dynamic":
            yield replace(chosen, per_channel=False, reduce_range=False)
            if "Gather" in chosen.ops:
                yield replace(chosen, ops=_without(chosen.ops, "Gather"))
        case "static":
            yield replace(chosen, activations="UInt8", weights="UInt8", reduce_range=False)
            if chosen.float_head:
                yield replace(chosen, float_head=False)
                yield replace(chosen, ops=tuple(op for op in chosen.ops if op in _CONVS))
        case "weight-only":
            yield replace(chosen, block=128)
            if "Gather" in chosen.ops:
                yield replace(chosen, ops=_without(chosen.ops, "Gather"))


def _check(to: str, method: str | None) -> None:
    if to not in FORMATS:
        raise UsageError(
            f"`{to}` is not a precision to quantize to; "
            f"expected {_list(FORMATS)}{did_you_mean(to, FORMATS)}"
        )
    if method not in {None, *METHODS}:
        raise UsageError(f"`{method}` is not a method; expected {_list(METHODS)}")
    fitting = {
        "int4": ("weight-only",), "qdq": ("static",), "fp16": (), "bf16": (),
    }.get(to, METHODS)  # fmt: skip
    if method is not None and method not in fitting:
        fits = f"only {_list(fitting)}" if fitting else "no method: weights are cast"
        raise UsageError(
            f"`{to}` does not go with the method `{method}`; it takes {fits}",
            hint=f"zoo quantize … --to {to}",
        )


def _method(graph: Graph, to: str, *, data: bool) -> str:
    if to in {"int4", "qdq"}:
        return "weight-only" if to == "int4" else "static"
    if convolutional(graph):
        return "static"
    return "weight-only" if graph.parameters >= _LARGE and not data else "dynamic"


def _weight_only(graph: Graph, features: Sequence[str], to: str) -> Options:
    ops = _there(graph, _WEIGHT_ONLY)
    if not _there(graph, ("MatMul", "Gemm")):
        raise Refused(
            "weight-only quantization is of matrix products, and the model has none",
            hint="--method static --calibrate DATA, or --to fp16",
        )
    weights = {"int4": "Int4", "int8": "Int8"}.get(to, "UInt8")
    return Options(
        to, "weight-only", weights, ops=ops,
        symmetric=to != "uint8", accuracy_level=4, features=features,
    )  # fmt: skip


def _dynamic(graph: Graph, features: Sequence[str], to: str) -> Options:
    matrices = _there(graph, _DYNAMIC)
    unsigned = to == "uint8"
    return Options(
        to, "dynamic", "UInt8" if unsigned else "Int8",
        per_channel=True, reduce_range=not unsigned and _saturates(features),
        ops=matrices or _there(graph, _CONVS),
        opset=_at_least(graph, _DYNAMIC_OPSET), features=features,
    )  # fmt: skip


def _static(graph: Graph, features: Sequence[str], to: str, *, data: bool) -> Options:
    if not data:
        raise UsageError(
            "static quantization needs calibration data: inputs as the model will see them",
            hint="--calibrate FILE.npz|FOLDER; --calibrate random only to try it out",
        )
    conv = convolutional(graph)
    unsigned = to == "uint8"
    return Options(
        to, "static", "UInt8" if unsigned else "Int8", "UInt8",
        per_channel=True, reduce_range=not unsigned and _saturates(features),
        ops=_there(graph, _STATIC_CONV if conv else _STATIC_MATRIX),
        float_head=conv, opset=_at_least(graph, _STATIC_OPSET), features=features,
    )  # fmt: skip


def _saturates(features: Sequence[str]) -> bool:
    return not _EXACT & set(features)


def _at_least(graph: Graph, lowest: int) -> int | None:
    return _RAISED if graph.opset < lowest else None


def _there(graph: Graph, ops: Sequence[str]) -> tuple[str, ...]:
    names = {op.rpartition(".")[2] for op in graph.ops}
    return tuple(op for op in ops if op in names)


def _count(graph: Graph, ops: Sequence[str]) -> int:
    return sum(count for op, count in graph.ops.items() if op.rpartition(".")[2] in ops)


def _without(ops: Sequence[str], one: str) -> tuple[str, ...]:
    return tuple(op for op in ops if op != one)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the nearest known word as a question, or nothing.

    >>> did_you_mean("conv", ["Conv", "Relu"]), did_you_mean("float16", ["int8", "fp16"])
    ('; did you mean `Conv`?', '; did you mean `fp16`?')
    >>> did_you_mean("nonsense", ["Conv"])
    ''
    """
    from difflib import get_close_matches

    folded = {each.lower(): each for each in known}
    near = get_close_matches(word.lower(), folded, n=3, cutoff=0.5)
    return f"; did you mean {_list([folded[each] for each in near])}?" if near else ""


def _list(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
