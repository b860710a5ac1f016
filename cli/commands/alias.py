"""Set, drop and list aliases."""

from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import info, print_json, print_line, table
from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.names import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxzoo.registry.api import Registry


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
        print_json({"name": model.name, "alias": alias, "version": now})
    elif not quiet:
        info(said)


def _show_alias(registry: "Registry", model: "Ref", alias: str, *, json: bool) -> None:
    """Print an alias's version, without moving it."""
    found = registry.aliases(model.name)
    move = f"zoo alias {Ref(model.name, model.variant, str(found['latest']))} {alias}"
    if alias == "latest" or (model.variant is not None and alias in found):
        said = "`latest` always means the highest version and cannot be set"
        raise UsageError(said if alias == "latest" else "no version was named", hint=move)
    if alias not in found:
        raise NotFound(f"`{model.name}` has no alias `{alias}`", hint=f"{move} sets it")
    meant = registry.resolve(f"{model.name}@{alias}").ref
    if json:
        print_json({"name": model.name, "alias": alias, "version": found[alias], "ref": meant})
    else:
        print_line(meant)
        info(f"nothing was moved; {move} moves it")


def _list_aliases(name: str, aliases: "Mapping[str, int]", *, quiet: bool, json: bool) -> None:
    if json:
        print_json(aliases)
    elif quiet:
        for alias in aliases:
            print_line(f"{name}@{alias}")
    else:
        table(("ALIAS", "VERSION"), aliases.items())
