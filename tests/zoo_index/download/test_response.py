"""What a request carries, and to whom."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import NotFound, RemoteError, UsageError, ZooError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.download.download import Fetched, download
from onnxzoo.zoo_index.download.response import Limits, retry_after
from onnxzoo.zoo_index.sources.open import open_source
from tests.support.hub import SIGNATURE, Hub

BODY = bytes(range(256)) * 1000
QUICK = Limits(connect=2, read=1.5, attempts=2, backoff=0.001, pause=0.01)
TOKEN = "hf_canary_token"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(TOKEN) as running:
        running.add("o/r", {"m.onnx": BODY})
        yield running


def get(hub: Hub, tmp_path: Path, url: str | None = None) -> Fetched:
    return download(
        url or f"{hub.url}/o/r/resolve/main/m.onnx",
        tmp_path / "downloads" / "key.part",
        sha256=None,
        size=None,
        headers={"Authorization": f"Bearer {TOKEN}"},
        limits=QUICK,
    )


def test_identity_encoding_is_asked_of_every_host(hub: Hub, tmp_path: Path) -> None:
    get(hub, tmp_path)
    assert [request.headers["accept-encoding"] for request in hub.requests] == ["identity"] * 2


def test_a_redirect_elsewhere_leaves_the_token_behind(hub: Hub, tmp_path: Path) -> None:
    get(hub, tmp_path)
    tokens = {request.host: request.headers.get("authorization") for request in hub.requests}
    assert tokens == {hub.url[7:]: f"Bearer {TOKEN}", hub.cdn[7:]: None}


def test_netrc_adds_no_credentials(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login anyone password whatever\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    get(hub, tmp_path)
    sent = {request.headers.get("authorization") for request in hub.requests}
    assert sent == {f"Bearer {TOKEN}", None}


def test_a_proxy_of_the_environment_is_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", hub.url)
    with pytest.raises(NotFound):
        get(hub, tmp_path, "http://zoo.invalid/model.onnx")
    assert [request.host for request in hub.requests] == ["zoo.invalid"]


@pytest.mark.parametrize("fault", ["cut", "html", "gzip", "endless", "403", "404", "503", "dead"])
def test_no_error_and_no_file_repeats_a_secret(hub: Hub, tmp_path: Path, fault: str) -> None:
    if fault == "dead":
        hub._servers[1].shutdown()
        hub._servers[1].server_close()
    else:
        hub.fault(fault, at="cdn" if fault.isdigit() else None, times=-1, after=1000)
    limited = Limits(connect=2, read=1.5, attempts=2, backoff=0.001, bytes=5_000_000)
    with pytest.raises(ZooError) as caught:
        download(
            f"{hub.url}/o/r/resolve/main/m.onnx?{SIGNATURE}",
            tmp_path / "downloads" / "key.part",
            sha256=None,
            size=None,
            headers={"Authorization": f"Bearer {TOKEN}"},
            limits=limited,
        )
    said = "".join(traceback.format_exception(caught.value)) + str(caught.value.hint)
    for path in (tmp_path / "downloads").iterdir():
        said += repr(path.read_bytes())
    assert TOKEN not in said
    assert SIGNATURE not in said


def test_cookies_are_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.fault("503", Set_Cookie="session=1")
    get(hub, tmp_path)
    assert len(hub.requests) == 3
    assert not any("cookie" in request.headers for request in hub.requests)


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://h:port/m", "http://a b/m", "nonsense"]
)
def test_what_is_no_url_is_a_remote_error(hub: Hub, tmp_path: Path, url: str) -> None:
    with pytest.raises(RemoteError):
        get(hub, tmp_path, url)


@pytest.mark.parametrize("fault", ["redirect-to-nonsense", "redirect-to-no-port"])
def test_a_redirect_to_what_is_no_url_is_a_remote_error(
    hub: Hub, tmp_path: Path, fault: str
) -> None:
    hub.fault(fault)
    with pytest.raises(RemoteError):
        get(hub, tmp_path)


@pytest.mark.parametrize("text", ["https://[::1/m.onnx", "https://h:0/m.onnx", "file://[x/m.onnx"])
def test_a_source_that_is_no_url_is_a_usage_error(settings: Settings, text: str) -> None:
    with pytest.raises(UsageError):
        open_source(text, settings)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {"Retry-After": "17"}, 17.0),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        (429, {"Retry-After": "soon"}, None),
        (429, {"RateLimit": '"api";r=0;t=55'}, 55.0),
        (429, {"RateLimit": '"api";r=499;t=247'}, None),
        (503, {"RateLimit": '"api";r=0;t=247'}, None),
        (429, {}, None),
    ],
)
def test_the_wait_that_a_server_asks_for(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(status, headers) == seconds
