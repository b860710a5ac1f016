"""Where bytes come from: ``hf://``, ``https://``, ``pkg://`` and local paths, alike to callers."""

import re
from typing import Protocol

from onnxzoo.registry.errors import UsageError
from onnxzoo.registry.fetch import Fetched
from onnxzoo.registry.peers import Namer
from onnxzoo.registry.records import Progress
from onnxzoo.registry.settings import Settings
from onnxzoo.zoo_index.archives import ArchiveSource, names_archive
from onnxzoo.zoo_index.hub import HubSource
from onnxzoo.zoo_index.listed import Listed
from onnxzoo.zoo_index.local import open_local, open_package
from onnxzoo.zoo_index.web import WebSource

__all__ = ["Fetched", "Listed", "Source", "open_source"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


class Source(Protocol):
    """A place that holds files; nothing is asked of it before `files` or `fetch`."""

    @property
    def url(self) -> str:
        """The canonical text to record: no revision, no secret."""

    @property
    def revision(self) -> str | None:
        """The commit, once it is known; None where a source has no such thing."""

    @property
    def license(self) -> str | None:
        """The licence that the source states, once it was asked; None where it states none."""

    def means(self, path: str, revision: str | None) -> bool:
        """Tell, without asking, whether the source surely means this file at this revision."""

    def files(self) -> tuple[Listed, ...]:
        """Return the files that the source means, by path.

        Raises:
            NotFound, NotAuthorised, RemoteError: if it has none, or does not tell.
        """

    def beside(self, path: str) -> Listed:
        """Return what is known of a file that the graph names, beside the one that is meant.

        Raises:
            NotFound, NotAuthorised, RemoteError: if the source tells, and has none.
        """

    def fetch(
        self,
        path: str,
        *,
        sha256: str | None,
        size: int | None,
        progress: Progress | None = None,
    ) -> Fetched:
        """Return one verified file; a sibling of a file that the source names can be had too.

        Args:
            path: the file's path inside the source.
            sha256: what it must hash to, in hexadecimal; None takes the bytes as they come.
            size: its size in bytes, None if not known.
            progress: told of the bytes that arrive.

        Raises:
            IntegrityError: if hash or size differ.
            NotFound, NotAuthorised, RemoteError: if it cannot be had.
            Refused: if the path leads out of the source.
            StorageError: if the disk refuses.
        """


def open_source(text: str, settings: Settings, named_by: Namer | None = None) -> Source:
    """Return the source that a text names.

    Args:
        text: ``hf://owner/repo[@revision][/file]``, ``https://…/model.onnx``,
            ``pkg://package/path``, ``file://…`` or a local path; a file or a folder; or a bundle
            in a `.zoo` file, ``https://…/models.zoo#sha256:…``.
        settings: the Hub's endpoint, the folder of downloads, offline or not.
        named_by: what named it in the place of the user, who may name any address and file.

    Raises:
        UsageError: if the text is none of these.
        Refused: for ``http://`` to another machine, a path that climbs out, or what an index or a
            lock may not name.
        NotFound: if a local file or a package is not there.
    """
    if names_archive(text):
        return ArchiveSource(text, settings, named_by)
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else "file"
    if scheme == "hf":
        return HubSource.parse(text, settings)
    if scheme in {"https", "http"}:
        return WebSource(text, settings, named_by)
    if scheme == "pkg":
        return open_package(text)
    if scheme == "file":
        return open_local(text, named_by)
    raise UsageError(
        f"`{scheme}://` is not a kind of source; "
        "expected `hf://`, `https://`, `pkg://` or a local path"
    )
