"""Define the interface of sources: listed files, and their bytes."""

from dataclasses import dataclass
from typing import Protocol

from onnxzoo.registry.core.records import Progress
from onnxzoo.zoo_index.download.download import Fetched


@dataclass(frozen=True, slots=True)
class Listed:
    """A file inside a source: its path there, its size and SHA-256 where the source tells."""

    path: str
    bytes: int | None
    sha256: str | None


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
        """Return the known facts on a file named by the graph, beside the main one.

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
