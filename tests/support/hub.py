"""A loopback Hub: real sockets, the Hub's API and redirects, and faults that a test switches on.

Alone it serves a folder, for benchmarks: ``python -m tests.support.hub FOLDER`` prints its URL.
"""

import argparse
import gzip
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

Content = bytes | Path
SIGNATURE = "X-Amz-Signature=canary-signature"  # what no error and no journal may repeat
LARGE = (".onnx", ".onnx_data", ".data", ".bin", ".pb", ".tar.gz")  # kept in LFS, on the CDN
PAGE = 2  # repositories on a page of a listing
BLOCK = 1 << 20  # bytes

# Faults by where they strike; each is switched on with `Hub.fault`.
OF_BODY = {
    "changed": "other bytes of the same length under another ETag, ignoring If-Range",
    "content-range-lies": "206 from an offset that was not asked for",
    "cut": "the connection closed after `after` bytes",
    "endless": "a body that does not end",
    "gzip": "a gzip-encoded body that was not asked for",
    "html": "200 with an HTML page",
    "ignores-range": "200 and the whole body to a Range",
    "long": "a body with `after` bytes too many",
    "not-satisfiable": "416",
    "reset": "the connection reset after `after` bytes",
    "short": "a body that is complete `after` bytes too early",
    "stall": "nothing more after `after` bytes, until the Hub closes",
    "trickle": "one byte every few milliseconds, after `after` bytes",
    "wrong": "wrong bytes of the right length",
}
OF_REDIRECT = {
    "redirect-to-file": "file:///etc/hostname",
    "redirect-to-scheme": "another scheme",
    "redirect-loop": "to itself",
    "redirect-nowhere": "302 without Location",
    "redirect-to-nonsense": "to an address with a bracket too few",
    "redirect-to-no-port": "to a port that is no number",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived; header names are in lower case."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Fault:
    """What goes wrong, how often, and where: ``hub``, ``cdn``, ``api`` or None for bodies."""

    name: str
    at: str | None
    path: str | None
    times: int
    skip: int
    after: int
    headers: Mapping[str, str]


@dataclass(slots=True)
class Repo:
    """A repository: its commits (files by path), its branches and tags, who may read it."""

    id: str
    private: bool = False
    gated: bool = False
    license: str | None = None
    commits: dict[str, dict[str, Content]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)


class Hub:
    """A Hub on ``127.0.0.1`` whose large files are on another host, ``localhost``.

    Args:
        token: the one token that may read private and gated repositories.
    """

    def __init__(self, token: str = "hf_canary_token") -> None:
        self.token = token
        self.requests: list[Request] = []
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, Content] = {}
        self.pages: dict[str, Content] = {}
        self.released = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._servers = [_Server(self, "hub"), _Server(self, "cdn")]
        self.url = f"http://127.0.0.1:{self._servers[0].server_port}"
        self.cdn = f"http://localhost:{self._servers[1].server_port}"

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(
        self,
        repo: str,
        files: Mapping[str, Content],
        *,
        ref: str = "main",
        private: bool = False,
        gated: bool = False,
        license: str | None = None,  # noqa: A002  (the field's word)
    ) -> str:
        """Commit files to a branch or tag of a repository and return the commit."""
        held = self.repos.setdefault(repo, Repo(repo))
        held.private, held.gated, held.license = private, gated, license
        stamp = f"{repo} {len(held.commits)}".encode()
        commit = hashlib.sha1(stamp, usedforsecurity=False).hexdigest()
        held.commits[commit] = dict(files)
        held.refs[ref] = commit
        for content in files.values():
            self.blobs[sha256(content)] = content
        return commit

    def put(self, path: str, content: Content) -> str:
        """Serve content at a path of the Hub itself, as any web server would; return its URL."""
        self.pages[path] = content
        return self.url + quote(path)

    def fault(
        self,
        name: str,
        *,
        at: str | None = None,
        path: str | None = None,
        times: int = 1,
        skip: int = 0,
        after: int = 0,
        **headers: str,
    ) -> None:
        """Switch a fault on.

        Args:
            name: one of `OF_BODY`, `OF_REDIRECT`, or a status such as ``"429"``.
            at: for a status, where it strikes: ``"hub"`` (the first request of a file),
                ``"cdn"`` (the bytes of a large file) or ``"api"``.
            path: strike only requests whose path ends so.
            times: how many requests it strikes; -1 for all.
            skip: how many fitting requests pass first.
            after: bytes, as the fault's description says.
            headers: sent with the fault's answer, ``_`` for ``-``.
        """
        if not name.isdigit() and name not in OF_BODY | OF_REDIRECT:
            raise ValueError(f"no fault `{name}`")
        if name in OF_REDIRECT or (name.isdigit() and at is None):
            at = "hub"
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        self._faults.append(Fault(name, at, path, times, skip, after, sent))

    def strikes(self, at: str | None, path: str) -> Fault | None:
        """Return the fault that strikes a request, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.at != at or not fault.times or not path.endswith(fault.path or ""):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def bodies(self) -> list[Request]:
        """Return the requests for bytes: the CDN's, and those of the Hub's own files."""
        own = urlsplit(self.url).netloc
        return [
            request
            for request in self.requests
            if request.method == "GET" and (request.host != own or request.path in self.pages)
        ]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: Hub, role: str) -> None:
        self.hub, self.role = hub, role
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away are part of the tests."""


class _Answered(Exception):
    """An error was sent; nothing is left to do for this request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # status line and headers leave in one packet
    server: _Server

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (inherited)
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = self.headers.get("Host", "")
        self.hub.requests.append(Request(self.command, host, path, url.query, headers))
        try:
            if self.server.role == "cdn":
                self._cdn(path)
            elif path in self.hub.pages:
                self._hit("hub", path)
                self._body(self.hub.pages[path], path, {})
            elif path.startswith("/api/"):
                self._hit("api", path)
                self._api(path.removeprefix("/api/"), parse_qs(url.query))
            else:
                self._resolve(path)
        except _Answered:
            pass

    # The API

    def _api(self, path: str, query: dict[str, list[str]]) -> None:
        parts = path.split("/")
        if parts == ["models"]:
            return self._models(query)
        if parts == ["whoami-v2"]:
            return self._json({"name": "tester", "type": "user"})
        repo = self._repo("/".join(parts[1:3]))
        rest = parts[3:]
        revision = unquote(rest[1]) if len(rest) > 1 else "main"
        commit = self._commit(repo, revision)
        if rest[:1] == ["tree"]:
            return self._json(list(_tree(repo.commits[commit], "/".join(rest[2:]))))
        return self._json(_info(repo, commit, blobs="blobs" in query))

    def _models(self, query: dict[str, list[str]]) -> None:
        author = query.get("author", [""])[0]
        start = int(query.get("cursor", ["0"])[0])
        names = sorted(
            name
            for name, repo in self.hub.repos.items()
            if name.startswith(author) and not repo.private
        )
        headers = {}
        if start + PAGE < len(names):
            link = f"{self.hub.url}/api/models?author={author}&cursor={start + PAGE}"
            headers["Link"] = f'<{link}>; rel="next"'
        page = [self.hub.repos[name] for name in names[start : start + PAGE]]
        self._json([_info(repo, repo.refs["main"], blobs=False) for repo in page], headers)

    def _repo(self, name: str) -> Repo:
        """Return a repository that the caller may know of, or answer as the Hub does."""
        repo = self.hub.repos.get(name)
        if repo is None and self._allowed:
            self._fail(404, "RepoNotFound", "Repository not found")
        if repo is None or (repo.private and not self._allowed):
            self._fail(401, "RepoNotFound", "Invalid username or password.")
        return repo

    def _commit(self, repo: Repo, revision: str) -> str:
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    @property
    def _allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    # Files

    def _resolve(self, path: str) -> None:
        name, found, rest = path.removeprefix("/").partition("/resolve/")
        if not found:
            self._fail(404, "EntryNotFound", "no such page")
        self._hit("hub", path)
        repo = self._repo(name)
        if repo.gated and not self._allowed:
            code = 403 if "Authorization" in self.headers else 401
            self._fail(code, "GatedRepo", "Access to this model is restricted")
        commit, file = self._split(repo, rest)
        if file not in repo.commits[commit]:
            self._fail(404, "EntryNotFound", "Entry not found")
        content = repo.commits[commit][file]
        if not file.endswith(LARGE):
            return self._body(content, path, {"X-Repo-Commit": commit})
        digest = sha256(content)
        return self._head(
            302,
            {
                "Location": f"{self.hub.cdn}/blobs/{digest}?{SIGNATURE}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(size(content)),
                "X-Linked-ETag": f'"{digest}"',
                "Accept-Ranges": "bytes",
                "Content-Length": "0",
            },
        )

    def _split(self, repo: Repo, rest: str) -> tuple[str, str]:
        """Split ``revision/path``; a branch such as ``refs/pr/1`` has slashes of its own."""
        names = sorted({*repo.refs, *repo.commits}, key=len, reverse=True)
        for name in names:
            if rest.startswith(f"{name}/"):
                return self._commit(repo, name), rest.removeprefix(f"{name}/")
        revision, _, file = rest.partition("/")
        return self._commit(repo, unquote(revision)), file

    def _cdn(self, path: str) -> None:
        self._hit("cdn", path)
        content = self.hub.blobs.get(path.removeprefix("/blobs/"))
        if content is None:
            self._fail(404, "", "no such blob")
        self._body(content, path, {})

    def _body(self, content: Content, path: str, headers: Mapping[str, str]) -> None:
        fault = self.hub.strikes(None, path) if self.command == "GET" else None
        fault = fault or Fault("", None, None, 0, 0, 0, {})
        if fault.name == "changed":
            content = _flipped(content)
        sent = {"ETag": f'"{sha256(content)}"', "Accept-Ranges": "bytes", **headers}
        content, disguise = _disguised(fault.name, content)
        sent |= {**disguise, **fault.headers}
        if fault.name == "endless":
            return self._endless(sent)
        total = size(content)
        asked = self._range(total, sent["ETag"])
        whole = asked is None or fault.name == "ignores-range" or bool(disguise)
        beyond = not whole and asked is not None and asked[0] >= total
        if fault.name == "not-satisfiable" or beyond:
            sent |= {"Content-Range": f"bytes */{total}", "Content-Length": "0"}
            return self._head(416, sent)
        start, end = (0, total) if whole or asked is None else asked
        start //= 2 if fault.name == "content-range-lies" else 1
        end -= fault.after if fault.name == "short" else 0
        if not whole:
            sent["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
        sent["Content-Length"] = str(end - start + (fault.after if fault.name == "long" else 0))
        self._head(200 if whole else 206, sent)
        if self.command == "GET":
            self._deliver(fault, content, start, end)
        return None

    def _deliver(self, fault: Fault, content: Content, start: int, end: int) -> None:
        if fault.name in {"cut", "reset", "stall", "trickle"}:
            return self._broken(fault.name, content, start, min(start + fault.after, end), end)
        self._send(content, start, end)
        if fault.name == "long":
            self.wfile.write(bytes(fault.after))
        return None

    def _broken(self, name: str, content: Content, start: int, stop: int, end: int) -> None:
        self._send(content, start, stop)
        self.wfile.flush()
        self.close_connection = True
        if name == "stall":
            self.hub.released.wait(60)
        if name == "reset":
            linger = struct.pack("ii", 1, 0)  # close() then sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        while name == "trickle" and stop < end and not self.hub.released.wait(0.005):
            self._send(content, stop, stop + 1)
            self.wfile.flush()
            stop += 1

    def _endless(self, headers: Mapping[str, str]) -> None:
        self.close_connection = True
        self._head(200, {**headers, "Connection": "close"})
        while not self.hub.released.is_set():
            self.wfile.write(bytes(BLOCK))

    def _send(self, content: Content, start: int, end: int) -> None:
        self.wfile.flush()
        if isinstance(content, bytes):
            self.connection.sendall(memoryview(content)[start:end])
        else:
            with content.open("rb") as file:
                self.connection.sendfile(file, start, end - start)

    def _range(self, total: int, etag: str) -> tuple[int, int] | None:
        """Return the half-open range that is asked for, if If-Range still holds."""
        text = self.headers.get("Range")
        if not text or self.headers.get("If-Range", etag) != etag:
            return None
        first, _, last = text.removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1, total) if last else total

    # Answers

    def _hit(self, at: str, path: str) -> None:
        """Answer with the fault that strikes here, if one does."""
        fault = self.hub.strikes(at, path)
        if fault is None:
            return
        if fault.name.isdigit():
            self._fail(int(fault.name), "", "fault", fault.headers)
        targets = {
            "redirect-to-file": "file:///etc/hostname",
            "redirect-to-scheme": f"https://{self.headers['Host']}{quote(path)}",
            "redirect-loop": quote(path),
            "redirect-to-nonsense": "http://[::1/m.onnx",
            "redirect-to-no-port": "http://localhost:port/m.onnx",
        }
        location = {"Location": targets[fault.name]} if fault.name in targets else {}
        self._head(302, {**location, "Content-Length": "0"})
        raise _Answered

    def _fail(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> NoReturn:
        sent = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self._json({"error": message}, {**sent, **(headers or {})}, status)
        raise _Answered

    def _json(
        self, value: object, headers: Mapping[str, str] | None = None, status: int = 200
    ) -> None:
        body = json.dumps(value).encode()
        kind = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._head(status, {**kind, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


_HASHES: dict[Path, str] = {}


def sha256(content: Content) -> str:
    """Return the hexadecimal SHA-256 of content; a file's is computed once."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    if content not in _HASHES:
        with content.open("rb") as file:
            _HASHES[content] = hashlib.file_digest(file, "sha256").hexdigest()
    return _HASHES[content]


def size(content: Content) -> int:
    """Return the size of content in bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _read(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _flipped(content: Content) -> bytes:
    return bytes(byte ^ 0xFF for byte in _read(content))


def _disguised(fault: str, content: Content) -> tuple[Content, dict[str, str]]:
    """Return the body that a fault sends in place of the content, and how it calls it."""
    if fault == "wrong":
        return _flipped(content), {}
    if fault == "html":
        return b"<html><h1>Sign in</h1></html>", {"Content-Type": "text/html; charset=utf-8"}
    if fault == "gzip":
        return gzip.compress(_read(content)), {"Content-Encoding": "gzip"}
    return content, {}


def _info(repo: Repo, commit: str, *, blobs: bool) -> dict[str, object]:
    return {
        "_id": "0" * 24,
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.id.partition("/")[0],
        "sha": commit,
        "private": repo.private,
        "gated": "auto" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": ["onnx", *([f"license:{repo.license}"] if repo.license else [])],
        "lastModified": "2025-07-01T00:00:00.000Z",
        "createdAt": "2025-07-01T00:00:00.000Z",
        "siblings": [
            {"rfilename": path, **(_blob(path, content) if blobs else {})}
            for path, content in sorted(repo.commits[commit].items())
        ],
    }


def _blob(path: str, content: Content) -> dict[str, object]:
    oid = hashlib.sha1(sha256(content).encode(), usedforsecurity=False).hexdigest()
    blob: dict[str, object] = {"size": size(content), "blobId": oid}
    if path.endswith(LARGE):
        blob["lfs"] = {"sha256": sha256(content), "size": size(content), "pointerSize": 134}
    return blob


def _tree(files: Mapping[str, Content], below: str) -> Iterator[dict[str, object]]:
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    for folder in sorted(folders):
        if folder.startswith(below):
            yield {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
    for path, content in sorted(files.items()):
        if not path.startswith(below):
            continue
        blob = _blob(path, content)
        item = {"type": "file", "oid": blob["blobId"], "size": size(content), "path": path}
        if "lfs" in blob:
            item["lfs"] = {"oid": sha256(content), "size": size(content), "pointerSize": 134}
        yield item


def _serve(folder: Path) -> None:
    """Serve each sub-folder ``owner/name`` of a folder as a repository, until interrupted."""
    with Hub() as hub:
        for root in sorted(folder.glob("*/*/")):
            files = {
                path.relative_to(root).as_posix(): path
                for path in root.rglob("*")
                if path.is_file()
            }
            hub.add(root.relative_to(folder).as_posix(), files)
        print(hub.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=_serve.__doc__)
    parser.add_argument("folder", type=Path)
    _serve(parser.parse_args().folder)
