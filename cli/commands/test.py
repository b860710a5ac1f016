"""The command that replays reference inputs: test."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.format import number, share
from onnxzoo.cli.output import info, print_json, print_line, table
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import Refused, UsageError

if TYPE_CHECKING:
    from onnxzoo.registry.measure.reference_test import Replay


def replay_data(
    ref: options.Known,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Test with these: see `zoo register --test-data`.",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep --data as its test data if it passes.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Keep data that it fails on, too.")
    ] = False,
    rtol: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="Relative tolerance; else 1e-3.")
    ] = None,
    atol: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="Absolute tolerance; else 1e-7.")
    ] = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Check a model's outputs on its reference data.

    Data that an index knows of are fetched where none are held. Ends with 5 if a set fails.
    """
    from onnxzoo.registry.measure.reference_test import ATOL, RTOL, replay
    from onnxzoo.zoo_index.zoo import Zoo

    if keep and data is None:
        raise UsageError("no data to keep were named", hint=f"zoo test {ref} --data FILE --keep")
    with Zoo() as zoo:
        with progress(zoo.settings, quiet=quiet or json, verb="fetched") as report:
            variant = zoo.obtain(ref, device=device, progress=report)
            if data is None:
                zoo.need_test_data(variant, report)
        found = replay(
            zoo.registry,
            variant,
            rtol=RTOL if rtol is None else rtol,
            atol=ATOL if atol is None else atol,
            device=device,
            data=data,
        )
        if keep and data is not None and (found.passed or force):
            zoo.registry.add_test_data(variant.ref, data)
    if json:
        print_json(_document(found))
    elif quiet:
        print_line(variant.ref)
    else:
        _show(found)
    if not found.passed:
        failed = [outcome for outcome in found.outcomes if not outcome.passed]
        for outcome in failed:
            info(f"failed: {outcome.name}: {outcome.why}")
        if not quiet and any(outcome.max_difference is not None for outcome in failed):
            info("hint: --rtol and --atol allow more, as quantized variants need")
        if keep and not force:
            info("the data are not kept: the model fails on them; --force keeps them")
        raise typer.Exit(Refused.exit_code)


def _show(found: "Replay") -> None:
    print_line(f"{found.variant.ref} on {found.context['provider']}, data of `{found.label}`")
    table(
        ("SET", "RESULT", "LARGEST DIFFERENCE", "OUTSIDE"),
        (
            (
                outcome.name,
                "passed" if outcome.passed else "failed",
                number(outcome.max_difference),
                share(outcome.outside),
            )
            for outcome in found.outcomes
        ),
    )


def _document(found: "Replay") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "ref": found.variant.ref,
        "name": found.variant.name,
        "version": found.variant.version,
        "variant": found.variant.variant,
        "digest": found.variant.digest,
        "passed": found.passed,
        "max_difference": found.max_difference,
        "rtol": found.rtol,
        "atol": found.atol,
        "data": found.data,
        "data_of": found.label,
        "sets": [asdict(outcome) | {"passed": outcome.passed} for outcome in found.outcomes],
        "context": found.context,
    }
