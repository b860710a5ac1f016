"""The loopback Hub behaves as the Hub does, for huggingface_hub itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.hub import Hub, sha256

MODEL = b"onnx" * 50_000
FILES = {"onnx/model.onnx": MODEL, "config.json": b"{}"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.add("org/repo", FILES)
        yield hub


def test_hf_hub_download_gets_small_and_large_files(hub: Hub, tmp_path: Path) -> None:
    for path, content in FILES.items():
        got = hf_hub_download("org/repo", path, endpoint=hub.url, cache_dir=tmp_path)
        assert Path(got).read_bytes() == content


def test_snapshot_download_gets_the_whole_repository(hub: Hub, tmp_path: Path) -> None:
    folder = Path(snapshot_download("org/repo", endpoint=hub.url, cache_dir=tmp_path))
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES


def test_model_info_tells_commit_sizes_and_hashes(hub: Hub) -> None:
    info = HfApi(hub.url).model_info("org/repo", files_metadata=True)
    assert info.sha == hub.repos["org/repo"].refs["main"]
    files = {file.rfilename: file for file in info.siblings or []}
    assert files["config.json"].size == 2
    lfs = files["onnx/model.onnx"].lfs
    assert lfs is not None
    assert (lfs.sha256, lfs.size) == (sha256(MODEL), len(MODEL))


def test_list_repo_tree_walks_the_folders(hub: Hub) -> None:
    tree = HfApi(hub.url).list_repo_tree("org/repo", recursive=True)
    assert {item.path for item in tree} == {"onnx", "onnx/model.onnx", "config.json"}


def test_list_models_walks_all_pages(hub: Hub) -> None:
    names = [f"org/repo{number}" for number in range(5)]
    for name in names:
        hub.add(name, FILES)
    listed = [model.id for model in HfApi(hub.url).list_models(author="org")]
    assert listed == ["org/repo", *names]


def test_large_files_come_from_another_host_and_no_token_goes_there(
    hub: Hub, tmp_path: Path
) -> None:
    hf_hub_download(
        "org/repo", "onnx/model.onnx", endpoint=hub.url, token=hub.token, cache_dir=tmp_path
    )
    tokens = {request.host: "authorization" in request.headers for request in hub.requests}
    assert tokens == {hub.url[7:]: True, hub.cdn[7:]: False}


@pytest.mark.parametrize(
    ("repo", "file", "revision", "error"),
    [
        ("org/none", "config.json", None, RepositoryNotFoundError),
        ("org/private", "config.json", None, RepositoryNotFoundError),
        ("org/gated", "config.json", None, GatedRepoError),
        ("org/repo", "config.json", "v9", RevisionNotFoundError),
        ("org/repo", "none.json", None, EntryNotFoundError),
    ],
)
def test_what_cannot_be_had_is_named_as_the_hub_names_it(
    hub: Hub,
    tmp_path: Path,
    repo: str,
    file: str,
    revision: str | None,
    error: type[Exception],
) -> None:
    hub.add("org/private", FILES, private=True)
    hub.add("org/gated", FILES, gated=True)
    with pytest.raises(error):
        hf_hub_download(repo, file, revision=revision, endpoint=hub.url, cache_dir=tmp_path)


def test_an_old_commit_stays_readable(hub: Hub, tmp_path: Path) -> None:
    old = hub.repos["org/repo"].refs["main"]
    hub.add("org/repo", {"onnx/model.onnx": b"new"})
    got = hf_hub_download(
        "org/repo", "onnx/model.onnx", revision=old, endpoint=hub.url, cache_dir=tmp_path
    )
    assert Path(got).read_bytes() == MODEL
