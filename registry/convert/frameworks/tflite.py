"""TFLite models: run by TensorFlow's interpreter on seeded inputs, and read by tf2onnx."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from onnxzoo.registry.convert.frameworks._inputs import feeds
from onnxzoo.registry.convert.frameworks._names import axis_name
from onnxzoo.registry.convert.frameworks.tensorflow_ports import Loaded, Port, chosen, shaped
from onnxzoo.registry.convert.interface import Input, Job, Sample
from onnxzoo.registry.core.errors import Refused, UsageError

# Steps of an integer output: TFLite and ONNX round their products at other places; floats in the
# place of integers are not rounded in between, and never saturate.
_STEPS, _STEPS_OF_FLOATS = 2, 8
_SIGMAS = 8  # of made-up numbers in the range of a quantized input, which spans rare values too


class _Tensor(NamedTuple):
    """An input or output of the interpreter; ``scale`` is 0 where it is not quantized."""

    place: int
    scale: float
    zero: int
    port: Port
    fixed: tuple[int, ...]  # the shape that the file has memory for


def of_tflite(job: Job) -> Loaded:
    """Load a model; its integer inputs and outputs stay integers."""
    import tensorflow as tf

    try:
        interpreter = tf.lite.Interpreter(str(job.source))
    except (ValueError, RuntimeError) as error:
        raise Refused(
            f"TFLite cannot read it: {str(error).strip().partition(chr(10))[0]}"
        ) from error
    names = _names(interpreter)
    ins = [_tensor(detail, names) for detail in interpreter.get_input_details()]
    outs = [_tensor(detail, names) for detail in interpreter.get_output_details()]
    ins, notes = _opened(interpreter, ins, job)
    outputs = chosen([one.port for one in outs], job.outputs)
    outs = [next(one for one in outs if one.port == port) for port in outputs]
    steps = _STEPS_OF_FLOATS if job.options.get("dequantize") == "true" else _STEPS
    return Loaded(
        [one.port for one in ins],
        outputs,
        _samples(interpreter, ins, outs, job),
        notes=notes,
        within={place: steps for place, one in enumerate(outs) if one.scale},
    )


def _names(interpreter: Any) -> dict[str, str]:
    """Return the names that the model's signature gives its tensors."""
    found: dict[str, str] = {}
    for signature in list(interpreter.get_signature_list())[:1]:
        runner = interpreter.get_signature_runner(signature)
        for details in (runner.get_input_details(), runner.get_output_details()):
            found |= {detail["name"]: name for name, detail in details.items()}
    return found


def _tensor(detail: Mapping[str, Any], names: Mapping[str, str]) -> _Tensor:
    import numpy as np

    tensor = detail["name"]
    name = names.get(tensor, tensor.removesuffix(":0").removeprefix("serving_default_"))
    axes = detail.get("shape_signature", detail["shape"])
    shape = tuple(
        int(size) if size >= 0 else axis_name(name, axis) for axis, size in enumerate(axes)
    )
    dtype = "string" if detail["dtype"] in {np.bytes_, np.str_} else np.dtype(detail["dtype"]).name
    scale, zero = detail["quantization"]
    quantized = scale if "int" in dtype else 0.0
    fixed = tuple(int(size) for size in detail["shape"])
    return _Tensor(detail["index"], quantized, zero, Port(tensor, name, dtype, shape), fixed)


def _opened(
    interpreter: Any, ins: Sequence[_Tensor], job: Job
) -> tuple[list[_Tensor], tuple[str, ...]]:
    """Return the inputs in the user's shapes; axes that TFLite cannot open stay fixed."""
    ports = shaped([one.port for one in ins], job)
    for one, port in zip(ins, ports, strict=True):
        for axis, size in enumerate(port.shape or ()):
            if isinstance(size, str) and isinstance((one.port.shape or ())[axis], int):
                raise UsageError(
                    f"axis {axis} of the input `{port.name}` is {one.fixed[axis]} in the TFLite "
                    "model, and cannot be opened",
                    hint="convert the model that it was made from",
                )
    opened = [one._replace(port=port) for one, port in zip(ins, ports, strict=True)]
    if not any(isinstance(size, str) for port in ports for size in port.shape or ()):
        return opened, ()
    try:
        _run(interpreter, opened, [], _zeros(opened))
    except (ValueError, RuntimeError):
        fixed = [one._replace(port=one.port._replace(shape=one.fixed)) for one in ins]
        return fixed, ("TFLite itself runs it only at the size it was made for: no axis is open",)
    return opened, ()


def _zeros(ins: Sequence[_Tensor]) -> dict[str, Any]:
    import numpy as np

    return {
        one.port.name: np.zeros(
            [size if isinstance(size, int) else 2 for size in one.port.shape or ()],
            object if one.port.dtype == "string" else one.port.dtype,
        )
        for one in ins
    }


def _samples(
    interpreter: Any, ins: Sequence[_Tensor], outs: Sequence[_Tensor], job: Job
) -> list[Sample]:
    drawn = [Input(o.port.name, "float32" if o.scale else o.port.dtype, o.port.shape) for o in ins]
    found = []
    for feed in feeds(drawn, job):
        given = {one.port.name: _integers(feed[one.port.name], one, job) for one in ins}
        found.append(Sample(given, _run(interpreter, ins, outs, given)))
    return found


def _run(
    interpreter: Any, ins: Sequence[_Tensor], outs: Sequence[_Tensor], feed: Mapping[str, Any]
) -> list[Any]:
    for one in ins:
        interpreter.resize_tensor_input(one.place, feed[one.port.name].shape)
    interpreter.allocate_tensors()
    for one in ins:
        interpreter.set_tensor(one.place, feed[one.port.name])
    interpreter.invoke()
    return [interpreter.get_tensor(one.place) for one in outs]


def _integers(values: Any, one: _Tensor, job: Job) -> Any:
    """Return made-up numbers over the range of a quantized input, an example as it is."""
    import numpy as np

    if not one.scale or values.dtype.kind != "f":
        return values
    kind = np.iinfo(one.port.dtype)
    if job.example is not None:
        steps = values / one.scale + one.zero
    else:
        steps = values * (kind.max - kind.min) / _SIGMAS + (kind.max + kind.min) / 2
    return np.clip(np.round(steps), kind.min, kind.max).astype(one.port.dtype)
