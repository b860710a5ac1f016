"""Import the models of a `.zoo` file."""

from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.format import count
from onnxzoo.cli.output import info, print_error, print_json, print_line
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnxzoo.registry.archive.merge import Imported


def import_(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="A .zoo file, a folder of such, or an https URL of one; #sha256=HEX pins it.",
        ),
    ],
    move_aliases: Annotated[
        bool, typer.Option("--move-aliases", help="Also those that point elsewhere here.")
    ] = False,
    allow_domain: options.AllowDomain = None,
    allow_license: options.AllowLicense = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Import models from a .zoo file (all or nothing).

    Every file in it is checked first. A version keeps its number where that is free here.
    """
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.settings import Settings
    from onnxzoo.zoo_index.sources.zoo_location import find_zoo_files
    from onnxzoo.zoo_index.zoo import Zoo

    done: list[dict[str, object]] = []
    failed: list[ZooError] = []
    registry = Registry(settings=Settings.from_env().allowing(allow_domain or ()))
    with Zoo(registry, allow_licenses=options.licenses(allow_license)) as zoo:
        allowed = zoo.settings.allow_licenses
        files = [file for source in sources for file in find_zoo_files(source, zoo.settings)]
        for file in files:
            try:
                with progress(zoo.settings, quiet=quiet or json) as report, file.here(report) as at:
                    found = zoo.registry.import_file(
                        at,
                        name=file.name,
                        move_aliases=move_aliases,
                        allow_licenses=allowed,
                        progress=report,
                    )
            except ZooError as error:
                if len(files) == 1:
                    raise
                print_error(error)
                failed.append(error)
                continue
            done.append({"source": file.shown, **_import_document(found)})
            if not json:
                _say_imported(file.shown, found, quiet=quiet)
    if json:
        print_json(done)
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _say_imported(source: str, found: "Imported", *, quiet: bool) -> None:
    for said in [arrival.ref for arrival in found.variants] if quiet else _news(found):
        print_line(said)
    if quiet:
        return
    for alias, here, there in found.kept:
        info(f"kept {alias}: it is {here} here; --move-aliases makes it {there}")
    for ref in found.other_data:
        info(f"left the test data of {ref}: it has others")
    if not found.changed:
        print_line(f"nothing to do: all of {source} is held already")


def _news(found: "Imported") -> "Iterator[str]":
    for arrival in found.variants:
        if arrival.exported != arrival.ref:
            yield f"{arrival.exported} → {arrival.ref}{'' if arrival.new else ', held already'}"
        elif arrival.new:
            yield f"imported {arrival.ref}"
    yield from (f"repaired {ref}: its files were damaged or missing" for ref in found.repaired)
    yield from (f"set the alias {alias}" for alias in found.set)
    yield from (f"kept the test data of {ref}" for ref in found.data)
    if found.measurements:
        yield f"kept {count(found.measurements, 'measurement')}"


def _import_document(found: "Imported") -> dict[str, object]:
    return {
        "changed": found.changed,
        "variants": [
            {"exported": arrival.exported, "ref": arrival.ref, "new": arrival.new}
            for arrival in found.variants
        ],
        "aliases": list(found.set),
        "aliases_kept": [
            {"alias": alias, "here": here, "offered": there} for alias, here, there in found.kept
        ],
        "test_data": list(found.data),
        "test_data_kept": list(found.other_data),
        "measurements": found.measurements,
        "completed": list(found.facts),
        "repaired": list(found.repaired),
    }
