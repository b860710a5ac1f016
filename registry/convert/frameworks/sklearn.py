"""scikit-learn -> ONNX through skl2onnx: estimators and pipelines, boosters inside of them.

Source: skl2onnx's documentation, "Supported scikit-learn models" and "API Summary".
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onnxzoo.registry.convert.frameworks._boosters import ROWS, complete
from onnxzoo.registry.convert.frameworks._inputs import arrays_in, feeds
from onnxzoo.registry.convert.frameworks._loading import model_of, names_no_outputs
from onnxzoo.registry.convert.frameworks._names import opened
from onnxzoo.registry.convert.frameworks._traces import write_same
from onnxzoo.registry.convert.interface import Converter, Input, Job, Made, Sample, pinned
from onnxzoo.registry.core.errors import Refused, UsageError

CONVERTER = Converter(
    name="sklearn",
    module=__name__,
    options=(),
    needs=("sklearn", "skl2onnx"),
    extra="sklearn",
    requirements=pinned("boosters"),  # a pipeline may hold one
    rtol=1e-4,
    atol=1e-4,
    outside=0.01,
)

_WITH_BOOSTERS = 21  # opset
_TYPES = {
    "float32": "FloatTensorType",
    "float64": "DoubleTensorType",
    "int64": "Int64TensorType",
    "int32": "Int32TensorType",
    "string": "StringTensorType",
    "bool": "BooleanTensorType",
}


def convert(job: Job) -> Made:
    """Convert an estimator; a classifier gives labels and a matrix of probabilities."""
    names_no_outputs(job)
    model = model_of(job)
    inputs = opened(_inputs(model, job), job)
    samples = [Sample(feed, _outputs(model, feed)) for feed in _feeds(inputs, job)]
    made = _onnx_of(model, inputs, job.opset)
    complete(made, job.opset, _rows(inputs))
    write_same(made, job)
    return Made(samples)


def _onnx_of(model: Any, inputs: Sequence[Input], opset: int | None) -> Any:
    try:
        return _onnx(model, inputs, opset)
    except RuntimeError as error:
        odd = [one for one in inputs if (one.dtype or "float32") not in {"float32", "string"}]
        if not odd or "should have the same type" not in str(error):
            raise
        cast = f"{odd[0].name}=float32[n,1]"
        raise Refused(
            "skl2onnx wants the columns that one step takes to be of one type; "
            f"`{odd[0].name}` is {odd[0].dtype}",
            hint=f'--input {cast} (in code: inputs=["{cast}"])',
        ) from error


def _onnx(model: Any, inputs: Sequence[Input], opset: int | None) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types

    types = [
        (one.name, getattr(data_types, _TYPES[one.dtype or "float32"])([None, *_width(one)]))
        for one in inputs
    ]
    options = dict(_options(model))
    target: Any = opset
    if any(type(part).__name__.startswith(("XGB", "LGBM")) for part in _parts(model)):
        _register_boosters()
        target = {"": opset or _WITH_BOOSTERS, "ai.onnx.ml": 3}  # the highest that they know
    if hasattr(model, "predict_proba"):
        try:  # a matrix, not a sequence of maps
            plain = options | {id(model): {"zipmap": False}}
            return convert_sklearn(model, initial_types=types, target_opset=target, options=plain)
        except NameError:  # "Option 'zipmap' not in …"
            pass
    return convert_sklearn(model, initial_types=types, target_opset=target, options=options)


def _rows(inputs: Sequence[Input]) -> str:
    """Return the name of the rows' dynamic axis."""
    first = (inputs[0].shape or ("batch",))[0]
    return first if isinstance(first, str) else "batch"


def _width(one: Input) -> tuple[Any, ...]:
    return tuple(axis if isinstance(axis, int) else None for axis in (one.shape or ("n", 1))[1:])


def _options(model: Any) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield options for vectorizers: the default locale is missing on many machines."""
    for part in _parts(model):
        if type(part).__name__ in {"CountVectorizer", "TfidfVectorizer"}:
            yield id(part), {"locale": "C.UTF-8"}


def _parts(model: Any) -> Iterator[Any]:
    yield model
    inner = [
        *(step for _, step in getattr(model, "steps", ())),
        *(step for _, step, _ in getattr(model, "transformers_", ())),
        *(step for _, step in getattr(model, "transformer_list", ())),
        getattr(model, "best_estimator_", None),
    ]
    for part in inner:
        if part is not None and not isinstance(part, str):
            yield from _parts(part)


def _inputs(model: Any, job: Job) -> tuple[Input, ...]:
    said = {one.name: one for one in job.inputs if one.shape or one.dtype}
    bad = [one.dtype for one in said.values() if (one.dtype or "float32") not in _TYPES]
    if bad:
        raise UsageError(f"scikit-learn takes no `{bad[0]}`", hint=f"one of {', '.join(_TYPES)}")
    if columns := _columns(job):
        if strange := set(said) - set(columns):
            raise UsageError(
                f"the example has no `{min(strange)}`; it has {', '.join(sorted(columns))}"
            )
        return tuple(said.get(name, _input(name, values)) for name, values in columns.items())
    if said:
        return job.inputs
    width = getattr(model, "n_features_in_", None)
    if width is None or any(type(part).__name__ == "ColumnTransformer" for part in _parts(model)):
        names = ", ".join(map(str, getattr(model, "feature_names_in_", ()))) or "unknown"
        raise UsageError(
            f"the inputs of `{type(model).__name__}` are not known from it (columns: {names})",
            hint="name each: --input age=n,1 --input city=string[n,1] (in code: "
            'inputs=["age=n,1", "city=string[n,1]"]); or give an example',
        )
    name = job.inputs[0].name if job.inputs else "X"
    return (Input(name, "float32", ("batch", int(width))),)


def _columns(job: Job) -> Mapping[str, Any]:
    """Return the example's columns by name, or its one matrix; nothing without an example."""
    data: Any
    if job.given is not None:
        data = job.given[0]
    elif job.example is not None:
        data = arrays_in(job.example)
    else:
        return {}
    if hasattr(data, "columns"):  # a DataFrame
        return {str(column): data[column] for column in data.columns}
    if isinstance(data, Mapping):
        return data
    return {job.inputs[0].name if job.inputs else "X": data}


def _input(name: str, values: Any) -> Input:
    width = getattr(values, "shape", ())[1:] or (1,)
    return Input(name, _word(getattr(values, "dtype", "O")), ("batch", *width))


def _word(dtype: Any) -> str:
    import numpy as np

    try:
        kind = np.dtype(dtype).kind
    except TypeError:  # pandas' own string dtype
        return "string"
    return {"f": "float32", "i": "int64", "u": "int64", "b": "bool"}.get(kind, "string")


def _feeds(inputs: Sequence[Input], job: Job) -> Iterator[Mapping[str, Any]]:
    columns = _columns(job)
    if columns:
        yield {one.name: _cast(columns[one.name], one.dtype or "float32") for one in inputs}
    else:
        yield from feeds(inputs, job, rows=ROWS)


def _cast(values: Any, dtype: str) -> Any:
    import numpy as np

    array = np.asarray(values).astype(object if dtype == "string" else dtype)
    return array if array.ndim > 1 else array.reshape(-1, 1)


def _outputs(model: Any, feed: Mapping[str, Any]) -> list[Any]:
    """Return the meaning of skl2onnx's outputs, in order."""
    data = _data(feed)
    if hasattr(model, "predict_proba"):
        return [model.predict(data), model.predict_proba(data)]
    if hasattr(model, "predict") and hasattr(model, "decision_function"):
        scores = model.decision_function(data)
        return [model.predict(data), None if scores.ndim == 1 else scores]
    if hasattr(model, "predict"):
        return [model.predict(data)]
    values = model.transform(data)
    return [values.toarray() if hasattr(values, "toarray") else values]


def _data(feed: Mapping[str, Any]) -> Any:
    arrays = list(feed.values())
    if len(arrays) > 1:
        import pandas

        return pandas.DataFrame({name: values.ravel() for name, values in feed.items()})
    return arrays[0].ravel() if arrays[0].dtype.kind == "O" else arrays[0]


def _register_boosters() -> None:
    """Register the boosters of a pipeline, if imported by now, with skl2onnx.

    Source: onnxmltools' documentation of XGBoost and LightGBM in scikit-learn's pipelines.
    """
    from skl2onnx import update_registered_converter as register
    from skl2onnx.common import shape_calculator as shapes

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    classes = shapes.calculate_linear_classifier_output_shapes
    values = shapes.calculate_linear_regressor_output_shapes
    if xgboost := sys.modules.get("xgboost"):
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as xgb

        register(xgboost.XGBClassifier, "XGBClassifier", classes, xgb, options=options)
        register(xgboost.XGBRegressor, "XGBRegressor", values, xgb)
    if lightgbm := sys.modules.get("lightgbm"):
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import (
            convert_lightgbm as lgbm,
        )

        register(lightgbm.LGBMClassifier, "LGBMClassifier", classes, lgbm, options=options)
        register(lightgbm.LGBMRegressor, "LGBMRegressor", values, lgbm)
