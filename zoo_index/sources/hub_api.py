"""Ask the Hub's API within bounds, check its responses, raise our errors.

We ask it ourselves, as huggingface_hub would: its client is one for a whole process, follows a
list to whatever host it names with the token, and takes answers of any size.
"""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urljoin

from onnxzoo.registry.core.errors import NotAuthorised, NotFound, RemoteError, UsageError, ZooError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.download.http_session import is_retryable, new_session
from onnxzoo.zoo_index.download.options import download_limits
from onnxzoo.zoo_index.download.response import (
    Response,
    RetryableError,
    open_response,
    origin,
    refuse_encoded,
    retry_after,
)
from onnxzoo.zoo_index.sources.source import Listed

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_PUBLIC = "https://huggingface.co"
_HEADERS = {"User-Agent": "onnxzoo", "Accept-Encoding": "identity"}
_LICENSE = "license:"  # begins the tag that the Hub makes of a model card's licence
_SILENCES = 4  # so often the time that a server may be silent is what a whole answer may take
_LARGEST = 32 << 20  # bytes of an answer; as JSON it may take thirty times that of memory
_HICCUP = 2.0  # seconds to wait before asking again
_TOO_OFTEN = 60.0  # where the Hub was asked too often and does not say how long to wait
_LONGEST_REASON = 200  # characters of what the Hub says
_PAGES = 20  # as many answers as a list may take; the zoo's takes 3
_MOST = 100_000  # repositories of a list
# What is raised where an answer is not JSON, or is JSON of something else.
_MISREAD = (ValueError, TypeError, LookupError, AttributeError, RecursionError, MemoryError)
T = TypeVar("T")


class TransientError(RemoteError):
    """The Hub gave no answer, and asking again may help.

    Args:
        message: what happened.
        hint: the next step.
        wait: seconds to wait before.
    """

    def __init__(self, message: str, *, hint: str, wait: float) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Repository:
    """The content of a revision, and its commit."""

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
    """Return the repository in huggingface_hub's response, which may be anything.

    Raises:
        ValueError, TypeError, AttributeError: if it is not what the API answers.
    """
    files = tuple(
        Listed(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or ()
    )
    tags = [tag for tag in info.tags or () if tag.startswith(_LICENSE)]
    return Repository(str(info.sha), tags[0].removeprefix(_LICENSE) if tags else None, files)


def _need(holds: Any) -> None:
    if not holds:
        raise ValueError


def endpoint_of(settings: Settings) -> str:
    """Return which Hub is asked."""
    return settings.endpoint or _PUBLIC


def authorization(settings: Settings) -> dict[str, str]:
    """Return the header that huggingface_hub would send: of ``HF_ENDPOINT``, else the token.

    Raises:
        NotAuthorised: if no header can hold the token.

    Source: httpx, ``_build_request_auth``, for a name and a password in a URL.
    """
    from huggingface_hub import constants, get_token

    if found := re.match("https?://([^/?#]+)@", endpoint_of(settings)):
        name, _, password = found[1].partition(":")
        words = f"{unquote(name)}:{unquote(password)}".encode()
        return {"Authorization": f"Basic {b64encode(words).decode()}"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise NotAuthorised(
            "your token for the Hub has characters that no token has",
            hint="hf auth login, or export HF_TOKEN=…",
        )
    return {"Authorization": f"Bearer {token}"} if token else {}


def model_info(repo: str, settings: Settings, *, revision: str | None = None) -> "ModelInfo":
    """Ask for a repository's content; return a `Repository`.

    Raises:
        NotFound, NotAuthorised, RemoteError: as the Hub says.
        UsageError: if the name cannot be a repository's.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UsageError(f"`{repo}` is not the name of a repository") from error
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    url = f"{endpoint_of(settings)}/api/models/{repo}{at}?blobs=true"
    with _understood(settings):
        info = _info(_answer(url, settings, f"hf://{repo}", revision)[0])
        repository_of(info)
        return info


def list_models(owner: str, settings: Settings) -> "list[ModelInfo]":
    """Ask for all repositories of an owner, with their commits and when they changed last.

    Raises:
        NotAuthorised, RemoteError: as the Hub says.
    """
    items: list[Any] = []
    url = f"{endpoint_of(settings)}/api/models?author={owner}&expand=sha&expand=lastModified"
    with _understood(settings):
        for _ in range(_PAGES):
            page, following = _answer(url, settings, f"hf://{owner}")
            items += page
            _need(len(items) <= _MOST)
            if following is None:
                return [_info(item) for item in items]
            url = following
    raise RemoteError(f"`{redact_url(url)}` has more than {_PAGES} pages")


def _info(told: Any) -> "ModelInfo":
    from huggingface_hub import ModelInfo
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    info = ModelInfo(**told)  # type: ignore[no-untyped-call]
    validate_repo_id(info.id)
    return info


def retry(
    call: Callable[[], T],
    settings: Settings,
    *,
    longest: float,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call the Hub, as often as the settings say where that may help.

    Args:
        call: asks the Hub.
        settings: how often.
        longest: seconds to wait before asking again; where the Hub wants more, that is the end.
        sleep: waits a number of seconds.
    """
    for _ in range(settings.attempts - 1):
        try:
            return call()
        except TransientError as error:
            if error.wait > longest:
                raise
            sleep(error.wait)
    return call()


@contextmanager
def _understood(settings: Settings) -> Iterator[None]:
    try:
        yield
    except _MISREAD as error:
        raise RemoteError(
            f"what `{_shown(settings)}` answers is not what the Hub's API answers",
            hint="look at HF_ENDPOINT, and at what a proxy may put in the way",
        ) from error


def _shown(settings: Settings) -> str:
    return redact_url(endpoint_of(settings))


def _answer(
    url: str, settings: Settings, about: str, revision: str | None = None
) -> tuple[Any, str | None]:
    """Return a response's content, and the URL of its next page, if there is one."""
    limits, hub = download_limits(settings), _shown(settings)
    try:
        with (
            new_session() as session,
            open_response(session, url, _HEADERS, authorization(settings), limits) as answer,
        ):
            if answer.status != 200:  # noqa: PLR2004
                raise _refusal(answer, hub, about, revision)
            refuse_encoded(answer)
            return json.loads(_body(answer, hub, settings.timeout * _SILENCES)), _next(answer, url)
    except RetryableError as interrupted:
        raise TransientError(
            f"`{hub}` {interrupted.reason}",
            hint="check the network; what is held can be used offline: zoo list",
            wait=_HICCUP,
        ) from interrupted


def _body(answer: Response, hub: str, seconds: float) -> bytes:
    body, until = bytearray(), time.monotonic() + seconds
    for chunk in answer.chunks():
        body += chunk
        if len(body) > _LARGEST:
            raise RemoteError(f"`{hub}` sends more than {_LARGEST} bytes")
        if time.monotonic() > until:
            raise RemoteError(
                f"`{hub}` gave no whole answer in {seconds:g} s",
                hint="run it again later, or allow more: export ZOO_TIMEOUT=…",
            )
    return bytes(body)


def _next(answer: Response, url: str) -> str | None:
    """Return the next page's URL (RFC 8288), which gets the token and so is of the same host."""
    from requests.utils import parse_header_links

    links = parse_header_links(answer.headers.get("Link", ""))
    following = next((link["url"] for link in links if link.get("rel") == "next"), None)
    if following is None:
        return None
    target = urljoin(url, following)
    if origin(target) != origin(url):
        raise RemoteError(
            f"`{redact_url(url)}` goes on at `{redact_url(target)}`; "
            "only the same host and scheme are followed"
        )
    return target


def _refusal(answer: Response, hub: str, about: str, revision: str | None) -> ZooError:
    """Return the error for a status.

    Source: huggingface_hub's ``hf_raise_for_status``, for the header X-Error-Code.
    """
    status, code = answer.status, answer.headers.get("X-Error-Code")
    said, name = answer.headers.get("X-Error-Message"), about.removeprefix("hf://")
    if code == "GatedRepo":
        return gated(hub, about)
    if code == "RevisionNotFound":
        return NotFound(
            f"no revision `{revision}` of `{about}`", hint=f"see {hub}/{name}/commits/main"
        )
    if status in {404, 410}:
        asked = f"{about}@{revision}" if revision else about
        return NotFound(f"`{hub}` has no `{asked}`, or none that your token may see")
    refused = said == "Invalid credentials in Authorization header"
    if code == "RepoNotFound" or (status == 401 and not refused):  # noqa: PLR2004
        return NotAuthorised(
            f"`{about}` is private, or there is no such repository",
            hint="check its name; if it is private: hf auth login, or export HF_TOKEN=…",
        )
    if status in {401, 403}:
        return NotAuthorised(
            f"`{hub}` refuses `{about}`{_reason(answer) or ': it does not accept your token'}",
            hint=f"see {hub}/{name}; for another token: hf auth login, or export HF_TOKEN=…",
        )
    return _status(answer, hub)


def _status(answer: Response, hub: str) -> RemoteError:
    wait = retry_after(answer.status, answer.headers)
    asked = f" and asks to wait {wait:.0f} s" if wait is not None else ""
    said, hint = f"`{hub}` answered {answer.status}{asked}{_reason(answer)}", "run it again later"
    if not is_retryable(answer.status):
        return RemoteError(said, hint=hint)
    if wait is None:
        wait = _TOO_OFTEN if answer.status == 429 else _HICCUP  # noqa: PLR2004
    return TransientError(said, hint=hint, wait=wait)


def _reason(answer: Response) -> str:
    said = answer.headers.get("X-Error-Message")
    return f": {said[:_LONGEST_REASON]}" if said else ""


def gated(endpoint: str, url: str) -> NotAuthorised:
    """Return the error for a gated repository."""
    return NotAuthorised(
        f"`{url}` is gated: its files want an account that accepted its terms",
        hint=f"accept them at {redact_url(endpoint)}/{url.removeprefix('hf://')}, then: "
        "hf auth login, or export HF_TOKEN=…",
    )
