"""Keras -> ONNX on its torch backend, without TensorFlow: `.keras`, `.h5`, and models in code.

Source: Keras' documentation, "Multi-backend" and "Whole model saving & loading".
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from onnxzoo.registry.convert.frameworks import torch as by_torch
from onnxzoo.registry.convert.frameworks._loading import made_by
from onnxzoo.registry.convert.frameworks._names import axis_name
from onnxzoo.registry.convert.interface import Converter, Input, Job, Made, pinned
from onnxzoo.registry.core.errors import UsageError

CONVERTER = Converter(
    name="keras",
    module=__name__,
    options=("exporter",),
    needs=("keras", "torch", "onnx"),
    extra="keras",
    requirements=pinned("keras"),
    environment={"KERAS_BACKEND": "torch"},
)


def convert(job: Job) -> Made:
    """Convert a model as the PyTorch module that it is on that backend."""
    import keras

    model = _load(job)
    if keras.backend.backend() != "torch":
        raise UsageError(
            f"Keras runs on `{keras.backend.backend()}` here; its models convert on torch",
            hint="save it, and convert the file: onnxzoo.convert('model.keras', NAME)",
        )
    if not getattr(model, "inputs", None):
        raise UsageError("the Keras model was never built", hint="call it once, and save it again")
    inputs = _inputs(model, {one.name: one for one in job.inputs})
    outputs = job.outputs or tuple(getattr(model, "output_names", ()))
    given = None if job.given is None else [_tensor(value) for value in job.given]
    return by_torch.convert(
        replace(
            job, format="object", value=_module(model), inputs=inputs, outputs=outputs, given=given
        )
    )


def _load(job: Job) -> Any:
    import keras

    if job.value is not None:
        return job.value
    if job.source is None:
        return made_by(job)
    return keras.models.load_model(job.source, compile=False, safe_mode=not job.trust)


def _inputs(model: Any, said: Mapping[str, Input]) -> tuple[Input, ...]:
    """Return a model's inputs; unknown axes are dynamic, the first one is the batch."""
    found = []
    for tensor in model.inputs:
        name = str(tensor.name)
        shape = tuple(
            size if size is not None else axis_name(name, axis)
            for axis, size in enumerate(tensor.shape)
        )
        own = said.get(name, Input(name))
        found.append(Input(name, own.dtype or str(tensor.dtype), own.shape or shape))
    return tuple(found)


def _tensor(value: Any) -> Any:
    import torch

    return torch.as_tensor(value)


def _module(model: Any) -> Any:
    """Return a module that takes the inputs one by one and runs the model for inference."""
    import torch

    class Inference(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

    class One(Inference):
        def forward(self, value: Any) -> Any:  # a name, since dynamo's shapes know no *arguments
            return self.model(value, training=False)

    class Several(Inference):
        def forward(self, *values: Any) -> Any:
            return self.model(list(values), training=False)

    return One() if len(model.inputs) == 1 else Several()
