"""LightGBM -> ONNX through onnxmltools: its `.txt`, and its scikit-learn estimators."""

from typing import Any

from onnxzoo.registry.convert.frameworks._boosters import (
    classified,
    complete,
    converter,
    highest,
    matrix_of,
    outputs_of,
    row_axis,
    rows_of,
)
from onnxzoo.registry.convert.frameworks._loading import model_of, names_no_outputs
from onnxzoo.registry.convert.frameworks._traces import write_same
from onnxzoo.registry.convert.interface import Job, Made, Sample

CONVERTER = converter("lightgbm", __name__)


def convert(job: Job) -> Made:
    """Convert a booster; a classifier gives labels and a matrix of probabilities."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    names_no_outputs(job)
    if job.format == "lightgbm":
        model = lightgbm.Booster(model_file=str(job.source))
    else:
        model = model_of(job)
    booster = getattr(model, "booster_", model)
    one = matrix_of(job, booster.num_feature())
    samples = [Sample(feed, _outputs(model, feed[one.name])) for feed in rows_of(one, job)]
    made = convert_lightgbm(
        model,
        initial_types=[(one.name, FloatTensorType([None, booster.num_feature()]))],
        target_opset=highest(job.opset),
        zipmap=False,
    )
    complete(made, job.opset, row_axis(one))
    write_same(made, job)
    return Made(samples)


def _outputs(model: Any, rows: Any) -> list[Any]:
    import lightgbm

    if not isinstance(model, lightgbm.Booster):
        return outputs_of(model, rows)
    scores = model.predict(rows)
    objective = str(model.dump_model(num_iteration=0).get("objective", "")).split(" ")[0]
    return classified(scores) if objective in {"binary", "multiclass"} else [scores]
