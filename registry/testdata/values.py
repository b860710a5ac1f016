"""Values of a model's inputs and outputs in files: arrays, sequences, maps and optionals.

In an `.npz` a sequence is ``NAME[0]``, ``NAME[1]`` …, a map ``NAME.keys`` and ``NAME.values``; an
optional that is empty is left out. Types that NumPy lacks are kept as `numpy.save` keeps ml_dtypes'
arrays: their bytes, without the type, which the model says. A `.pb` is what onnx's tests have.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.dtypes import BEYOND_NUMPY, STRING, to_numpy
from onnxzoo.registry.testdata.arrays import is_npz, read_npy, read_npz
from onnxzoo.registry.testdata.sets import read_value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def load_value(path: Path, tensor: Tensor) -> Any:
    """Return an input's value from an `.npy`, `.npz` or `.pb` file.

    Args:
        path: the file; in an `.npz` the value stands under the input's name.
        tensor: the input.

    Returns:
        An array, a list of values, a dictionary or None, as `session.infer` takes them.

    Raises:
        NotFound: if there is no such file.
        UsageError, Refused: if it does not hold such a value.
    """
    if path.suffix == ".pb":
        if not path.is_file():
            raise NotFound(f"no file `{path}`")
        return read_value(path, tensor)[1]
    if is_npz(path):
        arrays = read_npz(path)
    elif tensor.dtype.startswith(("seq(", "map(", "optional(seq(")):
        raise UsageError(
            f"`{path}` is one array; the input `{tensor.name}` is {tensor.dtype}",
            hint=f"numpy.savez(FILE, **{{'{tensor.name}[0]': …, '{tensor.name}[1]': …}})",
        )
    else:
        arrays = {tensor.name: read_npy(path)}
    return compose(arrays, tensor, f"`{path}`")


def compose(arrays: "Mapping[str, Array]", tensor: Tensor, where: str) -> Any:
    """Return an input's value from the arrays that an `.npz` holds; see `flattened`.

    Args:
        arrays: by name; those of other inputs are passed over.
        tensor: the input.
        where: the file, as errors call it.

    Raises:
        UsageError: if they do not make up such a value.
    """
    own = parts(arrays, tensor.name)
    if not own and not tensor.dtype.startswith("optional("):
        there = ", ".join(f"`{name}`" for name in arrays) or "nothing"
        raise UsageError(f"{where} holds no `{tensor.name}`; it holds {there}")
    used: set[str] = set()
    value = _composed(tensor.dtype, tensor.name, own, used)
    inside = f"{tensor.name}."  # may be another input's name
    left = [key for key in own if key not in used and not (used and key.startswith(inside))]
    if left and "(" in tensor.dtype:
        raise UsageError(
            f"{where} holds `{left[0]}`, which is no part of `{tensor.name}` ({tensor.dtype})",
            hint="a sequence is NAME[0], NAME[1] …; a map NAME.keys and NAME.values",
        )
    return value


def parts(arrays: "Mapping[str, Array]", name: str) -> "dict[str, Array]":
    """Return the arrays that are a value of this name, or parts of one."""
    inside = (f"{name}[", f"{name}.")
    return {k: array for k, array in arrays.items() if k == name or k.startswith(inside)}


def flattened(name: str, value: Any) -> "Iterator[tuple[str, Array]]":
    """Yield the arrays that a value consists of, under the names that an `.npz` gives them.

    >>> [(key, array.tolist()) for key, array in flattened("p", [{1: 0.5}, {1: 0.25}])]
    [('p[0].keys', [1]), ('p[0].values', [0.5]), ('p[1].keys', [1]), ('p[1].values', [0.25])]
    """
    import numpy as np

    if isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from flattened(f"{name}[{number}]", one)
    elif isinstance(value, Mapping):
        yield f"{name}.keys", np.asarray(list(value))
        yield f"{name}.values", np.asarray(list(value.values()))
    elif value is not None:
        array = np.asanyarray(value)
        if array.dtype.name in BEYOND_NUMPY:  # float8_e5m2's own name for itself NumPy cannot read
            array = array.view(f"V{array.dtype.itemsize}")
        yield name, array.astype(str) if array.dtype.kind == "O" else array


def _composed(dtype: str, name: str, arrays: "Mapping[str, Array]", used: set[str]) -> Any:
    """Assemble a value of this type from arrays, and add the names of the used ones."""
    kind, _, rest = dtype.partition("(")
    inner = rest.removesuffix(")")
    if kind == "optional":
        return _composed(inner, name, arrays, used) if arrays else None
    if kind == "seq":
        values: list[Any] = []
        while part := parts(arrays, f"{name}[{len(values)}]"):
            values.append(_composed(inner, f"{name}[{len(values)}]", part, used))
        return values
    if kind == "map":
        keys, each = (_one(f"{name}.{part}", arrays, used) for part in ("keys", "values"))
        if keys.ndim != 1 or keys.shape != each.shape:
            raise UsageError(
                f"`{name}.keys` is {list(keys.shape)} and `{name}.values` {list(each.shape)}; "
                "expected as many of both, in one row"
            )
        return dict(zip(keys.tolist(), each.tolist(), strict=True))
    array = _typed(_one(name, arrays, used), inner if kind == "tensor" else dtype, name)
    if kind == "tensor" and array.dtype != to_numpy(inner):
        raise UsageError(f"`{name}` is {array.dtype.name}; the model takes {inner}")
    return array


def _one(name: str, arrays: "Mapping[str, Array]", used: set[str]) -> "Array":
    if name not in arrays:
        there = ", ".join(f"`{key}`" for key in arrays)
        raise UsageError(f"there is no `{name}`; there is {there}")
    used.add(name)
    return arrays[name]


def _typed(array: "Array", dtype: str, name: str) -> "Array":
    """Return an array with the type that a file could not keep."""
    if dtype == STRING:
        return array.astype(object)
    if dtype not in BEYOND_NUMPY:
        return array
    wanted = to_numpy(dtype)
    if array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
        return array.view(wanted)
    raise UsageError(
        f"the input `{name}` is {array.dtype.name}; the model takes {dtype}",
        hint=f"numpy.save(FILE, array.astype(ml_dtypes.{dtype}))",
    )
