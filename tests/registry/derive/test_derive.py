"""Deriving a variant: made in a child, proven, kept with its lineage, or not kept at all."""

from pathlib import Path

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.records import Graph
from onnxzoo.registry.derive.derive import Proof, Recipe, derive
from tests.support import models

RECIPE = Recipe("opset", {"opset": 18})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "home")
    registry.register(models.linear(tmp_path / "m.onnx", value=3), "m")
    return registry


def test_what_is_derived_is_kept_with_its_lineage_and_drift(registry: Registry) -> None:
    parent = registry.resolve("m")
    derived = derive(registry, parent, RECIPE)
    found = registry.resolve("m:fp32-opset18")
    assert derived.added.variant.ref == found.ref == "m:fp32-opset18@1"
    assert found.opset == 18
    assert found.lineage is not None
    assert found.lineage.parent == parent.digest
    assert found.lineage.called == "m:fp32@1"
    assert found.lineage.recipe["kind"] == "opset"
    assert set(found.lineage.recipe["tools"]) == {"onnx"}
    assert [v.ref for v in registry.derived(parent.digest)] == [found.ref]
    assert derived.proof.drift.max == 0
    assert derived.proof.latency is not None
    measured = {m.metric: m for m in registry.measurements(found.ref)}
    assert measured["drift_max"].value == 0
    assert measured["drift_max"].context["base"] == parent.digest
    assert registry.resolve("m", prefer="size", max_drift=0.1).why


def test_what_is_judged_unfit_is_not_kept(registry: Registry) -> None:
    def judge(proof: Proof, graph: Graph) -> None:
        raise Refused(f"it drifts by {proof.drift.max} at opset {graph.opset}")

    with pytest.raises(Refused, match=r"it drifts by 0\.0 at opset 18"):
        derive(registry, registry.resolve("m"), RECIPE, judge=judge)
    assert [v.ref for v in registry.list()] == ["m:fp32@1"]
    assert not registry.gc(dry_run=True).items


def test_a_label_that_is_none_is_refused_before_anything_is_made(registry: Registry) -> None:
    with pytest.raises(UsageError, match="Bad Label!"):
        derive(registry, registry.resolve("m"), RECIPE, label="Bad Label!")
    assert [v.ref for v in registry.list()] == ["m:fp32@1"]


def test_what_is_left_as_it_was_is_not_kept(registry: Registry) -> None:
    derive(registry, registry.resolve("m"), RECIPE)
    with pytest.raises(Refused, match="as it was"):
        derive(registry, registry.resolve("m:fp32-opset18"), RECIPE)


def test_what_cannot_be_made_is_one_clear_error(registry: Registry) -> None:
    with pytest.raises(Refused, match="cannot convert it to opset 9999"):
        derive(registry, registry.resolve("m"), Recipe("opset", {"opset": 9999}))
