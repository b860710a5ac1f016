"""The command that writes down which bytes references mean: lock."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.format import count
from onnxzoo.cli.output import info, print_json, print_line, table
from onnxzoo.registry.core.names import LOCK as NAMED
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnxzoo.zoo_index.lock.lock import Lock, Locked
    from onnxzoo.zoo_index.lock.update import Change

_SHOWN = 12  # hexadecimal digits of a digest in a table; `--json` has them all
LOCK = Path(NAMED)


def lock(
    refs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[:VARIANT][@VERSION]",
            autocompletion=completion.held_references,
            help="Add these, or lock them anew; none: look up again all that are in it.",
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="REFERENCE", help="Take one out. Repeatable."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--lock", metavar="FILE", help="Another lock than zoo.lock.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")
    ] = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Pin models to exact files in zoo.lock.

    It records version, files, SHA-256, source and licence of each reference.

    Models that are held are locked, nothing is fetched. References that are in the lock already
    and are not named stay as they are.
    """
    from onnxzoo.zoo_index.lock.lock import Lock
    from onnxzoo.zoo_index.lock.lockfile import read, write
    from onnxzoo.zoo_index.lock.update import changes, locked, moved
    from onnxzoo.zoo_index.zoo import Zoo

    path = file or LOCK
    before = read(path) if path.exists() or not refs else Lock(path)
    with Zoo() as zoo:
        now = locked(zoo, before, refs or (), remove=remove or ())
    found, after = list(changes(before, now)), moved(now, output or path)
    writes = not dry_run and (bool(found) or output is not None or not after.path.exists())
    if writes:
        write(after)
    if json:
        print_json(_lock_document(after, found, written=writes))
    elif quiet:
        for one in after.models:
            print_line(f"{one.name}:{one.variant}@{one.version}")
    else:
        _show_changes(found)
        _say_local(found)
        _say_lock(after, found, written=writes, dry_run=dry_run)


def _show_changes(found: "Sequence[Change]") -> None:
    if found:
        table(
            ("CHANGE", "REFERENCE", "MEANS", "DIGEST", "SIZE", "LICENSE"),
            (row for change in found for row in _rows(change)),
        )


def _rows(change: "Change") -> "Iterator[tuple[object, ...]]":
    """Yield the old and the new entry, one below the other, if there."""
    first: tuple[object, ...] = (change.kind, change.asked)
    for one in (change.old, change.new):
        if one is not None:
            yield (
                *first,
                f"{one.name}:{one.variant}@{one.version}",
                short(one.digest),
                show_size(one.bytes),
                one.license or "unknown",
            )
            first = ("→", "")


def short(digest: str) -> str:
    """Return the beginning of a digest, enough to tell it from others."""
    return digest.removeprefix("sha256:")[:_SHOWN]


def _say_local(found: "Sequence[Change]") -> None:
    for one in (change.new for change in found if change.new):
        if one.made_from is not None:
            why = f"was made from `{one.made_from}`"
        elif Path(one.source).is_absolute():
            why = f"comes from `{one.source}`"
        else:
            continue
        info(f"note: `{one.asked}` {why}: another machine gets it by export and import")


def _say_lock(after: "Lock", found: "Sequence[Change]", *, written: bool, dry_run: bool) -> None:
    there = count(len(after.models), "reference")
    if written:
        info(f"wrote {after.path}: {there}")
    elif found and dry_run:
        info("dry run: nothing was written")
    else:
        info(f"{after.path} is up to date: {there}")


def _lock_document(after: "Lock", found: "Sequence[Change]", *, written: bool) -> dict[str, Any]:
    return {
        "lock": after.path,
        "written": written,
        "models": [locked_document(one) for one in after.models],
        "changes": [
            {
                "asked": str(change.asked),
                "change": change.kind,
                "old": locked_document(change.old) if change.old else None,
                "new": locked_document(change.new) if change.new else None,
            }
            for change in found
        ],
    }


def locked_document(one: "Locked") -> dict[str, Any]:
    """Return the JSON object of an entry."""
    from dataclasses import asdict

    return asdict(one) | {"asked": str(one.asked), "ref": one.ref, "bytes": one.bytes}
