"""Every kind of source behaves alike, and each has its own errors."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from onnxzoo.registry.core.errors import (
    IntegrityError,
    NotAuthorised,
    NotFound,
    Refused,
    RemoteError,
    UsageError,
    ZooError,
)
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.store import Store
from onnxzoo.zoo_index.download.download import Fetched
from onnxzoo.zoo_index.pull.pull import _fetch
from onnxzoo.zoo_index.sources.local import FolderSource
from onnxzoo.zoo_index.sources.open import open_source
from onnxzoo.zoo_index.sources.source import Listed, Source
from tests.support import models
from tests.support.hub import Hub, sha256, size
from tests.support.servers import Server, zipped

PACKAGE = "pkg://onnx/backend/test/data/light"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def online(settings: Settings, hub: Hub) -> Settings:
    return replace(settings, endpoint=hub.url)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "m.onnx")


@pytest.fixture(params=["hub", "hub file", "web", "file", "folder"])
def source(request: pytest.FixtureRequest, hub: Hub, online: Settings, model: Path) -> Source:
    """A source that has ``m.onnx``."""
    hub.add("o/r", {"m.onnx": model})
    text = {
        "hub": "hf://o/r",
        "hub file": "hf://o/r@main/m.onnx",
        "web": hub.put("/files/m.onnx", model),
        "file": str(model),
        "folder": model.parent.as_uri(),
    }[request.param]
    return open_source(text, online)


def test_a_source_lists_its_file(source: Source) -> None:
    assert [file.path for file in source.files() if file.path.endswith(".onnx")] == ["m.onnx"]


def test_a_source_gives_its_file_verified(source: Source, model: Path) -> None:
    fetched = source.fetch("m.onnx", sha256=sha256(model), size=size(model))
    assert fetched.path.read_bytes() == model.read_bytes()
    assert (fetched.sha256, fetched.bytes) == (sha256(model), size(model))
    assert fetched.owned or fetched.path == model


@pytest.mark.parametrize("wrong", ["hash", "size"])
def test_a_source_refuses_other_bytes(source: Source, model: Path, wrong: str) -> None:
    digest = "0" * 64 if wrong == "hash" else sha256(model)
    with pytest.raises(IntegrityError):
        source.fetch("m.onnx", sha256=digest, size=size(model) + (wrong == "size"))


def test_a_source_has_no_file_that_is_not_there(source: Source) -> None:
    with pytest.raises(NotFound):
        source.fetch("gone.onnx", sha256=None, size=None)


@pytest.mark.parametrize("path", ["../m.onnx", "/etc/passwd", "a/../../m.onnx"])
def test_a_source_gives_nothing_from_outside(source: Source, path: str) -> None:
    with pytest.raises(Refused):
        source.fetch(path, sha256=None, size=None)


def test_a_package_gives_what_it_ships(settings: Settings) -> None:
    source = open_source(PACKAGE, settings)
    assert "light_vgg19.onnx" in {file.path for file in source.files()}
    assert not source.fetch("light_vgg19.onnx", sha256=None, size=None).owned


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("ftp://h/m.onnx", UsageError, "`ftp://` is not a kind of source"),
        ("hf://just-one", UsageError, "is not a repository"),
        ("http://models.example.org/m.onnx", Refused, "is not encrypted"),
        ("https://models.example.org/", UsageError, "names no file"),
        ("pkg://no_such_package/m.onnx", NotFound, "no package `no_such_package`"),
        ("pkg://onnx/gone.onnx", NotFound, "no file `gone.onnx`"),
        ("pkg://onnx/../x", Refused, "is not a plain path"),
        ("/no/such/file.onnx", NotFound, "no file or folder"),
        (f"file:///{'a' * 300}", NotFound, "no file or folder"),
        ("file://elsewhere/m.onnx", UsageError, "names the host `elsewhere`"),
        ("https://models.example.org:port/m.onnx", UsageError, "names no file"),
    ],
)
def test_what_is_no_source_is_named(
    settings: Settings, text: str, error: type[ZooError], message: str
) -> None:
    with pytest.raises(error) as caught:
        open_source(text, settings)
    assert message in caught.value.message


def test_a_pinned_file_costs_no_call_of_the_api(hub: Hub, online: Settings, model: Path) -> None:
    commit = hub.add("o/r", {"m.onnx": model})
    source = open_source("hf://o/r", online)
    source.fetch("m.onnx", sha256=sha256(model), size=size(model))
    assert source.revision == commit
    assert [r.path for r in hub.requests if r.path.startswith("/api/")] == []


def test_a_revision_stays_what_it_was(hub: Hub, online: Settings, tmp_path: Path) -> None:
    first = hub.add("o/r", {"m.onnx": models.linear(tmp_path / "1.onnx")})
    hub.add("o/r", {"m.onnx": models.linear(tmp_path / "2.onnx", value=2)})
    source = open_source(f"hf://o/r@{first}", online)
    (listed,) = source.files()
    assert (listed.sha256, source.revision) == (sha256(tmp_path / "1.onnx"), first)


def _missing(hub: Hub) -> str:
    return "hf://o/gone"


def _no_revision(hub: Hub) -> str:
    hub.add("o/r", {"m.onnx": b"x"})
    return "hf://o/r@v9"


def _no_file(hub: Hub) -> str:
    hub.add("o/r", {"m.onnx": b"x"})
    return "hf://o/r/gone.onnx"


def _private(hub: Hub) -> str:
    hub.add("o/r", {"m.onnx": b"x"}, private=True)
    return "hf://o/r"


def _limited(hub: Hub) -> str:
    hub.add("o/r", {"m.onnx": b"x"})
    hub.fault("429", at="api", Retry_After="17")
    return "hf://o/r"


def _disabled(hub: Hub) -> str:
    said = "Access to this resource is disabled."
    hub.fault("403", at="api", X_Error_Message=said)
    return "hf://o/r"


def _forbidden(hub: Hub) -> str:
    hub.fault("403", at="api", X_Error_Message="Not from this network\x9b")
    return "hf://o/r"


def _bad(hub: Hub) -> str:
    hub.fault("400", at="api", X_Error_Message="x" * 999)
    return "hf://o/r"


def _mirror(hub: Hub) -> str:
    hub.fault("404", at="api")
    return "hf://o/r@v9"


@pytest.mark.parametrize(
    ("make", "error", "message", "hint"),
    [
        (_missing, NotAuthorised, "is private, or there is no such repository", "HF_TOKEN"),
        (_no_revision, NotFound, "no revision `v9` of `hf://o/r`", "commits"),
        (_no_file, NotFound, "no file `gone.onnx` in `hf://o/r`", "tree"),
        (_private, NotAuthorised, "is private", "hf auth login"),
        (_disabled, NotAuthorised, "refuses `hf://o/r`: Access to this", "see http"),
        (_forbidden, NotAuthorised, "`hf://o/r`: Not from this network\\x9b", "HF_TOKEN"),
        (_bad, RemoteError, f"answered 400: {'x' * 200}", "later"),
        (_mirror, NotFound, "has no `hf://o/r@v9`", ""),
        (_limited, RemoteError, "answered 429 and asks to wait 17 s", "later"),
    ],
)
def test_every_refusal_of_the_hub_has_its_own_error(
    hub: Hub,
    online: Settings,
    make: Callable[[Hub], str],
    error: type[ZooError],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(error) as caught:
        open_source(make(hub), online).files()
    assert message in caught.value.message
    assert "x" * 201 not in caught.value.message
    assert hint in (caught.value.hint or "")


def test_the_api_is_asked_again_where_that_may_help(hub: Hub, online: Settings) -> None:
    hub.add("o/r", {"m.onnx": b"x"})
    hub.fault("503", at="api", Retry_After="0")
    hub.fault("500", at="api", RateLimit='"api";r=499;t=247')
    assert len(open_source("hf://o/r", online).files()) == 1
    assert len(hub.requests) == 3


def test_a_gated_file_names_where_to_accept_its_terms(hub: Hub, online: Settings) -> None:
    hub.add("o/r", {"m.onnx": b"x"}, gated=True)
    with pytest.raises(NotAuthorised, match="is gated") as caught:
        open_source("hf://o/r", online).fetch("m.onnx", sha256=None, size=None)
    assert f"{hub.url}/o/r" in (caught.value.hint or "")


def test_a_token_opens_what_is_private_and_stays_with_the_hub(
    hub: Hub, online: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("o/r", {"m.onnx": model}, private=True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    source = open_source("hf://o/r", online)
    (listed,) = source.files()
    assert source.fetch("m.onnx", sha256=listed.sha256, size=listed.bytes).sha256 == sha256(model)
    own = hub.url.partition("//")[2]
    assert {r.host for r in hub.requests if "authorization" in r.headers} == {own}


def test_a_name_and_a_password_of_the_endpoint_are_sent_as_huggingface_hub_sends_them(
    hub: Hub, online: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("o/r", {"m.onnx": model})
    monkeypatch.setenv("HF_TOKEN", hub.token)
    endpoint = hub.url.replace("//", "//me:p%40ss@")
    HfApi(endpoint).model_info("o/r")
    source = open_source("hf://o/r", replace(online, endpoint=endpoint))
    (listed,) = source.files()
    source.fetch("m.onnx", sha256=listed.sha256, size=listed.bytes)
    sent = [request.headers.get("authorization") for request in hub.requests]
    assert sent == [sent[0], sent[0], sent[0], None]
    assert str(sent[0]).startswith("Basic ")


def test_a_token_that_no_header_can_hold_is_named_and_not_shown(
    hub: Hub, online: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_\u2026canary")
    source = open_source("hf://o/r", online)
    for call in (source.files, lambda: source.fetch("m.onnx", sha256=None, size=None)):
        with pytest.raises(NotAuthorised, match="characters that no token has") as caught:
            call()
        assert "canary" not in str(caught.value)


def test_an_answer_of_the_api_that_is_compressed_is_said_to_be(settings: Settings) -> None:
    with Server({"/api/models/o/r": b"{}"}) as server:
        server.strike(zipped)
        with pytest.raises(RemoteError, match="sent `gzip` data"):
            open_source("hf://o/r", replace(settings, endpoint=server.url)).files()


@pytest.mark.parametrize("text", ["hf://o/r", "https://models.example.org/m.onnx"])
def test_offline_asks_nobody(settings: Settings, text: str) -> None:
    source = open_source(text, replace(settings, offline=True))
    with pytest.raises(RemoteError, match="offline"):
        source.fetch("m.onnx", sha256=None, size=None)


def test_a_secret_in_a_url_is_not_recorded(settings: Settings) -> None:
    text = "https://me:secret@models.example.org/m.onnx?X-Amz-Signature=abc"
    assert open_source(text, settings).url == "https://models.example.org/m.onnx"


class Swapping(FolderSource):
    """A folder in which someone puts a link in a file's place as soon as it was looked at."""

    def fetch(self, path: str, **asked: Any) -> Fetched:
        found = super().fetch(path, **asked)
        found.path.unlink()
        found.path.symlink_to(self.root.parent / "secret")
        return found


def test_a_link_that_takes_a_files_place_does_not_get_into_the_store(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret!")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "w.bin").write_bytes(b"weights")
    source = Swapping(str(folder), folder, None)
    with Store(tmp_path / "store").stage() as stage, pytest.raises(Refused, match="was replaced"):
        _fetch(stage, source, Listed("w.bin", None, None), None)
    with pytest.raises(Refused, match="is a symbolic link"):
        source.beside("w.bin")
