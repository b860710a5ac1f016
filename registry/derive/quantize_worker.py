"""The child that changes a model's precision, with onnxruntime's own tools.

Its options are those of `quantization.Options`.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import NotFound, Refused, UsageError, ZooError
from onnxzoo.registry.core.records import Graph
from onnxzoo.registry.core.sandbox import answer
from onnxzoo.registry.derive import fold_qdq, half_precision, preprocess, quantization
from onnxzoo.registry.derive.derive import MODEL
from onnxzoo.registry.derive.quantization import Options
from onnxzoo.registry.measure import input_files
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.onnx_file.protos import graphs, within
from onnxzoo.registry.runtime.builds import runtime
from onnxzoo.registry.runtime.providers import CPU
from onnxzoo.registry.runtime.session import open_session, signature

if TYPE_CHECKING:
    import onnx


_CONV = {"Conv", "ConvTranspose"}
_PRODUCTS = _CONV | {"MatMul", "Gemm"}
_SHORT = {"int8", "uint8", "int4", "uint4", "float16", "bfloat16"}
_FUSED = "/MatMulAddFusion"  # how onnxruntime calls the Gemm that it makes of MatMul and Add
# onnxruntime's quantizer writes Gather's weights in types of this opset, and just names it.
_GATHER_OPSET = 21
_NAMED = 10  # nodes
_SHOWN = 300  # characters of an error of onnxruntime's tools


def main(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the model at another precision; see `derive` for the request."""
    import onnx

    folder, parent = Path(request["folder"]), Path(request["model"])
    # onnxruntime's tools write models to temporary files; the store's disk has room, /tmp may not.
    tempfile.tempdir = str(folder)
    options = Options(**request["options"])
    half_parent = describe(parent).precision == "fp16"
    # onnxruntime's pre-processing puts Casts between fp16 weights and what reads them.
    plain = options.method in {quantization.FOLD, quantization.CAST}
    plain = plain or (half_parent and options.method == "weight-only")
    wide = half_parent and options.method in {"dynamic", "static"}
    source, opset = parent, options.opset
    if options.method == "weight-only" and "Gather" in options.ops:
        if not _has_table(parent):
            options = replace(options, ops=[op for op in options.ops if op != "Gather"])
        elif describe(parent).opset < _GATHER_OPSET:
            opset = _GATHER_OPSET
    if options.method != quantization.CAST or opset is not None:
        source = preprocess.prepared(parent, folder, opset=opset, plain=plain, wide=wide)
    model, changed = _made(source, folder, options)
    into = Path(request["into"]) / MODEL
    preprocess.finish(model, parent, into)
    if not _changed(parent, into):
        by = f" by the method `{options.method}`" if options.method in quantization.METHODS else ""
        raise Refused(
            f"nothing in the model could be made {options.to}{by}",
            hint=_elsewhere(source, options),
        )
    tools = {"onnx": onnx.__version__, "onnxruntime": runtime().__version__}
    return {"tools": tools, "changed": changed}


def _has_table(path: Path) -> bool:
    """Tell whether a Gather reads rows of a matrix of weights, as embeddings do."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    matrices = {t.name for g in graphs(model) for t in g.initializer if len(t.dims) > 1}
    matrices |= {
        node.output[0]
        for graph in graphs(model)
        for node in graph.node
        if node.op_type == "Constant" and any(len(a.t.dims) > 1 for a in node.attribute)
    }
    every = [node for graph in graphs(model) for node in graph.node]
    return any(node.op_type == "Gather" and node.input[0] in matrices for node in every)


def _elsewhere(source: Path, options: Options) -> str:
    """Return a method to try after one found nothing to quantize."""
    if options.method == "static" and _branches(source):
        return (
            "static quantization passes by what lies inside If, Loop and Scan: "
            "--to int8 --method dynamic"
        )
    more = (
        "; another --method or --ops may fit it" if options.method in quantization.METHODS else ""
    )
    return f"zoo show lists its ops{more}"


def _made(
    source: Path, folder: Path, options: Options
) -> "tuple[onnx.ModelProto, Mapping[str, Any]]":
    """Return a recipe's model, and any deviation from the recipe."""
    import onnx

    ops = [op for op in options.ops if op not in options.exclude]
    model = (
        None if options.method == quantization.CAST else onnx.load(source, load_external_data=False)
    )
    nodes = list(_excluded(model, options)) if model else []
    if model and options.method in quantization.METHODS:
        ops, nodes = _dense(model, ops, nodes)
    try:
        match options.method:
            case "dynamic":
                return _dynamic(source, folder / "made.onnx", options, ops, nodes), {}
            case "static":
                return _static(source, folder / "made.onnx", options, ops, nodes)
            case "weight-only":
                return _weight_only(source, options, ops, nodes), {}
            case quantization.FOLD:
                return fold_qdq.fold(onnx.load(source)), {}
        return _cast(source, options, ops), {}
    except (ZooError, MemoryError, OSError):  # of a full disk, say
        raise
    except ImportError as error:
        raise NotFound(
            f"onnxruntime's tool for it needs `{error.name}`, which is not installed",
            hint="pip install 'onnxzoo[quantize]'",
        ) from error
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
        raise Refused(
            f"onnxruntime's tool for `{options.method}` failed: {words}",
            hint="another --method or --to, fewer --ops, or --exclude what it names",
        ) from error


def _cast(source: Path, options: Options, ops: list[str]) -> "onnx.ModelProto":
    def excluded(model: "onnx.ModelProto") -> list[str]:
        return list(_excluded(model, options))

    cast = half_precision.to_bf16 if options.to == "bf16" else half_precision.to_fp16
    return cast(source, ops, options.exclude, excluded)


def _dense(
    model: "onnx.ModelProto", ops: list[str], nodes: list[str]
) -> tuple[list[str], list[str]]:
    """Return the ops to quantize and the nodes to leave, where preparation made Gemm of MatMul."""
    gemms = [n for graph in graphs(model) for n in graph.node if n.op_type == "Gemm"]
    fused = [n.name for n in gemms if n.name.endswith(_FUSED)]
    if not fused or ("MatMul" in ops and "Gemm" in ops):
        return ops, nodes
    if "MatMul" in ops:
        own = [n.name for n in gemms if not n.name.endswith(_FUSED)]
        return [*ops, "Gemm"], [*nodes, *own]
    return ops, [*nodes, *fused]


def _dynamic(
    source: Path, into: Path, options: Options, ops: list[str], nodes: list[str]
) -> "onnx.ModelProto":
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        into,
        # What was a Gemm is a MatMul when it is quantized, of this name.
        op_types_to_quantize=sorted({*ops, "MatMul"} if "Gemm" in ops else ops),
        nodes_to_exclude=[*nodes, *(f"{node}_MatMul" for node in nodes)],
        per_channel=options.per_channel,
        reduce_range=options.reduce_range,
        weight_type=QuantType.from_string(f"Q{options.weights}"),
        use_external_data_format=True,
        extra_options={"MatMulConstBOnly": True, "EnableSubgraph": _branches(source)},
    )
    return onnx.load(into)


def _branches(source: Path) -> bool:
    """Tell whether a model has sub-graphs; without them onnxruntime's tool takes another way."""
    import onnx

    return len(list(graphs(onnx.load(source, load_external_data=False)))) > 1


def _static(
    source: Path, into: Path, options: Options, ops: list[str], nodes: list[str]
) -> "tuple[onnx.ModelProto, Mapping[str, Any]]":
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    def run(*, per_channel: bool) -> None:
        quantize_static(
            source,
            into,
            _Reader(source, options),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=ops,
            nodes_to_exclude=nodes,
            per_channel=per_channel,
            reduce_range=options.reduce_range,
            weight_type=QuantType.from_string(f"Q{options.weights}"),
            activation_type=QuantType.from_string(f"Q{options.activations}"),
            use_external_data_format=True,
        )

    changed = {}
    try:
        run(per_channel=options.per_channel)
    except ValueError:  # onnxruntime 1.32 fails so at some models' matrices, by channel only
        if not options.per_channel:
            raise
        run(per_channel=False)
        changed = {"per_channel": False}
    return onnx.load(into), changed


class _Reader:
    """Calibration data as onnxruntime's calibrators ask for it."""

    def __init__(self, source: Path, options: Options) -> None:
        session = open_session(source, [CPU])
        inputs, _ = signature(session)
        self._feeds: Iterator[Mapping[str, Any]] = input_files.feeds(
            options.calibrate or "", session, inputs, options.preprocess, source
        )

    def get_next(self) -> Mapping[str, Any] | None:
        """Return the next inputs by name, None after the last."""
        return next(self._feeds, None)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self._feeds


def _weight_only(
    source: Path, options: Options, ops: list[str], nodes: list[str]
) -> "onnx.ModelProto":
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ONNXModel(onnx.load(source))
    if "Gemm" in ops:
        model.replace_gemm_with_matmul()
        for graph in within(model.model.graph.node):
            inner = onnx.ModelProto(graph=graph)
            ONNXModel(inner).replace_gemm_with_matmul()
            graph.CopyFrom(inner.graph)
    bits = int(options.weights.lower().removeprefix("uint").removeprefix("int"))
    config = DefaultWeightOnlyQuantConfig(  # onnxruntime 1.22 and 1.23 take bits here alone
        block_size=options.block,
        is_symmetric=options.symmetric,
        accuracy_level=options.accuracy_level,
        op_types_to_quantize=tuple(op for op in ("MatMul", "Gather") if op in {*ops, "MatMul"}),
        bits=bits,
    )
    quantizer = MatMulNBitsQuantizer(
        model.model,
        nodes_to_exclude=[*nodes, *(f"{node}_MatMul" for node in nodes)],
        algo_config=config,
    )
    quantizer.process()
    made: onnx.ModelProto = quantizer.model.model
    return made


def _excluded(model: "onnx.ModelProto", options: Options) -> Iterator[str]:
    """Yield the names of excluded nodes: the requested ones, and heads.

    Raises:
        UsageError: if nothing is called what was asked for.
    """
    every = [node for graph in graphs(model) for node in graph.node]
    for wanted in options.exclude:
        found = [
            n.name
            for n in every
            if _kind(n) == wanted or fnmatchcase(n.name.removesuffix(_FUSED), wanted)
        ]
        if not found:
            raise _unknown(wanted, every, options.ops)
        yield from found
    if options.float_head:
        yield from _heads(model.graph)


def _kind(node: "onnx.NodeProto") -> str:
    """Return the op type that a node had before it was prepared."""
    return "MatMul" if node.name.endswith(_FUSED) else node.op_type


def _unknown(
    wanted: str, every: "Sequence[onnx.NodeProto]", quantized: Sequence[str]
) -> UsageError:
    """Return the error for an unknown name; it lists the nodes to be quantized first."""
    ops = sorted({node.op_type for node in every})
    ranked = sorted(every, key=lambda node: node.op_type not in quantized)
    names = [node.name for node in ranked if node.name]
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return UsageError(
        f"no op type and no node is called `{wanted}`"
        f"{quantization.did_you_mean(wanted, ops + names)}",
        hint=f"ops: {', '.join(ops)}; nodes: {shown}",
    )


def _heads(graph: "onnx.GraphProto") -> Iterator[str]:
    """Yield the convolutions after which no other product comes before the output."""
    makers = {name: node for node in graph.node for name in node.output}
    waiting = [value.name for value in graph.output]
    seen = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type not in _PRODUCTS:
            waiting.extend(node.input)
        elif node.op_type in _CONV:
            yield node.name


def _changed(parent: Path, made: Path) -> bool:
    """Tell whether a model's precision changed: by itself, by weights, or by ops that quantize."""
    before, after = describe(parent), describe(made)
    return (
        before.precision != after.precision
        or _marks(before) != _marks(after)
        or bool(_SHORT & (set(after.weights or ()) - set(before.weights or ())))
    )


def _marks(graph: Graph) -> dict[str, int]:
    words = ("Quantize", "Integer", "NBits", "QLinear")
    return {op: count for op, count in graph.ops.items() if any(word in op for word in words)}


if __name__ == "__main__":
    answer(main)
