"""`zoo lock` and `zoo sync`, between registries that number versions each in their own way."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxzoo
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, NotFound, RemoteError, UsageError, ZooError
from onnxzoo.registry.core.records import Draft
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.zoo_index.lock.lockfile import read
from tests.registry.derive.test_lineage import child
from tests.support import models
from tests.support.commands import Run
from tests.support.hub import Hub
from tests.zoo_index.test_zoo import entry, indexed

Go = Callable[[str], Path]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own, where ``zoo.lock`` is."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Go to another machine: a registry of its own."""

    def to(name: str) -> Path:
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / name))
        return tmp_path / name

    return to


def hold(name: str, value: float, **more: Any) -> onnxzoo.Variant:
    """Register a model that multiplies by a value, from a file of the working folder."""
    path = models.linear(Path(f"{name.replace(':', '-')}-{value}.onnx"), value=value)
    return onnxzoo.register(path, name, **more)


def result(session: object) -> float:
    (found,) = session.run(None, {"x": np.ones((1, 4), np.float32)})  # type: ignore[attr-defined]
    return float(found[0, 0])


def held() -> dict[str, str]:
    with Registry() as registry:
        return {variant.ref: variant.digest for variant in registry.list()}


def test_a_lock_has_all_that_there_is_to_know_of_the_bytes(zoo: Run, hub: Hub, work: Path) -> None:
    commit = hub.add("acme/net", {"onnx/model.onnx": models.linear(work.parent / "m.onnx")})
    variant = onnxzoo.pull("hf://acme/net")
    hold("mine", 2, license="MIT")
    zoo("alias", "mine@1", "production")
    ran = zoo("lock", "acme/net", "Mine@production")
    assert ran.code == 0
    assert ran.err == "wrote zoo.lock: 2 references\n"
    assert [line.split()[:3] for line in ran.out.splitlines()[1:]] == [
        ["added", "acme/net", "acme/net:fp32@1"],
        ["added", "mine@production", "mine:fp32@1"],
    ]
    assert ran.out.splitlines()[2].endswith("MIT")
    first, second = tomllib.loads(Path("zoo.lock").read_text())["model"]
    (file,) = variant.files
    assert first == {
        "asked": "acme/net",
        "name": "acme/net",
        "variant": "fp32",
        "version": 1,
        "precision": "fp32",
        "opset": 17,
        "source": "hf://acme/net",
        "revision": commit,
        "digest": variant.digest,
        "entry": "onnx/model.onnx",
        "files": [{"path": "onnx/model.onnx", "sha256": file.sha256, "bytes": file.bytes}],
    }
    assert (second["asked"], second["source"]) == ("mine@production", "./mine-2.onnx")


def test_locking_twice_writes_the_same_file(zoo: Run) -> None:
    hold("b", 1)
    hold("a", 2)
    zoo("lock", "b", "a")
    once = Path("zoo.lock").read_bytes()
    assert zoo("lock").err == "zoo.lock is up to date: 2 references\n"
    assert Path("zoo.lock").read_bytes() == once
    zoo("lock", "a", "b", "-o", "other.lock")
    assert Path("other.lock").read_bytes() == once
    zoo("lock", "a", "-o", "new.lock")
    assert Path("new.lock").read_bytes() == once, "what was in zoo.lock is in it"


def test_sources_count_from_where_the_lock_is_written(zoo: Run) -> None:
    hold("mine", 2)
    zoo("lock", "mine")
    Path("deploy").mkdir()
    zoo("lock", "mine", "-o", "deploy/zoo.lock")
    zoo("lock", "--lock", "zoo.lock", "-o", "deploy/again.lock")
    for name in ("zoo", "again"):
        (one,) = read(f"deploy/{name}.lock").models
        assert one.source == str(Path("mine-2.onnx").absolute())
    zoo("lock", "--lock", "deploy/zoo.lock", "-o", "back.lock")
    assert read("back.lock").models == read("zoo.lock").models


def test_another_registry_gets_the_same_bytes_under_its_own_numbers(zoo: Run, go: Go) -> None:
    hold("mine", 1)
    wanted = hold("mine", 2)
    zoo("alias", "mine@2", "production")
    zoo("lock", "mine@production")
    go("b")
    for value in (7, 8, 9):
        hold("mine", value)
    zoo("alias", "mine@1", "staging")
    ran = zoo("sync")
    assert (ran.code, ran.out) == (0, "synced mine:fp32@4  fp32, opset 17, 118 B\n")
    assert held()["mine:fp32@4"] == wanted.digest
    assert result(onnxzoo.load("mine@production", lock="zoo.lock")) == 2
    assert onnxzoo.resolve("mine@production", lock="zoo.lock").ref == "mine:fp32@4"
    assert zoo("sync").err == "zoo.lock: 1 reference, 1 held already\n"
    assert zoo("path", "mine@production", "--lock", "zoo.lock").out.strip() == str(
        onnxzoo.resolve("mine@4").path
    )
    zoo("alias", "mine@4", "production")
    before = Path("zoo.lock").read_bytes()
    assert zoo("lock").err == "zoo.lock is up to date: 1 reference\n"
    assert Path("zoo.lock").read_bytes() == before, "the number is the first registry's"


def test_variants_that_were_one_version_are_one_version_there_too(zoo: Run, go: Go) -> None:
    hold("mine", 2)
    onnxzoo.register(models.quantized(Path("q.onnx")), "mine:qdq@1")
    zoo("lock", "mine:fp32", "mine:qdq")
    go("b")
    hold("mine", 7)
    zoo("sync")
    assert set(held()) == {"mine:fp32@1", "mine:fp32@2", "mine:qdq@2"}


def test_a_variant_does_not_join_weights_that_it_does_not_belong_to(zoo: Run, go: Go) -> None:
    hold("mine", 2)
    onnxzoo.register(models.quantized(Path("q.onnx")), "mine:qdq@1")
    zoo("lock", "mine:qdq")
    go("b")
    hold("mine", 7)
    zoo("sync")
    assert set(held()) == {"mine:fp32@1", "mine:qdq@2"}


def test_a_repository_that_moved_on_gives_what_was_locked(
    zoo: Run, hub: Hub, go: Go, tmp_path: Path
) -> None:
    hub.add("acme/net", {"model.onnx": models.linear(tmp_path / "1.onnx", value=1)})
    wanted = onnxzoo.pull("hf://acme/net")
    zoo("lock", "acme/net")
    hub.add("acme/net", {"model.onnx": models.linear(tmp_path / "2.onnx", value=2)})
    go("b")
    assert zoo("sync", "-q").out == "acme/net:fp32@1\n"
    assert held() == {"acme/net:fp32@1": wanted.digest}
    found = onnxzoo.resolve("acme/net")
    assert (found.source, found.revision) == (wanted.source, wanted.revision)


def test_external_data_comes_with_its_model_from_a_web_server(
    zoo: Run, hub: Hub, go: Go, tmp_path: Path
) -> None:
    path = models.external(tmp_path / "net.onnx", value=3)
    url = hub.put("/models/net.onnx", path)
    hub.put("/models/weights.bin", tmp_path / "weights.bin")
    wanted = onnxzoo.pull(url)
    zoo("lock", "net")
    go("b")
    assert zoo("sync").code == 0
    assert held() == {"net:fp32@1": wanted.digest}
    assert result(onnxzoo.load("net", lock="zoo.lock")) == 3


def test_a_package_and_a_folder_beside_the_lock_go_with_it(
    zoo: Run, go: Go, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxzoo.pull("light-squeezenet")
    hold("mine", 2)
    zoo("lock", "light-squeezenet", "mine")
    wanted = held()
    work.rename(work.parent / "checkout")
    monkeypatch.chdir(work.parent / "checkout")
    go("b")
    assert zoo("sync").code == 0
    assert held() == wanted
    found = onnxzoo.resolve("light-squeezenet")
    assert (found.task, found.license) == ("image-classification", "Apache-2.0")
    assert onnxzoo.resolve("mine").source == str(work.parent / "checkout" / "mine-2.onnx")


def test_wrong_bytes_are_not_kept_and_the_rest_is_fetched(
    zoo: Run, hub: Hub, go: Go, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        hub.add(f"acme/{name}", {f"{name}.onnx": models.linear(tmp_path / f"{name}.onnx")})
        onnxzoo.pull(f"hf://acme/{name}")
    zoo("lock", "acme/a", "acme/b")
    go("b")
    hub.fault("wrong")
    ran = zoo("sync")
    assert ran.code == 4
    assert "error: `acme/a` cannot be fetched: cannot pull `acme/a:fp32`: `" in ran.err
    assert "has SHA-256" in ran.err
    assert "zoo.lock: 2 references, 1 fetched, 1 failed" in ran.err
    assert list(held()) == ["acme/b:fp32@1"]
    assert zoo("sync").code == 0


def test_a_source_with_other_bytes_by_now_is_refused(zoo: Run, go: Go) -> None:
    hold("mine", 2)
    zoo("lock", "mine")
    models.linear(Path("mine-2.onnx"), value=3)
    go("b")
    ran = zoo("sync", "--json")
    assert ran.code == 4
    (found,) = json.loads(ran.out)["models"]
    assert found["state"] == "failed"
    assert "expected" in found["error"]
    assert held() == {}


def test_what_has_no_allowed_licence_is_not_fetched(
    zoo: Run, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    go("one")
    hold("m", 1)
    zoo("lock", "m")
    go("two")
    monkeypatch.setenv("ZOO_ALLOW_LICENSES", "mit")
    ran = zoo("sync")
    assert (ran.code, "`m` has no licence that is known; allowed: `mit`" in ran.err) == (5, True)
    assert zoo("sync", "--allow-license", "mit,unknown").code == 0


def test_the_licence_that_an_index_gives_the_bytes_counts(zoo: Run, go: Go) -> None:
    go("one")
    zoo("pull", "light-squeezenet")
    zoo("lock", "light-squeezenet")
    lock = Path("zoo.lock")
    lock.write_text(lock.read_text().replace('license = "Apache-2.0"', 'license = "MIT"'))
    go("two")
    ran = zoo("sync", "--allow-license", "mit")
    assert (ran.code, "`Apache-2.0`" in ran.err) == (5, True)
    assert zoo("sync").code == 0
    assert onnxzoo.resolve("light-squeezenet").license == "Apache-2.0"


def test_offline_takes_what_is_held_and_nothing_else(
    zoo: Run, hub: Hub, go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.add("acme/net", {"m.onnx": models.linear(tmp_path / "m.onnx", value=5)})
    onnxzoo.pull("hf://acme/net")
    zoo("lock", "acme/net")
    hub.requests.clear()
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert zoo("sync").code == 0
    go("b")
    assert zoo("sync").code == 6
    with pytest.raises(RemoteError, match="offline"):
        onnxzoo.load("acme/net", lock="zoo.lock")
    assert hub.requests == []
    monkeypatch.delenv("ZOO_OFFLINE")
    assert result(onnxzoo.load("acme/net", lock="zoo.lock")) == 5


def test_bytes_that_another_model_has_are_not_fetched_again(
    zoo: Run, hub: Hub, go: Go, tmp_path: Path
) -> None:
    path = models.linear(tmp_path / "m.onnx")
    commit = hub.add("acme/net", {"m.onnx": path})
    onnxzoo.pull("hf://acme/net")
    zoo("lock", "acme/net")
    go("b")
    onnxzoo.register(path, "mine")
    hub.requests.clear()
    assert zoo("sync").code == 0
    assert hub.requests == []
    assert len(set(held().values())) == 1
    found = onnxzoo.resolve("acme/net")
    assert (found.source, found.revision) == ("hf://acme/net", commit)


def test_an_index_that_has_the_bytes_stands_in_for_a_lost_source(
    zoo: Run, hub: Hub, go: Go, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = hold("net", 2)
    zoo("lock", "net")
    Path("net-2.onnx").rename(tmp_path / "net-2.onnx")
    go("b")
    ran = zoo("sync")
    assert ran.code == 3
    assert "`net` cannot be fetched: no file or folder" in ran.err
    assert "zoo import" in ran.err
    from onnxzoo.registry.core.settings import Settings

    _, index = indexed(hub, Settings.from_env(), tmp_path, {"fp32": tmp_path / "net-2.onnx"})
    monkeypatch.setenv("ZOO_INDEX", str(index))
    assert zoo("sync").code == 0
    assert held() == {"net:fp32@1": wanted.digest}
    assert onnxzoo.resolve("net").tags == ("small",)
    assert onnxzoo.pull("net").ref == "net:fp32@1"
    assert entry("fp32", tmp_path / "net-2.onnx").digest == wanted.digest


def test_an_index_that_fails_does_not_stand_in_the_way(
    zoo: Run, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold("mine", 2)
    zoo("lock", "mine")
    go("b")
    monkeypatch.setenv("ZOO_INDEX", "/no/such/index.jsonl")
    ran = zoo("sync")
    assert (ran.code, "no index" in ran.err) == (0, True)


def test_a_derived_variant_that_is_nowhere_says_what_it_was_made_from(
    zoo: Run, go: Go, tmp_path: Path
) -> None:
    parent = hold("mine", 1)
    with Registry() as registry:
        child(registry, tmp_path / "child.onnx", parent, label="fp32-opset18", opset=18, value=1)
    zoo("lock", "mine:fp32-opset18")
    assert read("zoo.lock").models[0].made_from == "mine:fp32@1"
    go("b")
    hold("mine", 1)
    ran = zoo("sync")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines()[:2] == [
        "error: `mine:fp32-opset18` is not held and has no source to fetch it from: "
        "`mine:fp32-opset18@1` was made from `mine:fp32@1` (opset 17 → 18)",
        "hint: where it is held: zoo export mine:fp32-opset18@1 -o m.zoo; here: zoo import m.zoo",
    ]


def test_what_another_machine_cannot_fetch_is_said_when_it_is_locked(
    zoo: Run, tmp_path: Path
) -> None:
    onnxzoo.register(models.linear(tmp_path / "far.onnx"), "far")
    with Registry() as registry:
        parent = registry.resolve("far")
        child(registry, tmp_path / "child.onnx", parent, label="edge", opset=18, value=1)
    hold("near", 2)
    ran = zoo("lock", "far:fp32", "far:edge", "near")
    assert ran.err.splitlines() == [
        "note: `far:edge` was made from `far:fp32@1`: another machine gets it by export and import",
        f"note: `far:fp32` comes from `{tmp_path / 'far.onnx'}`: "
        "another machine gets it by export and import",
        "wrote zoo.lock: 3 references",
    ]
    assert zoo("lock").err == "zoo.lock is up to date: 3 references\n"


def test_check_changes_nothing_and_says_what_is_missing_or_different(zoo: Run, go: Go) -> None:
    hold("a", 1)
    hold("b", 2)
    hold("c", 3)
    zoo("lock", "a", "b", "c")
    ran = zoo("sync", "--check")
    assert (ran.code, ran.out, ran.err) == (0, "", "zoo.lock: 3 references, held to the byte\n")
    go("b")
    hold("a", 1)
    ran = zoo("sync", "--check")
    assert ran.code == 3
    assert [line.split()[:2] for line in ran.out.splitlines()[1:]] == [
        ["missing", "b"],
        ["missing", "c"],
    ]
    assert ran.err == "zoo.lock: 1 of 3 references held as locked\nhint: zoo sync\n"
    zoo("sync")
    hold("b", 9)
    path = onnxzoo.resolve("c").path
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    before = held()
    ran = zoo("sync", "--check")
    assert ran.code == 4
    assert [line.split()[:2] for line in ran.out.splitlines()[1:]] == [
        ["other", "b"],
        ["damaged", "c"],
    ]
    assert "b:fp32@2" in ran.out
    assert "has SHA-256" in ran.out
    assert zoo("sync", "--check", "-q").out == "b\nc\n"
    states = [
        found["state"] for found in json.loads(zoo("sync", "--check", "--json").out)["models"]
    ]
    assert states == ["held", "other", "damaged"]
    assert zoo("sync", "a", "--check").code == 0
    assert (held(), path.exists()) == (before, True)


def test_frozen_fails_once_an_alias_means_something_else(zoo: Run, go: Go) -> None:
    hold("mine", 1)
    hold("more", 5)
    zoo("alias", "mine@1", "production")
    zoo("lock", "mine@production")
    assert zoo("sync", "--frozen").code == 0
    hold("mine", 2)
    zoo("alias", "mine@2", "production")
    ran = zoo("sync", "--frozen")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        "error: `zoo.lock` is out of step: `mine@production` is `mine:fp32@2` here, "
        "and `mine:fp32@1` is locked\n"
        "hint: zoo alias mine:fp32@1 production goes back to what is locked; "
        "zoo lock locks what they mean now\n"
    )
    ran = zoo("sync")
    assert (ran.code, "warning: `mine@production` is `mine:fp32@2` here" in ran.err) == (0, True)
    go("b")
    hold("mine", 3)
    zoo("alias", "mine@1", "production")
    assert zoo("sync", "--frozen").code == 4, "before and after what is missing was fetched"
    assert zoo("sync", "--frozen").code == 4
    go("c")
    assert [zoo("sync", "--frozen").code for _ in range(2)] == [0, 0]


def test_a_number_of_another_registry_is_no_drift(zoo: Run, go: Go) -> None:
    hold("mine", 1)
    hold("mine", 2)
    zoo("lock", "mine@2")
    before = Path("zoo.lock").read_bytes()
    go("b")
    hold("mine", 7)
    hold("mine", 8)
    assert zoo("sync", "--frozen").code == 0
    assert zoo("sync", "--check").code == 0
    assert zoo("lock").code == 0
    assert Path("zoo.lock").read_bytes() == before
    assert result(onnxzoo.load("mine@2", lock="zoo.lock")) == 2


def test_a_lock_that_was_tampered_with_is_refused_everywhere(zoo: Run, go: Go) -> None:
    hold("mine", 1)
    zoo("lock", "mine")
    other = hold("mine", 2).files[0].sha256
    text = Path("zoo.lock").read_text()
    sha = read("zoo.lock").models[0].files[0].sha256
    Path("zoo.lock").write_text(text.replace(sha, other))
    for words in (["sync"], ["sync", "--check"], ["lock"], ["path", "mine", "--lock", "zoo.lock"]):
        ran = zoo(*words)
        assert (ran.code, ran.out) == (4, "")
        assert "error: `zoo.lock`, line 6: the files of `mine` make the digest" in ran.err
    with pytest.raises(IntegrityError):
        onnxzoo.load("mine", lock="zoo.lock")


def test_a_merge_that_conflicts_is_named_by_its_line(zoo: Run) -> None:
    Path("zoo.lock").write_text("lock-version = 1\n<<<<<<< HEAD\n=======\n>>>>>>> other\n")
    ran = zoo("sync")
    assert ran.code == 2
    assert ran.err.startswith("error: `zoo.lock`, line 2: a merge that conflicts was not resolved")


@pytest.mark.parametrize(
    ("ref", "wish", "error"),
    [
        ("other", {}, NotFound),
        ("mine@1", {}, NotFound),
        ("mine", {"variant": "int8"}, NotFound),
        ("mine", {"opset": 17}, UsageError),
        ("mine", {"prefer": "size"}, UsageError),
    ],
)
def test_nothing_is_loaded_that_is_not_in_the_lock(
    zoo: Run, ref: str, wish: dict[str, Any], error: type[ZooError]
) -> None:
    hold("mine", 1)
    hold("other", 2)
    zoo("lock", "mine")
    assert result(onnxzoo.load("mine", lock="zoo.lock")) == 1
    uses: tuple[Callable[..., object], ...] = (onnxzoo.load, onnxzoo.resolve)
    for use in uses:
        with pytest.raises(error):
            use(ref, lock="zoo.lock", **wish)
    with pytest.raises(NotFound, match="no lock"):
        onnxzoo.load("mine", lock="gone.lock")


def test_no_other_bytes_stand_in_for_those_that_are_gone(zoo: Run) -> None:
    hold("mine", 1)
    zoo("lock", "mine")
    hold("mine", 2)
    zoo("rm", "mine@1", "-y")
    with pytest.raises(NotFound) as caught:
        onnxzoo.resolve("mine", lock="zoo.lock")
    assert "which is not held" in caught.value.message
    assert caught.value.hint == "zoo sync"
    Path("mine-1.onnx").unlink()
    with pytest.raises(NotFound, match="cannot be fetched"):
        onnxzoo.load("mine", lock="zoo.lock")
    assert zoo("run", "mine", "--lock", "zoo.lock").code == 3
    assert result(onnxzoo.load("mine")) == 2


def test_a_newer_version_changes_nothing_for_who_loads_by_the_lock(zoo: Run) -> None:
    hold("mine", 1)
    zoo("lock", "mine")
    hold("mine", 2)
    assert result(onnxzoo.load("mine")) == 2
    assert result(onnxzoo.load("mine", lock=Path("zoo.lock"))) == 1
    assert "mine:fp32@1 on" in zoo("run", "mine", "--lock", "zoo.lock").out
    zoo("lock")
    assert result(onnxzoo.load("mine", lock="zoo.lock")) == 2, "the lock is read again"


def test_locking_again_says_what_changed(zoo: Run) -> None:
    hold("a", 1)
    hold("b", 2)
    zoo("lock", "a", "b", "a@1")
    hold("a", 3, license="MIT")
    ran = zoo("lock", "--dry-run")
    assert ran.err == "dry run: nothing was written\n"
    old, new = (onnxzoo.resolve(ref).digest[7:19] for ref in ("a@1", "a@2"))
    assert [row.split() for row in ran.out.splitlines()[1:]] == [
        ["changed", "a", "a:fp32@1", old, "118", "B", "unknown"],
        ["→", "a:fp32@2", new, "118", "B", "MIT"],
    ]
    found = json.loads(zoo("lock", "--json").out)
    assert (found["written"], [one["asked"] for one in found["models"]]) == (
        True,
        ["a", "a@1", "b"],
    )
    (change,) = found["changes"]
    assert (change["change"], change["asked"]) == ("changed", "a")
    assert (change["old"]["version"], change["new"]["version"]) == (1, 2)
    assert zoo("lock", "-q").out == "a:fp32@2\na:fp32@1\nb:fp32@1\n"


def test_naming_references_leaves_the_others_as_they_are(zoo: Run) -> None:
    hold("a", 1)
    zoo("lock", "a")
    hold("a", 2)
    hold("b", 3)
    zoo("lock", "b")
    assert [(str(one.asked), one.version) for one in read("zoo.lock").models] == [
        ("a", 1),
        ("b", 1),
    ]
    zoo("lock", "A@latest")  # the same reference, in other words
    assert [(str(one.asked), one.version) for one in read("zoo.lock").models] == [
        ("a@latest", 2),
        ("b", 1),
    ]
    ran = zoo("lock", "--remove", "a")
    assert ran.out.splitlines()[1].split()[:2] == ["removed", "a@latest"]
    assert [str(one.asked) for one in read("zoo.lock").models] == ["b"]
    assert zoo("lock", "--remove", "a").code == 3
    assert zoo("lock", "--remove", "b").code == 0
    ran = zoo("lock")
    assert (ran.code, "nothing to lock: `zoo.lock` has no references" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        (["light-squeezenet"], 3, "an index has it", "zoo pull light-squeezenet"),
        (["nobody-has-it"], 3, "no model `nobody-has-it`", "zoo search"),
        (["mine@7"], 3, "no version `7`", "zoo versions mine"),
        (["hf://acme/net"], 2, "is a source", "zoo pull"),
        (["https://me:secret@models.example.org/m.onnx"], 2, "is a source", "zoo pull"),
        ([], 3, "no lock `zoo.lock`", "zoo lock NAME writes it"),
        (["--lock", "gone.lock"], 3, "no lock `gone.lock`", "zoo lock NAME"),
    ],
)
def test_what_is_not_held_is_not_locked(
    zoo: Run, words: list[str], code: int, error: str, hint: str
) -> None:
    hold("mine", 1)
    ran = zoo("lock", *words)
    assert (ran.code, ran.out, Path("zoo.lock").exists()) == (code, "", False)
    assert error in ran.err
    assert f"hint: {hint}" in ran.err
    assert "secret" not in ran.err


def test_a_damaged_bundle_is_made_whole(zoo: Run) -> None:
    path = hold("mine", 1).path
    zoo("lock", "mine")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    assert zoo("lock", "mine").code == 4
    ran = zoo("sync")
    assert (ran.code, ran.out) == (0, "synced mine:fp32@1  fp32, opset 17, 118 B\n")
    assert list(held()) == ["mine:fp32@1"]
    assert zoo("verify").code == 0


def test_an_indexs_other_name_is_locked_and_found_by_it(
    zoo: Run, hub: Hub, go: Go, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from onnxzoo.registry.core.settings import Settings

    paths = {
        "fp32": models.linear(tmp_path / "net.onnx"),
        "qdq": models.quantized(tmp_path / "net-qdq.onnx"),
    }
    _, index = indexed(hub, Settings.from_env(), tmp_path, paths)
    monkeypatch.setenv("ZOO_INDEX", str(index))
    onnxzoo.pull("net")
    onnxzoo.pull("old-net-qdq")
    zoo("lock", "old-net-qdq")
    go("b")
    onnxzoo.pull("net")
    assert zoo("sync", "--frozen").code == 0
    assert zoo("sync", "--check").code == 0
    assert set(held()) == {"net:fp32@1", "net:qdq@1"}
    assert onnxzoo.resolve("old-net-qdq", lock="zoo.lock").variant == "qdq"


def test_a_lock_of_another_name_is_named_in_every_hint(zoo: Run, go: Go) -> None:
    hold("mine", 1)
    assert zoo("lock", "mine", "--lock", "my own.lock").code == 0
    assert zoo("lock", "--lock", "my own.lock", "-o", "copy.lock").code == 0
    assert Path("my own.lock").read_bytes() == Path("copy.lock").read_bytes()
    assert zoo("lock", "--lock", "my own.lock").err == "my own.lock is up to date: 1 reference\n"
    go("b")
    ran = zoo("sync", "--lock", "my own.lock", "--check")
    assert ran.err.endswith("hint: zoo sync --lock 'my own.lock'\n")
    ran = zoo("sync", "other", "--lock", "my own.lock")
    assert (ran.code, ran.err.splitlines()[1]) == (3, "hint: zoo lock other --lock 'my own.lock'")


def test_a_pipe_gets_whole_lines(zoo: Run, go: Go) -> None:
    name = "a-name-that-is-longer-than-any-terminal-would-show-in-one-column"
    hold(name, 1)
    zoo("lock", name)
    environment = {**os.environ, "ZOO_HOME": str(go("b")), "COLUMNS": "40"}
    command = [sys.executable, "-c", "from onnxzoo.cli import main; main()", "sync", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, f"  {name}:fp32@1  " in done.stdout) == (3, True)


def test_loading_by_a_lock_needs_no_index_and_no_database_layer(zoo: Run) -> None:
    hold("mine", 1)
    zoo("lock", "mine")
    code = (
        "import onnxzoo, sys\n"
        "session = onnxzoo.load('mine', lock='zoo.lock')\n"
        "assert onnxzoo.load('mine', lock='zoo.lock') is session\n"
        "print({'sqlmodel', 'onnxzoo.zoo_index.zoo'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_of_a_bundle_with_two_models_the_locked_one_is_meant(zoo: Run, work: Path) -> None:
    with Registry() as registry, registry.store.stage() as stage:
        for name, value in (("good", 1), ("neg", -1)):
            stage.copy(models.linear(work / f"{name}.onnx", value=value), f"{name}.onnx")
        draft = Draft("net", "good.onnx", describe(work / "good.onnx"), str(work))
        registry.publish(stage, draft, "pull", must_open=True)
    zoo("lock", "net")
    text = Path("zoo.lock").read_text()
    Path("zoo.lock").write_text(text.replace('"good.onnx"', '"neg.onnx"', 1))
    ran = zoo("path", "net", "--lock", "zoo.lock")
    assert (ran.code, "which is not held" in ran.err) == (3, True)
    assert zoo("sync", "--check").code == 3
    assert result(onnxzoo.load("net", lock="zoo.lock")) == -1
    assert onnxzoo.resolve("net", lock="zoo.lock").path.name == "neg.onnx"
    assert zoo("sync", "--check").code == 0
    assert zoo("lock").err == "zoo.lock is up to date: 1 reference\n"
