"""The command that fetches models."""

from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.output import (
    info,
    plan_document,
    print_added,
    print_error,
    print_json,
    print_line,
    show_plan,
    variant_document,
)
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import UsageError, ZooError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxzoo.registry.core.records import AddResult, Progress, Variant
    from onnxzoo.registry.resolve.choose import Constraints
    from onnxzoo.zoo_index.pull.plan import Plan
    from onnxzoo.zoo_index.zoo import Zoo


def pull(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REFERENCE",
            autocompletion=completion.known_references,
            help="NAME[:VARIANT], hf://org/repo[@rev][/file][:variant], https://…[#sha256=HEX], "
            "a page of the Hub, pkg://…, path.",
        ),
    ],
    opset: options.Opset = None,
    prefer: options.Prefer = None,
    max_size: options.MaxSize = None,
    name: options.AsName = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the file must hash to.")
    ] = None,
    for_: options.For = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep it although it does not run.")
    ] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", "-U", help="Ask the source for something newer.")
    ] = False,
    test_data: Annotated[
        bool, typer.Option("--test-data", help="Its reference inputs and outputs too.")
    ] = False,
    allow_domain: options.AllowDomain = None,
    allow_license: options.AllowLicense = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Fetch models, verify them and keep them."""
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.settings import Settings
    from onnxzoo.zoo_index.zoo import Zoo

    if len(refs) > 1 and (name or sha256):
        raise UsageError("--name and --sha256 go with one reference", hint="pull them one by one")
    wish: Constraints = {"opset": opset, "prefer": prefer, "max_bytes": max_size, "runtime": for_}
    done: list[AddResult] = []
    failed: list[ZooError] = []
    registry = Registry(settings=Settings.from_env().allowing(allow_domain or ()))
    with Zoo(registry, allow_licenses=options.licenses(allow_license)) as zoo:
        if dry_run:
            _plan(
                [
                    zoo.preview(ref, name=name, sha256=sha256, upgrade=upgrade, **wish)
                    for ref in refs
                ],
                for_=for_,
                quiet=quiet,
                json=json,
            )
            return
        for ref in refs:
            try:
                with progress(zoo.settings, quiet=quiet, verb="fetched") as report:
                    added = zoo.pull(
                        ref,
                        name=name,
                        sha256=sha256,
                        force=force,
                        upgrade=upgrade,
                        progress=report,
                        **wish,
                    )
                    _add_test_data(zoo, added.variant, report, wanted=test_data)
            except ZooError as error:
                if len(refs) == 1:
                    raise
                print_error(error)
                failed.append(error)
                continue
            done.append(added)
            if not json:
                print_added(added, "pulled", quiet=quiet)
            source = added.variant.source.lower()
            pinned = sha256 or "#sha256=" in ref
            if not (pinned or quiet) and source.startswith(("https://", "http://")):
                _say_pin(added.variant)
    if json:
        print_json([variant_document(added.variant) | {"new": added.new} for added in done])
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _add_test_data(
    zoo: "Zoo", variant: "Variant", report: "Progress | None", *, wanted: bool
) -> None:
    if wanted:
        zoo.pull_test_data(variant, report)


def _plan(
    pairs: "Sequence[tuple[Plan, Variant | None]]", *, for_: str | None, quiet: bool, json: bool
) -> None:
    if json:
        print_json([plan_document(plan, held) for plan, held in pairs])
        return
    for plan, held in pairs:
        if quiet:
            print_line(f"{plan.name}:{plan.variant}" if plan.variant else plan.name)
        else:
            show_plan(plan, held, for_=for_)
    if not quiet:
        info("dry run: nothing was fetched")


def _say_pin(variant: "Variant") -> None:
    """Say how to pin a file that has no hash; the URL as it is recorded, without its secrets."""
    from shlex import quote

    pin = next(file.sha256 for file in variant.files if file.path == variant.path.name)
    info(f"hint: pin it with: zoo pull {quote(variant.source)} --sha256 {pin}")
