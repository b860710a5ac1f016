"""Export models and their metadata to a `.zoo` file."""

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.format import count
from onnxzoo.cli.output import print_json, print_line
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxzoo.registry.archive.snapshot import Contents, Exported

_STDOUT = "-"


def export(
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Such as models.zoo; - for stdout."),
    ],
    refs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[:VARIANT][@VERSION]",
            autocompletion=completion.held_references,
            help="All, if none is given; NAME is every version, NAME:int8 a variant of the latest.",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Export models and their metadata to a .zoo file.

    It is a plain tar: versions, aliases, licences, lineage, measurements and test data go along,
    and zoo import keeps them elsewhere, with no network.
    """
    from onnxzoo.registry.api import Registry

    if output == _STDOUT:
        _to_stdout(refs or (), json=json)
        return
    path = Path(output).expanduser().absolute()
    if path.is_dir():
        raise UsageError(f"`{output}` is a folder; expected a file", hint=f"-o {path}/models.zoo")
    with (
        Registry() as registry,
        progress(registry.settings, quiet=quiet or json) as report,
    ):
        done = registry.export(refs or (), path, progress=report)
    if json:
        print_json(_export_document(done, path))
    elif quiet:
        for ref in _refs(done.contents):
            print_line(ref)
    else:
        what = count(len(_refs(done.contents)), "variant")
        print_line(f"wrote {path}: {what}, {show_size(path.stat().st_size)}")
        print_line(f"pin it: zoo import {quote(str(path))}#sha256={done.sha256}")


def _to_stdout(refs: "Sequence[str]", *, json: bool) -> None:
    from onnxzoo.registry.api import Registry

    if json:
        raise UsageError("`-o -` and `--json` both write to stdout")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal; expected a file or a pipe", hint="-o models.zoo")
    with Registry() as registry:
        registry.export(refs, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _refs(contents: "Contents") -> list[str]:
    return [f"{m.name}:{v.label}@{version.number}" for m, version, v in contents.variants()]


def _export_document(done: "Exported", path: Path) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "path": path,
        "bytes": path.stat().st_size,
        "sha256": done.sha256,
        "variants": _refs(done.contents),
        "members": [asdict(member) for member in done.contents.members],
    }
