"""Read huggingface_hub's cache on this machine; never write it.

Its files carry their hashes as names: SHA-256 where they are in LFS, else git's SHA-1 of a blob.

Source: huggingface_hub's documentation, "Understand caching": ``models--OWNER--REPO/`` with
``blobs/HASH``, ``refs/REVISION`` (a commit) and ``snapshots/COMMIT/PATH`` (links to blobs).
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onnxzoo.registry.core.errors import IntegrityError
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.manifest import check_path
from onnxzoo.registry.core.records import Progress
from onnxzoo.zoo_index.download.download import Fetched
from onnxzoo.zoo_index.sources.source import Listed

_SHA256 = re.compile("[0-9a-f]{64}")
_SHA1 = re.compile("[0-9a-f]{40}")
_SHA1_LENGTH = 40  # hexadecimal digits
_STEP = 1 << 20  # bytes; a progress report each


@dataclass(frozen=True, slots=True)
class CachedRepository:
    """A repository's folder in the cache; it may not be there, or hold a part of the files.

    Attributes:
        folder: ``models--OWNER--REPO``.
    """

    folder: Path

    def commit(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag or a commit means here; None: it is not here."""
        path, commit = self.folder / "refs" / check_path(revision), revision
        with reading(path):
            if path.is_file():
                commit = path.read_bytes()[:_SHA1_LENGTH].decode(errors="replace")
        here = _SHA1.fullmatch(commit) and self._snapshot(commit).is_dir()
        return commit if here else None

    def files(self, commit: str) -> Iterator[Listed]:
        """Yield the cached files of a commit, with the SHA-256 of LFS files."""
        root = self._snapshot(commit)
        with reading(root):
            for path in sorted(root.rglob("*")):
                if (blob := self._blob(path)) is not None:
                    sha256 = blob.name if _SHA256.fullmatch(blob.name) else None
                    relative = path.relative_to(root).as_posix()
                    yield Listed(relative, blob.stat().st_size, sha256)

    def fetch(
        self, path: str, commit: str | None, sha256: str | None, progress: Progress | None = None
    ) -> Fetched | None:
        """Return a file where it lies, hashed, if the cache has it whole.

        Args:
            path: its path in the repository.
            commit: of which commit; None: whichever has a file of this SHA-256.
            sha256: what it must hash to, in hexadecimal; None takes what the cache knows of it.
            progress: told of the bytes that are hashed.

        Raises:
            IntegrityError: if its bytes are not those of its name, or not those that are asked for.
        """
        blob = self._wanted(path, commit, sha256)
        if blob is None:
            return None
        with reading(blob):
            found = _hashed(blob, path, progress)
        if (_SHA256.fullmatch(blob.name) or _SHA1.fullmatch(blob.name)) and blob.name not in found:
            raise IntegrityError(
                f"`{blob}`, which huggingface_hub keeps of `{path}`, is damaged",
                hint=f"delete it, and pull again where there is a network: rm {blob}",
            )
        if sha256 not in {None, found[0]}:
            raise IntegrityError(f"`{blob}` has SHA-256 {found[0]}; expected {sha256}")
        return Fetched(blob, found[0], blob.stat().st_size, owned=False)

    def _wanted(self, path: str, commit: str | None, sha256: str | None) -> Path | None:
        if sha256 is not None and (blob := self._blob(self.folder / "blobs" / sha256)):
            return blob
        return self._blob(self._snapshot(commit) / check_path(path)) if commit else None

    def _snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def _blob(self, path: Path) -> Path | None:
        """Return the plain file that a path stands for; None for one that leads elsewhere."""
        found = path.resolve()
        here = found.is_relative_to(self.folder.resolve())
        return found if here and found.is_file() else None


def cached_repository(repo: str, cache: Path | None) -> CachedRepository | None:
    """Return a cached repository; None if it is not cached."""
    if cache is None:
        return None
    found = CachedRepository(cache / "--".join(("models", *repo.split("/"))))
    return found if found.folder.is_dir() else None


def _hashed(path: Path, label: str, progress: Progress | None) -> tuple[str, str]:
    """Return a file's SHA-256, and git's SHA-1 of it as a blob."""
    size, done = path.stat().st_size, 0
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_STEP):
            sha256.update(chunk)
            sha1.update(chunk)
            done += len(chunk)
            if progress:
                progress(label, done, size)
    return sha256.hexdigest(), sha1.hexdigest()
