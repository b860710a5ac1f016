"""The answer of a child process, in which others' code may have run and written anything."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.core import errors
from onnxzoo.registry.core.decode import check_plain, get, mapping, maybe, switch, text
from onnxzoo.registry.core.errors import Refused, ZooError

_LARGEST = 16 << 20  # bytes of an answer
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for a pipe


class Told(NamedTuple):
    """The answer of a child process.

    Attributes:
        values: its answer, if it has one.
        error: what failed, if it is an error of ours.
        short: memory was, so that there is neither.
        bounded: the system took the limit of its memory.
    """

    values: Mapping[str, Any] | None = None
    error: ZooError | None = None
    short: bool = False
    bounded: bool = True


def read_answer(path: Path, doing: str) -> Told:
    """Read a child's answer from a file; nothing if there is no file.

    Args:
        path: the file.
        doing: see `sandbox.ask`.

    Raises:
        Refused: if it is not what `sandbox.answer` writes.
    """
    try:
        return _parsed(read_plain(path, _LARGEST))
    except FileNotFoundError:
        return Told()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        said = (isinstance(error, OSError) and error.strerror) or str(error)
        raise Refused(f"a process gave an answer that is none while {doing}: {said}") from error


def _parsed(content: bytes) -> Told:
    found = mapping(json.loads(content))
    check_plain(found)
    if "limit" in found:
        return Told(short=True)
    if "error" in found:
        return Told(error=get(found, "error", _error))
    return Told(get(found, "answer", mapping), bounded=get(found, "bounded", switch))


def _error(value: Any) -> ZooError:
    kind = getattr(errors, get(value, "type", text), None)
    if not (isinstance(kind, type) and issubclass(kind, ZooError)):
        raise TypeError("no error of ours")
    return kind(get(value, "message", text), hint=get(value, "hint", maybe(text)))


def read_plain(path: Path, most: int) -> bytes:
    """Return the bytes of a file that a child left.

    Raises:
        ValueError: if it is a pipe or another thing, or has more bytes than `most`.
        OSError: if it is a link, or cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | _NO_LINK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no plain file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    return content


def check_files(folder: Path, who: str) -> None:
    """Raise Refused unless all that a child left in a folder are plain files and folders.

    Args:
        folder: the folder.
        who: whose work it is, for the message.
    """
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not (stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and path != folder)):
            raise Refused(f"what {who} wrote holds `{path.name}`, which is no plain file")
