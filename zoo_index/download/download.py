"""One resumable, verified download."""

import hashlib
import os
import random
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import IntegrityError, RemoteError, ZooError
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.text import redact_url, show_size
from onnxzoo.zoo_index.download.http_session import new_session
from onnxzoo.zoo_index.download.partial_file import PartialFile
from onnxzoo.zoo_index.download.response import (
    Limits,
    Response,
    RetryableError,
    open_response,
    raise_for_status,
    refuse_encoded,
)

if TYPE_CHECKING:
    import requests

_REPORT = 0.1  # seconds between two reports of progress
_HEADERS = {"User-Agent": "onnxzoo", "Accept": "*/*", "Accept-Encoding": "identity"}
_SHARE = 2  # the part of free space that a file may take of which nobody says the size
_LEFT = 60.0  # seconds; whoever fetched a file takes it at once, or was killed
_OTHER_BYTES = "its source holds other bytes now, or something on the way changed them"
_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file.

    Attributes:
        path: where it lies.
        sha256: hexadecimal.
        bytes: its size.
        owned: the caller may move it away; otherwise it is somebody's own and must be copied.
        headers: of the first answer, before any redirect; empty if nothing had to be asked.
    """

    path: Path
    sha256: str
    bytes: int
    owned: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


class _Endless(RemoteError):
    """A response without a size that is larger than the free space."""


class WebPage(IntegrityError):
    """A page for people instead of the file."""


@dataclass(frozen=True, slots=True)
class _Job:
    url: str
    sha256: str | None
    size: int | None
    private: Mapping[str, str]
    label: str
    progress: Progress | None
    limits: Limits
    start: int | None = None

    @property
    def shown(self) -> str:
        return redact_url(self.url)


def download(
    url: str,
    part: Path,
    *,
    sha256: str | None,
    size: int | None,
    headers: Mapping[str, str] | None = None,
    label: str | None = None,
    progress: Progress | None = None,
    limits: Limits = _NO_LIMITS,
    session: "requests.Session | None" = None,
    start: int | None = None,
) -> Fetched:
    """Download a file, resuming an earlier attempt, and verify it before use.

    The verified file is synced and then renamed: ``X.part`` becomes ``X`` where the hash was
    given, a name of its own where it was not or where another process could not be locked out.
    It is the caller's to move away. Callers that ask for the same part at once wait for the
    first and copy its file if it still lies there; one that was left there is handed out.
    What is not finished stays as ``X.part`` with a journal ``X.part.json``.

    Args:
        url: http or https.
        part: the part file, its name ending in ``.part``; one for each content.
        sha256: what it must hash to, in hexadecimal; None takes the bytes as they come.
        size: bytes; None if not known.
        headers: sent to the URL's own host only, such as ``Authorization``.
        label: what progress calls the file; None takes the last part of the URL.
        progress: told of bytes done, those of an earlier call included.
        limits: time, attempts, redirects and size.
        session: carries proxies, certificates and connections; None for a fresh one.
        start: fetch `size` bytes from here on, of a larger file; None for all of it.

    Raises:
        IntegrityError: if hash or size differ; the bytes are thrown away.
        NotFound, NotAuthorised: as the server says.
        RemoteError: for whatever else the network does; what arrived is kept.
        StorageError: if the disk refuses.
    """
    label = label or redact_url(url).rpartition("/")[2]
    job = _Job(url, sha256, size, headers or {}, label, progress, limits, start)
    with reporting_storage(part.parent):
        part.parent.mkdir(parents=True, exist_ok=True)
    with _session(session) as http, _claimed(part, limits) as own:
        shared = own == part
        finished = part.with_suffix("")
        if shared and sha256 and (there := _already(finished, sha256)):
            return there
        final = finished if shared and sha256 else _private(finished)
        with PartialFile(own, job.shown, keep=shared) as bytes_so_far:
            return _obtained(http, job, bytes_so_far, final)


@contextmanager
def _session(given: "requests.Session | None") -> Iterator["requests.Session"]:
    if given is not None:
        yield given
        return
    with new_session() as session:
        yield session


@contextmanager
def _claimed(part: Path, limits: Limits) -> Iterator[Path]:
    """Give the part file once nobody else writes to it, or a private one if that is not sure."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{part}.lock", timeout=limits.lock)
    try:
        lock.acquire()
    except (Timeout, OSError, NotImplementedError):
        yield _private(part)
        return
    try:
        yield part if _excludes(Path(lock.lock_file)) else _private(part)
    finally:
        lock.release()


def _excludes(path: Path) -> bool:
    """Tell whether a held lock keeps others out; on some network file systems it does not."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _private(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{secrets.token_hex(4)}{path.suffix}")


def _already(finished: Path, sha256: str) -> Fetched | None:
    """Return another caller's download, synced, unless it was moved away meanwhile.

    A copy, while that caller may be about to take the file; the file itself if it was left lying.
    """
    with reporting_storage(finished.parent):
        try:
            left = time.time() - finished.stat().st_mtime > _LEFT
            theirs = finished if left else _private(finished)
            if not left:
                shutil.copyfile(finished, theirs)
            with theirs.open("rb+") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                    _sync_or_remove(file.fileno(), theirs)
                    return Fetched(theirs, sha256, theirs.stat().st_size)
        except FileNotFoundError:
            return None
        theirs.unlink()
    return None


def _sync_or_remove(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise


def _obtained(http: "requests.Session", job: _Job, part: PartialFile, final: Path) -> Fetched:
    try:
        first = _persist(http, job, part)
        if part.pieces > 1 and job.sha256 not in {None, part.sha256()}:
            part.restart()  # an earlier piece may be what is wrong
            first = _persist(http, job, part)
        _check(job, part)
    except WebPage:
        raise  # a login in the way says nothing of the bytes so far
    except (IntegrityError, _Endless):
        part.discard()
        raise
    part.publish(final)
    return Fetched(final, part.sha256(), part.done, headers=first)


def _check(job: _Job, part: PartialFile) -> None:
    if job.size not in {None, part.done}:
        raise IntegrityError(
            f"`{job.shown}` has {part.done} bytes; expected {job.size}", hint=_OTHER_BYTES
        )
    if job.sha256 not in {None, part.sha256()}:
        raise IntegrityError(
            f"`{job.shown}` has SHA-256 {part.sha256()}; expected {job.sha256}",
            hint=_OTHER_BYTES,
        )


def _persist(http: "requests.Session", job: _Job, part: PartialFile) -> Mapping[str, str]:
    """Ask until the whole body is there; return the headers of the first answer."""
    for attempt in range(1, job.limits.attempts + 1):
        try:
            return _attempt(http, job, part)
        except RetryableError as interrupted:
            reason = interrupted
        if attempt < job.limits.attempts:
            time.sleep(_pause(job.limits, attempt, reason.wait))
    kept = f"; {show_size(part.done)} are kept" if part.done else ""
    raise RemoteError(
        f"`{job.shown}` {reason.reason}, after {job.limits.attempts} attempts{kept}",
        hint="run it again: it goes on where it stopped"
        if part.done
        else "check the network and the proxy; what is held can be used offline: zoo list",
    ) from reason


def _pause(limits: Limits, attempt: int, wait: float | None) -> float:
    if wait is None:
        wait = limits.backoff * 2 ** (attempt - 1) * random.SystemRandom().uniform(1.0, 1.25)
    return min(wait, limits.pause)


def _attempt(http: "requests.Session", job: _Job, part: PartialFile) -> Mapping[str, str]:
    if part.done and part.done == job.size:
        return _headers(http, job, part)
    if part.done and not (part.validator or job.sha256):
        part.restart()  # nothing would tell other bytes from these
    with open_response(http, job.url, _asked(job, part), job.private, job.limits) as answer:
        total = _begin(answer, job, part)
        _receive(answer, job, part, total)
        return answer.first


def _headers(http: "requests.Session", job: _Job, part: PartialFile) -> Mapping[str, str]:
    """Return the first response's headers, if all bytes are there but not the headers.

    The last byte is asked for and not read; a server that cannot say costs nothing but that.
    """
    asked = {**_HEADERS, "Range": f"bytes={(job.start or 0) + part.done - 1}-"}
    with (
        suppress(RetryableError, ZooError),
        open_response(http, job.url, asked, job.private, job.limits) as a,
    ):
        raise_for_status(a)
        return a.first
    return {}


def _asked(job: _Job, part: PartialFile) -> dict[str, str]:
    headers = dict(_HEADERS)
    if job.start is not None and job.size is not None:
        headers["Range"] = f"bytes={job.start + part.done}-{job.start + job.size - 1}"
    elif part.done:
        headers["Range"] = f"bytes={part.done}-"
    if part.done and part.validator:
        headers["If-Range"] = part.validator
    return headers


def _begin(answer: Response, job: _Job, part: PartialFile) -> int | None:
    """Check a response's head against the request; return the size of the whole file."""
    if answer.status == 416 and part.done:  # noqa: PLR2004
        part.restart()
        raise RetryableError("has no such range", 0)
    raise_for_status(answer)
    refuse_encoded(answer)
    _refuse_page(answer)
    total = answer.length
    if answer.status == 206:  # noqa: PLR2004
        total = _resumed(answer, job, part)
    elif job.start is not None and part.done:
        part.restart()
        raise RetryableError("is another file now", 0)
    elif job.start is not None:
        raise RemoteError(
            f"`{answer.url}` cannot be read in parts: its server does not support range requests",
            hint=f"take all of it: zoo import {job.shown}",
        )
    else:
        part.restart(answer.validator)
    if job.size is not None and total not in {None, job.size}:
        raise _wrong_size(job, answer, total, f"{job.size}")
    part.pieces += 1
    return job.size if total is None else total


def _wrong_size(job: _Job, answer: Response, found: int | None, expected: str) -> IntegrityError:
    """Return the error for a file by the URL that was asked; a CDN's says nothing to a user."""
    by = "" if answer.url == job.shown else f" (from `{answer.url}`)"
    return IntegrityError(
        f"`{job.shown}`{by} has {found} bytes; expected {expected}", hint=_OTHER_BYTES
    )


def _refuse_page(answer: Response) -> None:
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise WebPage(
            f"what `{answer.url}` sends is an HTML page, not a model",
            hint="open it in a browser: it may want a login",
        )


def _resumed(answer: Response, job: _Job, part: PartialFile) -> int:
    first, total = answer.range or (-1, 0)
    changed = part.done and part.validator and answer.validator not in {None, part.validator}
    if first != (job.start or 0) + part.done or changed:
        part.restart()
        raise RetryableError("sent another range than it was asked for", 0)
    if job.start is None or job.size is None:
        return total
    if total < job.start + job.size:
        raise _wrong_size(job, answer, total, f"{job.start + job.size} at least")
    if not part.done:
        part.restart(answer.validator)
    return job.size


def _receive(answer: Response, job: _Job, part: PartialFile, total: int | None) -> None:
    most = total
    if most is None:
        room = shutil.disk_usage(part.path.parent).free // _SHARE
        most = min(job.limits.bytes, part.done + room)
    reported = 0.0
    for chunk in answer.chunks():
        if part.done + len(chunk) > most:
            raise _too_long(answer, job, total, most)
        part.append(chunk)
        if job.progress and (now := time.monotonic()) - reported >= _REPORT:
            job.progress(job.label, part.done, total)
            reported = now
    if total is not None and part.done < total:
        raise RetryableError(f"sent {part.done} bytes of {total}")
    if job.progress:
        job.progress(job.label, part.done, part.done)


def _too_long(
    answer: Response, job: _Job, total: int | None, most: int
) -> IntegrityError | RemoteError:
    if total is None and most < job.limits.bytes:
        return _Endless(
            f"`{answer.url}` says no size and sent {most} bytes, which is half of what was free",
            hint="free some space if the file is that large, or get it in another way",
        )
    kind = IntegrityError if job.size is not None else RemoteError
    return kind(f"`{answer.url}` sends more than {most} bytes")
