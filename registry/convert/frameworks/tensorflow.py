"""TensorFlow -> ONNX by tf2onnx: SavedModels, frozen GraphDefs, TFLite, functions, Keras models.

Source: tf2onnx's README, "Using tf2onnx".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnxzoo.registry.convert.frameworks._loading import made_by
from onnxzoo.registry.convert.frameworks._names import words_by_sizes
from onnxzoo.registry.convert.frameworks.tensorflow_graphs import (
    of_function,
    of_graph_def,
    of_saved_model,
)
from onnxzoo.registry.convert.frameworks.tensorflow_ports import Loaded
from onnxzoo.registry.convert.frameworks.tflite import of_tflite
from onnxzoo.registry.convert.interface import Converter, Job, Made, pinned
from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.onnx_file.protos import nodes

_HIGHEST, _USUAL = 18, 15  # opsets: tf2onnx 1.17 writes none above, and takes 15 by itself
_SHOWN = 6  # ops in a message


def check(job: Job) -> None:
    """Refuse models that tf2onnx does not accept."""
    if job.opset is not None and job.opset > _HIGHEST:
        raise UsageError(
            f"tf2onnx writes opsets up to {_HIGHEST}; `{job.opset}` was asked for",
            hint=f"convert it without --opset, then: zoo convert NAME --opset {job.opset}",
        )


CONVERTER = Converter(
    name="tensorflow",
    module=__name__,
    needs=("tensorflow", "tf2onnx", "onnx"),
    extra="tensorflow",
    requirements=pinned("tensorflow"),
    options=("dequantize", "signature"),
    check=check,
    memory=10 << 30,
    environment={
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
    },
)


def convert(job: Job) -> Made:
    """Convert a model; compute TensorFlow's own outputs first."""
    import onnx

    loaded = _load(job)
    model = _exported(loaded, job)
    _name_axes(model, loaded)
    onnx.save(model, job.model)
    return Made(loaded.samples, loaded.notes, within=loaded.within)


def _load(job: Job) -> Loaded:
    for start, load in _LOADERS.items():
        if job.format.startswith(start):
            if job.format.startswith("tf-savedmodel") and job.source and job.source.is_file():
                raise UsageError(
                    f"`{job.source.name}` is one file of a SavedModel",
                    hint=f"give its folder: {job.source.parent.name or '.'}",
                )
            return load(job)
    raise UsageError(f"the converter `{job.converter}` does not read a `{job.format}`")


def _of_keras_file(job: Job) -> Loaded:
    import keras

    return _of_value(
        job, keras.models.load_model(job.source, compile=False, safe_mode=not job.trust)
    )


def _of_code(job: Job) -> Loaded:
    return _of_value(job, made_by(job) if job.value is None else job.value)


_LOADERS: Mapping[str, Callable[[Job], Loaded]] = {
    "tf-savedmodel": of_saved_model,
    "tf-graphdef": of_graph_def,
    "tflite": of_tflite,
    "keras": _of_keras_file,
    "object": _of_code,
    "factory": _of_code,
}


def _of_value(job: Job, value: Any) -> Loaded:
    """Load a Keras model or a function of tensors."""
    if not callable(value):
        raise UsageError(f"a `{type(value).__name__}` is no function of tensors")
    ins = getattr(value, "inputs", None) if hasattr(value, "layers") else None
    if not ins:
        return of_function(job, value, _specs(job, value))

    def call(*tensors: Any) -> Any:
        return value(tensors[0] if len(tensors) == 1 else list(tensors), training=False)

    specs = [_spec(str(one.name), str(one.dtype), one.shape) for one in ins]
    return of_function(job, call, specs, list(getattr(value, "output_names", ())), holder=value)


def _specs(job: Job, function: Any) -> list[Any]:
    """Return the arguments of a function: as the user says, as it says, or as an example shows."""
    said = dict(enumerate(job.inputs))
    if job.given is None and all(one.shape is not None for one in job.inputs) and job.inputs:
        return [_spec(one.name, one.dtype or "float32", one.shape or ()) for one in job.inputs]
    signature = getattr(function, "input_signature", None) or _like(job)
    if not signature:
        raise UsageError(
            "the inputs of a TensorFlow function are not known from it",
            hint="give their shapes, with names for open axes: --input x=batch,224,224,3 "
            "(in code: example=(x,))",
        )
    return [
        _spec(said[n].name if n in said else one.name or f"input_{n}", one.dtype, one.shape)
        for n, one in enumerate(signature)
    ]


def _like(job: Job) -> list[Any]:
    """Return the arguments that an example in code shows, with the open axes that are asked for."""
    import numpy as np

    found = []
    for number, value in enumerate(job.given or ()):
        array = np.asarray(value)
        name = job.inputs[number].name if number < len(job.inputs) else f"input_{number}"
        words = {**job.dynamic, **job.axes.get(name, {})}
        found.append(
            _spec(name, array.dtype, [words.get(n, size) for n, size in enumerate(array.shape)])
        )
    return found


def _spec(name: str, dtype: Any, shape: Sequence[Any]) -> Any:
    import tensorflow as tf

    axes = [size if isinstance(size, int) else None for size in shape]
    return tf.TensorSpec(axes, dtype, name)


def _exported(loaded: Loaded, job: Job) -> Any:
    from tf2onnx.convert import _convert_common

    ports = [*loaded.inputs, *loaded.outputs]
    try:
        model, _ = _convert_common(
            loaded.graph,
            name=job.source.name if job.source else job.factory or "model",
            opset=job.opset or _USUAL,
            input_names=[port.tensor for port in loaded.inputs],
            output_names=[port.tensor for port in loaded.outputs],
            tensors_to_rename={port.tensor: port.name for port in ports},
            initialized_tables=dict(loaded.tables),
            tflite_path=None if loaded.graph is not None else str(job.source),
            dequantize=job.options.get("dequantize") == "true",
        )
    except ValueError as error:
        if "2GB" in str(error):
            raise Refused("its graph with its weights passes protobuf's 2 GB") from error
        raise
    _check_ops(model)
    _drop_unused(model)
    return model


def _check_ops(model: Any) -> None:
    """Raise where an op of TensorFlow stands as it was: tf2onnx only logs that."""
    from onnx.defs import has

    unknown = {n.op_type for n in nodes(model) if not n.domain and not has(n.op_type)}
    if unknown:
        listed = ", ".join(f"`{name}`" for name in sorted(unknown)[:_SHOWN])
        raise Refused(f"tf2onnx makes no ONNX of TensorFlow's {listed}")


def _drop_unused(model: Any) -> None:
    """Leave out the opsets of domains of which no op is there; tf2onnx names two always."""
    used = {node.domain for node in nodes(model)} | {""}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _name_axes(model: Any, loaded: Loaded) -> None:
    """Name dynamic axes: of inputs as asked, of outputs after the inputs they follow."""
    del model.graph.value_info[:]  # it names the same axes otherwise
    ins = {port.name: port for port in loaded.inputs}
    first, last = loaded.samples[0], loaded.samples[-1]
    words = words_by_sizes(
        (first.inputs[name].shape, last.inputs[name].shape, _open(port.shape or ()))
        for name, port in ins.items()
    )
    for value in model.graph.input:
        shape = ins[value.name].shape if value.name in ins else None
        if shape is not None:
            _write(value.type.tensor_type.shape, shape)
    for place, value in enumerate(model.graph.output):
        before, after = first.outputs[place].shape, last.outputs[place].shape
        shape_of = value.type.tensor_type.shape
        if not value.type.tensor_type.HasField("shape"):
            _write(shape_of, ("",) * len(before))
        for axis, dim in enumerate(shape_of.dim):
            if dim.HasField("dim_value"):
                continue
            moves = first is last or before[axis] != after[axis]
            dim.dim_param = words.get((before[axis], after[axis]), "") if moves else ""
            dim.dim_param = dim.dim_param or f"{value.name}_{axis}"


def _open(shape: Sequence[int | str]) -> dict[int, str]:
    return {axis: size for axis, size in enumerate(shape) if isinstance(size, str)}


def _write(proto: Any, shape: Sequence[int | str]) -> None:
    proto.Clear()
    for size in shape:
        dim = proto.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        else:
            dim.dim_param = size
