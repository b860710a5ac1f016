"""A repository on the Hugging Face Hub."""

import re
from functools import cached_property, partial
from typing import Self
from urllib.parse import quote, unquote

from onnxzoo.registry.core.errors import (
    IntegrityError,
    NotAuthorised,
    NotFound,
    RemoteError,
    UsageError,
    ZooError,
)
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.manifest import check_path
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import redact_url
from onnxzoo.registry.licenses.policy import spelled
from onnxzoo.zoo_index.download.download import Fetched, download
from onnxzoo.zoo_index.download.options import (
    download_limits,
    partial_path,
    require_network,
    session_with_retry_warning,
)
from onnxzoo.zoo_index.sources.hub_api import (
    TransientError,
    authorization,
    endpoint_of,
    gated,
    model_info,
    repository_of,
    retry,
)
from onnxzoo.zoo_index.sources.hub_cache import CachedRepository, cached_repository
from onnxzoo.zoo_index.sources.source import Listed

_log = logger()
_TEXT = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>refs/[^/]+/[^/]+|[^/]+))?(/(?P<file>.+))?",
    re.IGNORECASE | re.ASCII,
)
_LONGEST_WAIT = 10.0  # seconds before the API is asked again; a rate limit wants up to 300
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class HubSource:
    """A repository, at a revision or at ``main``; one file or folder of it, or all.

    Once its commit is known, from the API or from the first file's answer, every further file
    is taken from that commit. Where the Hub cannot be asked, what huggingface_hub's cache holds of
    it is taken; a file whose SHA-256 is known always is.
    """

    def __init__(
        self, repo: str, revision: str | None, file: str | None, settings: Settings
    ) -> None:
        self._repo = repo
        self._asked = revision
        self._file = check_path(file) if file else None
        self._settings = settings
        self._endpoint = endpoint_of(settings)
        self._commit: str | None = None
        self._license: str | None = None
        self._here: str | None = None  # the commit in the cache, where the Hub cannot be asked
        self._all: tuple[Listed, ...] | None = None  # of the commit, once it was asked

    @classmethod
    def parse(cls, text: str, settings: Settings) -> Self:
        """Parse ``hf://owner/repo[@revision][/file]``; a revision's ``/`` is written ``%2F``.

        Raises:
            UsageError: if the text is not of this form.
        """
        match = _TEXT.fullmatch(text.rstrip("/"))
        if match is None:
            raise UsageError(
                f"`{text}` is not a repository; expected `hf://owner/repo[@revision][/file]`"
            )
        return cls(match["repo"], unquote(match["revision"] or "") or None, match["file"], settings)

    @property
    def url(self) -> str:
        """``hf://owner/repo``."""
        return f"hf://{self._repo}"

    @property
    def revision(self) -> str | None:
        """The commit, once it is known."""
        return self._commit

    @property
    def license(self) -> str | None:
        """The licence of the repository's model card, once it was asked."""
        return self._license

    def means(self, path: str, revision: str | None) -> bool:
        """Tell whether this is the named file, if any, at the named commit, if any."""
        if self._file is not None and path != self._file and not path.startswith(f"{self._file}/"):
            return False
        if self._asked is None:
            return True
        return bool(_COMMIT.fullmatch(self._asked) and (revision or "").startswith(self._asked))

    def files(self) -> tuple[Listed, ...]:
        """Return the files with their sizes, and the SHA-256 of LFS files."""
        if self._file is None:
            return self.listing()
        below = tuple(f for f in self.listing() if f.path.startswith(f"{self._file}/"))
        return below or (self.beside(self._file),)

    def beside(self, path: str) -> Listed:
        """Return any file of the repository, with its size and, in LFS, its SHA-256."""
        found = next((file for file in self.listing() if file.path == path), None)
        if found is None:
            raise self._no_file(path)
        return found

    def fetch(
        self,
        path: str,
        *,
        sha256: str | None,
        size: int | None,
        progress: Progress | None = None,
    ) -> Fetched:
        """Return a verified file; the API is asked only to explain a failure."""
        if (kept := self._kept(path, sha256, progress)) is not None:
            return kept
        require_network(self._settings, self.url)
        revision = self._commit or self._asked or "main"
        url = f"{self._endpoint}/{self._repo}/resolve/{quote(revision, safe='')}/"
        try:
            with session_with_retry_warning() as session:
                fetched = download(
                    url + quote(check_path(path)),
                    partial_path(self._settings, self.url, path, sha256 or revision),
                    sha256=sha256,
                    size=size,
                    headers=authorization(self._settings),
                    label=path,
                    progress=progress,
                    limits=download_limits(self._settings),
                    session=session,
                )
        except (NotFound, NotAuthorised) as error:
            raise self._explained(error, path) from error
        self._commit = self._commit or fetched.headers.get("X-Repo-Commit")
        return fetched

    def listing(self) -> tuple[Listed, ...]:
        """Return all files of the repository; see `files`."""
        if self._all is None:
            self._all = self._ask()
        return self._all

    def _ask(self) -> tuple[Listed, ...]:
        """Ask the API for the revision's content, and keep its commit."""
        if self._settings.offline:
            if not (here := self._listed_here()):
                require_network(self._settings, self.url)
            return here
        ask = partial(model_info, self._repo, self._settings, revision=self._asked)
        try:
            told = repository_of(retry(ask, self._settings, longest=_LONGEST_WAIT))
        except TransientError as error:
            if not (here := self._listed_here()):
                raise
            _log.warning("%s; huggingface_hub's cache has `%s`", error.message, self.url)
            return here
        self._commit, self._license = told.commit, spelled(told.license)
        return told.files

    @cached_property
    def _cache(self) -> CachedRepository | None:
        return cached_repository(self._repo, self._settings.hub_cache)

    def _listed_here(self) -> tuple[Listed, ...]:
        """Return the cache's content of the revision, and keep its commit."""
        if self._cache is None:
            return ()
        self._here = self._cache.commit(self._asked or "main")
        self._commit = self._here
        return tuple(self._cache.files(self._here)) if self._here else ()

    def _kept(self, path: str, sha256: str | None, progress: Progress | None) -> Fetched | None:
        """Return a file from the cache, if it is there and may be taken from there."""
        if self._cache is None:
            return None
        if self._settings.offline and self._here is None:
            self._here = self._cache.commit(self._asked or "main")
        try:
            return self._cache.fetch(path, self._here, sha256, progress)
        except IntegrityError as error:
            if self._here is not None:
                raise
            _log.warning("%s; it is fetched again", error.message)
            return None

    def _explained(self, error: ZooError, path: str) -> ZooError:
        """Return the reason of a refused file: the API tells a missing one from a gated one."""
        try:
            self._ask()
        except RemoteError:
            return error
        except ZooError as known:
            return known
        if isinstance(error, NotAuthorised):
            return gated(self._endpoint, self.url)
        return self._no_file(path)

    def _no_file(self, path: str) -> NotFound:
        at = f"@{self._asked}" if self._asked else ""
        return NotFound(
            f"no file `{path}` in `{self.url}{at}`",
            hint=f"see {redact_url(self._endpoint)}/{self._repo}/tree/{self._asked or 'main'}",
        )
