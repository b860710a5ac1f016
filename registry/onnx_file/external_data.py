"""Check the external data of a model: allowed places, sizes, kinds of files.

onnxruntime follows a hard link out of a model's folder, and nobody compares the checksum that a
tensor may state; so both are looked at here, before anything is copied and before anything opens.

Source: onnx.proto, "TensorProto.external_data".
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from onnxzoo.registry.core.errors import InvalidModel, NotFound, Refused
from onnxzoo.registry.core.manifest import check_path
from onnxzoo.registry.core.text import cut

# The location with which onnxruntime marks weights that lie at an address of its own memory; in a
# file it would make it read wherever the number says.
# Source: onnxruntime, core/framework/tensorprotoutils.h, "kTensorProtoMemoryAddressTag".
MEMORY = "_ORT_MEM_ADDR_"
_KEYS = {"location", "offset", "length", "checksum", "basepath"}  # the last is onnx's own, unused
# Weights that onnxruntime packed beforehand, in the same file: `kernel|offset;length;checksum|…`.
# Source: onnxruntime, core/framework/tensor_external_data_info.cc.
_PACKED = re.compile(r"prepacked_[0-9]{1,9}")
_PARTS = re.compile(r"[^|]+(\|[0-9]{1,19};[0-9]{1,19};[^|;]*)+")
_NUMBER = re.compile(r"[0-9]{1,19}")
_MOST = (1 << 63) - 1  # what a file's offset holds
_DRIVE = re.compile(r"[A-Za-z]:")
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_CHUNK = 1 << 20  # bytes hashed at once
_OVERLAP = 8  # times a file's size that is hashed at most: tensors may share bytes, within reason
_CACHED = re.compile(r"(models|datasets|spaces)--.+")  # a repository in the Hugging Face cache


class Where(NamedTuple):
    """A part of a model, named only where something is wrong with it: names may be of any length.

    Attributes:
        kind: what it is: ``the tensor``.
        name: what it is called; None where it has no name.
        link: how it belongs to what is around it: ``of``.
        around: what that is.
    """

    kind: str
    name: str | None = None
    link: str = "of"
    around: "Where | None" = None

    def __str__(self) -> str:
        named = self.kind if self.name is None else f"{self.kind} `{cut(self.name)}`"
        return named if self.around is None else f"{named} {self.link} {self.around}"


@dataclass(frozen=True, slots=True)
class Extent:
    """The place of a tensor's bytes: a file beside the model, and the range in it.

    ``packed`` is where the last of what onnxruntime packed beforehand ends; 0 without.
    """

    location: str
    offset: int
    length: int | None
    checksum: str | None
    packed: int = 0

    @classmethod
    def of(cls, entries: Sequence[tuple[str, str]], who: object) -> "Extent":
        """Parse a tensor's entries.

        Args:
            entries: keys and values, in the file's order.
            who: the tensor, in words.

        Raises:
            Refused: if the location leads out of the model's folder.
            InvalidModel: if a key is unknown or doubled, or a value is none.
        """
        found = dict(entries)
        packed = {key for key in found if _PACKED.fullmatch(key)}
        for key in found.keys() - _KEYS - packed:
            raise InvalidModel(
                f"{who} says `{cut(key)}` of its external data, which ONNX has not got"
            )
        if len(found) < len(entries):
            raise InvalidModel(f"{who} says the same of its external data twice")
        location = check_location(found.get("location", ""), who)
        offset, length = (_number(found, key, who, location) for key in ("offset", "length"))
        checksum = found.get("checksum")
        if checksum is not None and not _SHA1.fullmatch(checksum):
            raise InvalidModel(
                f"{who} in `{location}` has the checksum `{cut(checksum)}`: no SHA-1"
            )
        if (offset or 0) + (length or 0) > _MOST:
            raise InvalidModel(f"{who} in `{location}` ends beyond any file")
        end = max((_packed_end(found[key], who, location) for key in packed), default=0)
        return cls(location, offset or 0, length, checksum, end)


class Neighbours:
    """The files beside one model, each looked at once.

    Args:
        model: the `.onnx` file; its external data lies in or below its folder.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._sizes: dict[str, int] = {}
        self._sums: dict[tuple[str, int, int], str] = {}
        self._hashed = 0

    @property
    def size(self) -> int:
        """The total size of the checked files."""
        return sum(self._sizes.values())

    def check(self, extent: Extent, needed: int, who: object) -> None:
        """Raise unless a tensor's bytes are there, as many as its shape wants.

        Args:
            extent: where they are said to be.
            needed: how many bytes the tensor's shape and type make.
            who: the tensor, in words.

        Raises:
            Refused, InvalidModel: naming the tensor and the location.
        """
        location, length = extent.location, extent.length
        size = self.size_of(location, who)
        if length is not None and length != needed:
            raise InvalidModel(f"{who} needs {needed} bytes; `{location}` is to give {length}")
        if extent.offset + needed > size:
            raise InvalidModel(
                f"{who} ends at byte {extent.offset + needed} of `{location}`, which has {size}"
            )
        if extent.packed > size:
            raise InvalidModel(
                f"{who} has packed weights that end at byte {extent.packed} of `{location}`, "
                f"which has {size}"
            )
        if extent.checksum:
            self._compare(extent, size, who)

    def size_of(self, location: str, who: object) -> int:
        """Return the size of a file that is there and may be read.

        Raises:
            Refused, InvalidModel: see `look`.
        """
        if location not in self._sizes:
            try:
                self._sizes[location] = look(self._model, location, who).st_size
            except NotFound as error:
                raise InvalidModel(error.message) from error
        return self._sizes[location]

    def read(self, extent: Extent, count: int) -> bytes:
        """Return a few bytes of a tensor that was checked."""
        with (self._model.parent / extent.location).open("rb") as file:
            file.seek(extent.offset)
            return file.read(count)

    def _compare(self, extent: Extent, size: int, who: object) -> None:
        """Compare a checksum: the file's by onnx.proto, the tensor's own bytes' by some writers."""
        parts = [(0, size), (extent.offset, extent.length or size - extent.offset)]
        wanted = (extent.checksum or "").lower()
        if not any(wanted == self._sum(extent.location, *part) for part in parts):
            raise InvalidModel(
                f"{who} has the checksum {wanted}; `{extent.location}` has "
                f"{self._sum(extent.location, *parts[0])}"
            )

    def _sum(self, location: str, start: int, length: int) -> str:
        key = location, start, length
        if key not in self._sums:
            self._hashed += length
            if self._hashed > _OVERLAP * self.size:
                raise InvalidModel(f"`{location}` has more checksums than bytes to compare")
            digest = hashlib.sha1(usedforsecurity=False)
            for chunk in _chunks(self._model.parent / location, start, length):
                digest.update(chunk)
            self._sums[key] = digest.hexdigest()
        return self._sums[key]


def check_location(text: str, who: object) -> str:
    """Return a location in its plain form (``./w.bin`` is ``w.bin``), or raise Refused.

    Args:
        text: what the model says.
        who: the tensor, in words.
    """
    path = PurePosixPath(text)
    reasons = (
        ("names no file for its external data", not text.strip()),
        ("is said to lie at an address in memory", MEMORY in text),
        ("has a NUL in its location", "\0" in text),
        ("has a backslash in its location", "\\" in text),
        ("lies at an absolute path", path.is_absolute() or bool(_DRIVE.match(text))),
        ("lies outside the model's folder", ".." in path.parts),
    )
    for reason, true in reasons:
        if true:
            raise Refused(f"{who} {reason}: `{cut(text)}`")
    try:
        return check_path(str(path))
    except Refused as error:
        raise Refused(f"{who} has a location that is none: {error.message}") from error


def look(model: Path, location: str, who: object) -> os.stat_result:
    """Return the status of a file beside a model, without opening it.

    Links are refused, since what a model names is read, copied and handed on: a symbolic link, or
    a second name of a file elsewhere, would hand on what its owner never gave. The cache of
    Hugging Face is made of links, so there they may lead anywhere in their own repository.

    Args:
        model: the model's file, as it was named.
        location: a plain path below its folder.
        who: the tensor, in words.

    Raises:
        NotFound: if nothing is there.
        Refused: if it is the model, a link, a folder, a pipe, a device, or has another name.
    """
    if location == model.name:
        raise Refused(f"{who} lies in `{location}`, the model itself")
    path, cache = model.parent / location, _cache_of(model)
    for part in _parts(model.parent, location):
        try:
            found = part.lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{who} lies in `{location}`, which is not there") from error
        if stat.S_ISLNK(found.st_mode):
            if not _stays(part, cache):
                raise Refused(f"{who} lies in `{location}`, and `{part.name}` is a symbolic link")
            found = _followed(part, location, who)
        if part != path and not stat.S_ISDIR(found.st_mode):
            raise Refused(f"{who} lies in `{location}`, and `{part.name}` is no folder")
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{who} lies in `{location}`, which is {_kind(found.st_mode)}, not a file")
    if found.st_nlink > 1 and cache is None:
        raise Refused(
            f"{who} lies in `{location}`, a file with {found.st_nlink} names (hard links): it may "
            "be one from outside the model's folder",
            hint=f"make a copy of {path} and put it in its place",
        )
    return found


def open_beside(model: Path, location: str, who: object) -> int:
    """Open a file beside a model for reading and return its descriptor, as `look` allows.

    No link is followed on the way, so one that is swapped in after the look leads nowhere. In the
    cache of Hugging Face, the file that a link led to is opened so, below its repository.

    Raises:
        NotFound, Refused: see `look`; Refused too if the file was replaced meanwhile.
    """
    found, path = look(model, location, who), model.parent / location
    cache = _cache_of(model)
    root, parts = model.parent, PurePosixPath(location).parts
    try:
        if cache is not None and path.resolve() != path.absolute():
            root = cache.resolve()
            parts = path.resolve(strict=True).relative_to(root).parts
        descriptor = _open_below(root, parts)
    except (OSError, ValueError) as error:
        raise _replaced(location, who) from error
    opened = os.fstat(descriptor)
    links = opened.st_nlink > 1 and cache is None
    if links or not (stat.S_ISREG(opened.st_mode) and os.path.samestat(found, opened)):
        os.close(descriptor)
        raise _replaced(location, who)
    return descriptor


def _replaced(location: str, who: object) -> Refused:
    return Refused(
        f"{who} lies in `{location}`, which was replaced while it was read",
        hint="run the command again when nothing writes to that folder",
    )


def _open_below(root: Path, parts: Sequence[str]) -> int:
    """Open a file below a folder without following a link.

    Windows opens nothing relative to a folder: there the caller compares what was opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if os.open not in os.supports_dir_fd:
        return os.open(root.joinpath(*parts), flags)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in parts[:-1]:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1], flags | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def _parts(folder: Path, location: str) -> Iterator[Path]:
    for name in PurePosixPath(location).parts:
        folder /= name
        yield folder


def _cache_of(model: Path) -> Path | None:
    """Return the repository's own folder, if a model lies in a snapshot of Hugging Face's cache.

    Source: huggingface_hub's documentation, "Understand caching".
    """
    return next(
        (
            snapshots.parent
            for snapshots in model.absolute().parents
            if snapshots.name == "snapshots" and _CACHED.fullmatch(snapshots.parent.name)
        ),
        None,
    )


def _stays(link: Path, cache: Path | None) -> bool:
    try:
        return cache is not None and link.resolve(strict=True).is_relative_to(cache.resolve())
    except (OSError, RuntimeError):  # it leads nowhere, or round and round
        return False


def _followed(link: Path, location: str, who: object) -> os.stat_result:
    try:
        return link.stat()
    except OSError as error:
        raise NotFound(f"{who} lies in `{location}`, a link to nothing") from error


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((word for test, word in kinds if test(mode)), "a device")


def _packed_end(value: str, who: object, location: str) -> int:
    if not _PARTS.fullmatch(value):
        raise InvalidModel(f"{who} in `{location}` has packed weights at `{cut(value)}`: nowhere")
    parts = (part.split(";") for part in value.split("|")[1:])
    return max(int(offset) + int(length) for offset, length, _ in parts)


def _number(found: dict[str, str], key: str, who: object, location: str) -> int | None:
    if key not in found:
        return None
    if not _NUMBER.fullmatch(found[key]):
        raise InvalidModel(
            f"{who} in `{location}` has the {key} `{found[key][:40]}`; expected a number of bytes"
        )
    return int(found[key])


def _chunks(path: Path, start: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while length and (chunk := file.read(min(length, _CHUNK))):
            length -= len(chunk)
            yield chunk
