"""The lock file: TOML that people can read and merge; read, checked, printed and written."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from onnxzoo.registry.core.errors import NotFound, StorageError, UsageError, ZooError
from onnxzoo.registry.core.files import atomic_write, write_all
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.staging import abandoned, staging_name
from onnxzoo.registry.core.text import UNSAFE, visible
from onnxzoo.zoo_index.lock.lock import Lock, Locked

VERSION = 1  # of the format; a reader refuses what is newer, and ignores keys that it does not know

_HEAD = f"""\
# What each reference means, to the byte. `zoo lock` writes this file, `zoo sync` fetches what is
# in it, and `onnxzoo.load(…, lock="zoo.lock")` loads it. A version's number is that of the
# registry where it was locked.
lock-version = {VERSION}
"""
_MEND = (
    "take it from version control as it was, or delete the entry and lock it again: "
    "zoo lock REFERENCE"
)
_ENTRY = re.compile(r"\s*\[\[\s*model\s*\]\]")
_CONFLICT = re.compile(r"(<{7}|\|{7}|={7}|>{7})( |$)")  # as git marks both sides of a merge
_AT = re.compile(r" \(at (?P<at>[^)]+)\)$")  # how tomllib ends its messages
# Keys that may be left out, and the attributes that they stand for.
_OPTIONAL = {
    "license": "license",
    "revision": "revision",
    "made-from": "made_from",
    "made-by": "made_by",
}

_KINDS: Mapping[type, str] = {str: "a string", int: "a whole number", list: "a list"}

T = TypeVar("T")


def read(path: str | Path) -> Lock:
    """Read and check a lock file.

    Raises:
        NotFound: if there is none.
        UsageError: if it is no lock, or one of a newer format; where, by its line.
        IntegrityError: if the digest of an entry is not that of its files.
        Refused: if a file's path leads out of its bundle.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise UsageError(f"`{path}` is not a lock: it is no plain file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        hint = f"zoo lock NAME{Lock(path).option} writes it"
        raise NotFound(f"no lock `{path}`", hint=hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"`{path}` is not a lock: it is not UTF-8 text", hint=_MEND) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot read `{path}`: {reason}") from error
    return parse(text, path)


@lru_cache(maxsize=8)  # a process that loads by a lock reads it each time, and it seldom changed
def parse(text: str, path: Path) -> Lock:
    """Return the lock that a text stands for; see `read`."""
    _check_merged(text, path)
    found = _decoded(text, path)
    _check_version(found, path)
    rows = found.get("model", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"`{path}`: `model` is not a list of tables", hint=_MEND)
    return Lock(path, tuple(_entries(rows, text, path)))


def dump(lock: Lock) -> str:
    r"""Return a lock as TOML: the same text for the same entries, readable in a diff.

    >>> print(dump(Lock(Path("zoo.lock"))).splitlines()[-1])
    lock-version = 1
    """
    return _HEAD + "".join(f"\n[[model]]\n{_lines(locked)}" for locked in lock.models)


def write(lock: Lock) -> None:
    """Write a lock to its file, whole or not at all.

    Raises:
        StorageError: if the disk refuses.
    """
    path = lock.path.resolve()  # a link stays one
    text, prefix = dump(lock).encode(), f".{path.name}."
    try:
        for left in path.parent.iterdir():
            if left.name.startswith(prefix) and abandoned(left, prefix):  # by a kill
                left.unlink(missing_ok=True)
        with atomic_write(path, path.with_name(f"{prefix}{staging_name()}")) as file:
            write_all(file, text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot write `{lock.path}`: {reason}") from error


def _check_merged(text: str, path: Path) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if _CONFLICT.match(line):
            raise UsageError(
                f"`{path}`, line {number}: a merge that conflicts was not resolved",
                hint="keep the entries of both sides, once each, then: zoo lock",
            )


def _decoded(text: str, path: Path) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # long numbers are a ValueError of their own
        said = str(error)
        at = _AT.search(said)
        where = f", {at['at']}" if at else ""
        said = _AT.sub("", said)
        raise UsageError(f"`{path}`{where}: {said[:1].lower()}{said[1:]}", hint=_MEND) from error


def _check_version(found: Mapping[str, object], path: Path) -> None:
    version = found.get("lock-version")
    if type(version) is not int or version < 1:
        said = "has no `lock-version`" if version is None else f"has lock-version `{version}`"
        raise UsageError(
            f"`{path}` is not a lock: it {said}; expected {VERSION}",
            hint="take it from version control as it was, or delete the file and lock again",
        )
    if version > VERSION:
        raise UsageError(
            f"`{path}` has lock-version {version}; this onnxzoo reads {VERSION}",
            hint="pip install --upgrade onnxzoo",
        )


def _entries(rows: Sequence[Mapping[str, object]], text: str, path: Path) -> Iterator[Locked]:
    numbers = [n for n, line in enumerate(text.split("\n"), start=1) if _ENTRY.match(line)]
    for row, number in zip(rows, [*numbers, *[0] * len(rows)], strict=False):
        try:
            yield _entry(row)
        except ZooError as error:
            where = f", line {number}" if number else ""
            raise type(error)(f"`{path}`{where}: {error.message}", hint=_MEND) from error


def _entry(row: Mapping[str, object]) -> Locked:
    return Locked(
        asked=Ref.parse(_value(row, "asked", str)),
        name=_value(row, "name", str),
        variant=_value(row, "variant", str),
        version=_value(row, "version", int),
        precision=_value(row, "precision", str),
        opset=_value(row, "opset", int),
        source=_value(row, "source", str),
        digest=_value(row, "digest", str),
        entry=_value(row, "entry", str),
        files=Manifest.of(map(_file, _value(row, "files", list))).files,
        **{name: _value(row, key, str) for key, name in _OPTIONAL.items() if key in row},
    )


def _file(row: object) -> File:
    if not isinstance(row, dict):
        raise UsageError("`files` is not a list of `{ path, sha256, bytes }`")
    return File(_value(row, "path", str), _value(row, "sha256", str), _value(row, "bytes", int))


def _value(row: Mapping[str, object], key: str, kind: type[T]) -> T:
    if key not in row:
        raise UsageError(f"`{key}` is missing")
    value = row[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UsageError(f"`{key}` is not {_KINDS[kind]}")
    return value


def _lines(locked: Locked) -> str:
    values: dict[str, str | int | None] = {
        "asked": str(locked.asked),
        "name": locked.name,
        "variant": locked.variant,
        "version": locked.version,
        "precision": locked.precision,
        "opset": locked.opset,
        "source": locked.source,
    }
    values |= {key: getattr(locked, name) for key, name in _OPTIONAL.items()}
    values |= {"digest": locked.digest, "entry": locked.entry}
    there = "".join(
        f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None
    )
    files = "".join(
        f"    {{ path = {_toml(f.path)}, sha256 = {_toml(f.sha256)}, bytes = {f.bytes} }},\n"
        for f in locked.files
    )
    return f"{there}files = [\n{files}]\n"


def _toml(value: str | int) -> str:
    r"""Return a value as TOML 1.0 has it: a basic string's escapes are JSON's, and DEL's.

    >>> print(_toml('a "b"\n\x7f\u202e'), _toml(3))
    "a \"b\"\n\u007f\u202e" 3
    """
    text = json.dumps(value, ensure_ascii=False)
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # a path that is not UTF-8
        raise UsageError(f"`{visible(value)}` is not text that a lock can hold")
    return UNSAFE.sub(
        lambda m: f"\\U{ord(m[0]):08x}" if m[0] > "\uffff" else f"\\u{ord(m[0]):04x}", text
    )
