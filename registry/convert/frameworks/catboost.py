"""CatBoost -> ONNX by its own exporter: `.cbm`, and estimators.

Source: CatBoost's documentation, "ONNX".
"""

from typing import Any

from onnxzoo.registry.convert.frameworks._boosters import (
    classified,
    complete,
    matrix_of,
    row_axis,
    rows_of,
)
from onnxzoo.registry.convert.frameworks._loading import model_of, names_no_outputs
from onnxzoo.registry.convert.frameworks._probabilities import without_maps
from onnxzoo.registry.convert.interface import Converter, Job, Made, Sample, pinned

CONVERTER = Converter(
    name="catboost",
    module=__name__,
    options=(),
    needs=("catboost", "onnx"),
    extra="catboost",
    requirements=pinned("catboost"),
    rtol=1e-4,
    atol=1e-4,
    outside=0.01,
)


def convert(job: Job) -> Made:
    """Convert a model without categorical features, which its exporter does not know."""
    import catboost
    import onnx

    names_no_outputs(job)
    if job.format == "catboost":
        model = catboost.CatBoost().load_model(str(job.source))
    else:
        model = model_of(job)
    one = matrix_of(job, len(model.feature_names_))
    samples = [Sample(feed, _outputs(model, feed[one.name])) for feed in rows_of(one, job)]
    model.save_model(str(job.model), format="onnx")
    made = onnx.load(job.model)
    if any(node.op_type == "ZipMap" for node in made.graph.node):
        without_maps(made)
    else:
        _with_ranks(made)
    _rename_input(made, one.name)
    complete(made, job.opset, row_axis(one))
    onnx.save(made, job.model)
    return Made(samples)


def _outputs(model: Any, rows: Any) -> list[Any]:
    if len(model.classes_):
        return classified(model.predict(rows, prediction_type="Probability"), model.classes_)
    return [model.predict(rows)]


def _with_ranks(model: Any) -> None:
    """Give the outputs of regressions their rank: a column."""
    for value in model.graph.output:
        shape = value.type.tensor_type.shape
        if len(shape.dim) == 1:
            shape.dim.add().dim_value = 1


def _rename_input(model: Any, name: str) -> None:
    _rename(model, model.graph.input[0].name, name)


def _rename(model: Any, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for value in (*model.graph.input, *model.graph.output):
        if value.name == old:
            value.name = new
