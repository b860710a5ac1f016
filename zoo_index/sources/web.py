"""A file on any web server, kept by pooch and moved by our own download."""

import base64
import ipaddress
import re
from pathlib import Path
from secrets import token_hex
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.manifest import check_path
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.download.download import Fetched, download
from onnxzoo.zoo_index.download.options import (
    download_limits,
    partial_path,
    require_network,
    session_with_retry_warning,
)
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.sources.source import Listed

# Query parameters that grant access, as S3, GCS, Azure and others sign with.
_SECRET = re.compile(r"(sig|signature|token|key|credential|auth|password|expires)", re.IGNORECASE)


class WebSource:
    """A file by its URL; its external data is looked for beside it.

    Args:
        text: the URL.
        settings: whether the network may be touched, and where part files lie.
        named_by: who named the URL; None for the user.

    Attributes:
        says_onnx: whether the URL's path ends in `.onnx`, or `.zoo`; else it is called so here.

    Raises:
        UsageError: if the URL names no file.
        Refused: for http to another machine.
    """

    def __init__(self, text: str, settings: Settings, named_by: Namer | None = None) -> None:
        parts = _split(text)
        self._name = name = unquote(parts.path.rpartition("/")[2])
        self.says_onnx = name.lower().endswith((".onnx", ".zoo"))
        self._settings = settings
        self._named_by = named_by
        self._headers = authorization(parts.username, parts.password)
        self._full = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        if not parts.hostname or not self._name:
            raise _no_file(text)
        if not self.says_onnx:  # what it is called here; its content tells whether it is one
            self._name += ".onnx"
        if parts.scheme != "https" and not is_loopback(parts.hostname):
            raise Refused(
                f"`{redact_url(text)}` is not encrypted; expected `https://`",
                hint=f"https://{redact_url(text).partition('://')[2]}",
            )
        check_path(self._name)

    @property
    def url(self) -> str:
        """The URL, without a query that grants access."""
        query = urlsplit(self._full).query
        return redact_url(self._full) if _SECRET.search(query) else self._full

    @property
    def revision(self) -> None:
        """None: a web server has no commits."""

    @property
    def license(self) -> None:
        """None: a web server states no licence."""

    def means(self, path: str, revision: str | None) -> bool:  # noqa: ARG002  (a Source's)
        """Tell whether the file is the one that the URL names."""
        return path == self._name

    def files(self) -> tuple[Listed, ...]:
        """Return the file that the URL names; its size and hash nobody tells."""
        return (self.beside(self._name),)

    def beside(self, path: str) -> Listed:
        """Return a file by its path alone: a web server gives no hash."""
        return Listed(path, None, None)

    def fetch(
        self,
        path: str,
        *,
        sha256: str | None,
        size: int | None,
        progress: Progress | None = None,
    ) -> Fetched:
        """Return the file, or one beside it, verified; see `Source.fetch`."""
        import pooch

        beside = urljoin(redact_url(self._full), quote(check_path(path)))
        url = self._full if path == self._name else beside
        require_network(self._settings, redact_url(url))
        part = partial_path(self._settings, url, sha256)
        arrived: list[Fetched] = []

        def move(_url: str, output: str, _pooch: object) -> None:
            with session_with_retry_warning(self._named_by) as session:
                arrived.append(
                    download(
                        url,
                        part,
                        sha256=sha256,
                        size=size,
                        headers=self._headers,
                        label=path,
                        progress=progress,
                        limits=download_limits(self._settings),
                        session=session,
                    )
                )
            arrived[0].path.replace(output)

        pooch.get_logger().setLevel("WARNING")  # it tells every download on stderr
        with reporting_storage(part.parent):
            kept = pooch.retrieve(
                redact_url(url),
                known_hash=f"sha256:{sha256}" if sha256 else None,
                fname=f"{part.stem}-{token_hex(4)}",
                path=part.parent,
                downloader=move,
            )
        return Fetched(Path(kept), arrived[0].sha256, arrived[0].bytes)

    def span(
        self,
        start: int,
        size: int,
        *,
        sha256: str | None = None,
        label: str | None = None,
        progress: Progress | None = None,
    ) -> Fetched:
        """Return some bytes of the file that the URL names, without the rest.

        Raises:
            RemoteError: if the server gives no parts of files.
        """
        require_network(self._settings, redact_url(self._full))
        with session_with_retry_warning(self._named_by) as session:
            return download(
                self._full,
                partial_path(self._settings, self._full, f"{start}+{size}", sha256),
                sha256=sha256,
                size=size,
                headers=self._headers,
                label=label,
                progress=progress,
                limits=download_limits(self._settings),
                session=session,
                start=start,
            )


def authorization(user: str | None, password: str | None) -> dict[str, str]:
    """Return the header that a URL's user and password stand for (RFC 7617)."""
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        sound = parts.port != 0
    except ValueError as error:
        raise _no_file(text) from error
    if not sound:
        raise _no_file(text)
    return parts


def _no_file(text: str) -> UsageError:
    return UsageError(f"`{redact_url(text)}` names no file; expected `https://host/…/model.onnx`")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, where nobody listens on the way."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
