"""Whatever a server does, a download ends clearly and is whole the next time; see `BEHAVIOURS`."""

import hashlib
import importlib.util
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest

from onnxzoo.registry.core.errors import RemoteError, ZooError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.download.download import Fetched, download
from onnxzoo.zoo_index.download.http_session import deadline
from onnxzoo.zoo_index.download.response import Limits, retry_after
from onnxzoo.zoo_index.sources.open import open_source
from tests.faults.cases import Effort
from tests.faults.runner import Runner
from tests.faults.servers import servers
from tests.support.commands import Run
from tests.support.servers import (
    BEHAVIOURS,
    OF_API,
    OK,
    REMOTE,
    Behaviour,
    Exchange,
    Proxy,
    Server,
    chunks_then,
    cut,
    drips,
    sends,
    slow_head,
    to,
)

BODY = os.urandom(200_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Limits(connect=2, read=0.3, window=0.3, attempts=1, bytes=5_000_000)
TOKEN = "hf_canary_token"
COMMIT = "1" * 40
LFS = {"sha256": SHA256, "size": len(BODY), "pointerSize": 134}
INFO = {
    "id": "o/r",
    "sha": COMMIT,
    "siblings": [{"rfilename": "m.onnx", "size": len(BODY), "blobId": "0" * 40, "lfs": LFS}],
}
CONTENT = {"/m.onnx": BODY, "/api/models/o/r": json.dumps(INFO).encode()}


def named(row: Behaviour) -> str:
    return row.name.replace(" ", "-")


@pytest.fixture
def other() -> Iterator[Server]:
    with Server(CONTENT) as running:
        yield running


@pytest.fixture
def server(other: Server) -> Iterator[Server]:
    with Server(CONTENT) as running:
        running.other = f"http://localhost:{other.port}"
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "x.part"


def fetch(server: Server, part: Path, limits: Limits = QUICK) -> Fetched:
    url = f"{server.url}/m.onnx?token=canary-query"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return download(url, part, sha256=SHA256, size=None, headers=headers, limits=limits)


def refusal(call: Callable[[], object]) -> ZooError | None:
    try:
        call()
    except ZooError as error:
        return error
    return None


def _gone(server: Server, part: Path) -> None:
    fetch(server, part).path.unlink()


def code_of(server: Server, part: Path) -> int:
    """Return how a download ends, having looked whether what it says and leaves has a secret."""
    error = refusal(partial(_gone, server, part))
    said = f"{error} {error and error.hint} {error and error.__cause__!r}".encode()
    assert b"canary" not in said + b"".join(p.read_bytes() for p in part.parent.glob("*.json"))
    assert not part.with_suffix("").exists()
    return error.exit_code if error else OK


@pytest.mark.parametrize("row", BEHAVIOURS, ids=named)
def test_a_download_ends_clearly_and_is_whole_the_next_time(
    server: Server, other: Server, part: Path, row: Behaviour
) -> None:
    for codes in (row.first, row.resumed):
        server.strike(row.answer)
        assert code_of(server, part) in codes
        server.strike(None)
        assert fetch(server, part).path.read_bytes() == BODY
        part.with_suffix("").unlink()
        server.strike(cut)  # so that the second time it goes on
        assert code_of(server, part) == REMOTE
        assert 0 < part.stat().st_size < len(BODY)
    assert not any(b"canary" in request.raw for request in other.requests)


@pytest.mark.parametrize("row", [*BEHAVIOURS, *OF_API], ids=named)
def test_an_answer_of_the_api_is_what_it_should_be_or_one_error(
    server: Server, other: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch,
    row: Behaviour,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    endpoint = server.url.replace("//", "//me:canary-password@")
    asking = replace(settings, endpoint=endpoint, timeout=0.2, attempts=1)
    server.strike(row.answer)
    error = refusal(lambda: open_source("hf://o/r", asking).files())
    assert "canary" not in f"{error} {error and error.hint}"
    if error:
        assert error.exit_code in row.first | {REMOTE}
    else:
        assert row in BEHAVIOURS or "path" in row.name or row.name == "no files"
    server.strike(None)
    assert open_source("hf://o/r", asking).files()[0].sha256 == SHA256
    assert not any(b"canary" in request.raw for request in other.requests)


def test_an_answer_of_the_api_has_an_end(server: Server, settings: Settings) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.head(200, ("Content-Type", "application/json"))
        exchange.forever(b" " * 65_536)

    server.strike(endless)
    with pytest.raises(RemoteError, match="sends more than 33554432 bytes"):
        open_source("hf://o/r", replace(settings, endpoint=server.url)).files()


def test_huggingface_hub_is_left_as_its_user_has_it(server: Server, settings: Settings) -> None:
    client = huggingface_hub.get_session()
    server.strike(drips)
    quick = replace(settings, endpoint=server.url, timeout=0.2, attempts=1)
    source = open_source("hf://o/r", quick)
    assert isinstance(refusal(source.files), RemoteError)
    assert huggingface_hub.get_session() is client
    assert not client.is_closed


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2300"}, None),
        ({"RateLimit": '"api";r=0;t=' + "9" * 400}, None),
    ],
)
def test_a_wait_that_is_no_time_is_none(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(429, headers) == seconds


def test_the_environment_says_how_long_and_how_often_a_server_is_asked(
    zoo: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_TIMEOUT", "1")
    monkeypatch.setenv("ZOO_ATTEMPTS", "1")
    server.strike(cut)
    code, _, err = zoo("pull", f"{server.url}/m.onnx")
    assert code == REMOTE
    assert "after 1 attempts" in err
    assert len(server.requests) == 1
    monkeypatch.setenv("ZOO_ATTEMPTS", "0")
    assert zoo("pull", f"{server.url}/m.onnx").code == 2


def test_doctor_shows_a_hub_without_its_password(zoo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://me:canary-password@hub.example.org")
    out = zoo("doctor", "--json").out
    assert json.loads(out)["hub"] == "https://hub.example.org"
    assert "canary" not in out


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    words += ["-addext", names, "-keyout", str(key)]
    try:
        subprocess.run([*words, "-out", certificate], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("openssl makes no certificate here")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return made


@pytest.fixture
def secure(context: ssl.SSLContext) -> Iterator[Server]:
    with Server(CONTENT, tls=context) as running:
        yield running


def test_https_is_not_left_for_http(server: Server, secure: Server, part: Path) -> None:
    assert fetch(secure, part).bytes == len(BODY)
    part.with_suffix("").unlink()
    secure.strike(to(f"{server.url}/m.onnx"))
    with pytest.raises(RemoteError, match="redirects to `http:`; only `https:` is followed"):
        fetch(secure, part)
    assert server.requests == []


def test_a_trailer_without_end_is_left_in_time_over_tls_too(secure: Server, part: Path) -> None:
    secure.strike(chunks_then(b"0\r\n", endless=b"X-More: x\r\n" * 1000))
    assert code_of(secure, part) == REMOTE
    assert part.read_bytes() == BODY


@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
@pytest.mark.filterwarnings("ignore:Unverified HTTPS")  # http through https: none is verified
def test_a_proxy_leads_to_every_host_within_the_same_bounds(
    context: ssl.SSLContext, part: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, target: str
) -> None:
    if scheme == "socks5h":
        pytest.importorskip("socks")
    tls = context if target == "https" else None
    proxy = Proxy(socks=scheme == "socks5h", tls=context if scheme == "https" else None)
    with proxy, Server(CONTENT, tls=tls) as server, Server(CONTENT, tls=tls) as other:
        monkeypatch.setenv(f"{target}_proxy", f"{scheme}://127.0.0.1:{proxy.port}")
        server.strike(to(f"{target}://localhost:{other.port}/m.onnx"))
        assert fetch(server, part).path.read_bytes() == BODY
        assert proxy.reached == [("127.0.0.1", server.port), ("localhost", other.port)]
        part.with_suffix("").unlink()
        server.strike(slow_head)
        assert code_of(server, part) == REMOTE


def test_a_proxy_that_wants_what_is_not_installed_says_so(
    server: Server, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("socks"):
        pytest.skip("PySocks is here")
    monkeypatch.setenv("http_proxy", "socks5h://me:canary-password@127.0.0.1:9")
    error = refusal(lambda: fetch(server, part))
    assert error is not None
    assert "needs PySocks" in error.message


def test_nothing_is_cut_off_once_a_deadline_is_left() -> None:
    class Slow(socket.socket):
        begun = threading.Event()
        over = False

        def shutdown(self, how: int) -> None:
            self.begun.set()
            time.sleep(0.2)
            super().shutdown(how)
            self.over = True

    near, far = socket.socketpair()
    with far, Slow(fileno=near.detach()) as slow:
        with pytest.raises(TimeoutError), deadline(slow, 0.01):
            slow.begun.wait()
        assert slow.over


def test_a_cut_in_the_headers_costs_nothing_of_what_is_there(server: Server, part: Path) -> None:
    server.strike(cut)
    assert code_of(server, part) == REMOTE
    before = part.read_bytes()
    server.strike(sends(b"HTTP/1.1 200 OK\r\nContent-Le"))
    error = refusal(lambda: fetch(server, part))
    assert "its headers were cut off" in str(error)
    assert part.read_bytes() == before


def test_commands_get_over_servers_that_do_wrong(tmp_path: Path) -> None:
    with Runner() as runner:
        tried = servers(runner, tmp_path / "servers", Effort(10, stride=149))
    assert tried.count
    assert not tried.broke
