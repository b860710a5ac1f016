"""The command that converts a model of another framework again, as its lineage has it."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onnxzoo.registry.convert.source import is_there
from onnxzoo.registry.records import Variant

_FLAGS = ("isolated", "accept_drift")  # whether to trust a source is asked anew


def is_converted(variant: Variant) -> bool:
    """Tell whether a variant's bytes came out of a conversion of its source, and lie nowhere else.

    A model that was pulled or registered may have a conversion's lineage too: by the same bytes.
    """
    lineage = variant.lineage
    if lineage is None or lineage.recipe.get("kind") != "convert":
        return False
    return variant.source.endswith(lineage.called)


def command(variant: Variant, *, name: str | None = None, opset: int | None = None) -> str | None:
    """Return the command that makes a converted variant again.

    Args:
        variant: it.
        name: what to call the result; None for what it is called.
        opset: another than it was converted to.

    Returns:
        None if it was not converted, if its source is gone or was a value in code, or if no option
        says what was asked for then.
    """
    source = variant.source
    if variant.lineage is None or not is_converted(variant) or source.startswith("code:"):
        return None
    if Path(source).is_absolute() and not is_there(source):
        return None
    words = ["zoo", "convert", source, "--name", name or variant.ref]
    try:
        return shlex.join([*words, *_options(variant.lineage.recipe, opset)])
    except (AttributeError, KeyError, TypeError, ValueError):  # what was imported may be anything
        return None


def _options(recipe: Mapping[str, Any], opset: int | None) -> Iterator[str]:
    asked = recipe["options"]
    if "axes" in asked:
        raise ValueError("open axes by input can be said in code alone")
    yield from ("--from", recipe["from"])
    if opset or recipe["opset"]:
        yield from ("--opset", str(opset or recipe["opset"]))
    if asked.get("factory") not in {None, recipe["source"]["name"]}:
        yield from ("--factory", asked["factory"])
    for name, dtype, shape in asked.get("inputs", ()):
        axes = "" if shape is None else ",".join(map(str, shape))
        said = f"{dtype}[{axes}]" if dtype else axes
        yield from ("--input", f"{name}={said}" if said else name)
    for name in asked.get("outputs", ()):
        yield from ("--output", name)
    for axis, name in asked.get("dynamic", {}).items():
        yield from ("--dynamic", f"{name}={axis}")
    if "example" in asked:
        yield from ("--example", "FILE")
    for key, value in asked.get("own", {}).items():
        yield from ("--option", f"{key}={value}")
    if recipe["seed"]:
        yield from ("--seed", str(recipe["seed"]))
    yield from (f"--{flag.replace('_', '-')}" for flag in _FLAGS if asked.get(flag))
