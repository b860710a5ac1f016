"""The arguments of `torch.onnx.export`, without torch."""

from enum import Enum
from typing import Any

import pytest

from onnxzoo.registry.convert.api import register_model
from onnxzoo.registry.convert.export_arguments import axes_of_shapes, exporter_of
from onnxzoo.registry.core.errors import UsageError


class Net:
    def forward(self, x: Any, mask: Any = None) -> Any: ...


class Dim:
    """As `torch.export.Dim("batch")` is seen from outside."""

    def __init__(self, name: str) -> None:
        self.__name__ = name


class Type(Enum):
    AUTO = 1
    STATIC = 2


class Hint:
    """As `torch.export.Dim.AUTO` is seen from outside."""

    def __init__(self, type: Type) -> None:  # noqa: A002
        self.type = type


@pytest.mark.parametrize(
    ("shapes", "names", "axes"),
    [
        ({"x": {0: "batch"}}, (), {"x": {0: "batch"}}),
        ({"x": {0: Dim("n"), 2: None}, "mask": None}, (), {"x": {0: "n"}}),
        ({"mask": {1: "seq"}}, ("input",), {"mask": {1: "seq"}}),
        (({0: "batch"}, {0: "batch"}), ("input", "m"), {"input": {0: "batch"}, "m": {0: "batch"}}),
        ([("batch", None, 4)], (), {"x": {0: "batch"}}),
        ([{0: Hint(Type.AUTO), 1: Hint(Type.STATIC)}], (), {"x": {0: "x_0"}}),
    ],
)
def test_dynamic_shapes_are_open_axes(shapes: Any, names: tuple[str, ...], axes: Any) -> None:
    assert axes_of_shapes(shapes, Net(), names) == axes


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": {0: "batch"}}, "names `y`; the inputs of the module are `x`, `mask`"),
        ("batch", "does not take `batch`"),
        ([{0: 1.5}], "does not take `1.5`"),
        ([{"batch": 0}], "does not take"),
        ([None, None, {0: "n"}], "does not take"),
    ],
)
def test_shapes_of_another_form_are_named(shapes: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        axes_of_shapes(shapes, Net(), ())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"export_params": False}, "leaves the weights out"),
        ({"dynamo": True, "exporter": "torchscript"}, "contradict each other"),
        ({"example": 1, "args": 2}, "`example` and `args` say the same"),
        ({"dynamic_axes": {}, "dynamic_shapes": {}}, "say the same"),
    ],
)
def test_arguments_that_cannot_be_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        register_model(Net(), "net", **how)


def test_dynamo_names_the_exporter() -> None:
    assert exporter_of(None, dynamo=None) is None
    assert exporter_of("dynamo", dynamo=True) == exporter_of(None, dynamo=True) == "dynamo"
