"""Differences between two graphs' inputs and outputs."""

from onnxzoo.registry.core.records import Graph, Tensor
from onnxzoo.registry.onnx_file.signature import differences


def graph(*shape: int) -> Graph:
    inputs = tuple(Tensor(f"x{number}", "float32", shape) for number in range(12))
    return Graph(8, 17, {"": 17}, "", inputs, (), {}, 0, "fp32", (), {})


def test_differences_are_told_in_the_order_of_the_inputs() -> None:
    said = differences(graph(1, 3), graph(1, 4))
    assert [line.split("`")[1] for line in said] == [f"x{number}" for number in range(12)]
