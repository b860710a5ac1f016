"""Measure the correlation of one model's outputs with another's as the inputs change."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LARGEST = 1 << 16  # elements of an output; of a larger one as many are looked at, evenly spread
_VARIES = 1e-3  # a standard deviation as a share of the output's largest value: less is rounding


@dataclass(slots=True)
class Variation:
    """Sums over inputs of equal sizes, for each output element of two models.

    All values are taken relative to each model's first output, so that a large offset, such as
    temperatures in kelvin, costs no digits.
    """

    _count: int = 0
    _peak: float = 0.0
    _first: "Array | float" = 0.0
    _sums: "Array | float" = 0.0  # a, b, a·a, b·b, a·b

    def add(self, base: "Array", other: "Array") -> None:
        """Add the outputs of both models for one input, flattened, as float64."""
        import numpy as np

        a, b = _spread(base), _spread(other)
        self._count += 1
        self._peak = max(self._peak, float(np.max(np.abs(a), initial=0.0)))
        if self._count == 1:  # of inputs of many sizes no sums are kept
            self._first = np.stack((a, b))
            return
        a, b = np.stack((a, b)) - self._first
        self._sums = self._sums + np.stack((a, b, a * a, b * b, a * b))

    def moments(self) -> tuple[float, float, float]:
        """Return the base's and the other's variance, and their covariance.

        Each is the sum over the elements that vary in the base; zeros where none does, or where
        there was one input only.
        """
        import numpy as np

        if self._count < 2:  # noqa: PLR2004
            return 0.0, 0.0, 0.0
        a, b, aa, bb, ab = np.asarray(self._sums) / self._count
        own, other, both = aa - a * a, bb - b * b, ab - a * b
        varies = own > (_VARIES * self._peak) ** 2
        sums = (float(np.sum(term[varies])) for term in (own, other, both))
        one, two, shared = sums
        return max(one, 0.0), max(two, 0.0), shared


def _spread(values: "Array") -> "Array":
    """Return all values, or as many as are looked at, in no step that an axis could have."""
    import numpy as np

    if values.size <= LARGEST:
        return values
    return values[np.linspace(0, values.size - 1, LARGEST).astype(np.int64)]


def correlation(groups: "list[Variation]") -> float | None:
    """Return the Pearson correlation of one output of two models over the inputs.

    Each element's mean over inputs of equal sizes is taken away first: what an output shares for
    all inputs, such as an offset, hides in a cosine how little the rest agrees. 0 where the other
    model's output does not vary at all; None where the base's does not either.
    """
    one, two, shared = (sum(each) for each in zip(*(g.moments() for g in groups), strict=True))
    if not one:
        return None
    length = (one * two) ** 0.5
    return max(-1.0, min(shared / length, 1.0)) if length else 0.0
