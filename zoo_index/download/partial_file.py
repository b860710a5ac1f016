"""A file under construction: its bytes so far, their hash, and a journal to resume from."""

import hashlib
import json
import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.text import show_size

CHUNK = 1 << 20  # bytes
_NOTE_BYTES = 8 << 20  # noted in the journal at least so often: what a kill can cost
_NOTE_SECONDS = 1.0
_AHEAD = 8  # chunks that may wait for their hash; bounds the memory


@dataclass(frozen=True, slots=True)
class _Journal:
    """The state of the first ``bytes`` bytes of a partial file."""

    url: str
    validator: str | None
    bytes: int
    sha256: str


class PartialFile:
    """A part file that one writer fills; hashing runs beside the writing.

    A journal beside it notes how far the file is good and what that much hashes to. On opening,
    the file is held against its journal: bytes that a crash lost or that nobody noted are
    dropped, so resuming trusts neither the file's size nor the order of the disk's writes.

    Args:
        path: the part file.
        url: where the bytes come from, without a query, which may hold a signature.
        keep: leave an unfinished file and its journal for the next time.
    """

    def __init__(self, path: Path, url: str, *, keep: bool = True) -> None:
        self.path = path
        self.done = 0
        self.pieces = 0
        self.validator: str | None = None
        self._url = url
        self._keep = keep
        self._journal = _journal_of(path)
        self._digest = hashlib.sha256()
        self._hashed = self._noted = 0
        self._noted_at = time.monotonic()
        self._waiting: deque[Future[None]] = deque()
        with reporting_storage(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
            try:
                self._resume()
            except OSError:
                self._file.close()
                raise
        self._worker = ThreadPoolExecutor(1, "onnxzoo-hash")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.shutdown()
        if not self._file.closed:
            with suppress(OSError):  # a disk that is full has said so already
                if self._keep and self.done:
                    self._note()
                    if error is not None:  # whoever stops the command is told
                        error.add_note(f"{show_size(self._noted)} of {self._url} are kept")
                else:
                    self._remove()
            self._file.close()

    def append(self, chunk: bytes) -> None:
        """Write a chunk and hash it in the background.

        Raises:
            StorageError: if the disk refuses.
        """
        with reporting_storage(self.path.parent):
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]
            self.done += len(chunk)
            self._waiting.append(self._worker.submit(self._absorb, chunk))
            if len(self._waiting) > _AHEAD:
                self._waiting.popleft().result()

    def restart(self, validator: str | None = None) -> None:
        """Discard the bytes and begin again with a new validator."""
        with reporting_storage(self.path.parent):
            self._drain()
            self._empty()
            self.validator = validator

    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of the bytes so far."""
        with reporting_storage(self.path.parent):
            self._drain()
        return self._digest.hexdigest()

    def publish(self, target: Path) -> None:
        """Sync the file, close it and rename it to its final name.

        What could not be synced is thrown away: another sync would succeed, whatever was lost.
        """
        with reporting_storage(self.path.parent):
            try:
                os.fsync(self._file.fileno())
            except OSError:
                self._remove()
                raise
            finally:
                self._file.close()
            self.path.replace(target)
            self._journal.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file and its journal."""
        with reporting_storage(self.path.parent):
            self._drain()
            self._remove()
            self._file.close()

    def _resume(self) -> None:
        journal = self._read_journal()
        if journal is None or journal.url != self._url or not self._rehash(journal):
            self._empty()
            return
        self._file.truncate(journal.bytes)
        self.done = self._hashed = self._noted = journal.bytes
        self.validator = journal.validator
        self.pieces = 1

    def _read_journal(self) -> _Journal | None:
        try:
            return _Journal(**json.loads(self._journal.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _rehash(self, journal: _Journal) -> bool:
        buffer = memoryview(bytearray(CHUNK))
        left = journal.bytes
        while left > 0 and (count := self._file.readinto(buffer[:left])):
            self._digest.update(buffer[:count])
            left -= count
        return left == 0 and self._digest.hexdigest() == journal.sha256

    def _empty(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.done = self.pieces = self._hashed = self._noted = 0

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)

    def _absorb(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._hashed += len(chunk)
        late = time.monotonic() - self._noted_at > _NOTE_SECONDS
        if late or self._hashed - self._noted >= _NOTE_BYTES:
            self._note()

    def _note(self) -> None:
        journal = _Journal(self._url, self.validator, self._hashed, self._digest.hexdigest())
        fresh = self._journal.with_name(self._journal.name + ".new")
        fresh.write_text(json.dumps(asdict(journal)))
        fresh.replace(self._journal)
        self._noted, self._noted_at = self._hashed, time.monotonic()

    def _drain(self) -> None:
        while self._waiting:
            self._waiting.popleft().result()


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")
