"""Correct a converted model's IR version and declared shapes."""

from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.derive.strip_weights import tensors
from onnxzoo.registry.onnx_file.dtypes import NAMES
from onnxzoo.registry.onnx_file.op_versions import ir_version, ir_version_of_types

if TYPE_CHECKING:
    from onnx import ModelProto, TensorShapeProto, ValueInfoProto

_CONSTANT_SINCE = 4  # the IR version since which an initialiser need not be an input


def fit_ir_version(model: "ModelProto", before: int, most: int | None) -> None:
    """Give a model the IR version of its opsets, or the nearest to it that its contents need.

    Args:
        model: at its new opset; weights stay constants where they were.
        before: its IR version until now.
        most: the highest to keep of that; None for that of its opsets.

    Raises:
        Refused: if its contents need a higher one than `most`.
    """
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    needed = max(ir_version(opsets), _needed_ir_version(model, before))
    if most is not None and needed > most:
        raise Refused(f"its contents need IR version {needed}, above {most}")
    model.ir_version = max(needed, min(before, most or needed))
    if before < _CONSTANT_SINCE <= model.ir_version:
        constant = {tensor.name for tensor in model.graph.initializer}
        kept = [value for value in model.graph.input if value.name not in constant]
        del model.graph.input[:]
        model.graph.input.extend(kept)


def _needed_ir_version(model: "ModelProto", before: int) -> int:
    """Return the lowest IR version that has the types of a model's tensors, and its constants."""
    numbers = {tensor.data_type for tensor in tensors(model)}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        numbers.add(value.type.tensor_type.elem_type)
    needed = ir_version_of_types(NAMES[number] for number in numbers if number < len(NAMES))
    inputs = {value.name for value in model.graph.input}
    if before >= _CONSTANT_SINCE and {t.name for t in model.graph.initializer} - inputs:
        return max(needed, _CONSTANT_SINCE)
    return needed


def correct_shapes(model: "ModelProto") -> "ModelProto":
    """Return a model without declared shapes that contradict the inferred ones.

    Some exporters declare an output with a rank too few, which shape inference sees at one opset
    and not at another. Declared types stay.
    """
    import onnx
    from onnx import shape_inference

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(bare).graph
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    corrected = onnx.ModelProto()
    corrected.CopyFrom(model)
    for value in (*corrected.graph.output, *corrected.graph.value_info):
        if value.name in known and _contradict(value, known[value.name]):
            value.type.tensor_type.shape.CopyFrom(known[value.name].type.tensor_type.shape)
    return corrected


def _contradict(declared: "ValueInfoProto", inferred: "ValueInfoProto") -> bool:
    """Tell whether two tensors' shapes differ in their rank or in a fixed size."""
    kinds = [value.type.tensor_type for value in (declared, inferred)]
    if not all(kind.HasField("shape") for kind in kinds):
        return False
    one, two = (_sizes(kind.shape) for kind in kinds)
    pairs = zip(one, two, strict=False)
    return len(one) != len(two) or any(a != b for a, b in pairs if None not in {a, b})


def _sizes(shape: "TensorShapeProto") -> list[int | None]:
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in shape.dim]
