"""Determine a model's precision from its weights; names lie.

Source: ONNX operators, onnx.proto "TensorProto.DataType", onnxruntime's contrib operators.
"""

from collections.abc import Collection, Mapping, Sequence

from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.dtypes import BITS

# Nearest to full precision first: what a user who named no variant would miss least. Bits fall
# along the order, so that what is taken by default never has fewer than what else there is.
PRECISIONS = (
    "fp32", "fp64", "fp16", "bf16", "int16", "uint16", "qdq", "int8", "uint8", "fp8", "int7",
    "int6", "fp6", "int5", "int4", "uint4", "fp4", "bnb4", "int3", "int2", "uint2", "int1",
)  # fmt: skip
_FLOATS = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16"}
# Types that hold nothing but quantized weights, by what they are called together.
_PACKED = {
    dtype: "int4" if dtype == "uint4" else dtype.partition("_")[0].replace("float", "fp")
    for dtype, bits in BITS.items()
    if 0 < bits < 8 or dtype.startswith("float8")  # noqa: PLR2004
}
_PACKED_SHARE = 0.01  # of all weights; fewer are zero points and scales
_INTEGERS = {"int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16"}
_QDQ = {"QuantizeLinear", "DequantizeLinear"}
# Ops that compute in integers.
_COMPUTE = ("QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantize", "QGemm", "QAttention")
_BNB4 = "MatMulBnb4"


def precision_of(
    ops: Collection[str],
    elements: Mapping[str, int],
    bits: Collection[int],
    inputs: Sequence[Tensor],
) -> str:
    """Return the precision of a model's weights: one of `PRECISIONS`.

    Of a mixture it is the kind with the fewest bits, where that is more than a hundredth of the
    weights; plain integers count as weights where something dequantizes them, or where they are
    more than the floats.

    Args:
        ops: op types, with their domains.
        elements: of weights, by dtype.
        bits: of ops whose weights lie in blocks, such as MatMulNBits.
        inputs: of the model, for what has no weights.
    """
    names = {op.rpartition(".")[2] for op in ops}
    if kind := _packed(names, elements, bits):
        return kind
    if any(name.startswith(_COMPUTE) for name in names):
        return "uint8" if elements.get("uint8", 0) > elements.get("int8", 0) else "int8"
    floats = {dtype: elements[dtype] for dtype in _FLOATS if elements.get(dtype)}
    whole = {dtype: elements[dtype] for dtype in _INTEGERS if elements.get(dtype)}
    most = max(whole, key=lambda dtype: whole[dtype], default=None)
    if names >= _QDQ or ("DequantizeLinear" in names and most):
        wide = most is not None and most.endswith("16") and _outweighs(whole[most], floats)
        return _INTEGERS[most] if most and wide else "qdq"
    if most and _outweighs(whole[most], floats):
        return _INTEGERS[most]
    if floats:
        return _FLOATS[max(floats, key=lambda dtype: floats[dtype])]
    return next((_FLOATS[t.dtype] for t in inputs if t.dtype in _FLOATS), "fp32")


def _packed(names: Collection[str], elements: Mapping[str, int], bits: Collection[int]) -> str:
    """Return the kind of packed weights with the fewest bits."""
    total = sum(count for dtype, count in elements.items() if dtype not in {"int64", "bool"})
    kinds = {
        kind
        for dtype, kind in _PACKED.items()
        if elements.get(dtype, 0) > _PACKED_SHARE * total
        or (kind == "int4" and elements.get(dtype))
    }
    kinds |= {f"int{count}" for count in bits}
    kinds |= {"bnb4"} if _BNB4 in names else set()
    known = [kind for kind in kinds if kind in PRECISIONS]
    return max(known, key=PRECISIONS.index, default="")


def _outweighs(count: int, floats: Mapping[str, int]) -> bool:
    return count > sum(floats.values())
