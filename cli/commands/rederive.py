"""Make a derived variant again, and compare it with the held one."""

from typing import TYPE_CHECKING, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import info, print_json, print_line
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import IntegrityError

if TYPE_CHECKING:
    from onnxzoo.registry.derive.rederive import Again


def rederive(
    ref: options.Reference, quiet: options.Quiet = False, json: options.Json = False
) -> None:
    """Rebuild a derived variant and check it is reproducible."""
    from onnxzoo.zoo_index.derive import rederive as again
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo() as zoo, progress(zoo.settings, quiet=quiet or json) as report:
        found = again(zoo, ref, progress=report)
    if json:
        print_json(_again_document(found))
    elif quiet:
        print_line(found.variant.ref)
    else:
        _say_again(found)
    if not found.outputs_agree:
        raise typer.Exit(IntegrityError.exit_code)


def _say_again(found: "Again") -> None:
    how = f"made again from {found.parent.ref}, {found.variant.ref}"
    drift = found.drift
    if found.bytes_agree:
        print_line(f"{how} has the same bytes")
    elif found.outputs_agree:
        print_line(f"{how} has other bytes and the same outputs, within {drift.max:.3g}")
    else:
        why = drift.why or f"they lie up to {drift.max:.3g} apart"
        print_line(f"{how} has other outputs: {why}")
    for name, (then, now) in found.tools.items():
        info(f"{name}: {then or 'unknown'} then, {now or 'not there'} now")


def _again_document(found: "Again") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "ref": found.variant.ref,
        "parent": found.parent.ref,
        "bytes_agree": found.bytes_agree,
        "outputs_agree": found.outputs_agree,
        "drift": asdict(found.drift),
        "tools": {name: {"then": a, "now": b} for name, (a, b) in found.tools.items()},
    }
