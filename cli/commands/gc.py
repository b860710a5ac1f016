"""Delete unreferenced files."""

from typing import Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import info, print_json, print_line, say_unknown
from onnxzoo.registry.core.text import show_size


def gc(
    environments: Annotated[
        bool,
        typer.Option(
            "--environments", help="Converters' own environments too; the next use makes them anew."
        ),
    ] = False,
    downloads: Annotated[
        bool, typer.Option("--downloads", help="Partial downloads of today too.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Models too that the store names and the database does not know."
        ),
    ] = False,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Delete unreferenced files.

    Unused bundles, leftovers of what was interrupted, old partial downloads.
    """
    from onnxzoo.registry.api import Registry

    with Registry() as registry:
        garbage = registry.gc(
            dry_run=dry_run, environments=environments, downloads=downloads, force=force
        )
    items = [{"what": what, "bytes": count} for what, count in garbage.items]
    if json:
        print_json(
            {
                "dry_run": dry_run,
                "bytes": garbage.bytes,
                "items": items,
                "unknown": garbage.unknown,
            }
        )
        return
    for what, size in garbage.items:
        print_line(what if quiet else f"{show_size(size):>9}  {what}")
    if not quiet:
        info(f"{'would free' if dry_run else 'freed'} {show_size(garbage.bytes)}")
    say_unknown(garbage)
