"""List licences, and write attributions and bills of materials."""

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.output import info, print_json, print_line, safe, table
from onnxzoo.registry.core.errors import Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.records import Variant


def licenses(
    refs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[:VARIANT][@VERSION]",
            autocompletion=completion.held_references,
            help="All, if none is given; NAME is every version.",
        ),
    ] = None,
    attribution: Annotated[
        bool, typer.Option("--attribution", help="Write what a NOTICE file says of them.")
    ] = False,
    sbom: Annotated[
        bool, typer.Option("--sbom", help="Write a CycloneDX bill of materials, as JSON.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout."),
    ] = None,
    allow_license: Annotated[
        list[str] | None,
        typer.Option(metavar="SPDX[,SPDX]", help="Exit with 5 if anything is under another."),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """List licences; write an attribution or an SBOM."""
    from onnxzoo.registry.api import Registry

    if attribution + sbom + json > 1:
        raise UsageError("--attribution, --sbom and --json are documents of their own; take one")
    if output is not None and not attribution + sbom:
        raise UsageError("--output goes with --attribution or --sbom", hint="zoo licenses > FILE")
    with Registry() as registry:
        held = registry.selected(refs or ())
        if attribution or sbom:
            _write(_text(held, registry, sbom=sbom), output, quiet=quiet)
        else:
            _list(held, quiet=quiet, json=json)
        _check(held, options.licenses(allow_license) or ())


def _text(held: "Sequence[Variant]", registry: "Registry", *, sbom: bool) -> str:
    if sbom:
        from onnxzoo.registry.licenses.sbom import bom

        return bom(held, epoch=registry.settings.epoch)
    from onnxzoo.registry.licenses.attribution import attribution

    return attribution(held)


def _write(text: str, output: Path | None, *, quiet: bool) -> None:
    if output is None:
        sys.stdout.write("\n".join(map(safe, text.split("\n"))))
        return
    from onnxzoo.registry.archive.tar import writing

    path = output.expanduser().absolute()
    if path.is_dir():
        raise UsageError(f"`{output}` is a folder; expected a file")
    with writing(path) as file:
        file.write(text.encode())
    if not quiet:
        info(f"wrote {path}")


def _list(held: "Sequence[Variant]", *, quiet: bool, json: bool) -> None:
    rows = [_row(list(own)) for _, own in groupby(held, key=lambda v: (v.name, v.version))]
    if json:
        print_json(rows)
    elif quiet:
        for row in rows:
            print_line(row["ref"])
    else:
        table(
            ("NAME", "VERSION", "LICENSE", "SOURCE"),
            [
                (row["name"], row["version"], row["license"] or "unknown", row["source"])
                for row in rows
            ],
        )


def _row(own: "Sequence[Variant]") -> dict[str, Any]:
    first = next((variant for variant in own if variant.lineage is None), own[0])
    return {
        "ref": f"{first.name}@{first.version}",
        "name": first.name,
        "version": first.version,
        "license": first.license,
        "source": first.source,
        "revision": first.revision,
        "variants": [variant.variant for variant in own],
    }


def _check(held: "Sequence[Variant]", allowed: "Sequence[str]") -> None:
    from onnxzoo.registry.licenses.policy import permits

    refs = {f"{v.name}@{v.version}" for v in held if not permits(allowed, v.license)}
    if refs:
        names = ", ".join(f"`{ref}`" for ref in sorted(refs))
        raise Refused(
            f"under a licence that is not allowed, or is not known: {names}",
            hint="zoo rm forgets one; `unknown` allows what states no licence",
        )
