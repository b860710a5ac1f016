"""Compare models with random nodes by their distributions: means and spread of several runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.onnx_file.protos import nodes
from onnxzoo.registry.runtime.session import infer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]
    Outputs = Mapping[str, Any]

RUNS = 16  # of each model on the same input
# Standard errors that two models' means may lie apart, as root mean square over all elements: of
# the same model they lie 1 apart; where one number of chance moves all of them alike, 4 in one of
# two thousand comparisons.
MOST = 4.0
_FLOOR = 1e-3  # of what they are: what opsets and kernels may move outputs by
_RANDOM = {
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
    "Multinomial",
}  # fmt: skip
_TRAINING = 2  # Dropout's input that says whether it drops


def random_ops(path: Path) -> tuple[str, ...]:
    """Return the types of nodes that draw random numbers, in sub-graphs and functions too.

    Dropout counts where it has a switch for training. Source: ONNX operators.
    """
    from onnxzoo.registry.onnx_file.graph import read_bare

    found = {
        node.op_type
        for node in nodes(read_bare(path))
        if node.op_type in _RANDOM
        or (node.op_type == "Dropout" and len(node.input) > _TRAINING and node.input[_TRAINING])
    }
    return tuple(sorted(found))


def is_random(session: "InferenceSession", feed: "Mapping[str, Any]", path: Path) -> bool:
    """Tell whether a model that has random nodes gives two outputs for one input."""
    return bool(random_ops(path)) and any(
        not same(infer(session, feed), infer(session, feed)) for _ in range(4)
    )


def same(one: "Outputs", two: "Outputs") -> bool:
    """Tell whether outputs are equal to the bit; NaN equals NaN."""
    import numpy as np

    arrays = all(isinstance(value, np.ndarray) for value in [*one.values(), *two.values()])
    if not arrays:
        return repr(one) == repr(two)
    return all(
        one[name].shape == two[name].shape
        and np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind in "fc")
        for name in one
    )


def run_several(session: "InferenceSession", feed: "Mapping[str, Any]") -> "list[Outputs]":
    """Return a model's outputs for one input, several times over."""
    return [infer(session, feed) for _ in range(RUNS)]


def standard_errors_apart(base: "Sequence[Outputs]", other: "Sequence[Outputs]") -> float:
    """Return how many standard errors the means and deviations of two models' runs lie apart.

    The root mean square over an output's elements, of the output that lies furthest; infinite
    where one of them is of another kind. Where lengths are random, sizes, means and deviations of
    whole outputs stand for them.
    """
    return max((_apart(*_paired(base, other, name)) for name in base[0]), default=0.0)


def means(runs: "Sequence[Outputs]") -> "dict[str, Array]":
    """Return the mean of every output over several runs."""
    return {name: _stacked(runs, name).mean(axis=0) for name in runs[0]}


def _paired(
    base: "Sequence[Outputs]", other: "Sequence[Outputs]", name: str
) -> "tuple[Array, Array]":
    shapes = {one[name].shape for one in [*base, *other]}
    if len(shapes) == 1:
        return _numbers(base, name), _numbers(other, name)
    return _stacked(base, name, whole=True), _stacked(other, name, whole=True)


def _stacked(runs: "Sequence[Outputs]", name: str, *, whole: bool = False) -> "Array":
    """Return an output's runs as rows; of random lengths, size, mean and deviation of each."""
    import numpy as np

    if not whole and len({one[name].shape for one in runs}) == 1:
        return _numbers(runs, name)
    rows = []
    for one in runs:
        values = one[name].astype(np.float64)
        told = (values.mean(), values.std()) if values.size else (0, 0)
        rows.append([values.size, *told])
    return np.array(rows)


def _numbers(runs: "Sequence[Outputs]", name: str) -> "Array":
    import numpy as np

    return np.stack([one[name].astype(np.float64) for one in runs])


def _apart(one: "Array", two: "Array") -> float:
    import numpy as np

    if not np.array_equal(np.isfinite(one), np.isfinite(two)):
        return float("inf")
    one, two = np.nan_to_num(one), np.nan_to_num(two)
    floor = (_FLOOR * (1 + np.abs(one.mean(axis=0))) / MOST) ** 2
    spread = one.var(axis=0, ddof=1)
    error = np.sqrt(spread / len(one) + spread / len(two) + floor)
    means = _rms((one.mean(axis=0) - two.mean(axis=0)) / error)
    # The standard error of a deviation is the deviation over the root of twice the runs.
    error = np.sqrt(spread / len(one) + floor)
    return max(means, _rms((one.std(axis=0, ddof=1) - two.std(axis=0, ddof=1)) / error))


def _rms(values: "Array") -> float:
    import numpy as np

    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0
