"""Share code of the gradient boosters: one matrix in; values, or labels and probabilities out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onnxzoo.registry.convert.frameworks._axes import fed_inputs
from onnxzoo.registry.convert.frameworks._inputs import feeds
from onnxzoo.registry.convert.frameworks._names import axes_of
from onnxzoo.registry.convert.interface import Converter, Input, Job, pinned
from onnxzoo.registry.core.errors import UsageError

_OPSET = 15  # beside version 3 of ai.onnx.ml
ROWS = 64  # in a sample: rows are cheap, and a tree has many thresholds


def converter(name: str, module: str) -> Converter:
    """Return the `Converter` of a booster; onnxmltools converts both.

    Args:
        name: the booster's package.
        module: of its `convert`.
    """
    return Converter(
        name=name,
        module=module,
        options=(),
        needs=(name, "onnxmltools", "onnxconverter_common", "skl2onnx"),
        extra="boosters",
        requirements=pinned("boosters"),
        rtol=1e-4,
        atol=1e-4,
        outside=0.01,
    )


def matrix_of(job: Job, width: int) -> Input:
    """Return the only input: a matrix with so many columns, under the names that were asked for.

    Raises:
        UsageError: if its columns were to be open.
    """
    name = job.inputs[0].name if job.inputs else "X"
    words = axes_of([name], [2], job)[name]
    if strange := set(words) - {0}:
        raise UsageError(f"axis {min(strange)} of `{name}` has {width} columns, and is not open")
    return Input(name, "float32", (words.get(0, "batch"), width))


def row_axis(one: Input) -> str:
    """Return the name of the open axis of the only input."""
    return str((one.shape or ("batch",))[0])


def rows_of(one: Input, job: Job) -> Iterator[Mapping[str, Any]]:
    """Yield the rows that are given in code, or made-up ones."""
    if job.given is None:
        yield from feeds([one], job, rows=ROWS)
        return
    import numpy as np

    yield {one.name: np.asarray(job.given[0], np.float32)}


def outputs_of(model: Any, rows: Any) -> list[Any]:
    """Return the predictions of an estimator with scikit-learn's interface."""
    if hasattr(model, "predict_proba"):
        return [model.predict(rows), model.predict_proba(rows)]
    return [model.predict(rows)]


def classified(scores: Any, classes: Sequence[Any] = ()) -> list[Any]:
    """Return labels and probabilities: of one class a row, or of each.

    >>> import numpy as np
    >>> classified(np.asarray([0.25, 0.75]))[0].tolist()
    [0, 1]
    """
    import numpy as np

    if scores.ndim == 1:
        scores = np.stack([1 - scores, scores], axis=1)
    labels = scores.argmax(axis=1)
    return [np.asarray(classes)[labels] if len(classes) else labels, scores]


def highest(opset: int | None) -> int | None:
    """Return an opset, or the highest that onnxmltools knows, if that is lower."""
    from onnxconverter_common.onnx_ex import get_maximum_opset_supported

    return opset and min(opset, get_maximum_opset_supported())


def complete(model: Any, opset: int | None, rows: str = "batch") -> None:
    """Name the default domain's opset, and rows as many as there are: some say ``[1]``."""
    if not any(one.domain in {"", "ai.onnx"} for one in model.opset_import):
        model.opset_import.add(domain="", version=opset or _OPSET)  # of no node, so any is true
    for value in model.graph.output:
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            dims[0].dim_param = rows
    for value in fed_inputs(model.graph):
        value.type.tensor_type.shape.dim[0].dim_param = rows
