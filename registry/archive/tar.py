"""A `.zoo` file as bytes: a plain tar, its manifest first, written and read in chunks.

Each member has one header of 512 bytes and no extension of it, so that the manifest alone tells
where every byte lies. A reader takes nothing from a header: it must say what the manifest says.
Source: POSIX.1-2008, pax, "ustar Interchange Format"; sizes over 8 GiB in GNU's base-256.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from onnxzoo.registry.archive.codec import dump, parse
from onnxzoo.registry.archive.snapshot import Contents, Member
from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, StorageError
from onnxzoo.registry.core.files import CHUNK, atomic_write, reading, write_all
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.staging import staging_name

MANIFEST = "zoo.json"
_LARGEST = 8 << 20  # bytes of a manifest; one of a thousand variants has about 1 MB
_BLOCK = tarfile.BLOCKSIZE
HEADER = _BLOCK  # bytes before each member
_END = bytes(2 * _BLOCK)
_SUFFIX = ".exporting"  # of what a killed export leaves
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
}


@contextmanager
def writing(path: Path) -> Iterator[FileIO]:
    """Give a file to write that becomes `path`, synced, when the block ends well."""
    path = path.resolve()  # a link stays one
    part = path.with_name(f"{path.name}.{staging_name()}{_SUFFIX}")
    try:
        with atomic_write(path, part) as file:
            yield file
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot write `{path}`: {reason}") from error


def pack(
    contents: Contents,
    places: Mapping[str, Path],
    out: BinaryIO,
    name: str,
    progress: Progress | None = None,
) -> str:
    """Write an archive, the same bytes for the same contents; return its SHA-256.

    Args:
        contents: what it holds.
        places: where the file of each SHA-256 lies.
        out: where to.
        name: what progress calls it.
        progress: told of the bytes of all files.

    Raises:
        IntegrityError: if a file is not what the contents say.
        Refused: if there is so much to say that nothing would read it.
    """
    text = dump(contents)
    if len(text) > _LARGEST:
        raise Refused(
            f"the manifest of `{name}` would have {len(text)} bytes; at most {_LARGEST} are read",
            hint="export the models to several files",
        )
    digest, done = hashlib.sha256(), 0

    def write(data: bytes) -> None:
        digest.update(data)
        write_all(out, data)

    write(_header(MANIFEST, len(text)) + text + bytes(-len(text) % _BLOCK))
    for member in contents.members:
        write(_header(member.name, member.bytes))
        for chunk in _proven(_chunks_of(places[member.sha256]), member, str(places[member.sha256])):
            write(chunk)
            done += len(chunk)
            if progress:
                progress(name, done, contents.bytes)
        write(bytes(-member.bytes % _BLOCK))
    write(_END)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Packed:
    """An open archive: its content, and the offset of each member.

    Attributes:
        name: what errors call it.
    """

    path: Path
    name: str
    contents: Contents
    offsets: Mapping[str, int]
    _file: BinaryIO

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Yield a member's bytes; that they are its bytes is sure when the last one came.

        Raises:
            Refused: if the archive has something else in its place.
            IntegrityError: if the bytes are others.
        """
        with reading(self.path):
            self._file.seek(self.offsets[member.sha256] - _BLOCK)
            _check_header(self._file.read(_BLOCK), member.name, member.bytes, self.name)
            where = f"{member.name}` in `{self.name}"
            yield from _proven(_take(self._file, member.bytes), member, where)
            if self._file.read(-member.bytes % _BLOCK).strip(b"\0"):
                raise IntegrityError(f"`{self.name}` has bytes between its members")


@contextmanager
def opened(path: Path, name: str | None = None) -> Iterator[Packed]:
    """Open an archive after checking its size and ends against its manifest.

    Args:
        path: where it lies.
        name: what errors call it; None for the file's own name.

    Raises:
        NotFound, StorageError: if it is not there, or cannot be read.
        IntegrityError: if it is cut off, damaged, or has something behind its end.
        Refused: if it is no such archive.
    """
    with reading(path):
        if not path.exists():
            raise NotFound(f"no file `{path}`")
        file = path.open("rb")
    with file:
        with reading(path):
            packed = _checked(path, file, name or path.name)
        yield packed


def _checked(path: Path, file: BinaryIO, name: str) -> Packed:
    contents, start = read_head(file, name)
    offsets, end = offsets_of(contents, start)
    size, whole = path.stat().st_size, end + len(_END)
    if size != whole:
        what = "is cut off" if size < whole else "has something behind its end"
        raise IntegrityError(f"`{name}` {what}: {size} bytes; expected {whole}")
    file.seek(end)
    if file.read(len(_END)) != _END:
        raise IntegrityError(f"`{name}` has something behind its last member")
    return Packed(path, name, contents, offsets, file)


def read_head(file: BinaryIO, name: str) -> tuple[Contents, int]:
    """Return the content of an archive's first member, and the offset of the next one.

    Raises:
        Refused: if it is no such archive.
        IntegrityError: if it is cut off or damaged.
    """
    block = file.read(HEADER)
    end, size = head_size(block, name), _info(block, name).size
    text, filling = file.read(size), file.read(-size % _BLOCK)
    if HEADER + len(text) + len(filling) != end:
        raise IntegrityError(f"`{name}` is cut off within its manifest")
    if filling.strip(b"\0"):
        raise IntegrityError(f"`{name}` has bytes between its members")
    return parse(text, name), end


def head_size(block: bytes, name: str) -> int:
    """Return how many bytes an archive's first member takes, by its first `HEADER` bytes.

    Raises:
        Refused: if it is no such archive.
    """
    size = _info(block, name).size
    if not 0 <= size <= _LARGEST:
        raise Refused(f"`{name}` has a manifest of {size} bytes; expected {_LARGEST} at most")
    _check_header(block, MANIFEST, size, name)
    return HEADER + size + -size % _BLOCK


def _info(block: bytes, name: str) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise _no_archive(name) from error
    if info.name != MANIFEST:
        raise _no_archive(name)
    return info


def offsets_of(contents: Contents, start: int) -> tuple[dict[str, int], int]:
    """Return where the bytes of each SHA-256 begin, and where the last member ends."""
    offsets, at = {}, start
    for member in contents.members:
        offsets[member.sha256] = at + _BLOCK
        at += _BLOCK + member.bytes + -member.bytes % _BLOCK
    return offsets, at


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)  # mode 0644; no time, no owner
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _check_header(block: bytes, name: str, size: int, where: str) -> None:
    """Raise unless a header is that of a plain file of this name and size."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise IntegrityError(
            f"`{where}` is damaged where `{name}` begins: {str(error).lower()}"
        ) from error
    if info.type != tarfile.REGTYPE:
        kind = _KINDS.get(info.type, f"an entry of type {info.type!r}")
        raise Refused(f"`{where}` holds `{info.name}`, {kind}; expected the file `{name}`")
    if (info.name, info.size) != (name, size):
        raise Refused(
            f"`{where}` holds `{info.name}` of {info.size} bytes; "
            f"its manifest says `{name}` of {size} bytes"
        )


def _proven(chunks: Iterator[bytes], member: Member, where: str) -> Iterator[bytes]:
    """Yield chunks; raise after the last one if they are not the member's."""
    digest, done = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        done += len(chunk)
        if done > member.bytes:
            break
        yield chunk
    if done != member.bytes:
        raise IntegrityError(f"`{where}` has {done} bytes; expected {member.bytes}")
    if digest.hexdigest() != member.sha256:
        raise IntegrityError(
            f"`{where}` has SHA-256 {digest.hexdigest()}; expected {member.sha256}"
        )


def _chunks_of(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except FileNotFoundError as error:
        raise IntegrityError(f"`{path}` is missing", hint="zoo verify --repair") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot read `{path}`: {reason}") from error


def _take(file: BinaryIO, count: int) -> Iterator[bytes]:
    while count and (chunk := file.read(min(count, CHUNK))):
        count -= len(chunk)
        yield chunk


def _no_archive(name: str) -> Refused:
    return Refused(
        f"`{name}` is not what zoo export writes: its first member is not `{MANIFEST}`",
        hint="zoo export REF -o models.zoo writes one; zoo register keeps an `.onnx` file",
    )
