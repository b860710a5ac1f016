"""Read archives member by member: bounded, nothing extracted, unsafe paths refused.

Tar headers are parsed one block at a time and the rest is streamed, so that neither a header nor a
member can take more memory than a chunk, whatever it claims.
"""

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onnxzoo.registry.core.errors import IntegrityError, Refused
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.core.zips import open_zip

_CHUNK = 1 << 20  # bytes
_BLOCK = tarfile.BLOCKSIZE
_HEADER = 1 << 20  # bytes of one extended header; paths are some hundred
_DRIVE = re.compile(r"[A-Za-z]:([/\\]|$)")
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"))
_TAR = 257, b"ustar"  # offset and magic
_REGULAR = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
# POSIX.1-2001, "pax Header Block": the length of a record, a space, key=value, a line feed.
_RECORD = re.compile(rb"(\d{1,9}) ")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of an archive.

    Attributes:
        members: files and folders.
        bytes: of all members, unpacked, those that nobody keeps included.
        ratio: unpacked bytes to one of the archive; deflate reaches 1,032, tensors about 10.
        free: unpacked bytes from which on the ratio counts.
    """

    members: int = 10_000
    bytes: int = 16 << 30
    ratio: int = 100
    free: int = 64 << 20


BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its plain relative path, and its bytes, to be read before the next."""

    path: str
    chunks: Iterator[bytes]


def kind_of(path: Path) -> str | None:
    """Return ``gzip`` (of a tar archive, one hopes), ``zip`` or ``tar``; None for anything else."""
    with reading(path), path.open("rb") as file:
        head = file.read(_BLOCK)
    known = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    return known or ("tar" if head[_TAR[0] :].startswith(_TAR[1]) else None)


def members(path: Path, bounds: Bounds = BOUNDS) -> Iterator[Member]:
    """Yield the files of a ``.tar.gz``, ``.tar`` or ``.zip``, in their order.

    Args:
        path: the archive; its kind is read from its first bytes.
        bounds: what it may hold.

    Raises:
        Refused: if a member is a link, a device, or has a path that leads out; if a bound is
            passed; if it is encrypted, or no archive.
        IntegrityError: if it is damaged or cut off.
    """
    kind = kind_of(path)
    if kind is None:
        raise Refused(f"`{path}` is not an archive; expected `.tar.gz`, `.tar` or `.zip`")
    with _telling(path), path.open("rb") as file:
        for member in _opened(file, kind, _Account(path, bounds)):
            yield Member(member.path, _told(path, member.chunks))


def _opened(file: BinaryIO, kind: str, account: "_Account") -> Iterator[Member]:
    if kind == "zip":
        yield from _of_zip(file, account)
    elif kind == "tar":
        yield from _of_tar(_Stream(file, account))
    else:
        with gzip.GzipFile(fileobj=file) as plain:
            yield from _of_tar(_Stream(plain, account))


class _Account:
    """A counter of an archive's output that enforces its bounds."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self.name = path.name
        self._size = path.stat().st_size
        self._bounds = bounds
        self._members = self._bytes = 0

    def member(self, path: str) -> str:
        """Count a member and return its path, plain."""
        self._members += 1
        if self._members > self._bounds.members:
            raise Refused(f"`{self.name}` holds more than {self._bounds.members} files")
        parts = [part for part in path.replace("\\", "/").split("/") if part not in {"", "."}]
        if path.startswith(("/", "\\")) or _DRIVE.match(path) or ".." in parts or "\0" in path:
            raise Refused(f"`{self.name}` holds `{path}`, a path that leads out of its folder")
        return "/".join(parts)

    def took(self, count: int) -> None:
        """Count unpacked bytes."""
        self._bytes += count
        bounds = self._bounds
        if self._bytes > bounds.bytes:
            raise Refused(f"`{self.name}` unpacks to more than {show_size(bounds.bytes)}")
        if self._bytes > max(bounds.free, bounds.ratio * self._size):
            raise Refused(
                f"`{self.name}` unpacks to more than {bounds.ratio} times its size; "
                "it looks like a bomb"
            )

    def refuse(self, path: str, what: str) -> Refused:
        """Return the error for a member that is no plain file."""
        return Refused(f"`{self.name}` holds `{path}`, {what}; expected plain files")


class _Stream:
    """A tar archive's bytes, counted."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, account: _Account) -> None:
        self.account = account
        self._file = file

    def exactly(self, count: int) -> bytes:
        """Return so many bytes; fewer only where the archive ends before the first."""
        found = b"".join(self.chunks(count)) if count else b""
        if 0 < len(found) < count:
            raise EOFError
        return found

    def chunks(self, count: int) -> Iterator[bytes]:
        """Yield so many bytes; fewer only where the archive ends."""
        while count and (chunk := self._file.read(min(count, _CHUNK))):
            self.account.took(len(chunk))
            count -= len(chunk)
            yield chunk


def _of_tar(stream: _Stream) -> Iterator[Member]:
    longer: dict[str, str] = {}
    while (block := stream.exactly(_BLOCK)).strip(b"\0"):
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if info.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}:
            found = _records(_extended(stream, info))
            longer |= found if info.type != tarfile.XGLTYPE else {}
            continue
        if info.type in {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            text = _extended(stream, info).rstrip(b"\0").decode("utf-8", "surrogateescape")
            longer |= {"path": text} if info.type == tarfile.GNUTYPE_LONGNAME else {}
            continue
        yield from _member(stream, info, longer)
        longer = {}


def _member(stream: _Stream, info: tarfile.TarInfo, longer: dict[str, str]) -> Iterator[Member]:
    """Yield a header's file and pass over its bytes; a folder has none."""
    account, named = stream.account, longer.get("path", info.name)
    path = account.member(named)
    if any(key.startswith("GNU.sparse") for key in longer):
        raise account.refuse(named, "a sparse file")
    if info.type == tarfile.DIRTYPE:
        return
    if info.type not in _REGULAR:
        raise account.refuse(named, _KINDS.get(info.type, f"an entry of type {info.type!r}"))
    size = int(longer.get("size", info.size))
    if size < 0:
        raise IntegrityError(f"`{account.name}` is damaged: `{named}` has a negative size")
    left = _Left(stream, size)
    yield Member(path, left.chunks())
    left.skip()


class _Left:
    """The rest of one member's bytes, and of the last block's padding."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self._stream, self._size = stream, size
        self._fill = -size % _BLOCK

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._stream.chunks(self._size):
            self._size -= len(chunk)
            yield chunk
        if self._size:
            raise EOFError

    def skip(self) -> None:
        for _ in self.chunks():
            pass
        self._stream.exactly(self._fill)


def _extended(stream: _Stream, info: tarfile.TarInfo) -> bytes:
    if not 0 <= info.size <= _HEADER:
        raise Refused(f"`{stream.account.name}` has a header of {info.size} bytes")
    stream.account.member("")  # headers without end are counted like files
    return stream.exactly(info.size + -info.size % _BLOCK)[: info.size]


def _records(data: bytes) -> dict[str, str]:
    """Return the records of a pax header.

    >>> _records(b"12 path=a/b\\n10 size=7\\n")
    {'path': 'a/b', 'size': '7'}
    """
    found, at = {}, 0
    while match := _RECORD.match(data, at):
        end = at + int(match[1])
        key, sign, value = data[match.end() : end - 1].partition(b"=")
        if end <= match.end() or not sign:
            break
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at = end
    return found


def _of_zip(file: BinaryIO, account: _Account) -> Iterator[Member]:
    with open_zip(file) as archive:
        for info in archive.infolist():
            path, kind = account.member(info.filename), stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            if kind not in {0, stat.S_IFREG}:
                what = "a symbolic link" if stat.S_ISLNK(kind) else "a device or a pipe"
                raise account.refuse(info.filename, what)
            if info.flag_bits & 1:
                raise account.refuse(info.filename, "an encrypted file")
            yield Member(path, _unzipped(archive, info, account))


def _unzipped(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, account: _Account
) -> Iterator[bytes]:
    with archive.open(info) as member:
        while chunk := member.read(_CHUNK):
            account.took(len(chunk))
            yield chunk


def _told(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with _telling(path):
        yield from chunks


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn errors of reading a damaged archive into ours."""
    try:
        yield
    except NotImplementedError as error:
        raise Refused(f"`{path.name}` is packed in a way that is not read here: {error}") from error
    except EOFError as error:
        raise IntegrityError(f"`{path.name}` is cut off") from error
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        zlib.error,
        ValueError,
    ) as error:
        raise IntegrityError(f"`{path.name}` is damaged: {str(error).lower()}") from error
