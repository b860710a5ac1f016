"""Represent a bundle's manifest: files by path, size and SHA-256, and their digest."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from onnxzoo.registry.core.errors import Refused, UsageError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST = 255  # bytes of a file's name that file systems take
_DEEPEST = 1024  # bytes of a path: what macOS takes, and a quarter of what Linux does
# Device names that Windows reserves in every folder, with any suffix.
# Source: Microsoft, "Naming Files, Paths, and Namespaces".
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a bundle: its relative POSIX path, hexadecimal SHA-256 and size in bytes."""

    path: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        check_path(self.path)
        if not _SHA256.fullmatch(self.sha256):
            raise UsageError(f"`{self.sha256}` is not a SHA-256; expected 64 hexadecimal digits")
        if self.bytes < 0:
            raise UsageError(f"`{self.path}` has a negative size, {self.bytes}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one bundle, sorted by path, no path twice."""

    files: tuple[File, ...]

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        if not paths or paths != sorted(set(paths)):
            raise UsageError("a manifest needs at least one file, sorted by path, none twice")
        folded = [path.casefold() for path in paths]
        there = set(folded)
        if len(there) != len(folded):
            raise Refused("two files of the bundle differ only in upper and lower case")
        for path in folded:
            above = next((str(p) for p in PurePosixPath(path).parents if str(p) in there), None)
            if above is not None:
                raise Refused(f"`{above}` is a file of the bundle, and the folder of `{path}`")

    @classmethod
    def of(cls, files: Iterable[File]) -> "Manifest":
        """Return the manifest of these files, in any order."""
        return cls(tuple(sorted(files, key=lambda file: file.path)))

    @property
    def bytes(self) -> int:
        """The bundle's size in bytes."""
        return sum(file.bytes for file in self.files)

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over the canonical form: compact JSON, keys and paths sorted, UTF-8."""
        files = [{"bytes": f.bytes, "path": f.path, "sha256": f.sha256} for f in self.files]
        text = json.dumps(files, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def check_path(path: str) -> str:
    r"""Return a bundle-relative path as given, or raise Refused if it could leave the bundle.

    >>> check_path("onnx/model.onnx")
    'onnx/model.onnx'
    """
    parts = PurePosixPath(path).parts
    bad = (
        not path
        or path != "/".join(parts)
        or path.startswith(("/", "~"))
        or any(part in {".", ".."} or _RESERVED.fullmatch(part) for part in parts)
        or any(part.endswith((" ", ".")) for part in parts)
        or _bytes(path) > _DEEPEST
        or any(_bytes(part) > _LONGEST for part in parts)
        or any(ord(char) < ord(" ") or char in '\\:*?"<>|\x7f' for char in path)
    )
    if bad:
        raise Refused(f"the path `{path[:_LONGEST]}` is not a plain path inside a bundle")
    return path


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
