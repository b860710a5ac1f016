"""Addresses and files that an index, a lock or a record names in the place of the user."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.download.peers import GLOBAL, Hops, Namer, kind_of
from onnxzoo.zoo_index.index.indexes import Indexes
from onnxzoo.zoo_index.index.private import cached_path, fetch_index
from onnxzoo.zoo_index.sources.open import open_source
from tests.support import models
from tests.support.commands import Run
from tests.support.hub import sha256, size
from tests.support.servers import Server

MACHINE, PRIVATE, LINK = (kind_of(text) for text in ("127.0.0.1", "10.0.0.1", "169.254.0.1"))
PUBLIC = Namer("the index `https://models.acme.org/i.jsonl`", GLOBAL)
FILE = Namer("the lock `zoo.lock`")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "m.onnx")


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    with Server({"/m.onnx": model.read_bytes()}) as running:
        yield running


def line(source: str, model: Path, **more: object) -> str:
    file = {"path": model.name, "sha256": sha256(model), "bytes": size(model)}
    known = {"name": "net", "variant": "fp32", "precision": "fp32", "opset": 17}
    return json.dumps({**known, "source": source, "files": [file], **more}) + "\n"


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_ATTEMPTS", "1")
    monkeypatch.setenv("ZOO_TIMEOUT", "2")


@pytest.mark.parametrize(
    ("network", "may"),
    [
        (GLOBAL, {GLOBAL}),
        (MACHINE, {GLOBAL, MACHINE}),
        (PRIVATE, {GLOBAL, PRIVATE}),
        (LINK, {GLOBAL, LINK}),
        (None, {GLOBAL, MACHINE, PRIVATE}),
    ],
)
def test_whoever_names_an_address_decides_how_far_it_reaches(
    network: str | None, may: set[str]
) -> None:
    for kind in (GLOBAL, MACHINE, PRIVATE, LINK):
        hops = Hops(Namer("the index `i`", network))
        if kind in may:
            hops.check("there", kind, encrypted=True)
            assert hops.first == kind
        else:
            with pytest.raises(Refused, match=f"the index `i`.* names `there` on {kind}"):
                hops.check("there", kind, encrypted=True)


def test_a_public_index_names_no_address_of_this_machine(
    settings: Settings, server: Server, model: Path
) -> None:
    source = open_source(f"{server.url}/m.onnx", settings, PUBLIC)
    with pytest.raises(Refused) as caught:
        source.fetch("m.onnx", sha256=sha256(model), size=size(model))
    assert caught.value.message == (
        "the index `https://models.acme.org/i.jsonl`, which came from the internet, names "
        "`127.0.0.1` on this machine, which is not asked"
    )
    assert "ZOO_INDEX=FILE" in (caught.value.hint or "")
    assert server.requests == []


@pytest.mark.parametrize("namer", [None, FILE, Namer("the index `i`", MACHINE)])
def test_the_user_a_file_and_an_index_of_this_machine_may(
    settings: Settings, server: Server, model: Path, namer: Namer | None
) -> None:
    source = open_source(f"{server.url}/m.onnx", settings, namer)
    fetched = source.fetch("m.onnx", sha256=sha256(model), size=size(model))
    assert fetched.sha256 == sha256(model)


def test_an_index_that_is_fetched_keeps_from_where_it_came(
    zoo: Run, server: Server, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    server.content["/i.jsonl"] = line(f"{server.url}/m.onnx", model).encode()
    monkeypatch.setenv("ZOO_INDEX", url := f"{server.url}/i.jsonl")
    assert zoo("pull", "net", "-q").out == "net:fp32@1\n"
    assert zoo("rm", "net", "-y").code == 0
    kept = cached_path(url, Settings.from_env()).with_suffix(".network")
    assert kept.read_text() == MACHINE
    kept.unlink()  # nobody knows any more
    before = len(server.requests)
    ran = zoo("pull", "net")
    assert (ran.code, len(server.requests)) == (5, before)
    assert f"the index `{url}`, which came from the internet, names `127.0.0.1`" in ran.err
    assert "hint: if you trust it, keep it in a file here" in ran.err


def test_reference_data_are_held_to_it_too(
    zoo: Run, server: Server, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    data = {"path": "data.tar.gz", "sha256": "0" * 64, "bytes": 9}
    server.content["/i.jsonl"] = line(f"{server.url}/m.onnx", model, test_data=data).encode()
    monkeypatch.setenv("ZOO_INDEX", url := f"{server.url}/i.jsonl")
    assert zoo("pull", "net", "-q").code == 0
    assert zoo("test", "net").code != 5
    assert "/data.tar.gz" in {request.path for request in server.requests}
    cached_path(url, Settings.from_env()).with_suffix(".network").write_text(GLOBAL)
    before = len(server.requests)
    ran = zoo("test", "net")
    assert (ran.code, len(server.requests)) == (5, before)
    assert "which came from the internet, names `127.0.0.1`" in ran.err


def test_an_index_fetched_again_says_so_anew(
    settings: Settings, server: Server, model: Path
) -> None:
    server.content["/i.jsonl"] = line(f"{server.url}/m.onnx", model).encode()
    url = f"{server.url}/i.jsonl"
    fetch_index(url, settings)
    indexes = Indexes.from_settings(replace(settings, indexes=(url,)))
    (entry,) = indexes.find("net")
    assert indexes.namer(entry) == Namer(f"the index `{url}`", MACHINE)


def test_the_shipped_index_names_what_the_user_may(settings: Settings) -> None:
    indexes = Indexes.from_settings(settings)
    assert indexes.namer(indexes.find("resnet50")[0]) is None


@pytest.mark.parametrize("text", ["file://{}", "FILE://{}", "{}", "file://{}#sha256:" + "0" * 64])
def test_what_came_over_a_network_names_no_file_here(
    settings: Settings, tmp_path: Path, text: str
) -> None:
    path = models.linear(tmp_path / "m.onnx")
    if "#" in text:
        path = path.rename(tmp_path / "m.zoo")
    with pytest.raises(Refused, match=r"names the file `.*` here, which is not read") as caught:
        open_source(text.format(path), settings, PUBLIC)
    assert "zoo pull" in (caught.value.hint or "")


def test_a_private_index_over_the_network_names_no_file_either(
    zoo: Run, server: Server, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content["/i.jsonl"] = line(model.parent.as_uri(), model).encode()
    monkeypatch.setenv("ZOO_INDEX", f"{server.url}/i.jsonl")
    ran = zoo("pull", "net")
    assert ran.code == 5
    assert "names the file" in ran.err
    (model.parent / "i.jsonl").write_text(line(model.parent.as_uri(), model))
    monkeypatch.setenv("ZOO_INDEX", str(model.parent / "i.jsonl"))
    assert zoo("pull", "net", "-q").out == "net:fp32@1\n"


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/self/environ", "/sys/kernel/notes"])
def test_a_file_names_nothing_of_the_system(settings: Settings, tmp_path: Path, path: str) -> None:
    link = tmp_path / "m.onnx"
    link.symlink_to(path)
    for source in (path, f"file://{path}", str(link)):
        with pytest.raises(Refused, match="a file of the system, which is not read"):
            open_source(source, settings, FILE)
    for folder, inside in (("/", path[1:]), (str(tmp_path), "m.onnx")):
        opened = open_source(folder, settings, FILE)
        with pytest.raises(Refused, match="a file of the system, which is not read"):
            opened.fetch(inside, sha256="0" * 64, size=0)


@pytest.mark.parametrize("namer", [None, FILE])
def test_a_pipe_or_a_device_is_no_source(
    settings: Settings, tmp_path: Path, namer: Namer | None
) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    for path in (tmp_path / "m.onnx", "/dev/zero"):
        with pytest.raises(NotFound):
            open_source(str(path), settings, namer)
    with pytest.raises(Refused, match="which is a pipe, not a file"):
        open_source(str(tmp_path), settings, namer).fetch("m.onnx", sha256=None, size=None)


def test_another_size_is_said_before_a_byte_is_read(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 42)  # a hole, which would take days to read
    with pytest.raises(IntegrityError, match="expected 7"):
        open_source(str(path), settings, FILE).fetch("m.onnx", sha256="0" * 64, size=7)


def test_the_hash_of_a_file_that_others_named_is_not_told(settings: Settings, model: Path) -> None:
    for namer, told in ((None, True), (FILE, False)):
        with pytest.raises(IntegrityError, match=f"expected {'0' * 64}") as caught:
            open_source(str(model), settings, namer).fetch("m.onnx", sha256="0" * 64, size=None)
        assert (sha256(model) in caught.value.message) is told


def test_a_lock_and_a_record_are_held_to_it(
    zoo: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"{server.url}/m.onnx"
    assert zoo("pull", url, "-q").out == "m:fp32@1\n"
    assert zoo("lock", "m").code == 0
    assert zoo("rm", "m", "-y").code == 0
    assert zoo("sync").code == 0  # an address of this machine is what a company's mirror may be
    assert zoo("rm", "m", "-y").code == 0
    lock = Path("zoo.lock")
    lock.write_text(lock.read_text().replace(url, "/proc/version"))
    ran = zoo("sync")
    assert (ran.code, "error: the lock `zoo.lock` names `/proc/version`" in ran.err) == (5, True)

    source = tmp_path / "m.onnx"
    assert zoo("pull", source, "-q").code == 0
    source.unlink()
    source.symlink_to("/proc/version")
    held = Path(zoo("path", "m").out.strip())
    held.chmod(0o644)
    held.write_bytes(b"damaged")
    ran = zoo("verify", "m", "--repair")
    assert (ran.code, "the record of `m:fp32@1` names" in ran.out + ran.err) == (4, True)
