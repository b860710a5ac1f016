"""Read one HTTP response of a download: redirects, credentials, time limits, headers."""

import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from onnxzoo.registry.core.errors import NotAuthorised, NotFound, RemoteError
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.download.http_session import deadline, is_retryable, redirects_of, socket_of

if TYPE_CHECKING:
    import requests

_READ = 512 << 10  # bytes at a time; measured fastest from loopback, 128 KiB takes twice as long
# What the text of a failed connection says of its cause.
_CAUSES = {
    "NameResolutionError": "its name is not known",
    "refused": "it refused the connection",
    "unreachable": "there is no network",
    "No route": "there is no way to it",
    "BadStatusLine": "what it says is not HTTP",
    "LineTooLong": "its headers have no end",
    "more than": "it has too many headers",
    "cut off": "its headers were cut off",
}
_DIGITS = "[0-9]{1,18}"  # of a number of bytes or seconds: 2^59, which any disk and clock hold
_TOO_MANY_REQUESTS = 429
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits and numbers of retries.

    Attributes:
        connect: seconds for a connection to come about.
        read: seconds without a byte.
        rate: bytes per second, the least over each ``window`` seconds.
        attempts: requests in all, the first included.
        backoff: seconds before the second attempt, doubled for each further one.
        pause: seconds, the longest pause between attempts, whatever the server asks for.
        redirects: hops to follow.
        bytes: the most to take where the size is not known.
        lock: seconds to wait for another process that fetches the same file.
    """

    connect: float = 10.0
    read: float = 30.0
    rate: float = 1024.0
    window: float = 30.0
    attempts: int = 5
    backoff: float = 0.5
    pause: float = 60.0
    redirects: int = 5
    bytes: int = 1 << 40
    lock: float = 3600.0


class RetryableError(Exception):
    """An incomplete or failed response that may succeed when retried.

    Args:
        reason: what happened, for the message of the last attempt.
        wait: seconds that the server asked for, or None.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Response:
    """A response with an unread body.

    Attributes:
        url: who answered, without a query.
        status: the HTTP status.
        headers: of this answer.
        first: headers of the first answer, before any redirect.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    first: Mapping[str, str]
    _response: "requests.Response"
    _limits: Limits

    @property
    def length(self) -> int | None:
        """The length of the body in bytes, None where the server does not say."""
        return _number(self.headers.get("Content-Length", ""))

    @property
    def validator(self) -> str | None:
        """The validator for If-Range: a strong ETag, else the date of the last change."""
        etag = self.headers.get("ETag", "")
        strong = etag if etag.startswith('"') else None
        return strong or self.headers.get("Last-Modified")

    @property
    def range(self) -> tuple[int, int] | None:
        """The first byte's offset and the size of the whole, as Content-Range says."""
        text = self.headers.get("Content-Range", "").strip()
        match = re.fullmatch(rf"bytes ({_DIGITS})-{_DIGITS}/({_DIGITS})", text)
        return (int(match[1]), int(match[2])) if match else None

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            RetryableError: if it stalls, crawls or breaks off.
        """
        import urllib3

        longest, going = self._limits.window + self._limits.read, True
        try:
            with socket_of(self._response.raw.fileno()) as connection:
                while going:
                    with deadline(connection, longest):
                        going = yield from self._window()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RetryableError(_reason(error, self._limits)) from None

    def _window(self) -> Generator[bytes, None, bool]:
        """Yield the bytes of one time window, and return whether there may be more."""
        began, seen = time.monotonic(), 0
        while chunk := self._response.raw.read1(_READ, decode_content=False):
            yield chunk
            seen += len(chunk)
            if (passed := time.monotonic() - began) >= self._limits.window:
                _check_rate(seen / passed, self._limits)
                return True
        return False


@contextmanager
def open_response(
    session: "requests.Session",
    url: str,
    headers: Mapping[str, str],
    private: Mapping[str, str],
    limits: Limits,
) -> Iterator[Response]:
    """Give the answer to a GET, redirects followed within the scheme.

    Args:
        session: carries proxies and certificates.
        url: where to begin.
        headers: for every host.
        private: for the first host only; a redirect elsewhere leaves them behind for good.
        limits: time and hops.

    Raises:
        RetryableError: if there is no answer.
        RemoteError: if it redirects to another scheme or too often.
        Refused: if it leads from the internet into a network that only this machine reaches.
    """
    asked, first = url, None
    redirects_of(session).start()
    for _ in range(limits.redirects + 1):
        private = private if origin(url) == origin(asked) else {}
        response = _get(session, url, {**headers, **private}, limits)
        first = first or response.headers
        with response:
            if response.status_code not in _REDIRECTS:
                shown, status = redact_url(url), response.status_code
                yield Response(shown, status, response.headers, first, response, limits)
                return
            url = _next(url, response.headers.get("Location"))
    raise RemoteError(
        f"`{redact_url(asked)}` redirects more than {limits.redirects} times",
    )


def raise_for_status(answer: Response) -> None:
    """Raise the error for a status without the requested bytes.

    Raises:
        NotFound, NotAuthorised, RemoteError: as the status says.
        RetryableError: for a status that may pass.
    """
    said = f"`{answer.url}` answered {answer.status}"
    if answer.status in {200, 206}:
        return
    if is_retryable(answer.status):
        wait = retry_after(answer.status, answer.headers)
        asked = f" and asks to wait {wait:.0f} s" if wait is not None else ""
        raise RetryableError(f"answered {answer.status}{asked}", wait)
    if answer.status in {404, 410}:
        raise NotFound(f"{said}: there is no such file")
    if answer.status in {401, 403}:
        raise NotAuthorised(f"{said}: it wants other credentials")
    raise RemoteError(f"{said}; expected 200")


def refuse_encoded(answer: Response) -> None:
    """Raise RemoteError for an encoded body; identity was requested."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise RemoteError(f"`{answer.url}` sent `{encoding}` data; expected the bytes as they are")


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of a URL: the receiver of its credentials.

    Raises:
        RemoteError: if it is no URL.
    """
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise _not_askable(url) from None


def _get(
    session: "requests.Session", url: str, headers: Mapping[str, str], limits: Limits
) -> "requests.Response":
    import requests

    try:
        return session.get(
            url,
            headers=dict(headers),
            stream=True,
            allow_redirects=False,
            auth=_unchanged,
            timeout=(limits.connect, limits.read),
        )
    # Not chained: the text of these errors repeats the whole URL, signature included.
    except requests.exceptions.SSLError as error:
        if "WRONG_VERSION_NUMBER" in repr(error) or "record layer" in repr(error):
            plain = redact_url(url).replace("https:", "http:", 1)
            raise RemoteError(
                f"`{redact_url(url)}` does not speak TLS", hint=f"is it `{plain}`?"
            ) from None
        raise RemoteError(
            f"`{redact_url(url)}` has no certificate that this machine trusts",
            hint="behind a company's proxy: export REQUESTS_CA_BUNDLE=its-certificate.pem",
        ) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise RetryableError(_reason(error, limits)) from None
    except (requests.RequestException, ValueError) as error:
        if "SOCKS" in str(error):
            raise RemoteError(
                "a proxy that speaks SOCKS needs PySocks, which is not installed",
                hint="pip install pysocks",
            ) from None
        raise _not_askable(url) from None


def _not_askable(url: str) -> RemoteError:
    return RemoteError(f"`{redact_url(url)}` is not a URL that can be asked")


def _unchanged(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    """Stand in for requests' own authentication, which puts netrc's over ours on any host."""
    return request


def _next(url: str, location: str | None) -> str:
    if not location:
        raise RemoteError(f"`{redact_url(url)}` redirects without saying where")
    try:
        target = urljoin(url, location)
    except ValueError:
        raise RemoteError(f"`{redact_url(url)}` redirects to what is no URL") from None
    if urlsplit(target).scheme != urlsplit(url).scheme:
        raise RemoteError(
            f"`{redact_url(url)}` redirects to `{urlsplit(target).scheme}:`; "
            f"only `{urlsplit(url).scheme}:` is followed"
        )
    return target


def _reason(error: Exception, limits: Limits) -> str:
    import requests
    import urllib3

    late = (requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)
    if isinstance(error, late):
        return f"sent nothing for {limits.read:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "cannot be reached through the proxy"
    if isinstance(error, requests.ConnectionError):
        why = next((words for sign, words in _CAUSES.items() if sign in repr(error)), None)
        return f"cannot be reached ({why})" if why else "cannot be reached"
    return "broke the connection off"


def _check_rate(rate: float, limits: Limits) -> None:
    if rate < limits.rate:
        raise RetryableError(f"sent {rate:.0f} bytes a second; expected {limits.rate:.0f} at least")


def retry_after(status: int, headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks for.

    Source: RFC 9110, 10.2.3 (Retry-After). The Hub's ``RateLimit: "api";r=0;t=55`` comes with every
    answer; only where nothing is left is it why a request was refused.
    """
    text = headers.get("Retry-After", "").strip()
    if (seconds := _number(text)) is not None:
        return float(seconds)
    try:
        date = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        limit = re.search(rf";\s*r=0;\s*t=({_DIGITS})(?![0-9])", headers.get("RateLimit", ""))
        return float(limit[1]) if limit and status == _TOO_MANY_REQUESTS else None
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(_DIGITS, text) else None
