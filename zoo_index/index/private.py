"""Fetch private indexes, and keep the last answer of each."""

import hashlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

from onnxzoo.registry.core.errors import (
    IntegrityError,
    Refused,
    RemoteError,
    StorageError,
    ZooError,
)
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.names import slug
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.download.download import WebPage, download
from onnxzoo.zoo_index.download.http_session import redirects_of
from onnxzoo.zoo_index.download.options import (
    download_limits,
    partial_path,
    session_with_retry_warning,
)
from onnxzoo.zoo_index.download.peers import GLOBAL
from onnxzoo.zoo_index.index.entry import Entry, dump
from onnxzoo.zoo_index.index.index import MEND, NETWORK, Index
from onnxzoo.zoo_index.index.zoo_entries import entries_at, entries_below
from onnxzoo.zoo_index.sources.web import authorization, is_loopback
from onnxzoo.zoo_index.sources.zoo_file import SUFFIX

_LARGEST = 256 << 20  # bytes of an index that is fetched


def open_private(where: str, settings: Settings) -> Index:
    """Return the index of a path or URL in `ZOO_INDEX`."""
    if "://" not in where:
        path = Path(where).expanduser()
        if path.suffix != SUFFIX and not path.is_dir():
            return Index(path, slug(path.stem), trusted=False)
        return Index(path, slug(path.stem), trusted=False, read=partial(entries_below, path))
    name = slug(Path(urlsplit(where).path).stem)
    fetch = partial(fetch_index, where, settings)
    return Index(cached_path(where, settings), name, trusted=False, url=where, fetch=fetch)


def cached_path(url: str, settings: Settings) -> Path:
    """Return where an index that has a URL is kept."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return settings.cache / "indexes" / f"{digest}.jsonl"


def fetch_index(url: str, settings: Settings) -> None:
    """Fetch a private index again and keep it, if every line of it is sound.

    Raises:
        RemoteError: if it cannot be had; what was kept before stays.
        IntegrityError: if it is a page for people, such as the listing of a folder.
        Refused: if the URL is not https, or a line is malformed.
    """
    parts, shown = urlsplit(url), redact_url(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise Refused(f"the index `{shown}` is not an https URL", hint=MEND)
    if settings.offline:
        raise RemoteError(
            f"the index `{shown}` is not here yet, and offline mode forbids asking",
            hint="allow the network once, or take the index out of ZOO_INDEX",
        )
    path = cached_path(url, settings)
    try:
        if parts.path.endswith(SUFFIX):
            _write_lines(entries_at(url, settings), path)
            return
        with session_with_retry_warning() as session:
            fetched = download(
                parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl(),
                partial_path(settings, "index", url),
                sha256=None,
                size=None,
                headers=authorization(parts.username, parts.password),
                limits=download_limits(settings, most=_LARGEST),
                session=session,
            )
            network = redirects_of(session).first
    except StorageError:
        raise
    except WebPage as error:
        raise IntegrityError(
            f"cannot fetch the index: `{shown}` is an HTML page",
            hint="if it is a folder, name its .zoo files one by one in ZOO_INDEX; "
            "else open it in a browser: it may want a login",
        ) from error
    except ZooError as error:
        raise type(error)(
            f"cannot fetch the index: {error.message}", hint=error.hint or MEND
        ) from error
    with reporting_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            Index(fetched.path, path.stem, trusted=False, url=url).status()
            path.with_suffix(NETWORK).write_text(network or GLOBAL, encoding="utf-8")
            fetched.path.replace(path)
        finally:
            fetched.path.unlink(missing_ok=True)


def _write_lines(entries: Iterable[Entry], path: Path) -> None:
    """Keep entries as an index, in one step."""
    with reporting_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{token_hex(4)}")
        part.write_text("".join(f"{dump(entry)}\n" for entry in entries), encoding="utf-8")
        part.replace(path)
