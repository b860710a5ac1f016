"""Read the head of an unknown file, within bounds and without a crash."""

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from onnxzoo.registry.core.errors import InvalidModel
from onnxzoo.registry.core.files import reading

SCANNED = 8 << 20  # bytes of a JSON or HDF5 file that are searched for words
# What Python's readers raise for what is broken, encrypted, too deep or too large.
_FAULTS = (
    ArithmeticError, BadZipFile, EOFError, MemoryError, RuntimeError, ValueError, struct.error,
    zlib.error,
)  # fmt: skip


@contextmanager
def glancing(path: Path) -> Iterator[None]:
    """Turn whatever a hostile or broken file makes Python's readers raise into one error.

    Raises:
        InvalidModel: if it cannot be read.
        StorageError: if the disk refuses.
    """
    try:
        with reading(path):
            yield
    except _FAULTS as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise InvalidModel(
            f"`{path.name}` cannot be read: {said[:200]}",
            hint="get it again: it is broken, encrypted, or made to do harm",
        ) from error


def start_of(path: Path) -> bytes:
    """Return as much of a file as is searched."""
    with path.open("rb") as file:
        return file.read(SCANNED)


def values_of(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; nothing of one that is no JSON, or too long."""
    try:
        values = json.loads(start_of(path))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def member_of(archive: ZipFile, name: str | ZipInfo, most: int) -> bytes:
    """Return the first bytes of a member of a zip.

    Raises:
        ValueError: if it is packed by a method of which no little can be unpacked.
    """
    info = archive.getinfo(name) if isinstance(name, str) else name
    if info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        raise ValueError(f"`{info.filename}` is packed by method {info.compress_type}")
    with archive.open(info) as member:
        return member.read(most)
