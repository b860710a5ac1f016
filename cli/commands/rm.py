"""Remove models, versions or variants."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.format import count
from onnxzoo.cli.output import info, print_line, say_unknown
from onnxzoo.registry.core.errors import NotFound, Refused
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.records import Variant


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
                info(f"kept {ref}")
                continue
            name = registry.resolve(ref).name
            before = registry.aliases(name)
            removed = registry.remove(ref, force=force)
            for gone in removed.refs:
                print_line(gone if quiet else f"removed {gone}")
            _say_aliases(before, registry, name)
            if removed.bytes and not quiet and not gc:
                info(f"{show_size(removed.bytes)} can be freed with: zoo gc")
        if gc:
            freed = registry.gc()
            if not quiet:
                info(f"freed {show_size(freed.bytes)}")
            say_unknown(freed)


def _say_aliases(before: "Mapping[str, int]", registry: "Registry", name: str) -> None:
    """Print the aliases that were removed with their version."""
    from onnxzoo.registry.core.names import LATEST

    try:
        left = registry.aliases(name)
    except NotFound:
        left = {}
    for alias in sorted(before.keys() - left.keys() - {LATEST}):
        info(f"the alias `{alias}` of version {before[alias]} went with it")


def _extent(registry: "Registry", ref: str) -> str:
    """Return a reference with the extent of its removal: variants and bytes."""
    doomed = _doomed(registry, ref)
    size = show_size(sum(variant.bytes for variant in doomed))
    return f"{ref} ({count(len(doomed), 'variant')}, {size})"


def _doomed(registry: "Registry", ref: str) -> "list[Variant]":
    """Return the variants that a removal takes out."""
    from onnxzoo.registry.core.names import Ref

    parsed, found = Ref.parse(ref), registry.resolve(ref)
    return [
        variant
        for variant in registry.list(name=found.name)
        if (parsed.variant is None or variant.ref == found.ref)
        and (parsed.version is None or variant.version == found.version)
    ]


def _warn_of_children(registry: "Registry", doomed: "list[Variant]") -> None:
    """Warn about variants that lose their parent: no other variant has its bytes."""
    gone = {variant.ref for variant in doomed}
    for parent in doomed:
        left = [child.ref for child in registry.derived(parent.digest) if child.ref not in gone]
        if left and gone.issuperset(held.ref for held in registry.holding(parent.digest)):
            info(
                f"warning: {', '.join(left)} cannot be repaired or made again without {parent.ref}"
            )


def _check_removable(registry: "Registry", ref: str, *, force: bool) -> None:
    """Raise the errors of `Registry.remove` before anything is removed."""
    from onnxzoo.registry.core.names import LATEST, Ref

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
