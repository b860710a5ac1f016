"""Offer conversion to Python users: `convert`, and `register` of a model in code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from onnxzoo.registry.api import Registry
from onnxzoo.registry.convert.conversion import ConversionRequest, Metadata
from onnxzoo.registry.convert.conversion import convert as run
from onnxzoo.registry.convert.export_arguments import axes_of_shapes, check_params, exporter_of
from onnxzoo.registry.convert.interface import Input
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.names import check_list
from onnxzoo.registry.core.records import Variant

if TYPE_CHECKING:
    from typing import NotRequired

DynamicAxes = Mapping[str, Mapping[int, str] | Sequence[int]]


class ExportOptions(TypedDict, total=False):
    """Options of a conversion in code, in the words of ``torch.onnx.export``.

    Attributes:
        example: a tuple of inputs; for scikit-learn and boosters a matrix or a DataFrame of rows.
        args: the same, in torch's word.
        input_names: names of the inputs; else those of ``forward``'s parameters.
        output_names: names of the outputs.
        dynamic_axes: ``{"x": {0: "batch"}}`` or ``{"x": [0]}``: axes that are open.
        dynamic_shapes: the same by ``forward``'s parameters, with names or ``torch.export.Dim``.
        opset_version: the wanted opset; else the exporter's choice.
        exporter: ``dynamo`` or ``torchscript``; else the one that suits.
        dynamo: True for the exporter ``dynamo``, False for ``torchscript``.
        export_params: True; a model is kept with its weights.
        do_constant_folding: of the exporter ``torchscript``.
        accept_drift: keep it although its outputs lie beyond the tolerance.
    """

    example: "NotRequired[Sequence[Any] | Any]"
    args: "NotRequired[Sequence[Any] | Any]"
    input_names: Sequence[str] | None
    output_names: Sequence[str] | None
    dynamic_axes: DynamicAxes | None
    dynamic_shapes: Any
    opset_version: int | None
    exporter: str | None
    dynamo: bool | None
    export_params: bool
    do_constant_folding: bool
    accept_drift: bool


def convert(
    source: str | Path | object,
    name: str,
    *,
    from_: str | None = None,
    opset: int | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    dynamic: Mapping[str, int] | None = None,
    dynamic_axes: DynamicAxes | None = None,
    factory: str | None = None,
    example: Any = None,
    options: Mapping[str, str] | None = None,
    seed: int = 0,
    trust: bool = False,
    isolated: bool = False,
    accept_drift: bool = False,
    new_version: bool = False,
    task: str | None = None,
    license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
    tags: Sequence[str] = (),
) -> Variant:
    """Convert a model of another framework to ONNX, prove it, keep it and return it.

    The framework loads a file in a child process with bounds on memory and time, and without the
    Hub; a model in code is exported where it is. What was made is checked, opened, and held
    against the framework's own outputs on seeded inputs in another child.

    Args:
        source: a file, a folder, ``module:function``, or a model in code.
        name: ``NAME[:VARIANT][@VERSION]``; see `Registry.register`.
        from_: the framework, whatever the content says; `zoo doctor` names them.
        opset: the wanted one; None for the exporter's choice.
        inputs: ``NAME[=[DTYPE]SHAPE]`` each, such as ``"x=batch,3,224,224"``.
        outputs: their names.
        dynamic: ``{"batch": 0}``: that axis of every input is open.
        dynamic_axes: open axes by input or output, as ``torch.onnx.export`` has them.
        factory: ``module:function`` that makes the module of a state dict.
        example: inputs to export and compare with: an `.npz` or `.npy` file, or values in code.
        options: the converter's own, such as ``{"exporter": "torchscript"}``.
        seed: of the inputs that are made up.
        trust: load what can run code, such as a pickle.
        isolated: run the framework in an environment made for it once.
        accept_drift: keep it although its outputs lie beyond the tolerance.
        new_version: start a new version whatever is held.
        task: what the model does, such as ``image-classification``.
        license: an SPDX identifier.
        tags: words to find the model by.

    Raises:
        NotFound: if the source or its framework is not there.
        UsageError: if what is asked of it makes no sense.
        Refused: if it can run code and is not trusted, cannot be converted, or does not agree
            with its framework.
    """
    check_list(inputs, "inputs")
    check_list(outputs, "outputs")
    check_list(tags, "tags")
    if not isinstance(factory, str | None):
        raise UsageError(
            f"a factory is given by its name, since a child process calls it; found `{factory!r}`",
            hint='factory="module:function"',
        )
    file = isinstance(example, str | Path)
    order = ConversionRequest(
        from_=from_,
        factory=factory,
        inputs=[Input.parse(text) for text in inputs],
        outputs=outputs,
        dynamic={axis: word for word, axis in (dynamic or {}).items()},
        axes=_axes(dynamic_axes or {}),
        opset=opset,
        options=options or {},
        seed=seed,
        example=Path(example) if file else None,
        given=None if file or example is None else _tuple(example),
        trust=trust,
        isolated=isolated,
        accept_drift=accept_drift,
    )
    with Registry() as registry:
        labels = Metadata(new_version, task, license, tags)
        return run(registry, source, name, order, labels).variant


def register_model(
    model: object,
    name: str,
    *,
    example: Any = None,
    args: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_axes: DynamicAxes | None = None,
    dynamic_shapes: Any = None,
    opset_version: int | None = None,
    exporter: str | None = None,
    dynamo: bool | None = None,
    export_params: bool = True,
    do_constant_folding: bool = True,
    accept_drift: bool = False,
    new_version: bool = False,
    task: str | None = None,
    license: str | None = None,  # noqa: A002
    tags: Sequence[str] = (),
) -> Variant:
    """Convert a model in code and keep it; see `onnxzoo.register`."""
    for one, two, names in (
        (example, args, "`example` and `args`"),
        (dynamic_axes, dynamic_shapes, "`dynamic_axes` and `dynamic_shapes`"),
    ):
        if one is not None and two is not None:
            raise UsageError(f"{names} say the same; give one of them")
    check_params(export_params=export_params)
    if dynamic_shapes is not None:
        dynamic_axes = axes_of_shapes(dynamic_shapes, model, input_names or ())
    options = {"exporter": exporter_of(exporter, dynamo=dynamo) or ""}
    options["do_constant_folding"] = "" if do_constant_folding else "false"
    return convert(
        model,
        name,
        inputs=input_names or (),
        outputs=output_names or (),
        dynamic_axes=dynamic_axes,
        opset=opset_version,
        example=args if example is None else example,
        options={name: value for name, value in options.items() if value},
        accept_drift=accept_drift,
        new_version=new_version,
        task=task,
        license=license,
        tags=tags,
    )


def _axes(said: DynamicAxes) -> dict[str, dict[int, str]]:
    return {
        name: dict(axes) if isinstance(axes, Mapping) else {axis: f"{name}_{axis}" for axis in axes}
        for name, axes in said.items()
    }


def _tuple(example: Any) -> Sequence[Any]:
    return tuple(example) if isinstance(example, tuple | list) else (example,)
