"""Completion in shells: names, and after `:` and `@` the variants, versions and aliases.

It reads what is held and the indexes on this machine, and prints nothing but words. A database of
an older schema, which reading would migrate, and one on a server are left alone.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress

_BREAKS = ":@="  # at these bash splits words, unless COMP_WORDBREAKS was changed
_MARK = re.compile(r"[:@]")


@contextmanager
def completing() -> Iterator[None]:
    """Give bash whole references to complete, though it splits words at `:`, `@` and `=`.

    It puts each of them, and what follows, into a word of its own, and what it is given back takes
    the place of the last one alone; of one that begins with `@`, that is a part.
    """
    asked = os.environ.get("_ZOO_COMPLETE", "")
    if asked != "complete_bash":
        with redirect_stderr(io.StringIO()) if asked.startswith("complete_") else nullcontext():
            yield
        return
    given = os.environ.get("COMP_WORDS", "")
    words = _joined(given.split("\n" if "\n" in given else " "))
    os.environ["COMP_WORDS"] = "\n".join(words)
    os.environ["COMP_CWORD"] = str(len(words) - 1)
    last = max(words[-1].rfind(mark) for mark in _BREAKS)
    typed = words[-1][: last if words[-1][last:].startswith("@") else last + 1]
    out = io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            yield
    finally:
        print("\n".join(line.removeprefix(typed) for line in out.getvalue().splitlines()))


def _joined(words: Sequence[str]) -> list[str]:
    """Return words up to the one that is completed, as they were typed.

    >>> _joined(["zoo", "show", "net", ":", "int8", "@", "p"])
    ['zoo', 'show', 'net:int8@p']
    """
    joined: list[str] = []
    for word in words[: int(os.environ.get("COMP_CWORD", len(words))) + 1]:
        follows = bool(joined) and joined[-1][-1:] in set(_BREAKS)
        if len(joined) > 1 and (follows or (word and set(word) <= set(_BREAKS))):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def is_completing() -> bool:
    """Return whether a shell runs this process to complete a word."""
    return bool(os.environ.get("_ZOO_COMPLETE"))


def held_references(incomplete: str) -> list[str]:
    """Return references of held models that begin so."""
    from sqlite3 import Error as SQLiteError

    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.errors import ZooError

    with suppress(ZooError, SQLiteError), Registry() as registry:
        if not registry.reads_as_is():
            return []
        if not _MARK.search(incomplete):
            return _beginning(registry.names(), incomplete)
        name = _MARK.split(incomplete)[0]
        found = registry.list(name=name)
        words = {variant.variant for variant in found}
        versions = {str(variant.version) for variant in found} | {*registry.aliases(name)}
        return _beginning(_references(incomplete, words, versions), incomplete)
    return []


def known_references(incomplete: str) -> list[str]:
    """Return references of all models that begin so, held ones and an index's."""
    from onnxzoo.registry.core.errors import ZooError
    from onnxzoo.zoo_index.zoo import Zoo

    held = held_references(incomplete)
    with suppress(ZooError), Zoo(offline=True) as zoo:
        if not _MARK.search(incomplete):
            return sorted({*held, *_beginning(zoo.indexes.names(), incomplete)})
        name = _MARK.split(incomplete)[0]
        words = {entry.variant for entry in zoo.indexes.find(name)}
        return sorted({*held, *_beginning(_references(incomplete, words, ()), incomplete)})
    return held


def known_names(incomplete: str) -> list[str]:
    """Return names of all models that begin so."""
    return known_references(incomplete) if not _MARK.search(incomplete) else []


def words(*choices: str) -> Callable[[str], list[str]]:
    """Return a completion of an option that takes one of some words."""
    return lambda incomplete: _beginning(choices, incomplete)


def frameworks(incomplete: str) -> list[str]:
    """Return the frameworks with this beginning and a converter."""
    from onnxzoo.registry.convert.discovery import converters

    return _beginning(converters(), incomplete)


def tasks(incomplete: str) -> list[str]:
    """Return the tasks of the models in the indexes that begin so."""
    return _of_entries(lambda entry: entry.task, incomplete)


def spdx(incomplete: str) -> list[str]:
    """Return the licences of the models in the indexes that begin so."""
    return _of_entries(lambda entry: entry.license, incomplete)


def _of_entries(value: Callable[..., str | None], incomplete: str) -> list[str]:
    from onnxzoo.registry.core.errors import ZooError
    from onnxzoo.zoo_index.zoo import Zoo

    with suppress(ZooError), Zoo(offline=True) as zoo:
        found = {value(entry) for entry in zoo.indexes.search()} - {None}
        return _beginning(map(str, found), incomplete)
    return []


def _references(incomplete: str, variants: Iterable[str], versions: Iterable[str]) -> list[str]:
    """Return completions after the last `:` or `@` of a reference, with the text before it."""
    mark = max(incomplete.rfind(":"), incomplete.rfind("@"))
    follow: Sequence[str] = [*(variants if incomplete[mark] == ":" else versions)]
    return [incomplete[: mark + 1] + word for word in follow]


def _beginning(found: Iterable[str], incomplete: str) -> list[str]:
    return sorted(text for text in found if text.startswith(incomplete))
