"""The command that makes ONNX of another framework's model, and keeps it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.commands.convert_opset import convert_opset
from onnxzoo.cli.format import count
from onnxzoo.cli.output import print_added, print_json, print_line, variant_document
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file, a folder, module:function; or a model's name, with --opset or --for.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME[:VARIANT][@VERSION]", help="What to call it; see register."),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Target opset; else the exporter's choice."),
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="onnxruntime==N.N",
            help="Of a held model: the opset and IR version that it reads.",
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FRAMEWORK",
            help="Source framework; overrides detection.",
            autocompletion=completion.frameworks,
        ),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME[=[DTYPE]SHAPE]",
            help="Such as x=batch,3,224,224 or ids=int64[batch,16]; repeatable.",
        ),
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of an output; repeatable.")
    ] = None,
    dynamic: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AXIS", help="An open axis of every input: batch=0."),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="What makes the module of a state dict."),
    ] = None,
    example: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Inputs to try: .npz by name, or .npy.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="The converter's own: exporter=torchscript."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of sample inputs.")] = 0,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load it although that can run code from it.")
    ] = False,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="In an environment made once for the framework.")
    ] = False,
    accept_drift: Annotated[
        bool, typer.Option("--accept-drift", help="Keep it although its outputs differ.")
    ] = False,
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Of a held model's new variant.")
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA", help="Of a held model: compare outputs on .npz, .npy or a folder."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of a held model: make and compare it, keep nothing.")
    ] = False,
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Start a new version whatever is held.")
    ] = False,
    task: options.Task = None,
    license_: options.License = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A word to find it by; repeatable.")
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Convert a model to ONNX, or to another opset.

    A file, a folder or module:function of another framework is converted, held against the
    framework's own outputs, and kept under --name. NAME[:VARIANT][@VERSION] with --opset makes a
    variant of a model of the registry at another opset; with --for one that an older onnxruntime
    reads, whether its opset is too high or its IR version.
    """
    if name is None and _means_held(source):
        if opset is None and for_ is None:
            raise UsageError(
                f"no file, folder or module:function `{source}`; a model of the registry is "
                "converted to an opset, or for a release",
                hint=f"zoo convert {source} --opset 17, or --for onnxruntime==1.17",
            )
        _refuse(
            "goes with a file, a folder or module:function",
            {
                "--from": from_,
                "--input": input_,
                "--output": output,
                "--dynamic": dynamic,
                "--factory": factory,
                "--example": example,
                "--option": option,
                "--trust": trust,
                "--isolated": isolated,
                "--accept-drift": accept_drift,
                "--new-version": new_version,
                "--task": task,
                "--license": license_,
                "--tag": tag,
            },
        )
        convert_opset(
            source,
            opset,
            for_=for_,
            label=label,
            inputs=inputs,
            dry_run=dry_run,
            quiet=quiet,
            json=json,
        )
        return
    if name is None:
        verb = "register" if source.endswith(".onnx") else "convert"
        raise UsageError("a model needs a name", hint=f"zoo {verb} {source} --name NAME")
    _refuse(
        "goes with a model of the registry",
        {"--for": for_, "--label": label, "--inputs": inputs, "--dry-run": dry_run},
    )
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.convert import conversion
    from onnxzoo.registry.convert.interface import Input

    order = conversion.ConversionRequest(
        from_=from_,
        factory=factory,
        inputs=[Input.parse(text) for text in input_ or ()],
        outputs=output or (),
        dynamic={axis: word for word, axis in _axes(dynamic).items()},
        opset=opset,
        options=dict(options.pairs(option or (), "--option exporter=torchscript")),
        seed=seed,
        example=example,
        trust=trust,
        isolated=isolated,
        accept_drift=accept_drift,
    )
    labels = conversion.Metadata(new_version, task, license_, tag or ())
    with Registry() as registry, progress(registry.settings, quiet=quiet) as report:
        added = conversion.convert(registry, source, name, order, labels, progress=report)
    variant = added.variant
    if json:
        print_json(variant_document(variant) | {"new": added.new})
    else:
        print_added(added, "converted", quiet=quiet)
        if added.new and variant.lineage and not quiet:
            for found in variant.lineage.recipe.get("found", ()):
                print_line(found)
            print_line(_agreement(variant.lineage.recipe))


def _means_held(source: str) -> bool:
    """Tell whether a text without --name means a model of the registry, as it does elsewhere.

    A held model goes before a file, a folder or a module of its name: ``./NAME`` means those.
    """
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.convert.source import is_factory
    from onnxzoo.registry.core.files import is_there
    from onnxzoo.registry.core.names import Ref

    if not (is_there(source) or is_factory(source)):
        return True
    try:
        asked = Ref.parse(source)
    except UsageError:
        return False
    with Registry() as registry:
        return bool(registry.list(name=asked.name, limit=1))


def _refuse(why: str, given: "Mapping[str, object]") -> None:
    """Raise UsageError for an option that means nothing here; None and False were not given."""
    for option, value in given.items():
        if value not in (None, False):
            raise UsageError(f"`{option}` {why}")


def _axes(texts: list[str] | None) -> dict[str, int]:
    found = {}
    for name, value in options.pairs(texts or (), "--dynamic batch=0"):
        if not value.isdecimal():
            raise UsageError(f"`{value}` is not an axis", hint="for example: --dynamic batch=0")
        found[name] = int(value)
    return found


def _agreement(recipe: "Mapping[str, Any]") -> str:
    drift = recipe["drift"]
    if not drift["outputs"]:
        return "held against nothing: what its framework gives is not known"
    asked = recipe["options"]
    unlike = asked.get("accept_drift") and (drift["outside"] or drift["unlike"])
    said = (
        f"{'differs from' if unlike else 'agrees with'} "
        f"{recipe.get('reference', 'its framework')}: {drift['max']:.2g} apart at most"
    )
    if drift["labels"] is not None:
        said += f", {drift['labels']:.1%} of labels the same"
    inputs = "the example" if asked.get("example") else count(drift["samples"], "seeded input")
    return f"{said}, on {inputs}"
