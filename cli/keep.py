"""Commands that change what is held: pull, register, alias, tag, verify, rm, gc."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import (
    document,
    failure,
    line,
    plan_document,
    show_plan,
    table,
    talk,
    variant_document,
)
from onnxzoo.cli.progress import progress
from onnxzoo.registry.errors import IntegrityError, NotFound, Refused, UsageError, ZooError
from onnxzoo.registry.settings import show_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.choose import Wish
    from onnxzoo.registry.records import Added, Checked, Progress, Variant
    from onnxzoo.registry.settings import Settings
    from onnxzoo.zoo_index.plan import Plan
    from onnxzoo.zoo_index.zoo import Zoo


def pull(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REFERENCE...",
            autocompletion=options.known_names,
            help="NAME[:VARIANT], hf://org/repo[@rev][/file][:variant], https://…, pkg://…, path.",
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
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Fetch models, verify them and keep them."""
    from onnxzoo.zoo_index.zoo import Zoo

    if len(refs) > 1 and (name or sha256):
        raise UsageError("--name and --sha256 go with one reference", hint="pull them one by one")
    wish: Wish = {"opset": opset, "prefer": prefer, "max_bytes": max_size, "runtime": for_}
    done: list[Added] = []
    failed: list[ZooError] = []
    with Zoo() as zoo:
        if dry_run:
            _plan(
                [zoo.preview(ref, name=name, sha256=sha256, **wish) for ref in refs],
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
                failure(error)
                failed.append(error)
                continue
            done.append(added)
            if not json:
                _say_added(added, "pulled", quiet=quiet)
            if sha256 is None and not quiet and ref.lower().startswith(("https://", "http://")):
                _say_pin(added.variant)
    if json:
        document([variant_document(added.variant) | {"new": added.new} for added in done])
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _add_test_data(
    zoo: "Zoo", variant: "Variant", report: "Progress | None", *, wanted: bool
) -> None:
    if wanted:
        zoo.pull_test_data(variant, report)


def register(
    file: Annotated[Path, typer.Argument(help="An .onnx file; its external data beside it.")],
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME[:VARIANT][@VERSION]",
            help="Without a variant: the weights' precision. Without a version: the latest, or a "
            "new one where that label stands for other bytes.",
        ),
    ],
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Start a new version whatever is held.")
    ] = False,
    task: Annotated[str | None, typer.Option(help="Such as image-classification.")] = None,
    license_: Annotated[
        str | None, typer.Option("--license", metavar="SPDX", help="Such as Apache-2.0.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; repeatable.")] = None,
    test_data: Annotated[
        Path | None,
        typer.Option(
            "--test-data",
            metavar="PATH",
            help="Reference inputs and outputs: a folder, .tar.gz or .zip of test_data_set_* "
            "folders with input_*.pb and output_*.pb, or an .npz with the arrays input:NAME and "
            "output:NAME.",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Keep a model of your own under a name."""
    from onnxzoo.registry.api import Registry

    with (
        Registry() as registry,
        progress(registry.settings, quiet=quiet) as report,
    ):
        added = registry.register(
            file,
            name,
            new_version=new_version,
            task=task,
            license=license_,
            tags=tag or (),
            test_data=test_data,
            progress=report,
        )
    if json:
        document(variant_document(added.variant) | {"new": added.new})
    else:
        _say_added(added, "registered", quiet=quiet)
    if not quiet:
        _warn_of_twin(added.variant.name, registry.settings)


def _warn_of_twin(name: str, settings: "Settings") -> None:
    """Say so if an index has a model of the same name."""
    from onnxzoo.zoo_index.index import Indexes

    with suppress(ZooError):  # an index that fails is no matter of a registration
        if Indexes.from_settings(settings).find(name):
            talk(f"warning: an index has a model `{name}` too; pulling it adds to yours")


def alias(
    ref: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The model.")],
    alias: Annotated[str | None, typer.Argument(help="Such as production.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Point an alias at a version, or list them."""
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.names import Ref

    model = Ref.parse(ref)
    if remove and alias is None:
        raise UsageError("no alias to remove was named", hint=f"zoo alias {model.name} lists them")
    with Registry() as registry:
        if alias is None:
            _list_aliases(model.name, registry.aliases(model.name), quiet=quiet, json=json)
            return
        now = None
        if remove:
            registry.unalias(model.name, alias)
            said = f"removed the alias {alias} of {model.name}"
        else:
            before = registry.alias(ref, alias)
            now = registry.aliases(model.name)[alias.lower()]
            moved = f", moved from {before}" if before not in {None, now} else ""
            said = f"{model.name}@{alias} is version {now}{moved}"
    if json:
        document({"name": model.name, "alias": alias, "version": now})
    elif not quiet:
        talk(said)


def _list_aliases(name: str, aliases: "Mapping[str, int]", *, quiet: bool, json: bool) -> None:
    if json:
        document(aliases)
    elif quiet:
        for alias in aliases:
            line(f"{name}@{alias}")
    else:
        table(("ALIAS", "VERSION"), aliases.items())


def tag(
    name: options.Name,
    tags: Annotated[list[str] | None, typer.Argument(help="Words to find it by.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove these tags.")] = False,
    quiet: options.Quiet = False,  # noqa: ARG001  (a list of words has nothing to leave out)
    json: options.Json = False,
) -> None:
    """Add tags to a model, remove them, or list them."""
    from onnxzoo.registry.api import Registry

    if remove and not tags:
        raise UsageError("no tag to remove was named", hint=f"zoo tag {name} lists them")
    with Registry() as registry:
        if tags:
            (registry.untag if remove else registry.tag)(name, tags)
        there = registry.resolve(name).tags
    if json:
        document(there)
    else:
        for word in there:
            line(word)


def verify(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME[:VARIANT][@VERSION]]...", help="All, if none is given."),
    ] = None,
    repair: options.Repair = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Re-hash what is held; move damaged bundles aside."""
    from onnxzoo.zoo_index.zoo import Zoo

    errors: list[ZooError] = []
    with Zoo() as zoo:
        with progress(zoo.settings, quiet=quiet or json) as report:
            reports = list(zoo.registry.verify(refs or (), progress=report))
        damaged = [checked for checked in reports if checked.problems]
        for checked in damaged:
            _say_damage(checked)
            if repair:
                errors += _repair(zoo, checked, quiet=quiet)
    if json:
        document([_checked_document(checked) for checked in reports])
    elif quiet:
        for checked in damaged:
            for ref in checked.refs:
                line(ref)
    elif repair and damaged and not errors:
        line(f"all {len(reports)} bundles are whole, {len(damaged)} repaired")
    else:
        line(f"{len(reports) - len(damaged)} of {len(reports)} bundles are whole")
    if damaged and not repair and not quiet:
        talk("hint: zoo verify --repair")
    if damaged and (errors or not repair):
        raise typer.Exit(IntegrityError.exit_code)


def remove(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[:VARIANT][@VERSION]...",
            autocompletion=options.held_names,
            help="NAME is the whole model, NAME@2 a version, NAME:int8 a variant of the latest.",
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Even what an alias points to.")] = False,
    gc: Annotated[bool, typer.Option("--gc", help="Free the bytes at once.")] = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
) -> None:
    """Forget models, versions or variants.

    The bytes stay until `zoo gc`.
    """
    from onnxzoo.registry.api import Registry

    with Registry() as registry:
        for ref in refs:
            _check_removable(registry, ref, force=force)
        for ref in refs:
            asks = not yes and sys.stdin.isatty() and sys.stderr.isatty()
            if asks and not typer.confirm(f"forget {_extent(registry, ref)}?", err=True):
                talk(f"kept {ref}")
                continue
            removed = registry.remove(ref, force=force)
            for gone in removed.refs:
                line(gone if quiet else f"removed {gone}")
            if removed.bytes and not quiet and not gc:
                talk(f"{show_size(removed.bytes)} can be freed with: zoo gc")
        if gc:
            freed = registry.gc()
            if not quiet:
                talk(f"freed {show_size(freed.bytes)}")


def gc(
    dry_run: options.DryRun = False, quiet: options.Quiet = False, json: options.Json = False
) -> None:
    """Free what nothing refers to.

    Unused bundles, leftovers of what was interrupted, old partial downloads.
    """
    from onnxzoo.registry.api import Registry

    with Registry() as registry:
        garbage = registry.gc(dry_run=dry_run)
    items = [{"what": what, "bytes": count} for what, count in garbage.items]
    if json:
        document({"dry_run": dry_run, "bytes": garbage.bytes, "items": items})
        return
    for what, count in garbage.items:
        line(what if quiet else f"{show_size(count):>9}  {what}")
    if not quiet:
        talk(f"{'would free' if dry_run else 'freed'} {show_size(garbage.bytes)}")


def _extent(registry: "Registry", ref: str) -> str:
    """Return a reference with what goes with it: how many variants, how many bytes."""
    from onnxzoo.registry.names import Ref

    parsed, found = Ref.parse(ref), registry.resolve(ref)
    doomed = [
        variant
        for variant in registry.list(name=found.name)
        if (parsed.variant is None or variant.ref == found.ref)
        and (parsed.version is None or variant.version == found.version)
    ]
    count = "1 variant" if len(doomed) == 1 else f"{len(doomed)} variants"
    return f"{ref} ({count}, {show_size(sum(variant.bytes for variant in doomed))})"


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


def _plan(
    pairs: "Sequence[tuple[Plan, Variant | None]]", *, for_: str | None, quiet: bool, json: bool
) -> None:
    if json:
        document([plan_document(plan, held) for plan, held in pairs])
        return
    for plan, held in pairs:
        if quiet:
            line(f"{plan.name}:{plan.variant}" if plan.variant else plan.name)
        else:
            show_plan(plan, held, for_=for_)
    if not quiet:
        talk("dry run: nothing was fetched")


def _say_added(added: "Added", verb: str, *, quiet: bool) -> None:
    variant = added.variant
    if quiet:
        line(variant.ref)
    elif added.new:
        opset = f"opset {variant.opset}"
        line(f"{verb} {variant.ref}  {variant.precision}, {opset}, {show_size(variant.bytes)}")
    else:
        line(f"{variant.ref} is held already")


def _say_pin(variant: "Variant") -> None:
    """Say how to pin a file that has no hash; the URL as it is recorded, without its secrets."""
    from shlex import quote

    pin = next(file.sha256 for file in variant.files if file.path == variant.path.name)
    talk(f"hint: pin it with: zoo pull {quote(variant.source)} --sha256 {pin}")


def _say_damage(checked: "Checked") -> None:
    for problem in checked.problems:
        talk(f"damaged: {', '.join(checked.refs)}: {problem}")
    if checked.moved_to:
        talk(f"moved aside: {checked.moved_to}")


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
        "moved_to": checked.moved_to,
    }
