"""Zip archives with a bounded directory: Python's reader keeps an object for every entry of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from zipfile import ZipFile

DIRECTORY = 4 << 20  # bytes; some 40,000 entries with names of 50 letters


class _Bounded:
    """A file that gives no more than a directory's bytes at once, until its directory is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.opened = False

    def read(self, count: int = -1) -> bytes:
        if self.opened:
            return self._file.read(count)
        found = self._file.read(DIRECTORY + 1 if count < 0 else min(count, DIRECTORY + 1))
        if len(found) > DIRECTORY:
            raise ValueError(f"its directory takes more than {DIRECTORY} bytes")
        return found


@contextmanager
def open_zip(file: IO[bytes]) -> Iterator[ZipFile]:
    """Open a zip archive for reading.

    Raises:
        BadZipFile: if it is none.
        ValueError: if its directory takes more than 4 MiB.
    """
    bounded = _Bounded(file)
    with ZipFile(bounded) as archive:
        bounded.opened = True
        yield archive
