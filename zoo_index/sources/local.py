"""Read sources on this machine: a file, a folder, an installed package."""

import hashlib
import os
from dataclasses import dataclass, replace
from errno import ENAMETOOLONG
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from shlex import quote
from urllib.request import url2pathname

from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, UsageError
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.manifest import check_path
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.onnx_file.external_data import open_beside
from onnxzoo.registry.store import open_plain
from onnxzoo.zoo_index.download.download import Fetched
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.sources.source import Listed

_OF_SYSTEM = (Path("/proc"), Path("/sys"))  # what is a plain file there need not have an end


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder, or one file of it; its files stay in place.

    Attributes:
        url: what to record.
        root: the folder.
        name: the one file that is meant, None for all.
        named_by: what named it; None for the user.
    """

    url: str
    root: Path
    name: str | None
    named_by: Namer | None = None

    @property
    def revision(self) -> None:
        """None: a folder has no commits."""

    @property
    def license(self) -> None:
        """None: a folder states no licence."""

    def means(self, path: str, revision: str | None) -> bool:  # noqa: ARG002  (a Source's)
        """Return False: a file may have changed since, and looking costs nothing."""
        return False

    def files(self) -> tuple[Listed, ...]:
        """Return the file with its hash, or the folder's files with their sizes."""
        with reporting_storage(self.root):
            if self.name is not None:
                return (self.beside(self.name),)
            return tuple(
                Listed(path.relative_to(self.root).as_posix(), path.stat().st_size, None)
                for path in sorted(self.root.rglob("*"))
                if path.is_file()
            )

    def beside(self, path: str) -> Listed:
        """Return a file with its size and hash, where it is there."""
        with reporting_storage(self.root):
            try:
                with self._open(path) as file:
                    size = os.fstat(file.fileno()).st_size
                    return Listed(path, size, _sha256(file))
            except NotFound:
                return Listed(path, None, None)

    def fetch(
        self,
        path: str,
        *,
        sha256: str | None,
        size: int | None,
        progress: Progress | None = None,  # noqa: ARG002  (nothing travels)
    ) -> Fetched:
        """Return a file where it lies, verified; see `Source.fetch`."""
        with reporting_storage(self.root):
            found = self.root / path
            with self._open(path) as file:
                there = os.fstat(file.fileno()).st_size
                if size not in {None, there}:
                    raise IntegrityError(f"`{found}` has {there} bytes; expected {size}")
                fetched = Fetched(found, _sha256(file), there, owned=False)
        if sha256 not in {None, fetched.sha256}:
            # The hash of a secret file, which a stranger's lock names, is for no public log.
            has = f"SHA-256 {fetched.sha256}" if self.named_by is None else "another SHA-256"
            raise IntegrityError(f"`{found}` has {has}; expected {sha256}")
        return fetched

    def _open(self, path: str) -> FileIO:
        """Open a file; one that nobody named but a model must be no link, and is not followed.

        What a package manager installed is taken as it is: some install by links.

        Raises:
            NotFound: if there is no such file.
        """
        found = self.root / check_path(path)
        _check_plain(found, self.named_by)
        missing = NotFound(f"no file `{path}` in `{self.root}`")
        if path == self.name or self.url.startswith("pkg://"):
            if not found.is_file():
                raise missing
            return FileIO(found, opener=open_plain)
        model, who = self.root / (self.name or "model"), f"a file of `{self.root}`"
        try:
            return FileIO(open_beside(model, path, who))
        except NotFound:
            raise missing from None


def open_local(text: str, named_by: Namer | None = None) -> FolderSource:
    """Return the source of a local path or a ``file://`` URL; ``~`` is the user's home.

    Args:
        text: the path or the URL.
        named_by: what named it; what came over a network may name no file of this machine.
    """
    if named_by is not None and named_by.network is not None:
        raise Refused(
            f"{named_by.shown}, which came from {named_by.network}, names the file `{text}` here, "
            "which is not read",
            hint=f"if you trust it, name the file yourself: zoo pull {quote(text)}",
        )
    path = Path(text)
    if text.lower().startswith("file://"):
        host, _, rest = text.partition("://")[2].partition("/")
        if host not in {"", "localhost"}:
            raise UsageError(f"`{text}` names the host `{host}`; expected a local file")
        path = Path(url2pathname(f"/{rest}"))
    path = path.expanduser().absolute()
    _check_plain(path, named_by)
    return replace(_opened(str(path), path), named_by=named_by)


def open_package(text: str) -> FolderSource:
    """Return the source of ``pkg://package/path``; the package is found but not imported."""
    package, _, path = text.partition("://")[2].rstrip("/").partition("/")
    if not package.isidentifier():
        raise UsageError(f"`{text}` names no package; expected `pkg://package/path`")
    if path:
        check_path(path)
    spec = find_spec(package)
    for root in (spec and spec.submodule_search_locations) or ():
        if (found := Path(root) / path).exists():
            return _opened(f"pkg://{package}/{path}".rstrip("/"), found)
    if spec is None:
        hint = f"pip install {package}"
        raise NotFound(f"no package `{package}` is installed", hint=hint)
    raise NotFound(f"no file `{path}` in the installed package `{package}`")


def _opened(url: str, path: Path) -> FolderSource:
    try:
        if path.is_dir():
            return FolderSource(url, path, None)
        if path.is_file():
            return FolderSource(url, path.parent, path.name)
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
    raise NotFound(f"no file or folder `{path}`")


def _check_plain(path: Path, named_by: Namer | None) -> None:
    if named_by is not None and any(map(path.resolve().is_relative_to, _OF_SYSTEM)):
        raise Refused(f"{named_by.shown} names `{path}`, a file of the system, which is not read")


def _sha256(file: FileIO) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
