"""Say how a variant was made, and by which command it is made again."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onnxzoo.registry.core.files import is_there
from onnxzoo.registry.core.records import Lineage, Variant

_FLAGS = ("isolated", "accept_drift")  # whether to trust a source is asked anew
_SAID = ("from", "to", "method")  # of a recipe, in one line; `--json` has all of it


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


def repair_command(variant: Variant) -> str:
    """Return the command that brings missing or damaged files of a variant back."""
    return command(variant) or f"zoo verify {variant.name} --repair"


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


def in_words(lineage: Lineage) -> str:
    """Return a recipe in a few words.

    >>> in_words(Lineage(None, "m", {"kind": "opset", "opset": 18, "from": 17, "tools": {}}))
    'opset 17 → 18'
    >>> in_words(Lineage(None, "m", {"kind": "opset", "opset": 11, "from": 11, "ir_version": 6}))
    'IR version 6'
    >>> in_words(Lineage(None, "m", {"kind": "quantize", "to": "int8", "method": "dynamic"}))
    'quantize int8 dynamic'
    >>> in_words(Lineage(None, "net.pt", {"kind": "convert", "from": "torch", "trust": True}))
    'convert torch'
    """
    recipe = lineage.recipe
    kind = str(recipe.get("kind", "derived"))
    if kind == "opset":
        if "ir_version" in recipe and recipe.get("from") == recipe.get("opset"):
            return f"IR version {recipe['ir_version']}"
        before = f"{recipe['from']} → " if "from" in recipe else ""
        return f"opset {before}{recipe.get('opset', '?')}"
    return " ".join([kind, *filter(None, (_word(recipe.get(key)) for key in _SAID))])


def made_from(lineage: Lineage) -> str:
    """Return one line on where a variant came from.

    >>> made_from(Lineage(None, "m:fp32@1", {"kind": "opset", "opset": 18, "from": 17}))
    'm:fp32@1, opset 17 → 18'
    """
    return f"{lineage.called}, {in_words(lineage)}"


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
