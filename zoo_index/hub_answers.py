"""What the Hub's API answers: asked within bounds, checked, its refusals as errors of ours."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from onnxzoo.registry.errors import NotAuthorised, NotFound, RemoteError, UsageError, ZooError
from onnxzoo.registry.transport import asked_wait, without_query
from onnxzoo.zoo_index.listed import Listed

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.errors import HfHubHTTPError

_LICENSE = "license:"  # begins the tag that the Hub makes of a model card's licence
_SILENCES = 4  # so often the time that a server may be silent is what a whole answer may take
# What huggingface_hub raises where the answer is not JSON, or is JSON of something else.
_MISREAD = (ValueError, TypeError, LookupError, AttributeError, RecursionError, MemoryError)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Repository:
    """What a revision holds, and the commit that it stands for."""

    commit: str
    license: str | None
    files: tuple[Listed, ...]

    def __post_init__(self) -> None:
        _need(re.fullmatch("[0-9a-f]{40}", self.commit))
        for file in self.files:
            _need(isinstance(file.path, str))
            _need(file.bytes is None or (type(file.bytes) is int and file.bytes >= 0))
            _need(file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256))


def repository_of(info: "ModelInfo") -> Repository:
    """Return what huggingface_hub made of an answer, which may be anything.

    Raises:
        ValueError, TypeError, AttributeError: if it is not what the API answers.
    """
    files = tuple(
        Listed(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or ()
    )
    tags = [tag for tag in info.tags or () if tag.startswith(_LICENSE)]
    return Repository(str(info.sha), tags[0].removeprefix(_LICENSE) if tags else None, files)


def calling(
    call: Callable[[], T],
    endpoint: str,
    url: str,
    silence: float,
    *,
    answers: int = 1,
    revision: str | None = None,
) -> T:
    """Call the API and return what it gives.

    Args:
        call: asks huggingface_hub, whose own limit is on every read: a server that sends a byte
            now and then would never end.
        endpoint: which Hub is asked.
        url: ``hf://owner/repo`` or ``hf://owner``: what it is asked about.
        silence: seconds that a server may send nothing.
        answers: how many it may take.
        revision: that is asked for, if any.

    Raises:
        NotFound, NotAuthorised, RemoteError: as the Hub says.
        UsageError: if the repository's name cannot be one.
    """
    # HTTPError is what its HTTP client raises: httpx or httpx2, by huggingface_hub's version.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
    )

    try:
        return _within(silence * _SILENCES * answers, call, endpoint)
    except ZooError:
        raise
    except HfHubHTTPError as error:
        raise refusal(error, endpoint, url, revision) from error
    except HFValidationError as error:
        name = url.removeprefix("hf://")
        raise UsageError(f"`{name}` is not the name of a repository") from error
    except (HTTPError, OSError) as error:
        raise unreachable(endpoint) from error
    except _MISREAD as error:
        raise RemoteError(
            f"what `{without_query(endpoint)}` answers is not what the Hub's API answers",
            hint="look at HF_ENDPOINT, and at what a proxy may put in the way",
        ) from error


def _within(seconds: float, call: Callable[[], T], endpoint: str) -> T:
    from huggingface_hub import close_session

    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001  (raised again by whoever waits)
            outcome.set_exception(error)

    threading.Thread(target=run, name="onnxzoo-hub", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError:
        if outcome.done():
            raise
        close_session()  # ends the thread at its next byte
        raise RemoteError(
            f"`{without_query(endpoint)}` gave no whole answer in {seconds:g} s",
            hint="run it again later, or allow more: export ZOO_TIMEOUT=…",
        ) from None


def _need(holds: Any) -> None:
    if not holds:
        raise ValueError


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

    status, endpoint = error.response.status_code, without_query(endpoint)
    if isinstance(error, GatedRepoError):
        return gated(endpoint, url)
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
        f"`{without_query(endpoint)}` cannot be reached",
        hint="check the network; what is held can be used offline: zoo list",
    )


def gated(endpoint: str, url: str) -> NotAuthorised:
    """Return the error for a repository whose terms are to be accepted first."""
    return NotAuthorised(
        f"`{url}` is gated: its files want an account that accepted its terms",
        hint=f"accept them at {without_query(endpoint)}/{url.removeprefix('hf://')}, then: "
        "hf auth login, or export HF_TOKEN=…",
    )
