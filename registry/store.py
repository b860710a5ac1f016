"""Bundles on disk: staged, published by one rename, verified, removed."""

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, nullcontext
from io import FileIO
from pathlib import Path

from onnxzoo.registry.core.errors import NotFound, Refused
from onnxzoo.registry.core.files import (
    CHUNK,
    atomic_write,
    clear,
    entries,
    make_folder,
    reading,
    reporting_storage,
    sync,
    unreadable,
    write_all,
)
from onnxzoo.registry.core.manifest import File, Manifest, check_path
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.staging import abandoned, staging_folder, staging_name

SIDECAR = ".json"
_READ_ONLY = 0o444
_TICK = 20_000_000  # nanoseconds; the clock of file times moves every 10 ms at the slowest
_SHARD = re.compile("[0-9a-f]{2}")
# When every published file was changed last: another time says that someone wrote to it since.
# A whole second that archives, file systems and container images all keep: 2000-01-01, UTC.
_PUBLISHED = 946_684_800 * 10**9  # nanoseconds


class Stage:
    """A half-made bundle in the store's own file system; gone with its ``with`` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[File] = []
        self._sources: list[tuple[Path, tuple[int, int, int, int]]] = []

    @property
    def manifest(self) -> Manifest:
        """The manifest of the staged files."""
        return Manifest.of(self._files)

    def copy(
        self,
        source: Path,
        path: str,
        progress: Progress | None = None,
        *,
        descriptor: int | None = None,
    ) -> File:
        """Copy a file in, hashing while writing; links are followed, the copy is a real file.

        Args:
            source: the file.
            path: its path in the bundle.
            progress: told of the bytes copied.
            descriptor: the file, where it is open already; it is closed.

        Raises:
            Refused: if the file was written to meanwhile; see `check_sources`.
        """
        target = self._place(path)
        digest, done = hashlib.sha256(), 0
        with reading(source):
            reader = FileIO(source if descriptor is None else descriptor, opener=open_plain)
            before = _settled(reader.fileno())
            total = before.st_size
        with reader, target.open("xb", buffering=0) as writer:
            for chunk in _chunks(reader, source):
                digest.update(chunk)
                write_all(writer, chunk)
                done += len(chunk)
                if progress:
                    progress(path, done, total)
            os.fsync(writer.fileno())
            if done != total or _stamp(os.fstat(reader.fileno())) != _stamp(before):
                raise _changed(source)
        self._sources.append((source, _stamp(before)))
        return self._keep(target, File(path, digest.hexdigest(), done))

    def check_sources(self) -> None:
        """Raise Refused if a file that was copied in is another by now, or was written to.

        Files that belong together, a model and its weights, are copied one after the other.
        """
        for source, stamp in self._sources:
            with reading(source):
                now = _stamp(source.stat())
            if now != stamp:
                raise _changed(source)

    def take(self, source: Path, file: File) -> File:
        """Move a verified, synced file in; across file systems it is copied."""
        target = self._place(file.path)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copied = self.copy(source, file.path)
            source.unlink()
            return copied
        return self._keep(target, file)

    def adopt(self, source: Path, path: str) -> File:
        """Move in a file that was made in the same file system: hashed, synced, renamed."""
        with reading(source), source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        return self.take(source, File(path, digest, size))

    def write(self, chunks: Iterable[bytes], path: str) -> File:
        """Write a file from its bytes, hashing while writing."""
        target = self._place(path)
        digest, done = hashlib.sha256(), 0
        with target.open("xb", buffering=0) as writer:
            for chunk in chunks:
                digest.update(chunk)
                write_all(writer, chunk)
                done += len(chunk)
            os.fsync(writer.fileno())
        return self._keep(target, File(path, digest.hexdigest(), done))

    def _place(self, path: str) -> Path:
        target = self.folder / check_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _keep(self, target: Path, file: File) -> File:
        os.utime(target, ns=(_PUBLISHED, _PUBLISHED))
        target.chmod(_READ_ONLY)
        self._files.append(file)
        return file


class Store:
    """A folder of bundles, each in ``ab/abcdef…`` by the digest of its manifest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / ".staging"
        self._hashed: dict[Path, tuple[int, int, int]] = {}  # whole, but may not be stamped by us

    def path(self, digest: str) -> Path:
        """Return the folder of a bundle, whether it is there or not."""
        name = digest.removeprefix("sha256:")
        return self.root / name[:2] / name

    def sidecar(self, digest: str) -> Path:
        """Return the path of a bundle's sidecar, existing or not."""
        folder = self.path(digest)
        return folder.with_name(f"{folder.name}{SIDECAR}")

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        """Give a folder to make a bundle in; delete it unless it was published."""
        folder = self._staging / staging_name()
        try:
            with reporting_storage(self.root):
                make_folder(self.root)
                with staging_folder(folder):
                    yield Stage(folder)
        finally:
            clear(folder)

    def publish(self, stage: Stage) -> Manifest:
        """Rename a staged bundle into place, durably; a whole bundle already there is kept.

        Call it inside the transaction that inserts the rows, so that no collection of garbage
        runs between the two. Whoever renamed a bundle that is there may have been killed before
        its name was durable; one whose name could not be made durable is thrown away.
        """
        manifest = stage.manifest
        target = self.path(manifest.digest)
        if not self.changes(manifest):
            with reporting_storage(self.root):
                self._sync_name(target)
            return manifest
        with reporting_storage(self.root):
            for folder, _, _ in os.walk(stage.folder):
                sync(Path(folder))
            if target.exists():
                self.set_aside(manifest.digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            stage.folder.rename(target)
            try:
                self._sync_name(target)
            except OSError:
                clear(target)
                raise
        return manifest

    def _sync_name(self, target: Path) -> None:
        sync(target.parent)
        sync(self.root)

    def holds(self, manifest: Manifest) -> bool:
        """Tell whether every file of a bundle is there with its size; the bytes are not read."""
        folder = self.path(manifest.digest)
        try:
            return all((folder / file.path).stat().st_size == file.bytes for file in manifest.files)
        except PermissionError as error:
            raise unreadable(folder) from error
        except OSError:
            return False

    def is_absent(self, digest: str) -> bool:
        """Tell whether nothing of a bundle is here, in its place or set aside as damaged.

        Then another machine that uses the same database has its bytes, or somebody removed them.
        """
        name, folder = digest.removeprefix("sha256:"), self.path(digest)
        try:
            if folder.exists():
                return False
        except PermissionError as error:
            raise unreadable(folder) from error
        return not any(one.name.startswith(name) for one in entries(self.root / ".damaged"))

    def not_here(self, ref: str, hint: str) -> NotFound:
        """Return the error for a variant with an absent bundle."""
        return NotFound(
            f"`{ref}` is registered, but not here: none of its files is in `{self.root}`", hint=hint
        )

    def changes(self, manifest: Manifest) -> list[str]:
        """Return a bundle's problems, one line a file, reading as little as possible.

        A file with its size and the time of publication is taken to be whole. One with another
        time is hashed, once: it gets that time back if its bytes are right.
        """
        folder = self.path(manifest.digest)
        return [
            problem
            for file in manifest.files
            if (problem := self._change(folder / file.path, file))
        ]

    def damage(self, manifest: Manifest, progress: Progress | None = None) -> list[str]:
        """Re-hash a bundle and return its problems, one line a file; empty if intact."""
        folder = self.path(manifest.digest)
        return [
            problem
            for file in manifest.files
            if (problem := self._hash(folder / file.path, file, progress))
        ]

    def state(self, manifest: Manifest) -> tuple[tuple[int, int, int] | None, ...]:
        """Return a token of a bundle's state: identities of its folder and files."""
        folder = self.path(manifest.digest)
        return tuple(map(_identity, [folder, *(folder / file.path for file in manifest.files)]))

    def set_aside(self, digest: str) -> Path:
        """Move a bundle to ``.damaged/`` beside the bundles and return where it lies now."""
        aside = self.root / ".damaged" / f"{digest.removeprefix('sha256:')}-{time.time_ns()}"
        with reporting_storage(self.root):
            aside.parent.mkdir(parents=True, exist_ok=True)
            self.path(digest).rename(aside)
        return aside

    def discard(self, digest: str) -> Path | None:
        """Move a bundle out of its place by one rename; the caller deletes the result."""
        trash = self._staging / staging_name()
        with reporting_storage(self.root):
            trash.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path(digest).rename(trash)
            except FileNotFoundError:
                return None
        return trash

    def digests(self) -> Iterator[str]:
        """Yield the digest of every bundle in its place."""
        for path in self._published():
            if path.suffix != SIDECAR:
                yield f"sha256:{path.name}"

    def sidecars(self) -> Iterator[str]:
        """Yield the digest of every bundle that has a sidecar, whether or not it is there."""
        for path in self._published():
            if path.suffix == SIDECAR:
                yield f"sha256:{path.stem}"

    def put(self, text: bytes, target: Path) -> None:
        """Put a small file into the store, or in the place of an older one: whole and durable."""
        staged = self._staging / staging_name()
        with reporting_storage(self.root):
            for folder in (self._staging, target.parent):
                folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(target, staged) as writer:
                write_all(writer, text)

    def leftovers(self, wanted: Set[str] = frozenset()) -> list[Path]:
        """Return leftovers of dead processes in staging, and quarantined bundles.

        Args:
            wanted: bundles to which something refers: the damaged bytes of one that was not
                healed may be all that is left of it.
        """
        staged = [folder for folder in entries(self._staging) if abandoned(folder)]
        aside = entries(self.root / ".damaged")
        return staged + [folder for folder in aside if not self._is_last(folder, wanted)]

    def _published(self) -> Iterator[Path]:
        for folder in entries(self.root):
            if _SHARD.fullmatch(folder.name):
                yield from entries(folder)

    def _change(self, path: Path, file: File) -> str | None:
        try:
            found = path.stat()
        except OSError as error:
            return _unread(file, path, error)
        if found.st_size != file.bytes:
            return _wrong_size(file, found.st_size)
        if not os.access(path, os.R_OK):
            raise unreadable(path)
        if found.st_mtime_ns == _PUBLISHED or self._hashed.get(path) == _identity(path):
            return None
        return self._hash(path, file, None)

    def _hash(self, path: Path, file: File, progress: Progress | None) -> str | None:
        """Re-hash a file; one that is whole is stamped as published, where that is allowed."""
        before = _identity(path)
        problem = _damage(path, file, progress)
        if problem or before is None or before[1] == _PUBLISHED or before != _identity(path):
            return problem
        try:
            os.utime(path, ns=(_PUBLISHED, _PUBLISHED))
        except OSError:  # another user's
            self._hashed[path] = before
        return None

    def _is_last(self, aside: Path, wanted: Set[str]) -> bool:
        digest = f"sha256:{aside.name.partition('-')[0]}"
        return digest in wanted and not self.path(digest).exists()


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _damage(path: Path, file: File, progress: Progress | None) -> str | None:
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as reader:
            for chunk in _chunks(reader):
                digest.update(chunk)
                done += len(chunk)
                if progress:
                    progress(file.path, done, file.bytes)
    except OSError as error:
        return _unread(file, path, error)
    if done != file.bytes:
        return _wrong_size(file, done)
    if digest.hexdigest() != file.sha256:
        return f"`{file.path}` has SHA-256 {digest.hexdigest()}; expected {file.sha256}"
    return None


def _unread(file: File, path: Path, error: OSError) -> str:
    """Return the problem of a file; an unreadable one need not be damaged."""
    if isinstance(error, PermissionError):
        raise unreadable(path) from error
    return f"`{file.path}`: {(error.strerror or str(error)).lower()}"


def _wrong_size(file: File, found: int) -> str:
    return f"`{file.path}` has {found} bytes; expected {file.bytes}"


def _chunks(reader: FileIO, source: Path | None = None) -> Iterator[memoryview]:
    """Yield a file's bytes; errors are ours, naming the source, where one is given."""
    buffer = memoryview(bytearray(CHUNK))
    with reading(source) if source else nullcontext():
        while count := reader.readinto(buffer):
            yield buffer[:count]


def _settled(descriptor: int) -> os.stat_result:
    """Return a file's status once each later write shows in its time, which moves by ticks."""
    found = os.fstat(descriptor)
    if abs(time.time_ns() - found.st_mtime_ns) < _TICK:
        time.sleep(_TICK / 1e9)
        found = os.fstat(descriptor)
    return found


def _stamp(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _changed(source: Path) -> Refused:
    return Refused(
        f"`{source}` was written to while it was read",
        hint="run the command again when nothing writes to it",
    )


def open_plain(path: str, flags: int) -> int:
    """Open a plain file; a pipe or a device that took its place is refused, not waited for."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a plain file", path)
    return descriptor
