"""Correlations of two models' outputs over inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxzoo.registry.measure.variation import LARGEST, Variation, correlation

Values = Sequence[float] | np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)


def together(*pairs: tuple[Values, Values]) -> float | None:
    found = Variation()
    for base, other in pairs:
        found.add(np.asarray(base, float), np.asarray(other, float))
    return correlation([found])


def test_it_is_pearsons_of_what_numpy_says() -> None:
    base, other = RANDOM.normal(size=(2, 50, 1))
    found = together(*zip(base, other, strict=True))
    assert found == pytest.approx(np.corrcoef(base[:, 0], other[:, 0])[0, 1])


def test_an_offset_and_its_size_change_nothing() -> None:
    base = RANDOM.normal(size=(8, 5))
    assert together(*((500 + a, 500 + a) for a in base)) == pytest.approx(1)
    assert together(*((500 + a, 500 - a) for a in base)) == pytest.approx(-1)
    assert together(*((500 + a, np.full(5, 500)) for a in base)) == 0


def test_each_element_has_an_offset_of_its_own() -> None:
    offsets = np.array([0, 300, -40.0])
    base, other = RANDOM.normal(size=(2, 200, 3))
    found = together(*((a + offsets, b + offsets) for a, b in zip(base, other, strict=True)))
    assert abs(found or 1) < 0.2


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [((1, 2), (3, 4))],
        [((1, 2), (1, 2)), ((1, 2), (5, 6))],
        [((300,), (1,)), ((300.1,), (2,))],
    ],
    ids=["none", "one input", "a still base", "rounding of a large value"],
)
def test_what_does_not_vary_has_none(
    pairs: list[tuple[Values, Values]],
) -> None:
    assert together(*pairs) is None


def test_sizes_are_not_mixed() -> None:
    small, large = Variation(), Variation()
    for _ in range(4):
        for group, size in ((small, 3), (large, 7)):
            value = RANDOM.normal(size=size)
            group.add(value + size, value * 2)
    assert correlation([small, large]) == pytest.approx(1)


def test_a_large_output_is_looked_at_in_part() -> None:
    found = Variation()
    for _ in range(3):
        value = RANDOM.normal(size=LARGEST + 5)
        found.add(value, value)
    assert correlation([found]) == pytest.approx(1)
    assert np.asarray(found._sums).shape == (5, LARGEST)


@given(st.lists(st.tuples(*[st.floats(-1e9, 1e9)] * 2), min_size=2, max_size=9))
def test_it_lies_between_minus_one_and_one(pairs: list[tuple[float, float]]) -> None:
    found = together(*(((a,), (b,)) for a, b in pairs))
    assert found is None or -1 <= found <= 1
