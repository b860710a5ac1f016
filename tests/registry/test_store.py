"""Bundles on disk."""

import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import Refused, StorageError
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.store import Store

CONTENT = {"m.onnx": b"model", "data/w.bin": b"weights" * 1000}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def publish(store: Store, folder: Path, content: dict[str, bytes] = CONTENT) -> Manifest:
    with store.stage() as stage:
        for name, data in content.items():
            source = folder / "source" / name
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(data)
            stage.copy(source, name)
        return store.publish(stage)


def test_a_bundle_is_real_read_only_files_with_one_name_each(store: Store, tmp_path: Path) -> None:
    manifest = publish(store, tmp_path)
    for name, data in CONTENT.items():
        path = store.path(manifest.digest) / name
        found = path.lstat()
        assert (path.read_bytes(), stat.S_IMODE(found.st_mode)) == (data, 0o444)
        assert (stat.S_ISREG(found.st_mode), found.st_nlink) == (True, 1)
    assert store.holds(manifest)
    assert list((store.root / ".staging").iterdir()) == []


def test_a_link_is_followed_and_its_copy_is_a_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with store.stage() as stage:
        stage.copy(tmp_path / "link", "m.onnx")
        assert not (stage.folder / "m.onnx").is_symlink()


def test_the_same_bytes_are_kept_once(store: Store, tmp_path: Path) -> None:
    assert publish(store, tmp_path) == publish(store, tmp_path)
    assert len(list(store.digests())) == 1


def test_what_is_not_published_is_gone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x")

    def fail() -> None:
        with store.stage() as stage:
            stage.copy(tmp_path / "m", "m.onnx")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(store.root.rglob("*.onnx")) == []


def test_a_file_is_taken_by_moving_it(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "download"
    source.write_bytes(b"x")
    with store.stage() as stage:
        stage.take(source, File("m.onnx", "0" * 64, 1))
        assert (stage.folder / "m.onnx").read_bytes() == b"x"
    assert not source.exists()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"modEl", "`m.onnx` has SHA-256"),
        (b"mod", "`m.onnx` has 3 bytes; expected 5"),
        (None, "no such file"),
    ],
)
def test_damage_is_named(store: Store, tmp_path: Path, data: bytes | None, problem: str) -> None:
    manifest = publish(store, tmp_path)
    assert store.damage(manifest) == []
    path = store.path(manifest.digest) / "m.onnx"
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    (found,) = store.damage(manifest)
    assert problem in found
    assert store.holds(manifest) is (data == b"modEl")


def test_a_damaged_bundle_is_moved_aside_and_publishing_heals(store: Store, tmp_path: Path) -> None:
    manifest = publish(store, tmp_path)
    (store.path(manifest.digest) / "m.onnx").unlink()
    publish(store, tmp_path)
    assert store.damage(manifest) == []
    (aside,) = (store.root / ".damaged").iterdir()
    assert store.leftovers() == [aside]


def test_damaged_bytes_are_kept_while_they_are_all_there_is(store: Store, tmp_path: Path) -> None:
    manifest = publish(store, tmp_path)
    aside = store.set_aside(manifest.digest)
    assert store.leftovers({manifest.digest}) == []
    assert store.leftovers() == [aside]
    publish(store, tmp_path)
    assert store.leftovers({manifest.digest}) == [aside]


def test_only_what_dead_processes_left_is_left_over(store: Store) -> None:
    staging = store.root / ".staging"
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, check=True)  # fmt: skip
    pids = {"alive": os.getpid(), "dead": int(ended.stdout)}
    folders = {
        name: staging / f"{socket.gethostname()}-{pid}-0000" for name, pid in pids.items()
    } | {"elsewhere": staging / "other-host-1-0000"}
    for folder in folders.values():
        folder.mkdir(parents=True)
    assert store.leftovers() == [folders["dead"]]
    for name in ("elsewhere", "alive"):  # a slow copy is no less alive for its age
        os.utime(folders[name], (0, 0))
    assert set(store.leftovers()) == {folders["dead"], folders["elsewhere"]}


def test_a_full_disk_is_named_with_the_way_out(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "m"
    source.write_bytes(b"x" * 100_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(StorageError, match="no space left") as caught, store.stage() as stage:
            stage.copy(source, "m.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "zoo gc" in (caught.value.hint or "")


def test_a_store_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError), Store(tmp_path / "file" / "store").stage():
        pass


def test_a_file_that_is_written_to_while_it_is_copied_is_refused(
    store: Store, tmp_path: Path
) -> None:
    source = tmp_path / "m"
    source.write_bytes(bytes(3 << 20))

    def write(_: str, done: int, __: int | None) -> None:
        if done < 2 << 20:
            with source.open("r+b") as file:
                file.write(b"next")

    with pytest.raises(Refused, match="was written to while it was read"), store.stage() as stage:
        stage.copy(source, "m.onnx", write)


def test_a_file_that_another_replaced_after_its_copy_is_refused(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "m").write_bytes(b"one")
    (tmp_path / "next").write_bytes(b"two")
    with store.stage() as stage:
        stage.copy(tmp_path / "m", "m.onnx")
        stage.check_sources()
        (tmp_path / "next").replace(tmp_path / "m")
        with pytest.raises(Refused, match="was written to"):
            stage.check_sources()
