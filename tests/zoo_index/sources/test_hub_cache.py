"""What huggingface_hub's own cache holds, taken where the Hub cannot be asked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, RemoteError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.sources.hub_cache import cached_repository
from onnxzoo.zoo_index.sources.open import open_source
from tests.support import models
from tests.support.commands import Run
from tests.support.hub import Hub, sha256, size

CARD = b"---\nlicense: mit\n---\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "m.onnx")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("ZOO_ATTEMPTS", "1")
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache's folder, as `conftest` sets ``HF_HOME``."""
    return tmp_path / "hf" / "hub"


@pytest.fixture
def commit(hub: Hub, model: Path, cache: Path) -> str:
    """A commit of ``acme/small`` that huggingface_hub itself fetched into its cache."""
    made = hub.add("acme/small", {"onnx/m.onnx": model, "README.md": CARD})
    snapshot_download("acme/small", endpoint=hub.url, cache_dir=cache)
    hub.requests.clear()
    return made


@pytest.fixture
def offline(commit: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    assert commit
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    return Settings.from_env()


def blob(cache: Path, model: Path) -> Path:
    return cache / "models--acme--small" / "blobs" / sha256(model)


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({}, str(Path.home() / ".cache/huggingface/hub")),
    ],
)
def test_the_cache_lies_where_huggingface_hub_says(env: dict[str, str], folder: str) -> None:
    assert Settings.from_env({"ZOO_HOME": "/h", **env}).hub_cache == Path(folder)


@pytest.mark.parametrize("text", ["hf://acme/small", "hf://acme/small/onnx/m.onnx"])
def test_offline_a_repository_comes_from_the_cache(
    zoo: Run, hub: Hub, offline: Settings, commit: str, model: Path, text: str
) -> None:
    assert offline.offline
    for asked in (text, f"hf://acme/small@{commit}"):
        ran = zoo("pull", asked, "--name", "mine", "-q")
        assert (ran.code, ran.out) == (0, "mine:fp32@1\n"), ran.err
    assert Path(zoo("path", "mine").out.strip()).read_bytes() == model.read_bytes()
    shown = zoo("show", "mine").out
    assert "hf://acme/small" in shown
    assert commit[:7] in shown
    assert hub.requests == []


def test_without_a_network_too_and_it_is_said(
    zoo: Run, hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ran = zoo("pull", "hf://acme/small")
    assert (ran.code, commit in zoo("show", "acme/small", "--json").out) == (0, True)
    assert "cannot be reached" in ran.err
    assert "huggingface_hub's cache has `hf://acme/small`" in ran.err
    assert hub.requests == []


def test_what_the_cache_has_not_is_said(zoo: Run, offline: Settings) -> None:
    ran = zoo("pull", "hf://acme/other")
    assert (ran.code, "cannot be asked in offline mode" in ran.err) == (6, True)
    assert zoo("pull", "hf://acme/small@v2").code == 6
    assert zoo("pull", "hf://acme/small/other.onnx").code == 3
    with pytest.raises(RemoteError, match="offline mode"):
        open_source("hf://acme/small@" + "0" * 40, offline).files()
    with pytest.raises(RemoteError, match="offline mode"):
        open_source("hf://acme/small", offline).fetch("gone.onnx", sha256=None, size=None)


def test_a_known_hash_is_taken_from_the_cache_online(
    zoo: Run, hub: Hub, commit: str, model: Path
) -> None:
    assert zoo("pull", "hf://acme/small", "-q").code == 0
    assert [r.path for r in hub.requests if "/resolve/" in r.path] == []
    assert commit in zoo("show", "acme/small", "--json").out


@pytest.mark.parametrize("online", [True, False])
def test_a_damaged_file_of_the_cache_is_not_taken(
    zoo: Run,
    hub: Hub,
    commit: str,
    cache: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    online: bool,
) -> None:
    damage(blob(cache, model))
    if not online:
        monkeypatch.setenv("ZOO_OFFLINE", "1")
    ran = zoo("pull", "hf://acme/small")
    assert "which huggingface_hub keeps of `onnx/m.onnx`, is damaged" in ran.err
    assert ran.code == (0 if online else 4)
    if online:
        assert Path(zoo("path", "acme/small").out.strip()).read_bytes() == model.read_bytes()
    else:
        assert f"rm {blob(cache, model)}" in ran.err


def test_a_small_file_is_held_against_gits_hash(hub: Hub, offline: Settings, cache: Path) -> None:
    source = open_source("hf://acme/small", offline)
    fetched = source.fetch("README.md", sha256=None, size=None)
    assert (fetched.path.read_bytes(), fetched.owned) == (CARD, False)
    damage(fetched.path)
    with pytest.raises(IntegrityError, match="is damaged"):
        source.fetch("README.md", sha256=None, size=None)


def test_an_index_s_pin_is_what_counts(offline: Settings, model: Path) -> None:
    source = open_source("hf://acme/small", offline)
    assert source.fetch("onnx/m.onnx", sha256=sha256(model), size=size(model)).bytes == size(model)
    with pytest.raises(IntegrityError, match=f"{sha256(model)}; expected 0000"):
        source.fetch("onnx/m.onnx", sha256="0" * 64, size=size(model))


def test_without_links_there_are_no_hashes(
    offline: Settings, cache: Path, commit: str, model: Path
) -> None:
    """So huggingface_hub keeps files where a system has no links for everybody."""
    path = cache / "models--acme--small" / "snapshots" / commit / "onnx" / "m.onnx"
    path.unlink()
    blob(cache, model).rename(path)
    source = open_source("hf://acme/small/onnx/m.onnx", offline)
    assert [file.sha256 for file in source.files()] == [None]
    assert source.fetch("onnx/m.onnx", sha256=None, size=None).sha256 == sha256(model)


def test_a_link_out_of_the_cache_is_no_file_of_it(
    offline: Settings, cache: Path, commit: str, tmp_path: Path
) -> None:
    snapshot = cache / "models--acme--small" / "snapshots" / commit
    (snapshot / "evil.onnx").symlink_to(models.linear(tmp_path / "secret.onnx"))
    os.mkfifo(snapshot / "pipe.onnx")
    source = open_source("hf://acme/small", offline)
    assert {file.path for file in source.files()} == {"README.md", "onnx/m.onnx"}
    with pytest.raises(NotFound):
        open_source("hf://acme/small/evil.onnx", offline).files()


@pytest.mark.parametrize("text", ["", "x" * 99, "../../../secret", "\xff"])
def test_a_branch_that_names_no_commit_is_none(offline: Settings, cache: Path, text: str) -> None:
    (cache / "models--acme--small" / "refs" / "main").write_text(text)
    found = cached_repository("acme/small", cache)
    assert found is not None
    assert found.commit("main") is None
    with pytest.raises(RemoteError):
        open_source("hf://acme/small", offline).files()
    with pytest.raises(Refused):
        found.commit("../../main")
