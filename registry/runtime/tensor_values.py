"""Run sessions with element types that NumPy lacks: bfloat16, float8, int4 and others.

onnxruntime's `InferenceSession.run` takes and gives NumPy's own types only; others pass through
`OrtValue`, here as ml_dtypes' arrays on both sides.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.onnx_file.dtypes import BEYOND_NUMPY, NAMES, from_runtime
from onnxzoo.registry.runtime.builds import runtime

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]


def runner(session: "InferenceSession", feeds: Mapping[str, Any]) -> Callable[[], Sequence[Any]]:
    """Return a function that runs a session on inputs, and gives its outputs in graph order.

    Args:
        session: an open session.
        feeds: by name an array, a list of arrays (a sequence), a dictionary (a map) or None (an
            empty optional). Arrays of types that NumPy lacks are ml_dtypes'.

    Raises:
        UsageError: if an array has another type than the session takes, where a type that NumPy
            lacks stands beside it; the returned function raises onnxruntime's own errors.

    Source: onnxruntime's Python API, `InferenceSession.run` and `OrtValue`.
    """
    names = [output.name for output in session.get_outputs()]
    types = {value.name: from_runtime(value.type) for value in session.get_inputs()}
    given = {from_runtime(value.type) for value in session.get_outputs()}
    if not BEYOND_NUMPY & {*types.values(), *given}:
        arrays = dict(feeds)
        return lambda: session.run(names, arrays)
    values = {name: _value(name, array, types.get(name, "")) for name, array in feeds.items()}
    return lambda: [_array(value) for value in session.run_with_ort_values(names, values)]


def _value(name: str, array: Any, dtype: str) -> Any:
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise UsageError(
            f"the input `{name}` is a {type(array).__name__}; beside types such as bfloat16 "
            "onnxruntime takes tensors only"
        )
    ort_value = runtime().OrtValue
    if dtype not in BEYOND_NUMPY:
        return ort_value.ortvalue_from_numpy(np.ascontiguousarray(array))
    if array.dtype.name != dtype:
        raise UsageError(f"the input `{name}` is {array.dtype.name}; the model takes {dtype}")
    import ctypes

    from onnx import numpy_helper

    # Two 4-bit elements a byte, the first in the low half, as in a TensorProto's raw data.
    packed = numpy_helper.from_array(array).raw_data
    value = ort_value.ortvalue_from_shape_and_type(list(array.shape), NAMES.index(dtype), "cpu")
    ctypes.memmove(value.data_ptr(), packed, len(packed))
    return value


def _array(value: Any) -> "Array":
    dtype = from_runtime(value.data_type())
    if dtype not in BEYOND_NUMPY:
        array: Array = value.numpy()
        return array
    import ctypes

    from onnx import TensorProto, numpy_helper

    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    tensor = TensorProto(data_type=NAMES.index(dtype), dims=value.shape(), raw_data=data)
    return numpy_helper.to_array(tensor)
