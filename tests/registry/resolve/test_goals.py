"""Choosing by a goal: from figures measured here, else by the written order; and the sentence."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.records import Measurement
from onnxzoo.registry.resolve.choose import Constraints
from onnxzoo.registry.runtime.machine import here
from onnxzoo.registry.runtime.providers import CPU
from tests.support import models

EARLIER, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """`m@1` with fp32 (the largest), fp16, and qdq (the smallest)."""
    registry = Registry(tmp_path / "home")
    for label, dtype in (("fp32", "float32"), ("fp16", "float16")):
        path = models.linear(tmp_path / f"{label}.onnx", dtype=dtype, size=1000)
        assert registry.register(path, "m").variant.ref == f"m:{label}@1"
    registry.register(models.quantized(tmp_path / "qdq.onnx"), "m@1")
    return registry


def measured(
    registry: Registry,
    metric: str,
    values: dict[str, float],
    *,
    at: datetime = EARLIER,
    **context: str | int,
) -> None:
    context = {"shapes": "x 2x128", **context}
    for label, value in values.items():
        under = {key: told for key, told in {**here(CPU), **context}.items() if told != ""}
        measurement = Measurement(metric, value, "", under, at)
        registry.measure(f"m:{label}", [measurement])


def chosen(registry: Registry, **wish: object) -> tuple[str, str]:
    found = registry.resolve("m", **Constraints(**wish))  # type: ignore[typeddict-item]
    assert found.why
    assert f"`{found.variant}`" in found.why
    assert "\n" not in found.why
    return found.variant, found.why


def test_without_a_goal_it_is_full_precision(registry: Registry) -> None:
    variant, why = chosen(registry)
    assert variant == "fp32"
    assert "nearest to full precision" in why


@pytest.mark.parametrize(
    ("goal", "variant"),
    [("size", "qdq"), ("memory", "qdq"), ("accuracy", "fp32"), ("speed", "qdq")],
)
def test_without_figures_it_is_by_size_or_the_written_order(
    registry: Registry, goal: str, variant: str
) -> None:
    found, why = chosen(registry, prefer=goal)
    assert found == variant
    assert ("zoo bench m --all" in why) == (goal == "speed")


@pytest.mark.parametrize(
    ("goal", "metric", "shown"),
    [("speed", "latency_p50", "3e+03 ms"), ("memory", "peak_memory", "3 B")],
)
def test_figures_of_all_decide(registry: Registry, goal: str, metric: str, shown: str) -> None:
    measured(registry, metric, {"fp32": 4, "fp16": 3, "qdq": 5}, batch=1)
    found, why = chosen(registry, prefer=goal)
    assert found == "fp16"
    assert "measured here" in why
    assert shown in why


def test_figures_count_only_if_all_have_them_in_one_context(registry: Registry) -> None:
    measured(registry, "latency_p50", {"fp32": 1}, batch=1)
    measured(registry, "latency_p50", {"fp16": 9, "qdq": 9}, batch=8)
    assert "not all were measured" in chosen(registry, prefer="speed")[1]


def test_figures_of_another_machine_do_not_count(registry: Registry) -> None:
    measured(registry, "latency_p50", {"fp32": 1, "fp16": 9, "qdq": 9}, cpu="another")
    assert "none was measured here" in chosen(registry, prefer="speed")[1]


def test_figures_whose_inputs_were_not_recorded_do_not_count(registry: Registry) -> None:
    """They were of one word or one pixel."""
    measured(registry, "latency_p50", {"fp32": 9, "fp16": 1, "qdq": 9}, shapes="")
    assert "not all were measured" in chosen(registry, prefer="speed")[1]


def test_the_newest_run_decides(registry: Registry) -> None:
    measured(registry, "latency_p50", {"fp32": 9, "fp16": 9, "qdq": 1}, at=LATER, batch=8)
    measured(registry, "latency_p50", {"fp32": 1, "fp16": 9, "qdq": 9}, at=EARLIER, batch=1)
    assert chosen(registry, prefer="speed")[0] == "qdq"


def test_a_bound_on_drift_takes_only_what_was_measured_within_it(registry: Registry) -> None:
    base = registry.resolve("m:fp32").digest
    assert chosen(registry, prefer="size", max_drift=0.1)[0] == "fp32"
    measured(registry, "drift_max", {"fp16": 0.05, "qdq": 0.5}, base=base)
    assert chosen(registry, prefer="size", max_drift=0.1)[0] == "fp16"
    assert chosen(registry, prefer="size", max_drift=1)[0] == "qdq"
    measured(registry, "drift_max", {"fp16": 0.7}, base=base, batch=8)
    assert chosen(registry, prefer="size", max_drift=0.1)[0] == "fp32"


def test_a_drift_on_inputs_that_were_given_counts_before_one_on_random(registry: Registry) -> None:
    base = registry.resolve("m:fp32").digest
    measured(registry, "drift_max", {"qdq": 0.5}, base=base, samples=8)
    measured(registry, "drift_max", {"qdq": 0.05}, base=base, inputs="sha256:a")
    assert chosen(registry, prefer="size", max_drift=0.1)[0] == "qdq"
    measured(registry, "drift_max", {"qdq": 0.2}, base=base, inputs="sha256:b")
    assert chosen(registry, prefer="size", max_drift=0.1)[0] == "fp32"


def test_a_drift_from_something_else_does_not_count(registry: Registry) -> None:
    measured(registry, "drift_max", {"qdq": 0.0}, base="sha256:other")
    assert chosen(registry, prefer="size", max_drift=0.1)[0] == "fp32"


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ({"shapes": ""}, "not recorded"),
        ({"unproven": "compared on length 1 only"}, "compared on length 1 only"),
        ({"unproven": "they are the same", "inputs": "sha256:a"}, "they are the same"),
    ],
)
def test_a_drift_that_proves_nothing_does_not_count(
    registry: Registry, context: dict[str, Any], why: str
) -> None:
    base = registry.resolve("m:fp32").digest
    measured(registry, "drift_max", {"qdq": 0.0, "fp16": 0.0}, base=base, **context)
    found, said = chosen(registry, prefer="size", max_drift=0.1)
    assert found == "fp32"
    assert why in said
    assert "zoo compare m" in said
    assert why in chosen(registry, prefer="accuracy")[1]


def test_bounds_that_nothing_keeps_say_what_there_is(registry: Registry) -> None:
    with pytest.raises(NotFound, match=r"of at most 10 B of `m@1` .*`qdq` \(opset 17, \d+ B\)"):
        registry.resolve("m", max_bytes=10)
    with pytest.raises(UsageError, match="`3MB` is not a number of bytes"):
        registry.resolve("m", max_bytes="3MB")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match=r"within a drift of `0\.1`") as caught:
        registry.resolve("m:qdq", max_drift=0.1)
    assert caught.value.hint == "zoo compare m"


def test_a_bound_on_size_leaves_the_best_within_it(registry: Registry) -> None:
    size = registry.resolve("m:fp16").bytes
    assert chosen(registry, max_bytes=size)[0] == "fp16"
    assert chosen(registry, max_bytes=size, prefer="size")[0] == "qdq"


def test_a_goal_that_is_none_is_refused(registry: Registry) -> None:
    with pytest.raises(UsageError, match="`fast` is no goal; expected speed, size"):
        registry.resolve("m", prefer="fast")


@pytest.mark.parametrize(
    ("spread", "expected", "said"),
    [
        (0.2, "fp32", "`fp32` is as fast as any here, within the 20% that the runs lie apart: "),
        (0.01, "fp16", "`fp16` is the fastest as measured here: "),
    ],
)
def test_what_is_faster_by_less_than_the_runs_lie_apart_is_not_faster(
    registry: Registry, spread: float, expected: str, said: str
) -> None:
    measured(registry, "latency_p50", {"fp32": 0.0105, "fp16": 0.01, "qdq": 0.02}, batch=1)
    measured(registry, "latency_spread", dict.fromkeys(["fp32", "fp16", "qdq"], spread), batch=1)
    found, why = chosen(registry, prefer="speed")
    assert (found, why.startswith(said)) == (expected, True)


def test_what_was_not_measured_is_named(registry: Registry) -> None:
    measured(registry, "latency_p50", {"fp32": 1, "fp16": 2}, batch=1)
    assert (
        "not all were measured here, not `qdq`: zoo bench m --all"
        in chosen(registry, prefer="speed")[1]
    )
