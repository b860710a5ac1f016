"""Commands that keep models of one's own and name them: register, alias, tag."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import document, line, say_added, table, talk, variant_document
from onnxzoo.cli.progress import progress
from onnxzoo.registry.errors import NotFound, UsageError, ZooError
from onnxzoo.registry.names import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.settings import Settings


def register(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An .onnx file; its external data beside it.")
    ],
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
    task: options.Task = None,
    license_: options.License = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A word to find it by; repeatable.")
    ] = None,
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
    force: Annotated[
        bool,
        typer.Option("--force", help="Whatever the label says and the version's inputs are."),
    ] = False,
    allow_domain: options.AllowDomain = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Add an ONNX file to the registry."""
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.settings import Settings

    with (
        Registry(settings=Settings.from_env().allowing(allow_domain or ())) as registry,
        progress(registry.settings, quiet=quiet) as report,
    ):
        added = registry.register(
            file,
            name,
            new_version=new_version,
            task=task,
            license=license_,
            force=force,
            tags=tag or (),
            test_data=test_data,
            progress=report,
        )
    if json:
        document(variant_document(added.variant) | {"new": added.new})
    else:
        say_added(added, "registered", quiet=quiet)
    if not quiet:
        _warn_of_twin(added.variant.name, registry.settings)


def _warn_of_twin(name: str, settings: "Settings") -> None:
    """Say so if an index has a model of the same name."""
    from onnxzoo.zoo_index.index.indexes import Indexes

    with suppress(ZooError):  # an index that fails is no matter of a registration
        if Indexes.from_settings(settings).find(name):
            talk(f"warning: an index has a model `{name}` too; pulling it adds to yours")


def alias(
    ref: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The model.")],
    alias: Annotated[
        str | None, typer.Argument(metavar="ALIAS", help="Such as production.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even to other inputs or outputs.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Set, show or list aliases of a model's versions.

    An alias goes on to mean the variant that it meant when it was set. Without a version it is
    shown: zoo alias mine production. To set or move it: zoo alias mine@2 production
    """
    from onnxzoo.registry.api import Registry

    model = Ref.parse(ref)
    if remove and alias is None:
        raise UsageError("no alias to remove was named", hint=f"zoo alias {model.name} lists them")
    with Registry() as registry:
        if alias is None:
            _list_aliases(model.name, registry.aliases(model.name), quiet=quiet, json=json)
            return
        now = None
        if not remove and model.version is None:
            _show_alias(registry, model, alias.lower(), json=json)
            return
        if remove:
            registry.unalias(model.name, alias)
            said = f"removed the alias {alias} of {model.name}"
        else:
            before = registry.alias(ref, alias, force=force)
            now = registry.aliases(model.name)[alias.lower()]
            moved = f", moved from {before}" if before not in {None, now} else ""
            said = f"{model.name}@{alias.lower()} is version {now}{moved}"
    if json:
        document({"name": model.name, "alias": alias, "version": now})
    elif not quiet:
        talk(said)


def _show_alias(registry: "Registry", model: "Ref", alias: str, *, json: bool) -> None:
    """Print what an alias means: nothing is moved where no version is named."""
    found = registry.aliases(model.name)
    move = f"zoo alias {Ref(model.name, model.variant, str(found['latest']))} {alias}"
    if alias == "latest" or (model.variant is not None and alias in found):
        said = "`latest` always means the highest version and cannot be set"
        raise UsageError(said if alias == "latest" else "no version was named", hint=move)
    if alias not in found:
        raise NotFound(f"`{model.name}` has no alias `{alias}`", hint=f"{move} sets it")
    meant = registry.resolve(f"{model.name}@{alias}").ref
    if json:
        document({"name": model.name, "alias": alias, "version": found[alias], "ref": meant})
    else:
        line(meant)
        talk(f"nothing was moved; {move} moves it")


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
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="TAG", help="Words to find it by.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove these tags.")] = False,
    quiet: options.Quiet = False,  # noqa: ARG001  (a list of words has nothing to leave out)
    json: options.Json = False,
) -> None:
    """Add, remove or list tags of a model."""
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
