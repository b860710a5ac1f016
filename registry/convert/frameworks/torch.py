"""PyTorch -> ONNX by its two exporters: modules, TorchScript, ExportedPrograms, state dicts.

Source: PyTorch's documentation, "torch.onnx", "torch.export" and "Serialization semantics".
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.convert.frameworks._names import Axes, outputs_named, words_by_sizes
from onnxzoo.registry.convert.frameworks._traces import without_traces
from onnxzoo.registry.convert.frameworks.torch_files import is_program, load
from onnxzoo.registry.convert.frameworks.torch_inputs import (
    Inputs,
    inputs_of,
    outputs_of,
    samples_of,
    symbolic_axes,
)
from onnxzoo.registry.convert.interface import Converter, Job, Made, pinned
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.onnx_file.protos import nodes

CONVERTER = Converter(
    name="torch",
    module=__name__,
    options=("exporter", "do_constant_folding"),
    needs=("torch", "onnx"),
    extra="torch",
    requirements=pinned("torch"),
)
_LOWEST = 18  # opset of the exporter "dynamo"; below it warns and stays at 18
_USUAL = 17  # of the exporter "torchscript", which was tried on whole networks up to 21
_EXPORTERS = ("dynamo", "torchscript")
# Of an output's largest value: onnxruntime computes in integers what fake quantization rounds in
# floats, and at a tie the two part by a step.
_ROUNDED = 0.05
_INSIDE = 1_500_000_000  # bytes of weights in the file itself; protobuf ends at 2 GiB


class Call(NamedTuple):
    """An export: a module, its inputs, its output names, all dynamic axes."""

    module: Any
    inputs: Inputs
    outputs: Sequence[str]
    axes: Axes


def convert(job: Job) -> Made:
    """Convert a module; compute its own outputs first."""
    model, given, found = load(job)
    with _evaluating(model) as module:
        inputs = inputs_of(module, job, given, symbolic_axes(model) if is_program(model) else {})
        outputs = [outputs_of(module, call) for call in inputs.calls]
        names = outputs_named(job, len(outputs[0]))
        axes = inputs.axes | _open_outputs(inputs, outputs, names) | _said_of(names, job)
        notes = _export(model, Call(module, inputs, names, axes), job)
    ops = _tidy(job.model, inputs)
    within = _rounded(outputs) if "QuantizeLinear" in ops else {}
    return Made(samples_of(inputs, outputs), notes, within=within, found=found)


def _rounded(outputs: Sequence[Sequence[Any]]) -> dict[int, float]:
    """Return how far each output of a quantized module may lie from it."""
    found = {}
    for place, values in enumerate(zip(*outputs, strict=True)):
        finite = [value[value.isfinite()].abs() for value in values if value.is_floating_point()]
        if largest := max((float(value.max()) for value in finite if value.numel()), default=0.0):
            found[place] = _ROUNDED * largest
    return found


@contextmanager
def _evaluating(model: Any) -> Iterator[Any]:
    """Give a callable in evaluation mode; restore every part's mode afterwards."""
    module = model.module() if is_program(model) else model
    modes = [(part, part.training) for part in module.modules()]
    try:
        with _one_mode(module) if _is_exported(module) else nullcontext():
            module.eval()
            yield module
    finally:
        for part, training in modes:
            part.training = training


def _is_exported(module: Any) -> bool:
    """Tell whether it came from ``torch.export``: its own train and eval raise."""
    return "train" in vars(module)


@contextmanager
def _one_mode(module: Any) -> Iterator[None]:
    """Let an exported module be told of its mode, which the exporters do; it keeps the one it has.

    Source: PyTorch, `torch.export`: "Calling train() or eval() is not supported".
    """
    own = {name: vars(module)[name] for name in ("train", "eval") if name in vars(module)}
    module.train, module.eval = lambda _=True: module, lambda: module
    try:
        yield
    finally:
        for name in ("train", "eval"):
            delattr(module, name)
        vars(module).update(own)


def _open_outputs(inputs: Inputs, outputs: Sequence[Sequence[Any]], names: Sequence[str]) -> Axes:
    """Return the axes of outputs that follow axes of inputs: their sizes change together."""
    first, last = inputs.calls[0], inputs.calls[-1]
    words = words_by_sizes(
        (before.shape, after.shape, inputs.axes[name])
        for name, before, after in zip(inputs.names, first, last, strict=True)
    )
    return {
        name: {
            axis: words.get(sizes, f"{name}_{axis}")
            for axis, sizes in enumerate(zip(before.shape, after.shape, strict=True))
            if sizes[0] != sizes[1]
        }
        for name, before, after in zip(names, outputs[0], outputs[-1], strict=True)
        if len(before.shape) == len(after.shape)
    }


def _said_of(names: Sequence[str], job: Job) -> Axes:
    return {name: dict(job.axes[name]) for name in names if name in job.axes}


def _export(model: Any, call: Call, job: Job) -> tuple[str, ...]:
    """Export by the exporter that was asked for, or that suits; return notes."""
    exporter = job.options.get("exporter") or _suiting(model, job.opset)
    if exporter not in _EXPORTERS:
        raise UsageError(f"no exporter `{exporter}`; there are {', '.join(_EXPORTERS)}")
    if exporter == "torchscript":
        _by_torchscript(call, job)
        return ()
    if job.opset is not None and job.opset < _LOWEST:
        raise UsageError(
            f"the exporter `dynamo` writes opset {_LOWEST} and up; `{job.opset}` was asked for",
            hint='--option exporter=torchscript (in code: options={"exporter": "torchscript"})',
        )
    try:
        _by_dynamo(model, call, job)
    except Exception as error:
        if "exporter" in job.options or is_program(model):
            raise
        _by_torchscript(call, job)
        first = str(error).strip().partition("\n")[0][:200]
        return (f"the exporter dynamo failed, torchscript took its place: {first}",)
    return ()


def _suiting(model: Any, opset: int | None) -> str:
    import torch

    scripted = isinstance(model, torch.jit.ScriptModule)
    low = opset is not None and opset < _LOWEST
    return "torchscript" if scripted or low or find_spec("onnxscript") is None else "dynamo"


def _by_dynamo(model: Any, call: Call, job: Job) -> None:
    import torch

    program, inputs = is_program(model), call.inputs
    shapes = tuple(dict(inputs.axes[name]) for name in inputs.names)
    with _silent("torch.onnx"):  # it warns that torchvision is not there
        torch.onnx.export(
            model,
            () if program else tuple(inputs.calls[0]),
            str(job.model),
            input_names=list(inputs.names),
            output_names=list(call.outputs),
            opset_version=job.opset,
            dynamic_shapes=shapes if any(shapes) and not program else None,
            dynamo=True,
            external_data=_weight(model) > _INSIDE,
            verbose=False,
        )


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _by_torchscript(call: Call, job: Job) -> None:
    import torch

    torch.onnx.export(
        call.module,
        tuple(call.inputs.calls[0]),
        str(job.model),
        input_names=list(call.inputs.names),
        output_names=list(call.outputs),
        opset_version=job.opset or _USUAL,
        dynamic_axes={name: axes for name, axes in call.axes.items() if axes},
        do_constant_folding=job.options.get("do_constant_folding") != "false",
        dynamo=False,
    )


def _weight(model: Any) -> int:
    tensors = model.state_dict if is_program(model) else model.state_dict()
    return sum(t.numel() * t.element_size() for t in tensors.values() if hasattr(t, "numel"))


def _tidy(path: Path, inputs: Inputs) -> set[str]:
    """Name dynamic axes as asked; remove the paths of this machine's code.

    Returns:
        The op types of the graph.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    without_traces(model)
    words = {
        dim.dim_param: word
        for value in model.graph.input
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if dim.dim_param and (word := inputs.axes.get(value.name, {}).get(axis))
    }
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in words:
                dim.dim_param = words[dim.dim_param]
    onnx.save(model, path)
    return {node.op_type for node in nodes(model)}
