"""Values of JSON that others wrote: each is read by a function that checks it first."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.names import LATEST, check_word
from onnxzoo.registry.core.records import Lineage, utc

T = TypeVar("T")

_DEEPEST = 30  # values within values; a recipe has some five
_HIGHEST = (1 << 63) - 1  # what a database's column of numbers takes
_LAST = (1 << 31) - 1  # the highest number of a version
_SHOWN = 40  # characters of what is not as expected


def get(values: Any, key: str, read: Callable[[Any], T]) -> T:
    """Return a field of an object as its reader gives it.

    Raises:
        ValueError: naming the key, if it is missing or malformed.
    """
    fields = mapping(values)
    if key not in fields:
        raise ValueError(f"`{key}` is missing")
    try:
        return read(fields[key])
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{key}` is malformed: {error}") from error


def check_plain(value: Any, depth: int = _DEEPEST) -> None:
    """Raise unless every text and number, at any depth, is one that a database takes.

    Raises:
        ValueError: naming what it does not take.
    """
    if not depth:
        raise ValueError(f"it nests deeper than {_DEEPEST}")
    if isinstance(value, str):
        value.encode()  # half a surrogate pair is no text
        if "\0" in value:
            raise ValueError("a text holds a zero byte")
    elif isinstance(value, int) and abs(value) > _HIGHEST:
        raise ValueError("a number has more than 64 bits")
    elif isinstance(value, dict | list):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            check_plain(part, depth - 1)


def mapping(value: Any) -> dict[str, Any]:
    """Return an object."""
    if isinstance(value, dict):
        return value
    raise _unlike("an object", value)


def text(value: Any) -> str:
    """Return a text."""
    if isinstance(value, str):
        return value
    raise _unlike("text", value)


def whole(value: Any) -> int:
    """Return a number of bytes or things."""
    if type(value) is int and 0 <= value < 1 << 62:
        return value
    raise _unlike("a whole number", value)


def number(value: Any) -> float:
    """Return a number of any kind."""
    if type(value) in {int, float}:
        return float(value)
    raise _unlike("a number", value)


def switch(value: Any) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    raise _unlike("true or false", value)


def version_number(value: Any) -> int:
    """Return the number of a version."""
    if 0 < whole(value) <= _LAST:
        return int(value)
    raise _unlike(f"1 to {_LAST}", value)


def time(value: Any) -> datetime:
    """Return a time with its zone, in UTC."""
    return utc(text(value))


def maybe(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Return a reader that lets null stand."""
    return lambda value: None if value is None else read(value)


def each(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """Return a reader of lists."""

    def read_all(value: Any) -> tuple[T, ...]:
        if isinstance(value, list):
            return tuple(map(read, value))
        raise _unlike("a list", value)

    return read_all


def word(kind: str) -> Callable[[Any], str]:
    """Return a reader of words, such as labels and tags; see `names.check_word`."""
    return lambda value: check_word(text(value), kind)


def labels(values: Any, key: str) -> dict[str, str]:
    """Return an object of variants' labels; none where the key is missing, as it once was."""
    found = mapping(mapping(values).get(key, {}))
    return {name: get(found, name, word("variant")) for name in found}


def may_be_alias(name: str) -> bool:
    """Tell whether a word may be an alias: it is not built in, and no version's number."""
    return name != LATEST and not name.isdecimal()


def file(value: Any) -> File:
    """Return a file of a manifest."""
    return File(get(value, "path", text), get(value, "sha256", text), get(value, "bytes", whole))


def lineage(value: Any) -> Lineage:
    """Return the lineage in a JSON value."""
    recipe = get(value, "recipe", mapping)
    get(recipe, "kind", text)
    return Lineage(get(value, "parent", maybe(text)), get(value, "called", text), recipe)


def _unlike(expected: str, value: Any) -> TypeError:
    return TypeError(f"expected {expected}, found {json.dumps(value)[:_SHOWN]}")
