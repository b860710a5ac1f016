"""List and update indexes."""

import sys
from typing import Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import date, info, print_json, print_line, table
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.text import show_size

app = typer.Typer(
    help="List and update model indexes.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_indexes(quiet: options.Quiet = False, json: options.Json = False) -> None:
    """List the indexes, in the order of search."""
    from dataclasses import asdict

    from onnxzoo.registry.core.settings import Settings
    from onnxzoo.zoo_index.index.indexes import Indexes

    found = Indexes.from_settings(Settings.from_env()).status()
    if json:
        print_json([asdict(s) | {"updated_at": s.updated_at.isoformat()} for s in found])
        return
    if quiet:
        for status in found:
            print_line(status.name)
        return
    table(
        ("INDEX", "MODELS", "VARIANTS", "SIZE", "UPDATED", "WHERE"),
        (
            (
                status.name,
                status.models,
                status.variants,
                show_size(status.bytes),
                date(status.updated_at),
                status.where,
            )
            for status in found
        ),
    )


@app.command()
def update(
    force: Annotated[
        bool, typer.Option("--force", help="Even a list that lost more than a tenth.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Update the zoo's index from the Hub."""
    from dataclasses import asdict

    from onnxzoo.registry.core.settings import Settings
    from onnxzoo.zoo_index.index.update import update as run

    settings = Settings.from_env()
    if sys.stderr.isatty():
        info("asking the Hub for its list of models")
    with progress(settings, quiet=json, counts=True) as report:
        updated = run(settings, force=force, progress=report)
    if json:
        print_json(asdict(updated))
        return
    counts = (
        f"{len(updated.new)} new",
        f"{len(updated.changed)} changed",
        f"{len(updated.gone)} gone",
    )
    print_line(f"{', '.join(counts)}, {updated.same} the same")
