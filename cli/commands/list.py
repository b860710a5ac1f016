"""List the held models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import date, info, print_json, print_line, table, variant_document
from onnxzoo.registry.core.errors import StorageError
from onnxzoo.registry.core.recipes import repair_command
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.core.records import Variant


def list_held(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="Each must occur in the name, task, tags, precision, label or aliases; or a "
            "reference. `*` stands for anything.",
        ),
    ] = None,
    task: options.Task = None,
    opset: options.Opset = None,
    max_size: options.MaxSize = None,
    license_: options.License = None,
    limit: options.Limit = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """List the variants that are held."""
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.manifest import Manifest

    with Registry() as registry:
        found = registry.list(
            words or (),
            task=task,
            opset=opset,
            max_bytes=max_size,
            license=license_,
            limit=limit or None,
        )
    if json:
        print_json([variant_document(variant) for variant in found])
    elif quiet:
        for variant in found:
            print_line(variant.ref)
    elif found:
        headers = ("REFERENCE", "PRECISION", "OPSET", "SIZE", "TASK", "ALIASES", "CREATED")
        table(headers, map(_held_row, found))
        for variant in found:
            try:
                if not registry.store.holds(Manifest(variant.files)):  # a list hashes nothing
                    state = "not here" if registry.store.is_absent(variant.digest) else "damaged"
                    info(f"{state}: {variant.ref}; {repair_command(variant)}")
            except StorageError as error:
                info(f"{variant.ref}: {error.message}")
    elif words or task or opset or max_size is not None or license_:
        info("nothing that is held matches; try: zoo search")
    else:
        info("nothing is held yet; try: zoo pull light-squeezenet")


def _held_row(variant: "Variant") -> Sequence[object]:
    return (
        variant.ref,
        variant.precision,
        variant.opset,
        show_size(variant.bytes),
        variant.task or "",
        " ".join(variant.aliases),
        date(variant.created_at),
    )
