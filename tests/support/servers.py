"""A loopback server of bytes on a socket, and what a server may do wrong, as a table.

`BEHAVIOURS` is for whatever answers with a file, `OF_API` for what answers with JSON besides,
`OF_LIST` for what answers with pages of a list.
"""

import gzip
import json
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

OK, MISSING, INTEGRITY, REFUSED, REMOTE, STORAGE, UNAUTHORISED = 0, 3, 4, 5, 6, 7, 10
_BLOCK = 1 << 16  # bytes
_ENDLESS = bytes(_BLOCK)
_DRIP = 0.05  # seconds between two bytes
_NAME = 3  # the kind of a SOCKS address
_PATIENCE = 30.0  # seconds that a server does nothing at most


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    raw: bytes


class Exchange:
    """One request and the socket that its answer goes to.

    Attributes:
        body: what a sound server would answer with.
        start: the first byte that is asked for.
        other: the URL of another server that holds the same.
        next: the path of a list's next page, if there is one.
    """

    def __init__(self, server: "Server", connection: socket.socket, request: Request) -> None:
        self.request = request
        self.body = server.content.get(request.path.partition("?")[0], b"")
        self.other = server.other
        self.next = server.next.get(request.path.partition("?")[0])
        self.released = server.released
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        self.ranged = asked is not None
        self.start = int(asked[1]) if asked else 0
        self.end = int(asked[2]) + 1 if asked and asked[2] else len(self.body)
        self._connection = connection

    def raw(self, content: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(content)

    def head(self, status: int, *headers: tuple[str, object]) -> None:
        """Send a status line and headers; the connection ends with the answer."""
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers)]
        self.raw("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))

    def drip(self, content: bytes) -> None:
        """Send a byte now and then."""
        for byte in content:
            if self.released.wait(_DRIP):
                return
            self.raw(bytes([byte]))

    def forever(self, block: bytes = _ENDLESS) -> None:
        """Send without an end."""
        while not self.released.is_set():
            self.raw(block)

    def hang(self) -> None:
        """Send nothing more."""
        self.released.wait(_PATIENCE)

    def reset(self) -> None:
        """Break the connection, as a crash does."""
        linger = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._connection.close()


Answer = Callable[[Exchange], None]


class Server:
    """A server on ``127.0.0.1``: sound, but for the requests that a behaviour strikes.

    Args:
        content: bodies by path.
        tls: speaks TLS with this.
    """

    def __init__(self, content: Mapping[str, bytes], *, tls: ssl.SSLContext | None = None) -> None:
        self.content = dict(content)
        self.requests: list[Request] = []
        self.other = ""
        self.next: dict[str, str] = {}
        self.released = threading.Event()
        self._tls = tls
        self._answer: Answer | None = None
        self._where = re.compile("")
        self._times = 0
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def strike(self, answer: Answer | None, where: str = "", times: int = -1) -> None:
        """Let a behaviour answer so many requests whose path has a pattern; None ends it."""
        with self._lock:
            self.released.set()  # what an earlier one still sends
            self.released = threading.Event()
            self._answer, self._where, self._times = answer, re.compile(where), times

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, accepted: socket.socket) -> None:
        with suppress(OSError), accepted, self._spoken(accepted) as connection:
            connection.settimeout(_PATIENCE)
            request = _read(connection)
            if request is None:
                return
            self.requests.append(request)
            exchange = Exchange(self, connection, request)
            self._struck(request)(exchange)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.2)
            while connection.recv(_BLOCK):  # closing with bytes unread would reset it
                pass

    def _spoken(self, accepted: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted

    def _struck(self, request: Request) -> Answer:
        with self._lock:
            if self._answer and self._times and self._where.search(request.path):
                self._times -= 1
                return self._answer
        return self._sound

    def _sound(self, exchange: Exchange) -> None:
        path = exchange.request.path.partition("?")[0]
        if path not in self.content:
            return exchange.head(404, ("Content-Length", 0))
        return sound(exchange)


class Proxy(Server):
    """A proxy for HTTP, with CONNECT, or for SOCKS 5.

    Attributes:
        reached: where it connected to, as it was told.

    Source: RFC 9112, 3.2 (request targets); RFC 1928.
    """

    def __init__(self, *, socks: bool = False, tls: ssl.SSLContext | None = None) -> None:
        super().__init__({}, tls=tls)
        self.reached: list[tuple[str, int]] = []
        self._greet = _socks if socks else _http

    def _converse(self, accepted: socket.socket) -> None:
        with suppress(OSError), accepted, self._spoken(accepted) as near:
            host, port, said, first = self._greet(near)
            self.reached.append((host, port))
            with socket.create_connection((host, port)) as far:
                near.sendall(said)
                far.sendall(first)
                _relay(near, far)


def _http(near: socket.socket) -> tuple[str, int, bytes, bytes]:
    """Return host and port, what the client is told, and what goes on to the host."""
    request = _read(near)
    if request is None:
        raise ConnectionResetError
    if request.raw.startswith(b"CONNECT "):
        host, _, port = request.path.partition(":")
        return host, int(port), b"HTTP/1.1 200 Connected\r\n\r\n", b""
    parts = urlsplit(request.path)
    there = f"{parts.scheme}://{parts.netloc}".encode()
    return parts.hostname or "", parts.port or 80, b"", request.raw.replace(there, b"", 1)


def _socks(near: socket.socket) -> tuple[str, int, bytes, bytes]:
    methods = near.recv(2)[1]
    near.recv(methods)
    near.sendall(b"\x05\x00")
    kind = near.recv(4)[3]
    raw = near.recv(near.recv(1)[0]) if kind == _NAME else near.recv(4)
    host = raw.decode() if kind == _NAME else socket.inet_ntoa(raw)
    return host, int.from_bytes(near.recv(2)), b"\x05\x00\x00\x01" + bytes(6), b""


def _relay(near: socket.socket, far: socket.socket) -> None:
    """Pass on what either side sends until the far one ends; in one thread, as TLS takes no two."""
    speaking = [near, far]
    while True:
        held = [one for one in speaking if isinstance(one, ssl.SSLSocket) and one.pending()]
        for one in held or select.select(speaking, [], [])[0]:
            block = one.recv(_BLOCK)
            if block:
                (far if one is near else near).sendall(block)
            elif one is far:
                return
            else:
                speaking.remove(near)
                far.shutdown(socket.SHUT_WR)


def _read(connection: socket.socket) -> Request | None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        more = connection.recv(_BLOCK)
        if not more:
            return None
        raw += more
    first, *lines = raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    return Request(words[1] if len(words) > 1 else "", headers, raw)


# Answers. `_part` gives the headers of the answer that was asked for, whole or a range.


def sound(exchange: Exchange) -> None:
    """Answer as a sound server does."""
    status, headers = _part(exchange)
    exchange.head(status, *headers, *(_leading(exchange.next) if exchange.next else ()))
    exchange.raw(exchange.body[exchange.start : exchange.end])


def _leading(url: str) -> tuple[tuple[str, object], ...]:
    return (("Link", f'<{url}>; rel="next"'),)


ETAG = ("ETag", '"one"')


def _part(exchange: Exchange) -> tuple[int, list[tuple[str, object]]]:
    length = ("Content-Length", exchange.end - exchange.start)
    if not exchange.ranged:
        return 200, [ETAG, length]
    total = len(exchange.body)
    said = f"bytes {exchange.start}-{exchange.end - 1}/{total}"
    return 206, [ETAG, length, ("Content-Range", said)]


def whole(exchange: Exchange) -> None:
    """Answer 200 and everything to a range."""
    exchange.head(200, ETAG, ("Content-Length", len(exchange.body)))
    exchange.raw(exchange.body)


def ranged(said: str | None) -> Answer:
    """Answer 206 with this Content-Range; ``{}`` in it are the start, the end, the total."""

    def answer(exchange: Exchange) -> None:
        total = len(exchange.body)
        sent = exchange.body[exchange.start : exchange.end]
        text = (said or "").format(exchange.start, exchange.end - 1, total)
        shown = [("Content-Range", text)] if said is not None else []
        exchange.head(206, ETAG, ("Content-Length", len(sent)), *shown)
        exchange.raw(sent)

    return answer


def changed(exchange: Exchange) -> None:
    """Answer with other bytes of the same length under another ETag, whatever If-Range says."""
    status, headers = _part(exchange)
    exchange.head(status, ("ETag", '"two"'), *headers[1:])
    exchange.raw(bytes(byte ^ 255 for byte in exchange.body[exchange.start : exchange.end]))


def wrong(exchange: Exchange) -> None:
    """Answer with wrong bytes of the right length."""
    status, headers = _part(exchange)
    exchange.head(status, *headers)
    exchange.raw(bytes(exchange.end - exchange.start))


def length(said: object, more: int = 0) -> Answer:
    """Answer with this Content-Length (a number is added to the right one), and bytes more."""

    def answer(exchange: Exchange) -> None:
        status, headers = _part(exchange)
        right = exchange.end - exchange.start
        headers[1] = ("Content-Length", right + said if isinstance(said, int) else said)
        exchange.head(status, *headers)
        exchange.raw(exchange.body[exchange.start : exchange.end][: right + min(more, 0)])
        exchange.raw(bytes(max(more, 0)))

    return answer


def cut(exchange: Exchange) -> None:
    """Close the connection in the middle of what is left."""
    status, headers = _part(exchange)
    exchange.head(status, *headers)
    exchange.raw(exchange.body[exchange.start : (exchange.start + exchange.end) // 2])


def reset(exchange: Exchange) -> None:
    """Reset the connection in the middle of what is left."""
    cut(exchange)
    exchange.reset()


def stalls(exchange: Exchange) -> None:
    """Send the half of what is left, then nothing."""
    cut(exchange)
    exchange.hang()


def drips(exchange: Exchange) -> None:
    """Send the half of what is left, then a byte now and then."""
    cut(exchange)
    exchange.drip(exchange.body[(exchange.start + exchange.end) // 2 : exchange.end])


def drips_head(exchange: Exchange) -> None:
    """Send headers a byte now and then, without an end."""
    exchange.raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    exchange.drip(b"a" * 60_000)


def slow_head(exchange: Exchange) -> None:
    """Send a header a byte now and then, for some seconds, and then what is right."""
    exchange.raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    exchange.drip(b"a" * 60)
    exchange.raw(b"\r\nContent-Length: %d\r\n\r\n%b" % (len(exchange.body), exchange.body))


def endless(exchange: Exchange) -> None:
    """Send a body without an end or a length."""
    exchange.head(206 if exchange.ranged else 200, *_part(exchange)[1][2:])
    exchange.forever()


def endless_redirect(exchange: Exchange) -> None:
    """Redirect, with a body without an end."""
    exchange.head(302, ("Location", "/elsewhere"))
    exchange.forever()


def endless_continue(exchange: Exchange) -> None:
    """Say ``100 Continue`` without an end."""
    exchange.forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def endless_head(exchange: Exchange) -> None:
    """Send a header line without an end."""
    exchange.raw(b"HTTP/1.1 200 OK\r\nX-Long: ")
    exchange.forever(b"a" * _BLOCK)


def many_headers(exchange: Exchange) -> None:
    """Send ten thousand headers."""
    exchange.head(200, *((f"X-{number}", "x") for number in range(10_000)))


def zipped(exchange: Exchange) -> None:
    """Send gzip that was not asked for."""
    sent = gzip.compress(exchange.body)
    exchange.head(200, ETAG, ("Content-Encoding", "gzip"), ("Content-Length", len(sent)))
    exchange.raw(sent)


def bomb(exchange: Exchange) -> None:
    """Send a little gzip that stands for a lot."""
    sent = gzip.compress(bytes(1 << 24))
    kinds = (("Content-Encoding", "gzip"), ("Content-Type", "application/json"))
    exchange.head(200, ETAG, *kinds, ("Content-Length", len(sent)))
    exchange.raw(sent)


def to(location: str, status: int = 302) -> Answer:
    """Redirect; ``{other}`` is another server, ``{path}`` the path that was asked for."""

    def answer(exchange: Exchange) -> None:
        path = exchange.request.path.partition("?")[0]
        target = location.format(other=exchange.other, path=path)
        exchange.head(status, ("Location", target), ("Content-Length", 0))

    return answer


def says(status: int, *headers: tuple[str, object], body: bytes = b"{}") -> Answer:
    """Answer a status."""

    def answer(exchange: Exchange) -> None:
        exchange.head(status, *headers, ("Content-Length", len(body)))
        exchange.raw(body)

    return answer


def sends(content: bytes) -> Answer:
    """Send bytes that need not be HTTP."""
    return lambda exchange: exchange.raw(content)


def page(exchange: Exchange) -> None:
    """Send a page for people."""
    body = b"<html><h1>Sign in</h1></html>"
    kind = ("Content-Type", "text/html; charset=utf-8")
    exchange.head(200, kind, ("Content-Length", len(body)))
    exchange.raw(body)


def chunks(content: bytes) -> Answer:
    """Send a body in chunks, as broken as they are; ``ab`` in them stands for what comes next."""

    def answer(exchange: Exchange) -> None:
        head = ("Transfer-Encoding", "chunked")
        status, headers = _part(exchange)
        exchange.head(status, ETAG, head, *headers[2:])
        exchange.raw(b"%x\r\n%b\r\n" % (100, exchange.body[exchange.start :][:100]))
        exchange.raw(content.replace(b"ab", exchange.body[exchange.start + 100 :][:2]))

    return answer


def chunks_then(more: bytes = b"", endless: bytes = b"", drips: bytes = b"") -> Answer:
    """Send a whole body in one chunk, then more, this without an end or that now and then."""

    def answer(exchange: Exchange) -> None:
        status, headers = _part(exchange)
        exchange.head(status, ETAG, ("Transfer-Encoding", "chunked"), *headers[2:])
        sent = exchange.body[exchange.start : exchange.end]
        exchange.raw(b"%x\r\n%b\r\n%b" % (len(sent), sent, more))
        exchange.drip(drips)
        if endless:
            exchange.forever(endless)

    return answer


# What is right for a resume need not be right for a first request: two sets of exit codes.
Codes = frozenset[int]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a server does, and how a command may end that meets it in every attempt.

    Attributes:
        first: exit codes where it strikes a first request.
        resumed: where it strikes the request that goes on.
    """

    name: str
    answer: Answer
    first: Codes
    resumed: Codes


def _row(name: str, answer: Answer, *first: int, resumed: tuple[int, ...] = ()) -> Behaviour:
    return Behaviour(name, answer, frozenset(first), frozenset(resumed or first))


_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_WAITS = {
    "seconds": "0", "past date": "Wed, 21 Oct 2015 07:28:00 GMT", "negative": "-5",
    "nonsense": "soon", "absurd": "9" * 400, "end of time": "Fri, 31 Dec 9999 23:59:59 -2300",
    "no such year": "Fri, 31 Dec 99999 23:59:59 GMT",
    "begin of time": "Mon, 1 Jan 0001 00:00 +2300",
}  # fmt: skip
_NO_LENGTH = "9" * 5000  # more digits than Python makes an int of

BEHAVIOURS = (
    _row("200 for 206", whole, OK),
    _row("206 from the wrong start", ranged("bytes 7-{1}/{2}"), REMOTE),
    _row("206 of another total", ranged("bytes {0}-{1}/17"), INTEGRITY, REMOTE),
    _row("206 of a total that is no number", ranged("bytes {0}-{1}/x"), REMOTE),
    _row("206 of an unknown total", ranged("bytes {0}-{1}/*"), REMOTE, resumed=(OK, REMOTE)),
    _row("206 of a total too long to read", ranged("bytes {0}-{1}/" + _NO_LENGTH), REMOTE),
    _row("206 of nonsense", ranged("nonsense"), REMOTE),
    _row("206 without Content-Range", ranged(None), REMOTE),
    _row("changed ETag and bytes", changed, INTEGRITY, resumed=(INTEGRITY, REMOTE)),
    _row("wrong bytes", wrong, INTEGRITY),
    _row("length too small", length(-9), INTEGRITY, resumed=(REMOTE,)),
    _row("length too large", length(9), INTEGRITY, REMOTE),
    _row("length that is no number", length("many"), OK),
    _row("negative length", length("-1"), OK),
    _row("length too long to read", length(_NO_LENGTH), OK, INTEGRITY, REMOTE),
    _row("body too short", length(0, more=-9), REMOTE),
    _row("body too long", length(9, more=9), INTEGRITY, REMOTE),
    _row("empty body", says(200, body=b""), INTEGRITY, REMOTE),
    _row("204", says(204, body=b""), REMOTE),
    _row("endless body", endless, INTEGRITY, REMOTE, STORAGE),
    _row("cut", cut, REMOTE),
    _row("reset", reset, REMOTE),
    _row("stalls", stalls, REMOTE),
    _row("drips", drips, REMOTE),
    _row("drips its head", drips_head, REMOTE),
    _row("gzip", zipped, REMOTE),
    _row("redirect with an endless body", endless_redirect, MISSING, REMOTE),
    _row("100 Continue without end", endless_continue, REMOTE),
    _row("redirect loop", to("{path}"), REMOTE),
    _row("redirect to a file", to("file:///etc/hostname"), REMOTE),
    _row("redirect to another scheme", to("https://127.0.0.1:1/m.onnx"), REMOTE),
    _row("redirect to data", to("data:text/plain,hello"), REMOTE),
    _row("redirect to nonsense", to("http://[::1/m.onnx"), REMOTE),
    _row("redirect nowhere", says(302), REMOTE),
    _row("redirect to another host", to("{other}{path}"), OK),
    _row("redirect to a name and a password", to("http://a:canary-theirs@127.0.0.1:1/"), REMOTE),
    _row("redirect with 307", to("{other}{path}", 307), OK),
    *(_row(f"{status}", says(status), UNAUTHORISED) for status in (401, 403)),
    *(_row(f"{status}", says(status), MISSING) for status in (404, 410)),
    *(_row(f"{status}", says(status), REMOTE) for status in (400, 418, 600, *_MAY_PASS)),
    *(_row(f"wait {name}", says(429, ("Retry-After", text)), REMOTE)
      for name, text in _WAITS.items()),
    _row("wait by rate limit", says(429, ("RateLimit", '"api";r=0;t=' + "9" * 400)), REMOTE),
    _row("TLS", sends(b"\x15\x03\x01\x00\x02\x02\x46" + bytes(64)), REMOTE),
    _row("no HTTP", sends(b"220 mail.example.org ESMTP\r\n"), REMOTE),
    _row("nothing", sends(b""), REMOTE),
    _row("half a head", sends(b"HTTP/1.1 200 OK\r\nContent-Le"), REMOTE),
    _row("half a number in a head", sends(b"HTTP/1.1 200 OK\r\nContent-Length: 20"), REMOTE),
    _row("head cut between lines", sends(b"HTTP/1.1 200 OK\r\nETag: \"one\"\r\n"), REMOTE),
    _row("half a status", sends(b"HTTP/1.1 20"), REMOTE),
    _row("status of no number", sends(b"HTTP/1.1 abc OK\r\n\r\n"), REMOTE),
    _row("header line without end", endless_head, REMOTE),
    _row("ten thousand headers", many_headers, REMOTE),
    _row("HTML page", page, INTEGRITY),
    _row("chunk cut", chunks(b"ff\r\nab"), REMOTE),
    _row("chunk of no size", chunks(b"zz\r\nab\r\n"), REMOTE),
    _row("chunk of a negative size", chunks(b"-5\r\nab\r\n0\r\n\r\n"), REMOTE, INTEGRITY),
    _row("chunk too large", chunks(b"f" * 400 + b"\r\nab"), REMOTE, INTEGRITY),
    _row("chunks without trailer", chunks(b"0\r\n"), REMOTE, INTEGRITY),
    _row("trailer without end", chunks_then(b"0\r\n", endless=b"X-More: x\r\n" * 1000), REMOTE),
    _row("trailer that drips", chunks_then(b"0\r\n", drips=b"X: y\r\n" * 9999), REMOTE),
    _row("chunk size that drips", chunks_then(drips=b"0" * 60_000), REMOTE),
)  # fmt: skip


def tells(value: object) -> Answer:
    """Answer with JSON, or with bytes that should be."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()

    def answer(exchange: Exchange) -> None:
        kind = ("Content-Type", "application/json")
        exchange.head(200, kind, ("Content-Length", len(body)))
        exchange.raw(body)

    return answer


def leads(location: str) -> Answer:
    """Answer with an empty list whose next page is there; ``{other}`` is another server."""

    def answer(exchange: Exchange) -> None:
        link = _leading(location.format(other=exchange.other))
        says(200, *link, body=b"[]")(exchange)

    return answer


_LFS = {"sha256": "0" * 64, "size": 7, "pointerSize": 134}
_SIBLING = {"rfilename": "m.onnx", "size": 7, "blobId": "0" * 40, "lfs": _LFS}


def _info(**more: object) -> dict[str, object]:
    return {"id": "o/r", "sha": "0" * 40, "siblings": [_SIBLING], "tags": []} | more


def _sibling(**more: object) -> Answer:
    return tells(_info(siblings=[{**_SIBLING, **more}]))


OF_API = (
    _row("not JSON", tells(b"<xml/>"), REMOTE),
    _row("half of JSON", tells(b'{"id": "o/r", "sib'), REMOTE),
    _row("bytes that are no text", tells(b"\xff\xfe\x00" * 9), REMOTE),
    _row("huge JSON", tells(b'{"id": "' + b"a" * (64 << 20) + b'"}'), REMOTE),
    _row("deep JSON", tells(b"[" * 200_000 + b"]" * 200_000), REMOTE),
    _row("number too long", tells(b'{"id": ' + b"9" * 6000 + b"}"), REMOTE),
    *(_row(f"JSON of {value!r}", tells(value), REMOTE) for value in (None, 7, "text", [], [1])),
    _row("no keys", tells({}), REMOTE),
    _row("no files", tells(_info(siblings=None)), REFUSED, REMOTE),
    _row("siblings of a wrong type", tells(_info(siblings=7)), REMOTE),
    _row("siblings of numbers", tells(_info(siblings=[1, 2])), REMOTE),
    _row("siblings without names", tells(_info(siblings=[{}])), REMOTE),
    _row("names of a wrong type", _sibling(rfilename=7), REMOTE),
    _row("size of a wrong type", _sibling(size="7"), REMOTE),
    _row("negative size", _sibling(size=-7), REMOTE),
    _row("lfs of a wrong type", _sibling(lfs=7), REMOTE),
    _row("lfs without a hash", _sibling(lfs={"size": 7}), REMOTE),
    _row("lfs hash too short", _sibling(lfs={**_LFS, "sha256": "ab"}), REMOTE),
    _row("lfs hash of a wrong type", _sibling(lfs={**_LFS, "sha256": 7}), REMOTE),
    _row("lfs hash that climbs", _sibling(lfs={**_LFS, "sha256": "../" * 21 + "x"}), REMOTE),
    _row("commit of a wrong type", tells(_info(sha=7)), REMOTE),
    _row("commit that climbs", tells(_info(sha="../../x")), REMOTE),
    _row("no commit", tells({k: v for k, v in _info().items() if k != "sha"}), REMOTE),
    _row("tags of a wrong type", tells(_info(tags=[7, None])), REMOTE),
    _row("path that climbs", _sibling(rfilename="../m.onnx"), REFUSED, REMOTE),
    _row("absolute path", _sibling(rfilename="/etc/m.onnx"), REFUSED, REMOTE),
    _row("path with an escape", _sibling(rfilename="a\x1b[2Jb.onnx"), REFUSED, REMOTE),
    _row("gzip bomb", bomb, REMOTE),
)  # fmt: skip

OF_LIST = (
    _row("list of numbers", tells([1, 2]), REMOTE),
    _row("list of nothing", tells([{}]), REMOTE),
    _row("list of names of a wrong type", tells([{"id": 7}]), REMOTE),
    _row("list of names that climb", tells([{"id": "../../x", "sha": "1" * 40}]), REMOTE),
    _row("list with a date of a wrong type", tells([{"id": "o/r", "lastModified": 7}]), REMOTE),
    _row("list of a million", tells(b"[" + b"{}," * 1_000_000 + b"{}]"), REMOTE),
    _row("next page that is the same", leads("/api/models?again"), REMOTE),
    _row("next page on another host", leads("{other}/api/models"), REMOTE),
    _row("next page of another scheme", leads("https://127.0.0.1:1/api/models"), REMOTE),
    _row("next page in a file", leads("file:///etc/hostname"), REMOTE),
    _row("next page nowhere", leads("http://[::1/x"), REMOTE),
)  # fmt: skip
