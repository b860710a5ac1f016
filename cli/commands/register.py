"""Add an ONNX file of one's own to the registry."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import info, print_added, print_json, variant_document
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import ZooError

if TYPE_CHECKING:
    from onnxzoo.registry.core.settings import Settings


def register(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An .onnx file; its external data beside it.")
    ],
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME[:VARIANT][@VERSION]",
            help="Without a variant: the weights' precision. Without a version: the latest, or a "
            "new one where that label stands for other bytes.",
        ),
    ],
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Start a new version whatever is held.")
    ] = False,
    task: options.Task = None,
    license_: options.License = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A word to find it by; repeatable.")
    ] = None,
    test_data: Annotated[
        Path | None,
        typer.Option(
            "--test-data",
            metavar="PATH",
            help="Reference inputs and outputs: a folder, .tar.gz or .zip of test_data_set_* "
            "folders with input_*.pb and output_*.pb, or an .npz with the arrays input:NAME and "
            "output:NAME.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Whatever the label says and the version's inputs are."),
    ] = False,
    allow_domain: options.AllowDomain = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Add an ONNX file to the registry."""
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.settings import Settings

    with (
        Registry(settings=Settings.from_env().allowing(allow_domain or ())) as registry,
        progress(registry.settings, quiet=quiet) as report,
    ):
        added = registry.register(
            file,
            name,
            new_version=new_version,
            task=task,
            license=license_,
            force=force,
            tags=tag or (),
            test_data=test_data,
            progress=report,
        )
    if json:
        print_json(variant_document(added.variant) | {"new": added.new})
    else:
        print_added(added, "registered", quiet=quiet)
    if not quiet:
        _warn_of_twin(added.variant.name, registry.settings)


def _warn_of_twin(name: str, settings: "Settings") -> None:
    """Say so if an index has a model of the same name."""
    from onnxzoo.zoo_index.index.indexes import Indexes

    with suppress(ZooError):  # an index that fails is no matter of a registration
        if Indexes.from_settings(settings).find(name):
            info(f"warning: an index has a model `{name}` too; pulling it adds to yours")
