"""Read `.npy` and `.npz` files of others, with headers checked before memory is taken.

Left to itself, NumPy makes room for what a header claims, and unpacks a member however large; it
gives the bytes of a member that holds no array, and raises whatever its parser raises.

Source: NumPy's documentation, "numpy.lib.format".
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.core.zips import open_zip
from onnxzoo.registry.testdata.archives import BOUNDS

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_ZIP = b"PK"
_FAULTS = (
    ArithmeticError, BadZipFile, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


def is_npz(path: Path) -> bool:
    """Tell by its first bytes whether a file holds arrays by name.

    Raises:
        NotFound: if there is no such file.
        UsageError: if it cannot be read.
    """
    with _opened(path, "save") as file:
        return file.read(len(_ZIP)) == _ZIP


def read_npy(path: Path) -> "Array":
    """Return the array of a `.npy` file.

    Raises:
        NotFound: if there is no such file.
        UsageError: if it is not what `numpy.save` writes of plain numbers or text.
    """
    with _opened(path, "save") as file:
        _check_header(file, path.stat().st_size)
        file.seek(0)
        return _array(file)


def read_npz(path: Path, only: str | None = None) -> "dict[str, Array]":
    """Return the arrays of a `.npz` file by name.

    Args:
        path: the file.
        only: the one that is wanted; None for all.

    Raises:
        NotFound: if there is no such file.
        UsageError: if it is not what `numpy.savez` writes of plain numbers or text, has no array
            of that name, or unpacks to far more than its size.
    """
    with _opened(path, "savez") as file, open_zip(file) as archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        _check_sizes(archive.infolist(), path)
        if only is not None and only not in infos:
            there = ", ".join(f"`{name}`" for name in infos) or "nothing"
            raise UsageError(f"`{path}` holds no `{only}`; it holds {there}")
        return {
            name: _member(archive, info) for name, info in infos.items() if only in {None, name}
        }


@contextmanager
def _opened(path: Path, writer: str) -> Iterator[IO[bytes]]:
    """Open a file, and say the same whatever a malformed one makes its reader raise."""
    expected = f"expected what numpy.{writer} writes"
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"`{path}` is not a file; {expected}")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise NotFound(f"no file `{path}`") from error
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise UsageError(f"`{path}` is not a .npy file: {reason}") from error
    except _Refusal as error:
        raise UsageError(f"`{path}` {error}; {expected}") from error
    except _FAULTS as error:
        kind = "a .npy" if writer == "save" else "an .npz"
        raise UsageError(f"`{path}` is not {kind} file; {expected}") from error


class _Refusal(Exception):
    """A refused file, with the reason after its name."""


def _check_sizes(infos: list[ZipInfo], path: Path) -> None:
    """Refuse a bomb; a member never gives more bytes than its entry says."""
    total = sum(info.file_size for info in infos)
    if len(infos) > BOUNDS.members:
        raise _Refusal(f"holds more than {BOUNDS.members} arrays")
    if total > max(BOUNDS.free, BOUNDS.ratio * path.stat().st_size):
        raise _Refusal(
            f"unpacks to {show_size(total)}, more than {BOUNDS.ratio} times its size: "
            "it looks like a bomb"
        )


def _member(archive: ZipFile, info: ZipInfo) -> "Array":
    with archive.open(info) as member:
        _check_header(member, info.file_size)
    with archive.open(info) as member:
        return _array(member)


def _array(file: IO[bytes]) -> "Array":
    import numpy as np

    found: Array = np.lib.format.read_array(file, allow_pickle=False)
    return found


def _check_header(file: IO[bytes], size: int) -> None:
    """Refuse an array with a false size in its header, or of a non-plain type.

    Args:
        file: at its start.
        size: of the whole, header included.
    """
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise _Refusal("holds records")  # version 3 is for names of fields beyond Latin-1
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise _Refusal("holds Python objects, which can run code")
    if dtype.names is not None:
        raise _Refusal("holds records")
    needed, there = prod(shape) * max(dtype.itemsize, 1), size - file.tell()
    if min(shape, default=0) < 0 or needed > there:
        raise _Refusal(f"claims {needed} bytes of values, and has {there}")
