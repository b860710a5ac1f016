"""The types of tensors' elements: what they are called, and how many bits one takes.

Source: onnx.proto (IR version 13), "TensorProto.DataType".
"""

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
NAMES = tuple(name for name, _ in _DTYPES)
BITS = dict(_DTYPES)
