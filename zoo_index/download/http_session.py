"""The session that requests are made with: no cookies, no redirects, and it tells of failures."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from onnxzoo.zoo_index.download.peers import Hops, Namer, kind_of, kind_of_host

if TYPE_CHECKING:
    import requests

_MAY_PASS = {408, 425, 429}  # and every 5xx
_OF_SERVER = range(500, 1000)
_SILENCES = 2  # so often the time that a server may be silent is what whole headers may take
_LONG = 30.0  # seconds, where nobody set such a time


def is_retryable(status: int) -> bool:
    """Tell whether the same request may be answered otherwise the next time.

    >>> is_retryable(429), is_retryable(404)
    (True, False)
    """
    return status in _MAY_PASS or status in _OF_SERVER


def new_session(
    tell: Callable[[str, str], None] = lambda _url, _reason: None,
    named_by: Namer | None = None,
) -> "requests.Session":
    """Return a session that keeps no cookies and leaves redirects to its caller.

    Left to itself, requests reads the whole body of a redirect, however long, even where it is
    not to follow it.

    Args:
        tell: called with the URL and the reason where asking again may help.
        named_by: who named the addresses that are asked; None for the user.
    """
    from http.cookiejar import DefaultCookiePolicy

    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
            return None

        def get(self, url: str | bytes, **kwargs: Any) -> requests.Response:
            try:
                response = super().get(url, **kwargs)
            except requests.exceptions.SSLError:  # is not asked again
                raise
            except requests.Timeout:
                tell(str(url), "gave no answer in time")
                raise
            except requests.ConnectionError:
                tell(str(url), "cannot be reached")
                raise
            if is_retryable(response.status_code):
                tell(str(url), f"answered {response.status_code}")
            return response

    session = Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.hops = hops = Hops(named_by)  # type: ignore[attr-defined]
    _guard_connections(session, hops)
    return session


def redirects_of(session: "requests.Session") -> Hops:
    """Return the redirects of a session."""
    hops: Hops = getattr(session, "hops", None) or Hops()
    return hops


def _guard_connections(session: "requests.Session", hops: Hops) -> None:
    """Let every connection of a session, also through a proxy, be a guarded one."""
    from requests.adapters import HTTPAdapter

    own = _guarded(hops)

    def guarded(manager: Any, *, direct: bool) -> Any:
        """Let a manager, also a proxy's with classes of its own, make such connections."""
        pools = {}
        for scheme, pool in manager.pool_classes_by_scheme.items():
            connection = type("Connection", (own, pool.ConnectionCls), {"direct": direct})
            pools[scheme] = type("Pool", (pool,), {"ConnectionCls": connection})
        manager.pool_classes_by_scheme = pools
        return manager

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *words: Any, **more: Any) -> None:
            super().init_poolmanager(*words, **more)
            guarded(self.poolmanager, direct=True)

        def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
            known = self.proxy_manager.get(proxy)
            return known or guarded(super().proxy_manager_for(proxy, **more), direct=False)

    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())


def _guarded(hops: Hops) -> Any:
    """Return a connection with bounded headers, restricted to allowed addresses.

    Left to itself, every read of headers has its own time, and http.client takes a connection that
    ends within the headers for their end. The address is that of the connection, not what a name
    stood for when somebody looked it up; behind a proxy, which looks names up, it is the URL's.
    """
    from http.client import HTTPResponse, RemoteDisconnected

    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Whole(HTTPResponse):
        def begin(self) -> None:
            file = self.fp
            lines: Any = _Lines(file)
            self.fp = lines
            try:
                super().begin()
            finally:
                self.fp = file
            if not lines.last:
                raise RemoteDisconnected("headers cut off")

    class Guarded(HTTPConnection):
        response_class = Whole
        direct = True  # no proxy is between

        def putrequest(self, method: str, url: str, *words: Any, **more: Any) -> None:
            if self.sock is None:
                self.connect()
            host = getattr(self, "_tunnel_host", None) or urlsplit(url).hostname or self.host
            kind = kind_of(self.sock.getpeername()[0]) if self.direct else kind_of_host(host)
            own = "https" if isinstance(self, HTTPSConnection) else "http"
            hops.check(host, kind, encrypted=(urlsplit(url).scheme or own) == "https")
            super().putrequest(method, url, *words, **more)

        def getresponse(self) -> Any:
            if self.sock is None:
                raise RemoteDisconnected("closed before an answer")
            seconds = _SILENCES * (self.timeout or _LONG)
            with socket_of(self.sock.fileno()) as connection, deadline(connection, seconds):
                return super().getresponse()

    return Guarded


class _Lines:
    """The lines of a file, the last of which is remembered: empty at the end of the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""

    def readline(self, limit: int) -> bytes:
        self.last = self._file.readline(limit)
        return self.last

    def close(self) -> None:
        self._file.close()


def socket_of(descriptor: int) -> socket.socket:
    """Return a socket to shut down; a TLS socket itself would then hand out encrypted bytes."""
    return socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)


@contextmanager
def deadline(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection off once the time is up.

    Raises:
        TimeoutError: if that was done.
    """
    late = threading.Event()

    def stop() -> None:
        late.set()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be about to cut off what goes on being used
        if late.is_set():  # even if it went well: what was cut off reads as what is over
            raise TimeoutError
