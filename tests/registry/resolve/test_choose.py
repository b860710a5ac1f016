"""The rule that picks a variant."""

from typing import NamedTuple

import pytest

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.resolve.choose import Constraints, choose, parse_opset


class Candidate(NamedTuple):
    variant: str
    precision: str
    opset: int | None
    bytes: int = 1
    derived: bool = False


ALL = [
    Candidate("int8", "int8", 12),
    Candidate("fp32", "fp32", 12),
    Candidate("fp32-opset7", "fp32", 7),
    Candidate("fp32-opset99", "fp32", 99),
    Candidate("small", "fp16", 13),
]


def fits(candidate: Candidate) -> bool:
    return (candidate.opset or 0) <= 21


@pytest.mark.parametrize(
    ("variant", "opset", "chosen"),
    [
        (None, None, "fp32"),
        ("int8", None, "int8"),
        ("fp16", None, "small"),
        ("fp32", None, "fp32"),
        ("fp32-opset99", None, "fp32-opset99"),
        (None, "<=11", "fp32-opset7"),
        (None, "7", "fp32-opset7"),
        (None, "13", "small"),
        (None, ">12,<99", "small"),
        (None, ">=99", "fp32-opset99"),
        ("fp32", "<12", "fp32-opset7"),
        ("int8", "7", None),
        ("int4", None, None),
    ],
)
def test_the_rule(variant: str | None, opset: str | None, chosen: str | None) -> None:
    choice = choose(ALL, {"variant": variant, "opset": opset}, fits=fits)
    assert (choice.found.variant if choice else None) == chosen


def test_where_nothing_runs_the_nearest_is_taken() -> None:
    new = [Candidate(f"fp32-opset{n}", "fp32", n) for n in (30, 28, 29)]
    choice = choose(new, {}, fits=fits)
    assert choice is not None
    assert choice.found == new[1]


def test_the_runtime_is_not_asked_where_there_is_no_choice() -> None:
    def ask(candidate: Candidate) -> bool:
        raise AssertionError

    for candidates, wish in ((ALL[:1], Constraints()), (ALL, Constraints(variant="int8"))):
        choice = choose(candidates, wish, fits=ask)
        assert choice is not None
        assert choice.found == ALL[0]


def test_the_runtime_is_asked_of_the_best_first_and_no_more_once_it_runs() -> None:
    asked = []

    def ask(candidate: Candidate) -> bool:
        asked.append(candidate.variant)
        return fits(candidate)

    choose(ALL, {}, fits=ask)
    assert asked == ["fp32-opset99", "fp32"]


@pytest.mark.parametrize("text", ["abc", "<=", "12 13", "=="])
def test_what_is_no_opset_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_opset(text)
