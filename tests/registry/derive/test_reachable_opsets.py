"""Which opsets a model can surely be converted to."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import defs, helper, version_converter

from onnxzoo.registry.derive.reachable_opsets import convertible_opsets
from onnxzoo.registry.onnx_file.describe import describe
from tests.support import models

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


def of_op(path: Path, op: str, opset: int) -> Path:
    return models.save(path, [helper.make_node(op, ["x"], ["y"])], [], opset=opset)


@pytest.mark.parametrize(
    ("op", "opset", "highest", "expected"),
    [
        ("Relu", 17, 20, (14, 15, 16, 18, 19, 20)),
        ("Relu", 13, 20, ()),
        ("Softmax", 11, 20, (12,)),
        ("Identity", 17, 18, (16, 18)),
        ("Relu", 17, 99, tuple(n for n in range(14, defs.onnx_opset_version() + 1) if n != 17)),
    ],
)
def test_where_no_op_changes_it_is_sure(
    tmp_path: Path, op: str, opset: int, highest: int, expected: tuple[int, ...]
) -> None:
    assert convertible_opsets(describe(of_op(tmp_path / "m.onnx", op, opset)), highest) == expected


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_what_is_said_to_be_sure_converts(path: Path) -> None:
    model = onnx.load(path)
    for opset in convertible_opsets(describe(path), 99):
        onnx.checker.check_model(version_converter.convert_version(model, opset))


def test_nothing_is_said_of_what_is_not_known(tmp_path: Path) -> None:
    graph = describe(of_op(tmp_path / "m.onnx", "Relu", 17))
    assert convertible_opsets(replace(graph, ops={}), 20) == ()
    assert convertible_opsets(replace(graph, functions=("own.F",)), 20) == ()
    assert convertible_opsets(replace(graph, functions=None), 20) == ()
    assert convertible_opsets(
        replace(graph, functions=None, ir_version=7), 20
    ) == convertible_opsets(graph, 20)
    assert convertible_opsets(replace(graph, ops={"Unheard": 1}), 20) == ()
