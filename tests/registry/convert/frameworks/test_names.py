"""Which axes of outputs have whose names, for exporters that do not tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from onnxzoo.registry.convert.detect.weight_files import is_safetensors
from onnxzoo.registry.convert.frameworks import coreml, paddle, tensorflow, torch
from onnxzoo.registry.convert.frameworks._boosters import matrix_of
from onnxzoo.registry.convert.frameworks._inputs import draw
from onnxzoo.registry.convert.frameworks._loading import model_of
from onnxzoo.registry.convert.frameworks._names import opened, other_sizes, words_by_sizes
from onnxzoo.registry.convert.frameworks.tensorflow_ports import Loaded, Port
from onnxzoo.registry.convert.frameworks.torch_inputs import Inputs
from onnxzoo.registry.convert.interface import Input, Job, Sample
from onnxzoo.registry.core.errors import UsageError

AXES = {"ids": {0: "batch", 1: "time"}}


def call(*shape: int) -> tuple[Any, ...]:
    return (np.zeros(shape),)


@pytest.mark.parametrize(
    ("second", "expected"),
    [((5, 11), {0: "batch", 1: "time"}), ((5, 5), {0: "y_0", 1: "y_1"})],
    ids=["sizes that tell", "the same sizes"],
)
def test_an_axis_of_a_module_has_a_name_where_its_sizes_tell_whose(
    second: tuple[int, int], expected: dict[int, str]
) -> None:
    first = (2, 7) if second == (5, 11) else (2, 2)
    inputs = Inputs(["ids"], AXES, [call(*first), call(*second)])
    outputs = [call(*first, 3), call(*second, 3)]
    assert torch._open_outputs(inputs, outputs, ["y"]) == {"y": expected}


def graph() -> ModelProto:
    ids = helper.make_tensor_value_info("ids", TensorProto.FLOAT, ["a", "b"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["c", "d", 3])
    return helper.make_model(helper.make_graph([], "g", [ids], [y]))


def test_an_axis_in_tensorflow_has_no_name_that_may_be_anothers() -> None:
    made = graph()
    samples = [Sample({"ids": np.zeros((n, n))}, [np.zeros((n, n, 3))]) for n in (2, 5)]
    port = Port("ids:0", "ids", "float32", ("batch", "time"))
    tensorflow._name_axes(made, Loaded([port], [], samples))
    dims = made.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in dims[:2]] == ["y_0", "y_1"]


def test_axes_of_one_name_have_one_size_in_every_input() -> None:
    axes = {"a": {0: "n"}, "b": {1: "n", 0: "m"}}
    assert other_sizes(["a", "b"], [(2,), (4, 2)], axes) == [{0: 5}, {1: 5, 0: 7}]
    assert other_sizes(["a", "b"], [(2,), (4, 2)], axes, apart=True) == [{0: 5}, {1: 5, 0: 8}]


def test_an_axis_that_two_inputs_share_is_told() -> None:
    inputs = [((2,), (5,), {0: "batch"}), ((2, 4), (5, 4), {0: "batch"})]
    assert words_by_sizes(inputs) == {(2, 5): "batch"}


def job(form: str = "object", **how: Any) -> Job:
    return Job("acme", "acme", form, None, Path(), **how)


def test_axes_are_opened_by_number_and_by_name() -> None:
    said = job(dynamic={0: "n"}, axes={"x": {1: "m"}})
    inputs = [Input("x", None, (1, 4)), Input("y", None, (1, 4)), Input("z")]
    assert opened(inputs, said) == [
        Input("x", None, ("n", "m")),
        Input("y", None, ("n", 4)),
        Input("z"),
    ]


def test_an_axis_beyond_an_inputs_own_cannot_be_opened() -> None:
    with pytest.raises(UsageError, match="the input `x` has 2 axes, from 0, and no `7`"):
        opened([Input("x", None, (1, 4))], job(axes={"x": {7: "m"}}))


@pytest.mark.parametrize("how", [{"dynamic": {0: "rows"}}, {"axes": {"X": {0: "rows"}}}])
def test_the_rows_of_a_booster_have_the_name_that_is_asked_for(how: dict[str, Any]) -> None:
    assert matrix_of(job(**how), 4) == Input("X", "float32", ("rows", 4))


def test_the_columns_of_a_booster_cannot_be_opened() -> None:
    with pytest.raises(UsageError, match="axis 1 of `X` has 4 columns, and is not open"):
        matrix_of(job(dynamic={1: "columns"}), 4)


def test_an_open_axis_of_a_paddle_program_has_the_name_that_is_asked_for() -> None:
    found = [Input("x", "float32", ("batch", 3))]
    said = paddle._inputs(iter(found), job(dynamic={0: "n"}))
    assert said == [Input("x", "float32", ("n", 3))]
    with pytest.raises(UsageError, match="axis 1 of the input `x` is 3 in the Paddle program"):
        paddle._inputs(iter(found), job(dynamic={1: "n"}))


def test_axes_of_a_core_ml_file_are_its_own() -> None:
    with pytest.raises(UsageError, match="names its inputs and their shapes itself"):
        coreml.check(job(dynamic={0: "n"}))


def test_a_shape_that_is_not_known_is_given_on_the_command_line_or_in_code() -> None:
    with pytest.raises(UsageError, match="the shape of the input `age` is not known") as caught:
        draw(Input("age"), 2, 0)
    assert "--input age=batch,3" in (caught.value.hint or "")
    assert 'in code: inputs=["age=batch,3' in (caught.value.hint or "")


def test_safetensors_are_told_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes((20).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}' + bytes(20))
    assert is_safetensors(path)
    (tmp_path / "m.safetensors").write_bytes(b"\x80\x02.")
    assert not is_safetensors(tmp_path / "m.safetensors")


def test_what_is_no_pickle_is_not_called_one() -> None:
    other = Job("sklearn", "sklearn", "catboost", Path("m.cbm"), Path())
    with pytest.raises(UsageError, match="the converter `sklearn` does not read a `catboost`"):
        model_of(other)
