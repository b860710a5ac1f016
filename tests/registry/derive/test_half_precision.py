"""Weights in bf16: of all sizes, in the file and beside it, initialisers and Constants."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.derive.half_precision import to_bf16
from tests.support import models

LARGE, SMALL = 4096, 300


def summed(path: Path, *, outside: bool, constant: bool) -> dict[str, bytes]:
    """Write ``y = x + large[0] + small[0]``; return the weights in bf16 as numpy's type rounds."""
    random = np.random.default_rng(0)
    weights = {
        name: random.normal(size=size).astype(np.float32)
        for name, size in (("large", LARGE), ("small", SMALL))
    }
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors if constant]
    nodes += [
        helper.make_node("ReduceMax", ["large"], ["one"], keepdims=0),
        helper.make_node("ReduceMax", ["small"], ["two"], keepdims=0),
        helper.make_node("Add", ["x", "one"], ["three"]),
        helper.make_node("Add", ["three", "two"], ["y"]),
    ]
    models.save(path, nodes, [] if constant else tensors)
    if outside:
        onnx.save(
            onnx.load(path),
            path,
            save_as_external_data=True,
            size_threshold=0,
            convert_attribute=True,
        )
    return {name: array.astype(ml_dtypes.bfloat16).tobytes() for name, array in weights.items()}


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
@pytest.mark.parametrize("constant", [False, True], ids=["initialisers", "constants"])
def test_every_weight_is_rounded_to_bf16(tmp_path: Path, *, outside: bool, constant: bool) -> None:
    expected = summed(tmp_path / "m.onnx", outside=outside, constant=constant)
    made = to_bf16(tmp_path / "m.onnx", [], [], lambda _: [])
    found = {t.name: (t.data_type, t.raw_data) for t in made.graph.initializer}
    assert found == {f"{name}_bf16": (TensorProto.BFLOAT16, raw) for name, raw in expected.items()}
    onnx.checker.check_model(made, full_check=True)


def test_what_a_chosen_node_reads_stays(tmp_path: Path) -> None:
    summed(tmp_path / "m.onnx", outside=False, constant=False)
    made = to_bf16(
        tmp_path / "m.onnx",
        [],
        [],
        lambda model: [node.name for node in model.graph.node if "large" in node.input],
    )
    assert {t.name: t.data_type for t in made.graph.initializer} == {
        "large": TensorProto.FLOAT, "small_bf16": TensorProto.BFLOAT16,
    }  # fmt: skip
