"""A repository on the Hugging Face Hub."""

import re
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote

from onnxzoo.registry.errors import NotAuthorised, NotFound, RemoteError, UsageError, ZooError
from onnxzoo.registry.fetch import Fetched, download
from onnxzoo.registry.manifest import check_path
from onnxzoo.registry.records import Progress
from onnxzoo.registry.settings import Settings
from onnxzoo.registry.transport import asked_wait
from onnxzoo.zoo_index.listed import Listed, need_network, part_of, telling_session

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.errors import HfHubHTTPError

_TEXT = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>refs/[^/]+/[^/]+|[^/]+))?(/(?P<file>.+))?",
    re.IGNORECASE | re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
PUBLIC = "https://huggingface.co"
_LICENSE = "license:"  # begins the tag that the Hub makes of a model card's licence
_TIMEOUT = 30.0  # seconds for an answer of the API


class HubSource:
    """A repository, at a revision or at ``main``; one file of it, or all.

    Once its commit is known, from the API or from the first file's answer, every further file
    is taken from that commit.
    """

    def __init__(
        self, repo: str, revision: str | None, file: str | None, settings: Settings
    ) -> None:
        self._repo = repo
        self._asked = revision
        self._file = check_path(file) if file else None
        self._settings = settings
        self._endpoint = settings.endpoint or PUBLIC
        self._commit: str | None = None
        self._license: str | None = None
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
        if self._file not in {None, path}:
            return False
        if self._asked is None:
            return True
        return bool(_COMMIT.fullmatch(self._asked) and (revision or "").startswith(self._asked))

    def files(self) -> tuple[Listed, ...]:
        """Return the files with their sizes, and the SHA-256 of those in LFS."""
        return self._listing() if self._file is None else (self.beside(self._file),)

    def beside(self, path: str) -> Listed:
        """Return any file of the repository, with its size and, in LFS, its SHA-256."""
        found = next((file for file in self._listing() if file.path == path), None)
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
        need_network(self._settings, self.url)
        revision = self._commit or self._asked or "main"
        url = f"{self._endpoint}/{self._repo}/resolve/{quote(revision, safe='')}/"
        token = _token()
        try:
            with telling_session() as session:
                fetched = download(
                    url + quote(check_path(path)),
                    part_of(self._settings, self.url, path, sha256 or revision),
                    sha256=sha256,
                    size=size,
                    headers={"Authorization": f"Bearer {token}"} if token else None,
                    label=path,
                    progress=progress,
                    session=session,
                )
        except (NotFound, NotAuthorised) as error:
            raise self._explained(error, path) from error
        self._commit = self._commit or fetched.headers.get("X-Repo-Commit")
        return fetched

    def _listing(self) -> tuple[Listed, ...]:
        if self._all is None:
            self._all = tuple(
                Listed(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
                for file in self._ask().siblings or ()
            )
        return self._all

    def _ask(self) -> "ModelInfo":
        """Ask the API what the revision holds, and keep the commit that it stands for."""
        from huggingface_hub import HfApi

        # HTTPError is what its HTTP client raises: httpx or httpx2, by huggingface_hub's version.
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HfHubHTTPError,
            HFValidationError,
            HTTPError,
        )

        need_network(self._settings, self.url)
        try:
            info = HfApi(self._endpoint, library_name="onnxzoo").model_info(
                self._repo, revision=self._asked, files_metadata=True, timeout=_TIMEOUT
            )
        except HfHubHTTPError as error:
            raise refusal(error, self._endpoint, self.url, self._asked) from error
        except HFValidationError as error:
            raise UsageError(f"`{self._repo}` is not the name of a repository") from error
        except (HTTPError, OSError) as error:
            raise unreachable(self._endpoint) from error
        self._commit = info.sha
        self._license = next(
            (tag.removeprefix(_LICENSE) for tag in info.tags or () if tag.startswith(_LICENSE)),
            None,
        )
        return info

    def _explained(self, error: ZooError, path: str) -> ZooError:
        """Return what a refused file is due to: the API tells a missing one from a gated one."""
        try:
            self._ask()
        except RemoteError:
            return error
        except ZooError as known:
            return known
        if isinstance(error, NotAuthorised):
            return _gated(self._endpoint, self.url)
        return self._no_file(path)

    def _no_file(self, path: str) -> NotFound:
        at = f"@{self._asked}" if self._asked else ""
        return NotFound(
            f"no file `{path}` in `{self.url}{at}`",
            hint=f"see {self._endpoint}/{self._repo}/tree/{self._asked or 'main'}",
        )


def refusal(
    error: "HfHubHTTPError", endpoint: str, url: str, revision: str | None = None
) -> ZooError:
    """Return what an answer of the API stands for.

    Args:
        error: as huggingface_hub raised it.
        endpoint: which Hub was asked.
        url: ``hf://owner/repo`` or ``hf://owner``: what it was asked about.
        revision: that was asked for, if any.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return _gated(endpoint, url)
    if isinstance(error, RevisionNotFoundError):
        return NotFound(
            f"no revision `{revision}` of `{url}`",
            hint=f"see {endpoint}/{url.removeprefix('hf://')}/commits/main",
        )
    if isinstance(error, RepositoryNotFoundError) and status == 404:  # noqa: PLR2004
        return NotFound(f"no repository `{url}`, or none that your token may see")
    if isinstance(error, RepositoryNotFoundError):
        return NotAuthorised(
            f"`{url}` is private, or there is no such repository",
            hint="check its name; if it is private: hf auth login, or export HF_TOKEN=…",
        )
    if status in {401, 403}:
        return NotAuthorised(
            f"`{endpoint}` does not accept your token for `{url}`",
            hint="hf auth login, or export HF_TOKEN=…",
        )
    wait = asked_wait(error.response.headers)
    asked = f" and asks to wait {wait:.0f} s" if wait is not None else ""
    return RemoteError(f"`{endpoint}` answered {status}{asked}", hint="run it again later")


def unreachable(endpoint: str) -> RemoteError:
    """Return the error for a Hub that gives no answer."""
    return RemoteError(
        f"`{endpoint}` cannot be reached",
        hint="check the network; what is held can be used offline: zoo list",
    )


def _token() -> str | None:
    """Return the token that huggingface_hub would send; its headers cost a request of their own."""
    from huggingface_hub import constants, get_token

    return None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()


def _gated(endpoint: str, url: str) -> NotAuthorised:
    return NotAuthorised(
        f"`{url}` is gated: its files want an account that accepted its terms",
        hint=f"accept them at {endpoint}/{url.removeprefix('hf://')}, then: hf auth login, "
        "or export HF_TOKEN=…",
    )
