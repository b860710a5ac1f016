"""Core ML's classic `.mlmodel` -> ONNX by onnxmltools: networks, linear models, trees, SVMs.

Source: Core ML's format reference, and onnxmltools' `convert.coreml`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from onnxzoo.registry.convert.frameworks._axes import constants_as_weights, fed_inputs, name_axes
from onnxzoo.registry.convert.frameworks._inputs import feeds
from onnxzoo.registry.convert.frameworks._loading import names_no_outputs
from onnxzoo.registry.convert.frameworks._probabilities import without_maps
from onnxzoo.registry.convert.frameworks.coreml_models import Unknown, outputs
from onnxzoo.registry.convert.interface import Converter, Input, Job, Made, Sample, pinned
from onnxzoo.registry.core.errors import InvalidModel, UsageError

_NEWEST = 11  # opset that onnxmltools writes for Core ML
_ANY_CONSTANT = 9  # the opset from which on a Constant may hold labels; before, floats alone
_OPEN = "None"  # as onnxmltools calls the axis of examples
_OURS = "onnxzoo's own NumPy reference"


def check(job: Job) -> None:
    """Refuse an opset that is not written, and inputs, which the file names itself."""
    names_no_outputs(job)
    if job.inputs or job.dynamic or job.axes:
        raise UsageError("a Core ML file names its inputs and their shapes itself")
    if job.opset is not None and job.opset > _NEWEST:
        raise UsageError(
            f"onnxmltools writes opset {_NEWEST} of Core ML at most, not {job.opset}",
            hint=f"convert without --opset, then: zoo convert NAME --opset {job.opset}",
        )


CONVERTER = Converter(
    name="coreml",
    module=__name__,
    options=(),
    needs=("coremltools", "onnxmltools", "onnxconverter_common", "onnx"),
    extra="coreml",
    requirements=pinned("coreml"),
    check=check,
    outside=0.01,  # a tree's threshold
)


def convert(job: Job) -> Made:
    """Convert a file; compute its reference outputs from its weights with NumPy."""
    import onnx

    convert_coreml = _onnxmltools()
    spec = _read(job)
    model = convert_coreml(spec, name=job.converter, target_opset=job.opset or _NEWEST)
    without_maps(model)
    if (job.opset or _NEWEST) < _ANY_CONSTANT:
        constants_as_weights(model.graph)
    inputs = list(_inputs(model))
    made = _made(spec, model, inputs, job)
    if not model.opset_import or all(one.domain for one in model.opset_import):
        _complete(model, job.opset or _NEWEST)
    name_axes(model, inputs, made.samples)
    onnx.save(model, job.model)
    return made


def _onnxmltools() -> Any:
    """Return onnxmltools' function, with the gaps of its release 1.16 filled.

    Its Core ML part still imports three names that moved to onnxconverter_common or were dropped,
    asks onnx for itself as ``onnx_proto``, hands tensors of images a colour space that their
    class no longer takes, and registers no converter unless their modules are imported.
    """
    import logging

    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import onnx
    from onnxconverter_common import utils as kept
    from onnxmltools.convert.common import data_types, utils

    vars(onnx)["onnx_proto"] = onnx
    utils.check_input_and_output_numbers = kept.check_input_and_output_numbers
    utils.check_input_and_output_types = kept.check_input_and_output_types
    data_types.find_type_conversion = _conversion
    made = data_types.TensorType.__init__

    def init(self: Any, shape: Any = None, color_space: Any = None, **named: Any) -> None:
        made(self, shape, **named)
        self.color_space = color_space

    data_types.TensorType.__init__ = init
    from importlib import import_module

    for kind in ("operator_converters", "shape_calculators"):
        import_module(f"onnxmltools.convert.coreml.{kind}.neural_network")
    from onnxmltools.convert.coreml import convert as convert_coreml

    return convert_coreml


def _conversion(source_type: Any, target_type: Any) -> str:
    """Return the operator that makes one type of another."""
    return "identity" if type(source_type) is type(target_type) else "imageToFloatTensor"


def _read(job: Job) -> Any:
    import coremltools
    from google.protobuf.message import DecodeError

    try:
        return coremltools.utils.load_spec(str(job.source))
    except DecodeError as error:
        raise InvalidModel("the Core ML file is cut off or damaged") from error


def _complete(model: Any, opset: int) -> None:
    """Name the default domain's opset, of which models of trees alone have no node."""
    model.opset_import.add(domain="", version=opset)


def _inputs(model: Any) -> Iterator[Input]:
    import onnx

    for value in fed_inputs(model.graph):
        tensor = value.type.tensor_type
        shape = tuple(
            dim.dim_value if dim.dim_value > 0 else "batch" if place == 0 else f"axis_{place}"
            for place, dim in enumerate(tensor.shape.dim)
        )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type or 1).name
        yield Input(value.name, "string" if dtype == "object" else dtype, shape)


def _made(spec: Any, model: Any, inputs: Sequence[Input], job: Job) -> Made:
    """Return the samples that our reference computes; a warning where it cannot."""
    names = [value.name for value in model.graph.output]
    fed = list(feeds(inputs, job))
    try:
        wanted = [outputs(spec, feed) for feed in fed]
    except Unknown as error:
        note = (
            f"nothing here computes {error}: what the Core ML model gives is not known, and the "
            "ONNX model is not held against it"
        )
        return Made([Sample(feed, []) for feed in fed], (note,), _OURS)
    samples = [
        Sample(feed, [given.get(name) for name in names])
        for feed, given in zip(fed, wanted, strict=True)
    ]
    said = "Core ML runs on macOS alone: the outputs are held against a reference of onnxzoo's own"
    return Made(samples, reference=_OURS, found=(said,))
