"""XGBoost -> ONNX through onnxmltools: `.json`, `.ubj`, and its scikit-learn estimators."""

import json
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

CONVERTER = converter("xgboost", __name__)


def convert(job: Job) -> Made:
    """Convert a booster; a classifier gives labels and a matrix of probabilities."""
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    names_no_outputs(job)
    if job.format == "xgboost":
        model = xgboost.Booster(model_file=str(job.source))
    else:
        model = model_of(job)
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    one = matrix_of(job, booster.num_features())
    samples = [Sample(feed, _outputs(model, feed[one.name])) for feed in rows_of(one, job)]
    if _objective(booster).startswith("rank:"):
        model = booster = _scoring(booster)
    booster.feature_names = None  # the converter takes none but f0, f1, …
    types = [(one.name, FloatTensorType([None, booster.num_features()]))]
    made = convert_xgboost(model, initial_types=types, target_opset=highest(job.opset))
    complete(made, job.opset, row_axis(one))
    write_same(made, job)
    return Made(samples)


def _outputs(model: Any, rows: Any) -> list[Any]:
    import xgboost

    if not isinstance(model, xgboost.Booster):
        return outputs_of(model, rows)
    scores = model.predict(xgboost.DMatrix(rows, feature_names=model.feature_names))
    classes = _objective(model) in {"binary:logistic", "multi:softprob"}
    return classified(scores) if classes else [scores]


def _objective(booster: Any) -> str:
    return str(json.loads(booster.save_config())["learner"]["objective"]["name"])


def _scoring(booster: Any) -> Any:
    """Return a ranker as the regression of its score, which onnxmltools knows."""
    import xgboost

    values = json.loads(booster.save_raw("json"))
    values["learner"]["objective"] = {"name": "reg:squarederror", "reg_loss_param": {}}
    return xgboost.Booster(model_file=bytearray(json.dumps(values).encode()))
