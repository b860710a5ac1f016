"""Verify the held files, and repair damaged ones."""

from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import info, print_error, print_json, print_line
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, ZooError

if TYPE_CHECKING:
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.records import VerifyReport
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
        info("hint: zoo verify --repair")
    if json:
        print_json([_checked_document(checked) for checked in reports])
    elif quiet:
        for ref in (ref for checked in damaged + refused for ref in checked.refs):
            print_line(ref)
    else:
        _say_whole(len(reports), len(damaged), len(damaged) - len(errors) if repair else 0)
    if damaged and (errors or not repair):
        absent = all(checked.absent for checked in damaged)
        raise typer.Exit((NotFound if absent else IntegrityError).exit_code)
    if refused:
        raise typer.Exit(Refused.exit_code)


def _say_damage(checked: "VerifyReport") -> None:
    state = "not here" if checked.absent else "damaged"
    for problem in checked.problems:
        info(f"{state}: {', '.join(checked.refs)}: {problem}")
    if checked.moved_to:
        info(f"moved aside: {checked.moved_to}")


def _say_refusal(checked: "VerifyReport") -> None:
    for reason in checked.refused:
        info(f"refused today: {', '.join(checked.refs)}: {reason}")
    info(f"hint: zoo rm {' '.join(checked.refs)}, unless you trust whoever made it")


def _generation(registry: "Registry", checked: "VerifyReport") -> int:
    """Return how many ancestors of a bundle are held: a parent is repaired before its children."""
    from onnxzoo.registry.derive.lineage import ancestors

    variants = registry.holding(checked.digest)
    return max((len([*ancestors(registry, variant)]) for variant in variants), default=0)


def _say_whole(count: int, damaged: int, repaired: int) -> None:
    whole = count - damaged + repaired
    print_line(
        f"{whole} of {count} bundles are whole{f', {repaired} repaired' if repaired else ''}"
    )


def _repair(zoo: "Zoo", checked: "VerifyReport", *, quiet: bool) -> list[ZooError]:
    try:
        with progress(zoo.settings, quiet=quiet, verb="fetched") as report:
            zoo.repair(checked, report)
    except ZooError as error:
        print_error(error)
        return [error]
    info(f"repaired: {', '.join(checked.refs)}")
    return []


def _checked_document(checked: "VerifyReport") -> dict[str, object]:
    return {
        "digest": checked.digest,
        "refs": checked.refs,
        "problems": checked.problems,
        "absent": checked.absent,
        "moved_to": checked.moved_to,
        "refused": checked.refused,
    }
