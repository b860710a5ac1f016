"""The precision of a model is told from what its weights are."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.onnx_file.precisions import PRECISIONS, precision_of
from onnxzoo.registry.resolve.choose import nearness
from tests.registry.resolve.test_choose import Candidate
from tests.support import models

FLOAT_INPUT = [Tensor("x", "float32", ("batch", 4))]
DEQUANTIZED = {"DequantizeLinear", "MatMul"}


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        (TensorProto.FLOAT8E4M3FN, "fp8"), (TensorProto.FLOAT8E5M2, "fp8"),
        (TensorProto.FLOAT4E2M1, "fp4"), (TensorProto.INT4, "int4"), (TensorProto.UINT4, "int4"),
        (TensorProto.INT2, "int2"), (TensorProto.UINT2, "uint2"), (TensorProto.INT16, "int16"),
        (TensorProto.UINT16, "uint16"), (TensorProto.INT8, "qdq"), (TensorProto.UINT8, "qdq"),
    ],
)  # fmt: skip
def test_weights_behind_dequantize_linear(tmp_path: Path, dtype: int, precision: str) -> None:
    weights = [
        helper.make_tensor("q", dtype, [32, 4], [1] * 128),
        numpy_helper.from_array(np.array(0.1, np.float32), "s"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    assert describe(models.save(tmp_path / "m.onnx", nodes, weights)).precision == precision


def test_bitsandbytes_blocks_have_a_name_of_their_own(tmp_path: Path) -> None:
    node = helper.make_node(
        "MatMulBnb4", ["x", "q", "s"], ["y"], domain="com.microsoft", K=4, N=4, block_size=16,
        quant_type=1,
    )  # fmt: skip
    weights = [
        numpy_helper.from_array(np.zeros(8, np.uint8), "q"),
        numpy_helper.from_array(np.ones(1, np.float32), "s"),
    ]
    assert describe(models.save(tmp_path / "m.onnx", [node], weights)).precision == "bnb4"


@pytest.mark.parametrize(
    ("ops", "elements", "bits", "precision"),
    [
        ({"MatMul"}, {"float32": 900, "float8_e4m3fn": 100}, [], "fp8"),
        ({"MatMul"}, {"float32": 9990, "float8_e4m3fn": 10}, [], "fp32"),  # zero points
        (DEQUANTIZED, {"int8": 900, "uint16": 5, "float32": 50}, [], "qdq"),
        (DEQUANTIZED, {"int16": 900, "float32": 50}, [], "int16"),
        ({"com.microsoft.MatMulNBits"}, {"uint8": 900, "float16": 90}, [4, 8], "int4"),
        ({"com.microsoft.MatMulNBits"}, {"uint8": 900, "float16": 90}, [8], "int8"),
        ({"com.microsoft.MatMulNBits"}, {"uint8": 900, "float16": 90}, [2, 4], "int2"),
        ({"Cast", "Mul", "MatMul"}, {"int8": 900, "float32": 30}, [], "int8"),
        ({"Cast", "Gather"}, {"uint8": 256, "float32": 900}, [], "fp32"),  # a table to look up
        ({"MatMul"}, {"int64": 900, "float16": 30}, [], "fp16"),
        ({"Relu"}, {}, [], "fp32"),
    ],
)
def test_of_a_mixture_the_kind_with_the_fewest_bits_counts(
    ops: set[str], elements: dict[str, int], bits: list[int], precision: str
) -> None:
    assert precision_of(ops, elements, bits, FLOAT_INPUT) == precision


def test_bits_never_rise_along_the_order() -> None:
    def bits(precision: str) -> int:
        if precision == "qdq":
            return 8
        return int(re.sub(r"\D", "", precision))

    order = [min(bits(precision), 32) for precision in PRECISIONS]
    assert order == sorted(order, reverse=True)
    last = Candidate("unheard", "unheard", 17)
    assert all(nearness(Candidate(p, p, 17)) < nearness(last) for p in PRECISIONS)


def test_what_has_fewer_bits_is_not_taken_beside_fp32(zoo: object, tmp_path: Path) -> None:
    assert callable(zoo)
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "m")
    weights = [helper.make_tensor("q", TensorProto.FLOAT8E4M3FN, [4], [1] * 4)]
    weights.append(numpy_helper.from_array(np.array(0.1, np.float32), "s"))
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("Mul", ["x", "w"], ["y"]),
    ]
    path = models.save(tmp_path / "q.onnx", nodes, weights, opset=21)
    model = onnx.load(path)
    model.ir_version = 10
    onnx.save(model, path)
    assert zoo("register", path, "--name", "m:fp8@1").code == 0
    assert zoo("path", "m").out == zoo("path", "m:fp32@1").out
