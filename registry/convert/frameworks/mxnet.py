"""MXNet -> ONNX by its own exporter: `-symbol.json` with `.params` beside it, and Gluon blocks.

MXNet ended in 2023; it lives in an environment of its own. Source: MXNet's documentation, "ONNX".
"""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.convert.detect.weight_files import graph_in, needed_weights
from onnxzoo.registry.convert.frameworks._axes import name_axes, without_weights_as_inputs
from onnxzoo.registry.convert.frameworks._inputs import example_of, feeds
from onnxzoo.registry.convert.frameworks._loading import made_by, names_no_outputs
from onnxzoo.registry.convert.frameworks._names import opened
from onnxzoo.registry.convert.interface import BATCH, Converter, Input, Job, Made, Sample, pinned
from onnxzoo.registry.core.errors import InvalidModel, UsageError

_OPSETS = (12, 13)  # of which the exporter has translations; it stamps the newest of its onnx
_IR = 8


def check(job: Job) -> None:
    """Refuse a symbol that the exporter cannot write, or without weights or shapes."""
    names_no_outputs(job)
    if job.opset not in {None, *_OPSETS}:
        raise UsageError(
            f"MXNet's exporter writes opset 12 or 13, not {job.opset}",
            hint=f"convert without --opset, then: zoo convert NAME --opset {job.opset}",
        )
    if job.source is not None:
        _files(job)
    if job.example is None and not (job.inputs and all(one.shape for one in job.inputs)):
        raise UsageError(
            "MXNet's symbols do not hold the shapes of their inputs",
            hint="give them, with names for open axes: --input data=batch,3,224,224 "
            '(in code: inputs=["data=batch,3,224,224"])',
        )


CONVERTER = Converter(
    name="mxnet",
    module=__name__,
    options=("params",),
    needs=("mxnet", "onnx"),
    requirements=pinned("mxnet"),
    check=check,
    python=(3, 11),
)


# Layers of a loss, whose labels the exporter trips over, and what they are in inference.
_LOSSES = {
    "SoftmaxOutput": "softmax",
    "Softmax": "softmax",
    "LogisticRegressionOutput": "sigmoid",
    "LinearRegressionOutput": "identity",
    "MAERegressionOutput": "identity",
}


class _Graph(NamedTuple):
    symbol: Any
    weights: Mapping[str, Any]  # NDArrays by name, auxiliary ones with them

    @property
    def inference(self) -> Any:
        """The symbol without losses and labels, with the exporter's assumptions added."""
        import mxnet

        graph = json.loads(self.symbol.tojson())
        for node in graph["nodes"]:
            if node["op"] in _LOSSES:
                several = node.get("attrs", {}).get("multi_output") in {"True", "true", "1"}
                node["op"], node["inputs"] = _LOSSES[node["op"]], node["inputs"][:1]
                node["attrs"] = {"axis": "1" if several else "-1"}
                if node["op"] != "softmax":
                    del node["attrs"]
            elif node["op"] == "FullyConnected":
                node.setdefault("attrs", {}).setdefault("flatten", "True")
        return mxnet.sym.load_json(json.dumps(graph))


def convert(job: Job) -> Made:
    """Convert a symbol with its weights."""
    graph = _load(job)
    inputs = _inputs(graph, job)
    ran = [(feed, _run(graph, feed)) for feed in feeds(inputs, job)]
    model = _export(graph, inputs, job.opset or _OPSETS[-1])
    without_weights_as_inputs(model)
    names = [value.name for value in model.graph.output]
    samples = [Sample(feed, [outputs[name] for name in names]) for feed, outputs in ran]
    name_axes(model, inputs, samples)
    job.model.write_bytes(model.SerializeToString())
    return Made(samples)


def _files(job: Job) -> tuple[Path, Path]:
    source = job.source
    if source is None:
        raise UsageError("there is no file")
    graph = (graph_in(source) or source) if source.is_dir() else source
    name = graph.name.removesuffix("-symbol.json")
    return graph, needed_weights(graph, job.options, f"{name}-0000.params")


def _load(job: Job) -> _Graph:
    import mxnet

    if job.source is None:
        with tempfile.TemporaryDirectory() as folder:
            return _read(*_exported(made_by(job), job, Path(folder)))
    try:
        return _read(*_files(job))
    except mxnet.MXNetError as error:
        raise InvalidModel(
            f"MXNet cannot read `{job.source.name}` or its weights: the files are damaged"
        ) from error


def _read(symbol: Path, weights: Path) -> _Graph:
    import mxnet

    arrays = mxnet.nd.load(str(weights))
    if not isinstance(arrays, Mapping):
        raise InvalidModel(f"`{weights.name}` holds arrays without names")
    plain = {name.removeprefix("arg:").removeprefix("aux:"): arrays[name] for name in arrays}
    return _Graph(mxnet.sym.load(str(symbol)), plain)


def _exported(block: Any, job: Job, folder: Path) -> tuple[Path, Path]:
    """Export a Gluon block, which knows its shapes once it was called."""
    import mxnet

    first = next(iter(feeds(opened(job.inputs, job), job)))
    block.hybridize()
    block(*(mxnet.nd.array(value, dtype=value.dtype) for value in first.values()))
    block.export(str(folder / "m"), epoch=0)
    return folder / "m-symbol.json", folder / "m-0000.params"


def _inputs(graph: _Graph, job: Job) -> list[Input]:
    """Return the inputs in the symbol's order, with the shapes that the user gives."""
    names = [name for name in graph.inference.list_inputs() if name not in graph.weights]
    said = {one.name: one for one in job.inputs}
    if job.example is not None:
        arrays = example_of(job.example, [Input(name) for name in names])
        said = {
            name: Input(name, array.dtype.name, array.shape) for name, array in arrays.items()
        } | said
    if len(names) == len(said) == 1 and job.source is None:
        return opened([said.popitem()[1]._replace(name=names[0])], job)
    if set(said) != set(names):
        raise UsageError(
            f"the symbol's inputs are {_list(names)}; shapes are given for {_list(said)}",
            hint="give one each: " + " ".join(f"--input {name}=batch,…" for name in names),
        )
    return opened([said[name] for name in names], job)


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _run(graph: _Graph, feed: Mapping[str, Any]) -> dict[str, Any]:
    """Return MXNet's own outputs by the names that the exporter gives them."""
    import mxnet

    symbol = graph.symbol
    given = {name: mxnet.nd.array(value, dtype=value.dtype) for name, value in feed.items()}
    known = {**graph.weights, **given}
    shapes, _, _ = symbol.infer_shape(**{name: value.shape for name, value in given.items()})
    args = {
        name: known.get(name, mxnet.nd.zeros(shape))
        for name, shape in zip(symbol.list_arguments(), shapes, strict=True)
    }
    aux = {name: known[name] for name in symbol.list_auxiliary_states()}
    outputs = symbol.bind(mxnet.cpu(), args, aux_states=aux, grad_req="null").forward(
        is_train=False
    )
    names = map(_exporters_name, symbol.list_outputs())
    return {name: value.asnumpy() for name, value in zip(names, outputs, strict=True)}


def _exporters_name(output: str) -> str:
    """Return the exporter's name of an output.

    >>> [_exporters_name(name) for name in ("fc_output", "split_output1", "rnn_state_output")]
    ['fc', 'split1', 'rnn1']
    """
    for end, word in (("_state_output", "1"), ("_statecell_output", "2"), ("_output", "")):
        if output.endswith(end):
            return output.removesuffix(end) + word
    start, sign, number = output.rpartition("_output")
    return start + number if sign and len(number) == 1 and number.isdecimal() else output


def _export(graph: _Graph, inputs: Sequence[Input], opset: int) -> Any:
    from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph
    from onnx import checker, helper

    # The exporter checks its graph by the newest opset of this onnx, which it does not write.
    checker.DEFAULT_CONTEXT.opset_imports = {"": opset}
    shapes = [one.shape or () for one in inputs]
    types = [helper.np_dtype_to_tensor_dtype(_dtype(one)) for one in inputs]
    closed = [tuple(BATCH if isinstance(axis, str) else axis for axis in s) for s in shapes]
    opened_ = [tuple(None if isinstance(axis, str) else axis for axis in s) for s in shapes]
    dynamic = closed != opened_
    made = MXNetGraph().create_onnx_graph_proto(
        graph.inference,
        dict(graph.weights),
        closed,
        types,
        opset_version=opset,
        dynamic=dynamic,
        dynamic_input_shapes=opened_ if dynamic else None,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR)


def _dtype(one: Input) -> Any:
    import numpy as np

    return np.dtype(one.dtype or "float32")
