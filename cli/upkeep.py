"""Commands that look after what is held: verify, rm, gc."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.figures import count
from onnxzoo.cli.output import document, failure, line, talk, unknown_models
from onnxzoo.cli.progress import progress
from onnxzoo.registry.errors import IntegrityError, NotFound, Refused, ZooError
from onnxzoo.registry.visible import show_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.records import Checked, Garbage, Variant
    from onnxzoo.zoo_index.zoo import Zoo


def verify(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME[:VARIANT][@VERSION]", help="All, if none is given."),
    ] = None,
    repair: options.Repair = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Check the hashes of all files; set damaged ones aside.

    Ends with 4 if something is damaged, with 3 if it is only not here, and with 5 if a model would
    be refused today.
    """
    from onnxzoo.zoo_index.zoo import Zoo

    errors: list[ZooError] = []
    with Zoo() as zoo:
        with progress(zoo.settings, quiet=quiet or json) as report:
            reports = list(zoo.registry.verify(refs or (), progress=report))
        damaged = [checked for checked in reports if checked.problems]
        damaged.sort(key=lambda checked: _generation(zoo.registry, checked))
        for checked in damaged:
            _say_damage(checked)
            if repair:
                errors += _repair(zoo, checked, quiet=quiet)
    refused = [checked for checked in reports if checked.refused]
    for checked in refused:
        _say_refusal(checked)
    if damaged and not (repair or quiet):
        talk("hint: zoo verify --repair")
    if json:
        document([_checked_document(checked) for checked in reports])
    elif quiet:
        for ref in (ref for checked in damaged + refused for ref in checked.refs):
            line(ref)
    else:
        _say_whole(len(reports), len(damaged), len(damaged) - len(errors) if repair else 0)
    if damaged and (errors or not repair):
        absent = all(checked.absent for checked in damaged)
        raise typer.Exit((NotFound if absent else IntegrityError).exit_code)
    if refused:
        raise typer.Exit(Refused.exit_code)


def remove(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[:VARIANT][@VERSION]",
            autocompletion=completion.held_references,
            help="NAME is the whole model, NAME@2 a version, NAME:int8 a variant of the latest.",
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Even what an alias points to.")] = False,
    gc: Annotated[bool, typer.Option("--gc", help="Free the bytes at once.")] = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove models, versions or variants.

    The bytes stay until `zoo gc`.
    """
    from onnxzoo.registry.api import Registry

    with Registry() as registry:
        for ref in refs:
            _check_removable(registry, ref, force=force)
        _warn_of_children(registry, [held for ref in refs for held in _doomed(registry, ref)])
        for ref in refs:
            asks = not yes and sys.stdin.isatty() and sys.stderr.isatty()
            if asks and not typer.confirm(f"forget {_extent(registry, ref)}?", err=True):
                talk(f"kept {ref}")
                continue
            name = registry.resolve(ref).name
            before = registry.aliases(name)
            removed = registry.remove(ref, force=force)
            for gone in removed.refs:
                line(gone if quiet else f"removed {gone}")
            _say_aliases(before, registry, name)
            if removed.bytes and not quiet and not gc:
                talk(f"{show_size(removed.bytes)} can be freed with: zoo gc")
        if gc:
            freed = registry.gc()
            if not quiet:
                talk(f"freed {show_size(freed.bytes)}")
            _say_unknown(freed)


def _say_aliases(before: "Mapping[str, int]", registry: "Registry", name: str) -> None:
    """Say which aliases went with what they pointed to."""
    from onnxzoo.registry.names import LATEST

    try:
        left = registry.aliases(name)
    except NotFound:
        left = {}
    for alias in sorted(before.keys() - left.keys() - {LATEST}):
        talk(f"the alias `{alias}` of version {before[alias]} went with it")


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
        document(
            {
                "dry_run": dry_run,
                "bytes": garbage.bytes,
                "items": items,
                "unknown": garbage.unknown,
            }
        )
        return
    for what, size in garbage.items:
        line(what if quiet else f"{show_size(size):>9}  {what}")
    if not quiet:
        talk(f"{'would free' if dry_run else 'freed'} {show_size(garbage.bytes)}")
    _say_unknown(garbage)


def _say_unknown(garbage: "Garbage") -> None:
    if garbage.unknown:
        talk(f"kept: {unknown_models(garbage.unknown)}")
        talk("hint: zoo doctor --rebuild adds them, zoo gc --force frees them")


def _extent(registry: "Registry", ref: str) -> str:
    """Return a reference with what goes with it: how many variants, how many bytes."""
    doomed = _doomed(registry, ref)
    size = show_size(sum(variant.bytes for variant in doomed))
    return f"{ref} ({count(len(doomed), 'variant')}, {size})"


def _doomed(registry: "Registry", ref: str) -> "list[Variant]":
    """Return what a removal of a reference takes out."""
    from onnxzoo.registry.names import Ref

    parsed, found = Ref.parse(ref), registry.resolve(ref)
    return [
        variant
        for variant in registry.list(name=found.name)
        if (parsed.variant is None or variant.ref == found.ref)
        and (parsed.version is None or variant.version == found.version)
    ]


def _warn_of_children(registry: "Registry", doomed: "list[Variant]") -> None:
    """Say which variants lose what they were made from: no other variant has its bytes."""
    gone = {variant.ref for variant in doomed}
    for parent in doomed:
        left = [child.ref for child in registry.derived(parent.digest) if child.ref not in gone]
        if left and gone.issuperset(held.ref for held in registry.holding(parent.digest)):
            talk(
                f"warning: {', '.join(left)} cannot be repaired or made again without {parent.ref}"
            )


def _check_removable(registry: "Registry", ref: str, *, force: bool) -> None:
    """Raise what `Registry.remove` would raise, before anything is removed."""
    from onnxzoo.registry.names import LATEST, Ref

    parsed = Ref.parse(ref)
    found = registry.resolve(ref)
    if parsed.variant not in {None, found.variant}:
        raise NotFound(
            f"no `{parsed.variant}` of `{found.name}@{found.version}` is held",
            hint=f"zoo opsets {found.name}",
        )
    if force:
        return
    versions = {found.version}
    if parsed.variant is None and parsed.version is None:
        versions = {variant.version for variant in registry.list(name=found.name)}
    for alias, version in registry.aliases(found.name).items():
        if alias != LATEST and version in versions:
            raise Refused(
                f"`{found.name}@{version}` is what the alias `{alias}` points to; "
                "nothing was removed",
                hint="move the alias to another version first, or add --force",
            )


def _say_damage(checked: "Checked") -> None:
    state = "not here" if checked.absent else "damaged"
    for problem in checked.problems:
        talk(f"{state}: {', '.join(checked.refs)}: {problem}")
    if checked.moved_to:
        talk(f"moved aside: {checked.moved_to}")


def _say_refusal(checked: "Checked") -> None:
    for reason in checked.refused:
        talk(f"refused today: {', '.join(checked.refs)}: {reason}")
    talk(f"hint: zoo rm {' '.join(checked.refs)}, unless you trust whoever made it")


def _generation(registry: "Registry", checked: "Checked") -> int:
    """Return how many ancestors of a bundle are held: a parent is repaired before its children."""
    from onnxzoo.registry.lineage import ancestors

    variants = registry.holding(checked.digest)
    return max((len([*ancestors(registry, variant)]) for variant in variants), default=0)


def _say_whole(count: int, damaged: int, repaired: int) -> None:
    whole = count - damaged + repaired
    line(f"{whole} of {count} bundles are whole{f', {repaired} repaired' if repaired else ''}")


def _repair(zoo: "Zoo", checked: "Checked", *, quiet: bool) -> list[ZooError]:
    try:
        with progress(zoo.settings, quiet=quiet, verb="fetched") as report:
            zoo.repair(checked, report)
    except ZooError as error:
        failure(error)
        return [error]
    talk(f"repaired: {', '.join(checked.refs)}")
    return []


def _checked_document(checked: "Checked") -> dict[str, object]:
    return {
        "digest": checked.digest,
        "refs": checked.refs,
        "problems": checked.problems,
        "absent": checked.absent,
        "moved_to": checked.moved_to,
        "refused": checked.refused,
    }
