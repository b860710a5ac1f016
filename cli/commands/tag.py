"""Set, drop and list tags."""

from typing import Annotated

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import print_json, print_line
from onnxzoo.registry.core.errors import UsageError


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
        print_json(there)
    else:
        for word in there:
            print_line(word)
