"""Define the element types of tensors: their names and bits.

Source: onnx.proto (IR version 13), "TensorProto.DataType".
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

STRING = "string"
# By number: the names are NumPy's and ml_dtypes' words. A string's bytes are its own.
_DTYPES = (
    ("undefined", 0), ("float32", 32), ("uint8", 8), ("int8", 8), ("uint16", 16), ("int16", 16),
    ("int32", 32), ("int64", 64), (STRING, 0), ("bool", 8), ("float16", 16), ("float64", 64),
    ("uint32", 32), ("uint64", 64), ("complex64", 64), ("complex128", 128), ("bfloat16", 16),
    ("float8_e4m3fn", 8), ("float8_e4m3fnuz", 8), ("float8_e5m2", 8), ("float8_e5m2fnuz", 8),
    ("uint4", 4), ("int4", 4), ("float4_e2m1fn", 4), ("float8_e8m0fnu", 8), ("uint2", 2),
    ("int2", 2), ("float6_e2m3fn", 6), ("float6_e3m2fn", 6),
)  # fmt: skip
WIDTHS = frozenset({"float16", "float32", "float64"})  # one is cast to another that is wanted
NAMES = tuple(name for name, _ in _DTYPES)
BITS = dict(_DTYPES)
# What NumPy lacks and ml_dtypes adds. Source: ml_dtypes' README, "Specifications".
BEYOND_NUMPY = frozenset(
    name
    for name, bits in _DTYPES
    if name == "bfloat16" or bits in {2, 4, 6} or name.startswith("float8")
)
# onnxruntime's words. Source: onnxruntime, onnxruntime/core/framework/data_types.cc.
_RUNTIME = {
    "float": "float32",
    "double": "float64",
    "float4e2m1": "float4_e2m1fn",
    "float8e8m0": "float8_e8m0fnu",
    **{name.replace("_", ""): name for name in NAMES},
}


def from_runtime(text: str) -> str:
    """Return a type in this module's words that onnxruntime says in its own.

    >>> from_runtime("tensor(float)"), from_runtime("tensor(float8e4m3fn)")
    ('float32', 'float8_e4m3fn')
    >>> from_runtime("seq(map(int64,tensor(float)))")
    'seq(map(int64,tensor(float32)))'
    """
    named = re.sub(r"\w+", lambda word: _RUNTIME.get(word[0], word[0]), text)
    return named.removeprefix("tensor(").removesuffix(")") if named.startswith("tensor(") else named


def to_numpy(name: str) -> "np.dtype[Any]":
    """Return the NumPy dtype of a tensor's element type.

    Raises:
        TypeError: if neither NumPy nor ml_dtypes has it.
    """
    import numpy as np

    if name == STRING:
        return np.dtype(object)
    if name not in BEYOND_NUMPY:
        return np.dtype(name)
    import ml_dtypes

    kind = getattr(ml_dtypes, name, None)
    if kind is None:
        raise TypeError(f"neither NumPy nor ml_dtypes has {name}")
    found: np.dtype[Any] = np.dtype(kind)
    return found
