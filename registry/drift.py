"""How far variants' outputs lie from a base's, on the same inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.derive.calibrate import bounded
from onnxzoo.registry.derive.calibrate import feeds as read
from onnxzoo.registry.feeds import batched, random_inputs
from onnxzoo.registry.outputs import agreement, matrix
from onnxzoo.registry.records import Tensor, Variant
from onnxzoo.registry.sessions import infer

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]

SAMPLES = 8  # seeded inputs


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one variant lies from the base; where that is unknown, why.

    Attributes:
        max: the largest absolute difference of any output's element.
        cosine: the cosine similarity of all outputs, flattened.
        labels: the share of positions with the same label: the argmax over the last axis that is
            longer than 1, or the value itself where an output holds whole numbers.
        why: one line, where nothing could be compared.
        relative: the largest absolute difference as a share of one more than the base's element:
            at most ``t`` where all lie within ``rtol = atol = t``, as numpy's `allclose` has it.
    """

    max: float | None = None
    cosine: float | None = None
    labels: float | None = None
    why: str | None = None
    relative: float | None = field(default=None, compare=False)  # not kept with measurements


class Unlike(Exception):
    """Two variants whose outputs cannot be compared."""


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
        batch: see `onnxzoo.registry.feeds.batched`.
        axes: sizes of other open axes by their names.
        samples: how many inputs, seeded 0, 1, 2 …
        inputs: what to run on in their place, as `calibrate.feeds` reads it.
        preprocess: of images; see there.
        device: see `onnxzoo.load`.
    """
    session = registry.load(base.ref, device=device)
    if inputs is not None:
        feeds = list(bounded(read(str(inputs), session, base.graph.inputs, preprocess)))
    else:
        tensors, _ = batched(base.graph.inputs, batch, sized=axes or ())
        feeds = [random_inputs(tensors, seed=seed, axes=axes) for seed in range(samples)]
    expected = [infer(session, feed) for feed in feeds]
    del session
    found = []
    for other in others:
        try:
            session = registry.load(other.ref, device=device)
            found.append(between(other.graph.inputs, session, feeds, expected))
            del session
        except Unlike as error:
            found.append(Drift(why=str(error)))
    return found


def between(
    inputs: Sequence[Tensor],
    session: "InferenceSession",
    feeds: "Sequence[Mapping[str, Array]]",
    expected: Sequence[Mapping[str, Any]],
) -> Drift:
    """Return how far a session's outputs lie from those that are expected.

    Args:
        inputs: what the session takes; feeds are cast to these dtypes.
        session: of the other model.
        feeds: the base's inputs.
        expected: the base's outputs for each.

    Raises:
        Unlike: if the two cannot be compared.
    """
    fitting = [_fitted(inputs, feed) for feed in feeds]
    total = _Total()
    for feed, outputs in zip(fitting, expected, strict=True):
        got = infer(session, feed)
        if set(got) != set(outputs):
            raise Unlike(f"its outputs are {_names(got)}; the base's are {_names(outputs)}")
        for name, one in outputs.items():
            total.add(name, one, got[name])
    return total.drift()


def _fitted(inputs: Sequence[Tensor], feed: "Mapping[str, Array]") -> "dict[str, Array]":
    """Return the base's inputs in the dtypes that another variant takes."""
    import numpy as np

    by_name = {tensor.name: tensor for tensor in inputs}
    if set(by_name) != set(feed):
        raise Unlike(f"its inputs are {_names(by_name)}; the base's are {_names(feed)}")
    fitted = {}
    for name, array in feed.items():
        tensor = by_name[name]
        if not tensor.takes(array.shape):
            raise Unlike(f"its input `{name}` does not take the base's shape {list(array.shape)}")
        wanted = "object" if tensor.dtype == "string" else tensor.dtype
        if "(" in wanted or array.dtype.kind != np.dtype(wanted).kind:
            raise Unlike(f"its input `{name}` is {tensor.dtype}; the base's is {array.dtype}")
        fitted[name] = array.astype(wanted)
    return fitted


class _Total:
    """Sums over outputs and inputs."""

    def __init__(self) -> None:
        self._max = self._relative = self._dot = self._one = self._two = 0.0
        self._same = self._labels = 0

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
        a, b = a[finite], b[finite]
        apart = np.abs(a - b)
        self._max = max(self._max, float(np.max(apart, initial=0.0)))
        relative = float(np.max(apart / (1 + np.abs(a)), initial=0.0))
        self._relative = max(self._relative, relative)
        self._dot += float(a @ b)
        self._one += float(a @ a)
        self._two += float(b @ b)

    def drift(self) -> Drift:
        """Return what it comes to."""
        length = (self._one * self._two) ** 0.5
        both_zero = self._one == self._two == 0
        cosine = min(self._dot / length, 1.0) if length else float(both_zero)
        labels = self._same / self._labels if self._labels else None
        return Drift(self._max, cosine, labels, relative=self._relative)

    def _count_labels(self, one: "Array", two: "Array") -> None:
        if (one.dtype.kind == "f") == (two.dtype.kind == "f"):
            same, labels = agreement(one, two)
            self._same += same
            self._labels += labels


def _numbers(one: "Array", two: "Array") -> "tuple[Array, Array]":
    """Return two outputs, flattened; text is 1, and 1 or 0 as it is the same or not."""
    import numpy as np

    if "U" in {one.dtype.kind, two.dtype.kind}:
        return np.ones(one.size), (one.astype(str) == two.astype(str)).ravel().astype(np.float64)
    return one.astype(np.float64).ravel(), two.astype(np.float64).ravel()


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
