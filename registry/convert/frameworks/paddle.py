"""PaddlePaddle -> ONNX by paddle2onnx: `.json` or `.pdmodel` with `.pdiparams`, and layers in code.

Source: Paddle's documentation, "Model Export with ONNX Protocol", and paddle2onnx' README.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from shutil import copyfile
from typing import Any

from onnxzoo.registry.convert.detect.weight_files import graph_in, needed_weights
from onnxzoo.registry.convert.frameworks._axes import name_axes
from onnxzoo.registry.convert.frameworks._inputs import feeds
from onnxzoo.registry.convert.frameworks._loading import made_by, names_no_outputs
from onnxzoo.registry.convert.frameworks._names import axes_of, axis_name, opened
from onnxzoo.registry.convert.interface import Converter, Input, Job, Made, Sample, pinned
from onnxzoo.registry.core.errors import InvalidModel, NotFound, Refused, UsageError

_OPSETS = range(7, 22)  # beyond them paddle2onnx ends the process
_OPSET = 17  # without --opset; paddle2onnx raises it where an op needs more
_DAMAGED = ("complete or damaged", "tensor desc size", "parse_error", "parse error")


def check(job: Job) -> None:
    """Refuse an opset that ends the process, and a graph without its weights.

    Without its weights paddle2onnx writes a model of nothing and says that it is saved.
    """
    names_no_outputs(job)
    if job.opset is not None and job.opset not in _OPSETS:
        raise UsageError(
            f"paddle2onnx writes opsets {_OPSETS[0]} to {_OPSETS[-1]}, not {job.opset}",
            hint=f"convert without --opset, then: zoo convert NAME --opset {job.opset}",
        )
    if job.source is not None:
        _files(job.source, job.options)
    elif not (job.inputs and all(one.shape for one in job.inputs)) and job.given is None:
        raise UsageError(
            "a layer does not hold the shapes of its inputs",
            hint="give them, with names for open axes: --input x=batch,3,224,224 "
            "(in code: example=(x,))",
        )


CONVERTER = Converter(
    name="paddle",
    module=__name__,
    options=("params",),
    needs=("paddle", "paddle2onnx", "onnx"),
    extra="paddle",
    requirements=pinned("paddle"),
    check=check,
)


def convert(job: Job) -> Made:
    """Convert a saved program, or a layer that is saved as one first."""
    with tempfile.TemporaryDirectory() as folder:
        graph = _prepared(job, Path(folder))
        samples, inputs = _ran(graph, job)
        _export(graph, job, inputs, samples)
    return Made(samples)


def _files(source: Path, options: Mapping[str, str]) -> tuple[Path, Path]:
    graph = source
    if source.is_dir():
        found = graph_in(source)
        if found is None:
            raise NotFound(f"`{source.name}` holds no .json or .pdmodel with its .pdiparams")
        graph = found
    if graph.name == "__model__" and "params" not in options:
        options = {"params": "__params__"}
    return graph, needed_weights(graph, options, graph.with_suffix(".pdiparams").name)


def _prepared(job: Job, folder: Path) -> Path:
    """Return the graph's file, with its weights beside it under the same name."""
    if job.source is None:
        return _saved(made_by(job) if job.value is None else job.value, job, folder)
    graph, weights = _files(job.source, job.options)
    end = ".json" if graph.suffix == ".json" else ".pdmodel"
    if graph.suffix == end and weights == graph.with_suffix(".pdiparams"):
        return graph
    copyfile(graph, folder / f"m{end}")
    copyfile(weights, folder / "m.pdiparams")
    return folder / f"m{end}"


def _saved(layer: Any, job: Job, folder: Path) -> Path:
    import paddle

    if not isinstance(layer, paddle.nn.Layer):
        raise Refused(f"`{type(layer).__qualname__}` is no paddle.nn.Layer")
    specs = [
        paddle.static.InputSpec(
            [None if isinstance(axis, str) else axis for axis in one.shape or ()],
            one.dtype or "float32",
            one.name,
        )
        for one in _inputs_of_layer(job)
    ]
    training = layer.training
    layer.eval()
    try:
        paddle.jit.save(layer, str(folder / "m"), input_spec=specs)
    finally:
        layer.train() if training else layer.eval()
    return folder / "m.json"


def _inputs_of_layer(job: Job) -> list[Input]:
    if job.given is None:
        return opened(job.inputs, job)
    import numpy as np

    names = [one.name for one in job.inputs] or [f"x{place}" for place in range(len(job.given))]
    arrays = [np.asarray(value) for value in job.given]
    shown = zip(names, arrays, strict=True)
    return opened([Input(name, array.dtype.name, array.shape) for name, array in shown], job)


def _ran(graph: Path, job: Job) -> tuple[list[Sample], list[Input]]:
    """Return the outputs of Paddle's own executor, and the program's inputs."""
    import paddle

    with _static(), _era(graph):
        executor = paddle.static.Executor(paddle.CPUPlace())
        program, names, targets = _loaded(graph, executor)
        inputs = _inputs(_found(program, names), job)
        samples = [
            Sample(feed, executor.run(program, feed=feed, fetch_list=targets))
            for feed in feeds(inputs, job)
        ]
    return samples, inputs


@contextmanager
def _static() -> Iterator[None]:
    """Be in static mode, and then in the mode that was."""
    import paddle

    dynamic = paddle.in_dynamic_mode()
    paddle.enable_static()
    try:
        yield
    finally:
        if dynamic:
            paddle.disable_static()


def _era(graph: Path) -> AbstractContextManager[Any]:
    """Return a guard for programs from before Paddle 3."""
    import paddle

    old: AbstractContextManager[Any] = paddle.pir_utils.OldIrGuard()
    return nullcontext() if graph.suffix == ".json" else old


def _loaded(graph: Path, executor: Any) -> Any:
    import paddle

    try:
        return paddle.static.load_inference_model(str(graph.with_suffix("")), executor)
    except (RuntimeError, ValueError) as error:
        if any(words in str(error) for words in _DAMAGED):
            raise InvalidModel(
                "Paddle cannot read the graph or its weights: the files are cut off, damaged, or "
                "of two models"
            ) from error
        raise


def _found(program: Any, names: Sequence[str]) -> Iterator[Input]:
    """Yield a program's inputs, in their order."""
    block = program.global_block()
    if hasattr(block, "var"):
        values = {name: block.var(name) for name in names}
    else:
        values = {
            op.attrs()["name"]: op.results()[0]
            for op in block.ops
            if op.name() in {"pd_op.data", "pd_op.feed"}
        }
    for name in names:
        shape = tuple(
            size if size >= 0 else axis_name(name, axis)
            for axis, size in enumerate(values[name].shape)
        )
        yield Input(name, str(values[name].dtype).rpartition(".")[2], shape)


def _inputs(found: Iterator[Input], job: Job) -> list[Input]:
    """Return a program's inputs, with the names and sizes that the user gives for open axes."""
    said = {one.name: one for one in job.inputs}
    inputs = []
    for one in found:
        own = said.pop(one.name, one)
        shape = _shape_of(one, own.shape or one.shape or (), job)
        inputs.append(one._replace(shape=shape))
    if said:
        raise UsageError(
            f"no input is called `{next(iter(said))}`; there are "
            + ", ".join(f"`{one.name}`" for one in inputs)
        )
    return inputs


def _shape_of(one: Input, shape: Sequence[int | str], job: Job) -> tuple[int | str, ...]:
    """Return a shape with the open axes that are asked for, which the program has to leave open."""
    axes = axes_of([one.name], [len(shape)], job)[one.name]
    for axis, size in enumerate(one.shape or ()):
        if axis in axes and isinstance(size, int):
            raise UsageError(
                f"axis {axis} of the input `{one.name}` is {size} in the Paddle program, and "
                f"cannot be opened as `{axes[axis]}`",
                hint="save the program again, with None for that axis",
            )
    return tuple(axes.get(axis, size) for axis, size in enumerate(shape))


def _export(graph: Path, job: Job, inputs: Sequence[Input], samples: Sequence[Sample]) -> None:
    import onnx
    import paddle2onnx

    paddle2onnx.export(
        str(graph),
        str(graph.with_suffix(".pdiparams")),
        str(job.model),
        opset_version=job.opset or _OPSET,
        auto_upgrade_opset=True,
        enable_onnx_checker=False,  # ours follows
    )
    model = onnx.load(job.model)
    name_axes(model, inputs, samples)
    onnx.save(model, job.model)
