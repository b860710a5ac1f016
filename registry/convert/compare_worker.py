"""Check a converted model in a child process, and compare it with its framework."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.convert.interface import Sample
from onnxzoo.registry.convert.samples import read
from onnxzoo.registry.core.errors import InvalidModel
from onnxzoo.registry.core.sandbox import answer
from onnxzoo.registry.measure.outputs import agreement, matrix
from onnxzoo.registry.runtime.session import infer, open_session

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SHOWN = 300  # characters of a checker's message


def main() -> None:
    """Answer one request."""
    answer(
        lambda request: prove(
            Path(request["model"]),
            Path(request["samples"]),
            request["rtol"],
            request["atol"],
            {int(place): step for place, step in request["within"].items()},
        )
    )


def prove(
    model: Path, samples: Path, rtol: float, atol: float, within: Mapping[int, float]
) -> Mapping[str, Any]:
    """Return how far a model's outputs lie from its framework's.

    Args:
        model: an `.onnx` file.
        samples: the folder of inputs and the framework's outputs.
        rtol: relative tolerance of an element.
        atol: absolute tolerance.
        within: absolute tolerances of outputs that are rounded to steps, by their places.

    Raises:
        InvalidModel: if the checker or onnxruntime refuses it.
    """
    _check(model)
    session = open_session(model, ["CPUExecutionProvider"])
    total = Total(rtol, atol, within)
    for sample in read(samples):
        total.add(infer(session, sample.inputs), sample)
    return total.drift()


def _check(model: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidModel(
            f"what was made is no valid ONNX model: {said[0][:_SHOWN].rstrip('.')}"
        ) from error


class Total:
    """Sums over samples and outputs.

    Args:
        rtol: relative tolerance of an element.
        atol: absolute tolerance.
        within: absolute tolerances of outputs that are rounded to steps, by their places.
    """

    def __init__(self, rtol: float, atol: float, within: Mapping[int, float]) -> None:
        self._rtol, self._atol, self._within = rtol, atol, within
        self._samples = self._elements = self._outside = self._same = self._labels = 0
        self._max = self._relative = 0.0
        self._worst: str | None = None
        self._compared: dict[str, None] = {}
        self._unlike: dict[str, str] = {}
        self._steps: dict[str, float] = {}

    def add(self, got: Mapping[str, Any], sample: Sample) -> None:
        """Add one run's outputs, and the framework's in the same order."""
        self._samples += 1
        if len(sample.outputs) > len(got):
            self._unlike[""] = (
                f"it has {len(got)} outputs; its framework gives {len(sample.outputs)}"
            )
        pairs = zip(got.items(), sample.outputs, strict=False)
        for place, ((name, value), wanted) in enumerate(pairs):
            if wanted is not None:
                self._add(name, matrix(value), wanted, self._within.get(place))

    def _add(self, name: str, got: "Array", wanted: "Array", within: float | None) -> None:
        if got.shape != wanted.shape and got.size == wanted.size:
            got = got.reshape(wanted.shape)  # (n, 1) and (n,) say the same
        if got.shape != wanted.shape:
            self._unlike[name] = (
                f"the output `{name}` is {list(got.shape)}; its framework's is {list(wanted.shape)}"
            )
            return
        if {got.dtype.kind, wanted.dtype.kind} == {"U", "f"}:
            self._unlike[name] = f"the output `{name}` is {got.dtype}; expected {wanted.dtype}"
            return
        self._compared[name] = None
        numbers = "f" in {got.dtype.kind, wanted.dtype.kind}
        if within is not None:
            self._steps[name] = within
            self._measure(name, got, wanted, max(within, self._atol))
        elif numbers:
            self._measure(name, got, wanted, self._atol)
        if within is None or numbers:  # what is rounded to integers has no labels
            self._count_labels(got, wanted)

    def _measure(self, name: str, got: "Array", wanted: "Array", atol: float) -> None:
        import numpy as np

        a, b = got.astype(np.float64), wanted.astype(np.float64)
        close = np.isclose(a, b, rtol=self._rtol, atol=atol, equal_nan=True)
        self._elements += close.size
        self._outside += int(close.size - close.sum())
        finite = np.isfinite(a) & np.isfinite(b)
        apart = np.abs(a - b)[finite]
        far = float(apart.max(initial=0.0))
        if far > self._max or (not close.all() and self._worst is None):
            self._worst = name
        self._max = max(self._max, far)
        scale = np.maximum(np.abs(b[finite]), atol)
        self._relative = max(self._relative, float((apart / scale).max(initial=0.0)))

    def _count_labels(self, got: "Array", wanted: "Array") -> None:
        same, labels = agreement(got, wanted)
        self._same += same
        self._labels += labels

    def drift(self) -> Mapping[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "max": self._max,
            "relative": self._relative,
            "outside": self._outside / self._elements if self._elements else 0.0,
            "labels": self._same / self._labels if self._labels else None,
            "samples": self._samples,
            "rtol": self._rtol,
            "atol": self._atol,
            "outputs": list(self._compared),
            "within": self._steps,
            "worst": self._worst,
            "unlike": list(self._unlike.values()),
        }
