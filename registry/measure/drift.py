"""Measure the distance of variants' outputs from a base's, on the same inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.records import Context, Tensor, Variant
from onnxzoo.registry.core.sandbox import wants_memory
from onnxzoo.registry.measure.comparison_inputs import SAMPLES, ground
from onnxzoo.registry.measure.outputs import agreement, matrix
from onnxzoo.registry.measure.variation import Variation, correlation
from onnxzoo.registry.onnx_file.dtypes import BEYOND_NUMPY, to_numpy
from onnxzoo.registry.onnx_file.graph import read_bare
from onnxzoo.registry.onnx_file.protos import varying_outputs
from onnxzoo.registry.runtime.random_nodes import (
    is_random,
    means,
    run_several,
    standard_errors_apart,
)
from onnxzoo.registry.runtime.session import infer, signature
from onnxzoo.registry.sample_inputs.sample_inputs import (
    Samples,
    shapes_text,
    short,
    silence,
    silent_outputs,
)

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]

SHORT = "compared on length 1 only"
_REPEATED = 2  # inputs on which a random model is run several times


@dataclass(frozen=True, slots=True)
class Drift:
    """The distance of a variant from the base; the reason if it is unknown.

    Attributes:
        max: the largest absolute difference of any output's element.
        cosine: the cosine similarity of the output in which it is lowest, flattened.
        correlation: of the output in which it is lowest, over inputs of equal sizes: how well the
            outputs follow the base's as the inputs change. None where no two inputs had the same
            sizes, or the base's outputs did not vary.
        labels: the share of positions with the same label: the argmax over the last axis that is
            longer than 1, or the value itself where an output holds whole numbers.
        why: one line, where nothing could be compared.
        relative: the largest absolute difference as a share of one more than the base's element:
            at most ``t`` where all lie within ``rtol = atol = t``, as numpy's `allclose` has it.
        shapes: of the inputs that were compared on, in words; None where that was not recorded.
        unproven: why the figures are no proof: the base's outputs show nothing, or an open axis
            of made up inputs had the length 1 only.
        given: compared on a user's inputs, or on reference data.
        spread: of a model with random nodes: how many standard errors the two lie apart in mean
            and deviation; the other figures are then of means over several runs.
    """

    max: float | None = None
    cosine: float | None = None
    labels: float | None = None
    correlation: float | None = None
    why: str | None = None
    relative: float | None = field(default=None, compare=False)  # not kept with measurements
    shapes: str | None = field(default=None, compare=False)
    unproven: str | None = field(default=None, compare=False)
    given: bool = field(default=False, compare=False)
    spread: float | None = field(default=None, compare=False)


def ground_of(drift: Drift) -> Context:
    """Return the inputs of a drift's figures, for the context of its measurements."""
    found: dict[str, str] = {"shapes": drift.shapes} if drift.shapes else {}
    if drift.unproven:
        found["unproven"] = drift.unproven
    if drift.given:
        found["given"] = "yes"
    return found


class Unlike(Exception):
    """Incomparable outputs of two variants."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The outputs of a base, with their inputs.

    Attributes:
        samples: the inputs.
        outputs: for each of them.
        runs: of a model with random nodes: what it gives several times over, for the first inputs.
        unproven: see `Drift`.
    """

    samples: Samples
    outputs: Sequence[Mapping[str, Any]]
    runs: Sequence[Sequence[Mapping[str, Any]]] = ()
    unproven: str | None = None


def expect(session: "InferenceSession", path: Path, samples: Samples) -> Expected:
    """Run a base and return its outputs.

    Args:
        session: of the base.
        path: its `.onnx` file.
        samples: the inputs.
    """
    feeds = samples.feeds
    outputs = [infer(session, feed) for feed in feeds]
    runs = []
    if is_random(session, feeds[0], path):
        runs = [run_several(session, feed) for feed in feeds[:_REPEATED]]
    unproven = _silence(path, feeds, outputs)
    if unproven is None and not samples.given and short(feeds, signature(session)[0]):
        unproven = SHORT
    return Expected(samples, outputs, runs, unproven)


def _silence(
    path: Path, feeds: "Sequence[Mapping[str, Any]]", outputs: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return the reason if one of a base's outputs, or all, show nothing."""
    silent = silent_outputs(feeds, outputs)
    if silent and len(silent) == len(outputs[0]):
        return f"the base's outputs show nothing: {silence(feeds, outputs)}"
    moved = varying_outputs(read_bare(path)) if silent else set()
    for name in sorted(moved & silent.keys()):
        return f"the base's output `{name}` shows nothing: it is {silent[name]}"
    return None


def drift(
    registry: Registry,
    base: Variant,
    others: Sequence[Variant],
    *,
    batch: int | None = None,
    axes: Mapping[str, int] | None = None,
    samples: int = SAMPLES,
    inputs: Path | None = None,
    preprocess: str | None = None,
    device: str = "auto",
) -> list[Drift]:
    """Run all variants on the same inputs and return how far each lies from the base.

    One session is open at a time, in this process.

    Args:
        registry: where they are held.
        base: what the others are held against.
        others: in the order of the answer.
        batch: examples in a batch; None for 1 and 2 in turns.
        axes: sizes of other open axes by their names.
        samples: how many inputs to make, seeded 0, 1, 2 …
        inputs: what to run on in their place, as `input_files.feeds` reads it; without, what the
            version holds as reference data.
        preprocess: of images; see there.
        device: see `onnxzoo.load`.
    """
    session = registry.load(base.ref, device=device)
    on = ground(
        session,
        base.path,
        inputs=None if inputs is None else str(inputs),
        preprocess=preprocess,
        held=registry.held_sets(base),
        samples=samples,
        batch=batch,
        axes=axes,
    )
    expected = expect(session, base.path, on)
    del session
    found = []
    for other in others:
        try:
            session = registry.load(other.ref, device=device)
            found.append(between(other.graph.inputs, session, expected))
            del session
        except Unlike as error:
            found.append(Drift(why=str(error), shapes=shapes_text(on.feeds)))
    return found


def between(inputs: Sequence[Tensor], session: "InferenceSession", expected: Expected) -> Drift:
    """Return the distance of a session's outputs from the expected ones.

    Args:
        inputs: what the session takes; the base's are cast to these dtypes.
        session: of the other model.
        expected: the base's inputs and outputs.

    Raises:
        Unlike: if the two cannot be compared.
    """
    feeds = [_fitted(inputs, feed) for feed in expected.samples.feeds]
    if expected.runs:
        found = _in_distribution(session, feeds, expected.runs)
    else:
        total = _Total()
        for feed, outputs in zip(feeds, expected.outputs, strict=True):
            total.add_all(outputs, _given_by(session, feed))
        found = total.drift()
    return replace(
        found,
        shapes=shapes_text(expected.samples.feeds),
        unproven=expected.unproven,
        given=expected.samples.given,
    )


def _given_by(session: "InferenceSession", feed: "Mapping[str, Any]") -> Mapping[str, Any]:
    """Run the other model on one of the base's inputs; that it does not take them is an answer."""
    try:
        return infer(session, feed)
    except (Refused, UsageError) as error:
        if wants_memory(error.message):
            raise
        raise Unlike(error.message) from error


def _in_distribution(
    session: "InferenceSession",
    feeds: "Sequence[Mapping[str, Any]]",
    runs: Sequence[Sequence[Mapping[str, Any]]],
) -> Drift:
    """Compare a model with random nodes by its runs, as far apart as the base's own are."""
    total, own, spread = _Total(), _Total(), 0.0
    for feed, base in zip(feeds, runs, strict=False):
        other = run_several(session, feed)
        if not all(_is_numbers(value) for one in (base[0], other[0]) for value in one.values()):
            raise Unlike("the model is random, and not all its outputs are tensors of numbers")
        if set(other[0]) != set(base[0]):
            raise Unlike(f"its outputs are {_names(other[0])}; the base's are {_names(base[0])}")
        spread = max(spread, standard_errors_apart(base, other))
        total.add_all(means(base), means(other))
        half = len(base) // 2
        own.add_all(means(base[:half]), means(base[half:]))
    found, chance = total.drift(), own.drift().cosine or 0
    # What chance alone takes from the cosine of means is not the other model's doing.
    cosine = min((found.cosine or 0) / chance, 1.0) if chance > 0 else found.cosine
    return replace(found, cosine=cosine, labels=None, correlation=None, spread=spread)


def _is_numbers(value: Any) -> bool:
    import numpy as np

    return isinstance(value, np.ndarray) and matrix(value).dtype.kind in "fiub"


def _fitted(inputs: Sequence[Tensor], feed: "Mapping[str, Array]") -> "dict[str, Array]":
    """Return the base's inputs in the dtypes that another variant takes."""
    import numpy as np

    by_name = {tensor.name: tensor for tensor in inputs}
    if set(by_name) != set(feed):
        raise Unlike(f"its inputs are {_names(by_name)}; the base's are {_names(feed)}")
    fitted = {}
    for name, array in feed.items():
        tensor = by_name[name]
        if not isinstance(array, np.ndarray):
            fitted[name] = array
            continue
        if not tensor.takes(array.shape):
            raise Unlike(f"its input `{name}` does not take the base's shape {list(array.shape)}")
        wanted = None if "(" in tensor.dtype else to_numpy(tensor.dtype)
        if wanted is None or _sort(array.dtype) != _sort(wanted):
            raise Unlike(f"its input `{name}` is {tensor.dtype}; the base's is {array.dtype}")
        fitted[name] = array.astype(wanted)
    return fitted


def _sort(dtype: "np.dtype[Any]") -> str:
    """Return a letter for dtypes of one sort: floats of all widths, text in both its forms."""
    if dtype.name in BEYOND_NUMPY:
        return "f" if "float" in dtype.name else dtype.name[0]
    return "U" if dtype.kind == "O" else dtype.kind


class _Total:
    """Sums over outputs and inputs."""

    def __init__(self) -> None:
        self._max = self._relative = 0.0
        self._products: dict[str, list[float]] = {}  # by output: a·b, a·a, b·b
        self._variations: dict[str, dict[tuple[int, ...], Variation]] = {}  # by output and shape
        self._same = self._labels = self._compared = 0

    def add_all(self, outputs: Mapping[str, Any], got: Mapping[str, Any]) -> None:
        """Add all outputs of the base and the other's."""
        if set(got) != set(outputs):
            raise Unlike(f"its outputs are {_names(got)}; the base's are {_names(outputs)}")
        for name, one in outputs.items():
            self.add(name, one, got[name])

    def add(self, name: str, one: Any, two: Any) -> None:
        """Add one output of the base and the other's."""
        import numpy as np

        one, two = matrix(one), matrix(two)
        if {one.dtype.kind, two.dtype.kind} - set("fiubU"):
            raise Unlike(f"the output `{name}` holds neither numbers nor text")
        if one.shape != two.shape:
            raise Unlike(
                f"its output `{name}` is {list(two.shape)}; the base's is {list(one.shape)}"
            )
        self._count_labels(one, two)
        a, b = _numbers(one, two)
        finite = np.isfinite(a) & np.isfinite(b)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            raise Unlike(f"the output `{name}` is not finite in one of them")
        variation = self._variations.setdefault(name, {}).setdefault(one.shape, Variation())
        variation.add(np.where(finite, a, 0), np.where(finite, b, 0))
        a, b = a[finite], b[finite]
        self._compared += a.size
        apart = np.abs(a - b)
        self._max = max(self._max, float(np.max(apart, initial=0.0)))
        relative = float(np.max(apart / (1 + np.abs(a)), initial=0.0))
        self._relative = max(self._relative, relative)
        products = self._products.setdefault(name, [0.0, 0.0, 0.0])
        for place, product in enumerate((a @ b, a @ a, b @ b)):
            products[place] += float(product)

    def drift(self) -> Drift:
        """Return the totals.

        Raises:
            Unlike: if there was no number to compare.
        """
        if not self._compared:
            raise Unlike("the base's outputs are empty or not finite")
        cosines = [_cosine(products) for products in self._products.values()]
        if not all(map(isfinite, cosines)):
            raise Unlike("the outputs are too large for their squares to be added up")
        labels = self._same / self._labels if self._labels else None
        found = (correlation([*each.values()]) for each in self._variations.values())
        follows = min((value for value in found if value is not None), default=None)
        return Drift(self._max, min(cosines, default=1.0), labels, follows, relative=self._relative)

    def _count_labels(self, one: "Array", two: "Array") -> None:
        if (one.dtype.kind == "f") == (two.dtype.kind == "f"):
            same, labels = agreement(one, two)
            self._same += same
            self._labels += labels


def _cosine(products: Sequence[float]) -> float:
    """Return a cosine from a·b, a·a and b·b; of two that are zero throughout it is 1."""
    dot, one, two = products
    length = (one * two) ** 0.5 or one**0.5 * two**0.5  # the product of small ones is 0
    return min(dot / length, 1.0) if length else float(one == two)


def _numbers(one: "Array", two: "Array") -> "tuple[Array, Array]":
    """Return two outputs, flattened; text is 1, and 1 or 0 as it is the same or not."""
    import numpy as np

    if "U" in {one.dtype.kind, two.dtype.kind}:
        return np.ones(one.size), (one.astype(str) == two.astype(str)).ravel().astype(np.float64)
    return one.astype(np.float64).ravel(), two.astype(np.float64).ravel()


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
