"""Inputs that a comparison rests on: the user's, else the held reference data, else samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.measure.input_files import bounded
from onnxzoo.registry.measure.input_files import feeds as feeds_of
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.runtime.session import signature
from onnxzoo.registry.sample_inputs.sample_inputs import Samples, sample_inputs
from onnxzoo.registry.testdata.held_inputs import held_inputs

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SAMPLES = 8


def ground(
    session: "InferenceSession",
    path: Path,
    *,
    inputs: str | None = None,
    preprocess: str | None = None,
    held: Path | None = None,
    samples: int = SAMPLES,
    batch: int | None = None,
    axes: Mapping[str, int] | None = None,
) -> Samples:
    """Return the inputs on which a model is compared with others.

    Args:
        session: of the model.
        path: its `.onnx` file.
        inputs: the user's, as `input_files.feeds` reads them.
        preprocess: of images; see there.
        held: the folder of reference data that the model's version holds.
        samples: how many to make where there are neither.
        batch: of those, as for axes; sizes that are asked for come before reference data.
        axes: see `sample_inputs`.
    """
    if inputs is not None:
        tensors, _ = signature(session)
        return Samples(list(bounded(feeds_of(inputs, session, tensors, preprocess))), given=True)
    if held is not None and not axes and batch is None:
        feeds: Sequence[Mapping[str, Any]] = list(bounded(held_inputs(held, describe(path))))
        if feeds:
            return Samples(feeds, given=True)
    return sample_inputs(session, path, count=samples, batch=batch, axes=axes)
