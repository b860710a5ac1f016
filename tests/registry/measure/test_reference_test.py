"""Reference data replayed: what passes, what fails and why, and what is kept of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.measure.reference_test import ATOL, RTOL, replay
from onnxzoo.zoo_index.index.index import Index
from onnxzoo.zoo_index.index.indexes import SHIPPED, ZOO
from onnxzoo.zoo_index.zoo import Zoo
from tests.support import models
from tests.support.archives import npz, one_set, spread

LIGHT = [e.name for e in Index(SHIPPED, ZOO, trusted=True).entries if e.collection == "light"]


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


def registered(registry: Registry, model: Path, inputs: Any, outputs: Any) -> Any:
    data = npz(model.with_suffix(".npz"), {"input:x": inputs, "output:y": outputs})
    return registry.register(model, "net", test_data=data).variant


def test_the_tolerances_are_those_of_onnx(tmp_path: Path) -> None:
    from onnx.backend.test.loader import load_model_tests

    cases = [case for case in load_model_tests(kind="real") if "light" in str(case.url)]
    assert {(case.rtol, case.atol) for case in cases} >= {(RTOL, ATOL)}


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_model_gives_what_onnx_expects(name: str) -> None:
    with Zoo() as zoo:
        variant = zoo.pull(name).variant
        zoo.need_test_data(variant)
        found = replay(zoo.registry, variant)
        assert found.passed
        assert found.max_difference is not None
        assert found.max_difference < 1e-5


@pytest.mark.parametrize(
    ("factor", "tolerances", "passed"),
    [
        (1.0, {}, True),
        (1.0009, {}, True),
        (1.0011, {}, False),
        (1.0011, {"rtol": 2e-3}, True),
        (1.0011, {"atol": 0.1}, True),
        (1.0, {"rtol": 0.0, "atol": 0.0}, True),
    ],
)
def test_an_element_may_differ_by_so_much(
    registry: Registry, tmp_path: Path, factor: float, tolerances: Any, *, passed: bool
) -> None:
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    variant = registered(registry, models.linear(tmp_path / "m.onnx", value=factor), x, x)
    found = replay(registry, variant, **tolerances)
    assert found.passed is passed
    assert found.max_difference == pytest.approx(factor - 1, abs=1e-6)
    assert found.outcomes[0].outside == (0 if passed else 1)


def test_the_figures_are_kept_with_their_context(registry: Registry, tmp_path: Path) -> None:
    data = spread(tmp_path / "data", one_set(2.0) | one_set(2.5, number=1))
    model = models.linear(tmp_path / "m.onnx", value=2)
    variant = registry.register(model, "net", test_data=data).variant
    found = replay(registry, variant)
    assert [outcome.passed for outcome in found.outcomes] == [True, False]
    assert found.outcomes[1].why == "`y` differs by up to 4 in 8 of 8 elements"
    kept = {m.metric: m for m in registry.measurements("net")}
    assert (kept["test_failed"].value, kept["test_max_difference"].value) == (1, 4)
    assert kept["test_failed"].context == found.context
    assert found.context["data"] == found.data
    assert {"onnxruntime", "provider", "cpu", "features", "cores", "rtol"} < set(found.context)
    replay(registry, variant)
    assert len(registry.measurements("net")) == 2
    replay(registry, variant, atol=10)
    assert len(registry.measurements("net")) == 4


def constant(path: Path, value: Any) -> Path:
    """``y`` is a constant; ``x`` is not used for it."""
    array = np.asarray(value)
    tensor = onnx.numpy_helper.from_array(array, "c")
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", kind, None)],
        [tensor],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("gives", "expected", "why"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], None),
        ([1.0, np.nan], [1.0, 2.0], "`y` is not finite in one of them"),
        ([np.inf], [-np.inf], "`y` is not finite in one of them"),
        ([[1.0]], [1.0], "`y` is [1, 1]; expected [1]"),
        (np.array([1]), [1.0], "`y` is int64; expected float32"),
        (np.array([7, 8]), np.array([7, 9]), "`y` differs by up to 1 in 1 of 2 elements"),
        (np.array([True]), np.array([True]), None),
        (np.array([1.0], np.float16), [1.0], None),
        (np.array(["a"], object), np.array(["b"]), "`y` has 1 other texts"),
        (np.array(["a"], object), np.array(["a"]), None),
        (np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), None),
    ],
)
def test_what_comes_out_is_held_against_what_should(
    registry: Registry, tmp_path: Path, gives: Any, expected: Any, why: str | None
) -> None:
    gives, expected = (
        np.asarray(v, np.float32) if isinstance(v, list) else v for v in (gives, expected)
    )
    x = np.zeros(1, np.float32)
    variant = registered(registry, constant(tmp_path / "m.onnx", gives), x, expected)
    found = replay(registry, variant)
    assert found.outcomes[0].why == why
    assert (found.outcomes[0].outside > 0) == bool(why)
    assert (found.max_difference is None) == bool(why and "differs" not in why)


def sequence(path: Path) -> Path:
    """``y`` is the sequence of ``x`` and ``x``."""
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ([1, 1], None),
        ([1, 2], "`y`[1] differs by up to 1 in 1 of 1 elements"),
        ([1], "`y` is not a list of 1"),
    ],
)
def test_a_sequence_is_held_against_item_by_item(
    registry: Registry, tmp_path: Path, expected: list[int], why: str | None
) -> None:
    x, arrays = np.ones(1, np.float32), [np.full(1, value, np.float32) for value in expected]
    files = {
        "test_data_set_0/input_0.pb": onnx.numpy_helper.from_array(x).SerializeToString(),
        "test_data_set_0/output_0.pb": onnx.numpy_helper.from_list(arrays).SerializeToString(),
    }
    model, data = sequence(tmp_path / "m.onnx"), spread(tmp_path / "data", files)
    variant = registry.register(model, "net", test_data=data).variant
    assert replay(registry, variant).outcomes[0].why == why


def test_a_variant_without_data_is_held_against_the_nearest_to_fp32(
    registry: Registry, tmp_path: Path
) -> None:
    x = np.array([[0.5, 1.0, 1.5, 2.0]], np.float32)
    y = x * np.array([0.5, 1.0, 1.5, 2.0], np.float32)
    registered(registry, models.linear(tmp_path / "m.onnx"), x, x)
    qdq = registry.register(models.quantized(tmp_path / "q.onnx"), "net").variant
    found = replay(registry, qdq)
    assert (found.label, found.passed) == ("fp32", False)
    registry.add_test_data(qdq.ref, npz(tmp_path / "own.npz", {"input:x": x, "output:y": y}))
    found = replay(registry, qdq)
    assert (found.label, found.passed) == ("qdq", True)


def test_inputs_are_cast_to_another_width_of_float(registry: Registry, tmp_path: Path) -> None:
    x = np.ones((1, 4), np.float32)
    registered(registry, models.linear(tmp_path / "m.onnx"), x, x)
    half = models.save(
        tmp_path / "h.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [],
        dtype=TensorProto.FLOAT16,
    )
    variant = registry.register(half, "net:fp16").variant
    assert replay(registry, variant).passed


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_a_tolerance_is_a_number_from_0_on(
    registry: Registry, tmp_path: Path, name: str, value: float
) -> None:
    variant = registry.register(models.linear(tmp_path / "m.onnx"), "net").variant
    with pytest.raises(UsageError, match=f"the tolerance {name} is"):
        replay(registry, variant, **{name: value})  # type: ignore[arg-type]


def test_a_version_without_data_says_how_to_give_it_some(
    registry: Registry, tmp_path: Path
) -> None:
    variant = registry.register(models.linear(tmp_path / "m.onnx"), "net").variant
    with pytest.raises(NotFound, match="no test data of `net@1` are held") as caught:
        replay(registry, variant)
    assert caught.value.hint == "zoo test net:fp32@1 --data FOLDER"


def test_inputs_that_the_model_does_not_take_fail_the_set(
    registry: Registry, tmp_path: Path
) -> None:
    x = np.ones((2, 4), np.float32)
    registered(registry, models.linear(tmp_path / "m.onnx"), x, x)
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    one = registry.register(tmp_path / "one.onnx", "net:one@1", force=True).variant
    found = replay(registry, one)
    assert "the model does not take these inputs" in (found.outcomes[0].why or "")
    assert [m.metric for m in registry.measurements(one.ref)] == ["test_failed"]
