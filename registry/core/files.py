"""Read, write and replace files durably, with errors of the storage named."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from onnxzoo.registry.core.errors import StorageError
from onnxzoo.registry.core.staging import hold

CHUNK = 1 << 20  # bytes; stays in the processor's cache between read, hash and write


def entries(folder: Path) -> list[Path]:
    """Return the entries of a folder; nothing if there is no folder.

    Raises:
        StorageError: if it may not be read; ``Path.glob`` would find nothing, or raise its own.
    """
    try:
        return sorted(folder.iterdir())
    except PermissionError as error:
        raise unreadable(folder) from error
    except (FileNotFoundError, NotADirectoryError):
        return []


def unreadable(path: Path) -> StorageError:
    """Return the error for a file that this user may not read."""
    return StorageError(
        f"no right to read `{path}`",
        hint="ask its owner for the right, or set ZOO_HOME to a folder that you may read",
    )


def size_of(path: Path) -> int:
    """Return the bytes of all files below a folder (or of one file); 0 where nothing is."""
    if not path.is_dir():
        return _bytes(path)
    return sum(_bytes(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, durable."""
    if os.name != "posix":  # Windows has no way to sync a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(target: Path, half: Path) -> Iterator[FileIO]:
    """Give a file to write that takes a path's place, whole and durable, if the block ends well.

    Args:
        target: the path. A device or a pipe keeps its place, and is written as it goes.
        half: the name, in the same file system, that the file has until then.
    """
    if target.exists() and not target.is_file():
        with target.open("wb", buffering=0) as file:
            yield file
        return
    try:
        with half.open("xb", buffering=0) as file:
            hold(file.fileno())
            yield file
            os.fsync(file.fileno())
        half.replace(target)
        sync(target.parent)
    finally:
        half.unlink(missing_ok=True)


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of some bytes: a raw file may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each one durable; existing ones stay."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in new:
        with suppress(PermissionError):  # a folder may be written and not read
            sync(one.parent)


def clear(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that can be done."""
    from shutil import rmtree  # costs 4 ms, which opening a session has not got

    rmtree(folder, ignore_errors=True)


@contextmanager
def reporting_storage(root: Path) -> Iterator[None]:
    """Turn the disk's refusals into StorageError, naming the folder and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            message = f"no space left in `{root}`"
            hint = "free some with: zoo gc --downloads; or set ZOO_HOME to a larger disk"
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            message = f"no right to write `{error.filename or root}`"
            hint = "set ZOO_HOME to a folder that you may write"
        else:
            message = f"`{error.filename or root}`: {(error.strerror or str(error)).lower()}"
            hint = None
        raise StorageError(message, hint=hint) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the refusal to read a file of the user's own into StorageError, naming that file."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot read `{path}`: {reason}") from error


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # nobody keeps a file from being removed meanwhile
        return 0


def is_there(what: str | Path) -> bool:
    """Tell whether a text is the path of something on this machine."""
    return os.path.exists(expanded(what))  # noqa: PTH110  (Path's own raises for too long a name)


def expanded(what: str | Path) -> Path:
    """Return a path with its `~` expanded."""
    return Path(os.path.expanduser(what))  # noqa: PTH111  (Path's own raises for an unknown user)
