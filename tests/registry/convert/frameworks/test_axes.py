"""Names of open axes, and outputs' shapes, in what exporters make."""

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxzoo.registry.convert.frameworks._axes import (
    constants_as_weights,
    fed_inputs,
    name_axes,
    without_weights_as_inputs,
)
from onnxzoo.registry.convert.frameworks._probabilities import without_maps
from onnxzoo.registry.convert.interface import Input, Sample

DOMAINS = ("", "acme")


def model(op: str, dim: str | None, **attributes: Any) -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [dim, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    graph = helper.make_graph([node], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(d, 13) for d in DOMAINS])


def shape(made: ModelProto) -> list[str | int]:
    dims = made.graph.output[0].type.tensor_type.shape.dim
    return [dim.dim_param or dim.dim_value for dim in dims]


def samples(*rows: int) -> list[Sample]:
    return [Sample({}, [np.zeros((count, 4))]) for count in rows]


def test_an_exporters_name_becomes_the_users_throughout() -> None:
    made = model("Relu", "DynamicDimension.0")
    name_axes(made, [Input("x", None, ("batch", 4))], [])
    assert shape(made) == ["batch", 4]


def test_an_output_of_an_unknown_op_has_the_shape_that_was_seen() -> None:
    made = model("Other", None, domain="acme")
    name_axes(made, [Input("x", None, ("n", 4))], samples(2, 2, 5))
    assert shape(made) == ["n", 4]


def test_one_sample_does_not_tell_what_varies() -> None:
    made = model("Other", None, domain="acme")
    name_axes(made, [Input("x", None, ("n", 4))], samples(2))
    assert shape(made) == [0, 0]


def test_initializers_are_no_inputs() -> None:
    made = model("Relu", "n")
    made.graph.input.add().name = "w"
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(2), "w"))
    without_weights_as_inputs(made)
    assert [value.name for value in made.graph.input] == ["x"]


def test_initializers_that_are_inputs_are_not_fed() -> None:
    made = model("Relu", "n")
    made.graph.input.add().name = "w"
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(2), "w"))
    assert [value.name for value in fed_inputs(made.graph)] == ["x"]


def test_constants_of_labels_become_weights() -> None:
    made = model("Relu", "n")
    words = numpy_helper.from_array(np.array(["a", "b"], dtype=object), "value")
    made.graph.node.append(helper.make_node("Constant", [], ["labels"], value=words))
    constants_as_weights(made.graph)
    assert [node.op_type for node in made.graph.node] == ["Relu"]
    assert list(numpy_helper.to_array(made.graph.initializer[0])) == ["a", "b"]
    assert [value.name for value in made.graph.input] == ["x", "labels"]
    assert [value.name for value in fed_inputs(made.graph)] == ["x"]


def test_maps_become_a_matrix_under_their_name() -> None:
    made = model("ZipMap", "n", domain="ai.onnx.ml", classlabels_int64s=[1, 2, 3, 4])
    made.graph.node.insert(0, helper.make_node("Relu", ["x"], ["p"]))
    made.graph.node[1].input[0] = "p"
    without_maps(made)
    assert [node.op_type for node in made.graph.node] == ["Relu"]
    assert made.graph.node[0].output[0] == made.graph.output[0].name == "y"
    assert shape(made) == ["batch", 4]
