"""A folder of `.zoo` files, or a web server of them, is a place to pull from."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import onnxzoo
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, NotFound, RemoteError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.sources.open import open_source
from tests.support import models
from tests.support.commands import Run
from tests.support.hub import Hub, sha256


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "there") as registry:
        path = models.external(tmp_path / "1" / "m.onnx", value=1)
        registry.register(path, "m", license="MIT", task="ranking", tags=["small"])
        registry.register(models.external(tmp_path / "2" / "m.onnx", value=2), "m")
        registry.register(models.linear(tmp_path / "fp16.onnx", dtype="float16"), "m:fp16@1")
        registry.register(models.sized(tmp_path / "big.onnx", 4), "big")
        yield registry


@pytest.fixture
def folder(there: Registry, tmp_path: Path) -> Path:
    (tmp_path / "usb").mkdir()
    there.export(["m"], tmp_path / "usb" / "m.zoo")
    there.export(["big", "m@1"], tmp_path / "usb" / "others.zoo")
    (tmp_path / "usb" / "readme.txt").write_text("hello")
    return tmp_path / "usb"


@pytest.fixture
def web(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as hub:
        monkeypatch.setenv("ZOO_INDEX", hub.put("/others.zoo", folder / "others.zoo"))
        yield hub


def test_a_folder_of_files_is_an_index(
    zoo: Run, there: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_INDEX", str(folder))
    (row,) = (r for r in json.loads(zoo("index", "list", "--json").out) if r["name"] == "usb")
    assert (row["models"], row["variants"]) == (2, 3)
    assert zoo("search", "ranking", "small", "-q").out.split() == ["m"]
    assert zoo("pull", "m", "m:fp16", "big", "-q").out.split() == [
        "m:fp32@1",
        "m:fp16@1",
        "big:fp32@1",
    ]
    held = onnxzoo.resolve("m")
    assert held.digest == there.resolve("m@2").digest  # the highest version of the variant
    assert held.source == f"{(folder / 'm.zoo').as_uri()}#{held.digest}"
    assert (held.task, held.tags) == ("ranking", ("small",))
    assert zoo("pull", "m", "-q").out == "m:fp32@1\n"
    onnxzoo.load("m")


def test_one_file_is_an_index(
    zoo: Run, there: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_INDEX", str(folder / "others.zoo"))
    assert zoo("pull", "m").code == 0
    assert onnxzoo.resolve("m").digest == there.resolve("m:fp32@1").digest


def test_what_was_pulled_from_a_file_can_be_repaired_from_it(
    zoo: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_INDEX", str(folder))
    zoo("pull", "m")
    held = onnxzoo.resolve("m")
    held.path.chmod(0o644)
    held.path.write_bytes(b"damaged")
    assert zoo("verify", "--repair").code == 0
    assert sha256(held.path) == held.files[0].sha256


def test_a_web_server_gives_one_variant_without_the_rest(
    zoo: Run, there: Registry, folder: Path, web: Hub
) -> None:
    assert zoo("pull", "m").code == 0
    asked = [request.headers.get("range") for request in web.bodies()]
    assert all(asked)
    lengths = [
        int(last) - int(first) + 1
        for first, last in (str(one).removeprefix("bytes=").split("-") for one in asked)
    ]
    assert sum(lengths) < 50_000 < (folder / "others.zoo").stat().st_size
    assert onnxzoo.resolve("m").digest == there.resolve("m:fp32@1").digest
    web.requests.clear()
    assert zoo("pull", "m", "-q").out == "m:fp32@1\n"
    assert web.requests == []


def test_a_broken_transfer_of_a_part_goes_on_where_it_stopped(
    zoo: Run, there: Registry, web: Hub
) -> None:
    assert zoo("search", "big").code == 0
    web.requests.clear()
    web.fault("cut", after=2_000_000, skip=2)  # the head takes two requests
    onnxzoo.pull("big")
    assert onnxzoo.resolve("big").digest == there.resolve("big").digest
    first, again = (request.headers["range"].split("-") for request in web.bodies()[2:])
    assert first[1] == again[1]
    assert int(again[0][6:]) - int(first[0][6:]) == 2_000_000


def test_a_part_whose_rest_is_of_another_file_is_fetched_anew(
    zoo: Run, there: Registry, web: Hub
) -> None:
    assert zoo("search", "big").code == 0
    web.fault("cut", after=2_000_000, skip=2)
    web.fault("ignores-range", skip=2)  # as a server answers to an If-Range that holds no more
    onnxzoo.pull("big")
    assert onnxzoo.resolve("big").digest == there.resolve("big").digest


def test_a_file_that_was_replaced_on_the_server_is_noticed(
    zoo: Run, there: Registry, folder: Path, web: Hub
) -> None:
    assert zoo("search", "big").code == 0
    there.export(["m"], folder / "others.zoo")
    ran = zoo("pull", "big")
    assert ran.code == 3
    assert "hint: the file is another one now: zoo index update" in ran.err


def test_a_server_without_ranges_is_told_from_one_with(
    zoo: Run, settings: Settings, web: Hub
) -> None:
    web.fault("ignores-range")
    ran = zoo("search", "big")
    assert ran.code == 6
    assert f"`{web.url}/others.zoo` cannot be read in parts" in ran.err
    assert f"hint: take all of it: zoo import {web.url}/others.zoo" in ran.err


def test_flipped_bytes_on_the_way_are_noticed(zoo: Run, web: Hub, folder: Path) -> None:
    assert zoo("search", "big").code == 0
    whole = bytearray((folder / "others.zoo").read_bytes())
    whole[-5000] ^= 1
    at = len(whole) // 2
    whole[at] ^= 1
    (folder / "others.zoo").write_bytes(whole)
    ran = zoo("pull", "big")
    assert ran.code == 4
    assert zoo("list", "-q").out == ""


def test_a_source_that_is_not_what_it_says_is_refused(
    settings: Settings, there: Registry, folder: Path
) -> None:
    digest = there.resolve("m@2").digest
    with pytest.raises(NotFound, match="no bundle"):
        open_source(f"{folder}/others.zoo#{digest}", settings).files()
    source = open_source(f"{folder}/m.zoo#{digest}", settings)
    (folder / "m.zoo").write_bytes((folder / "m.zoo").read_bytes()[:-2000])
    with pytest.raises(IntegrityError, match="cut off"):
        source.files()
    with pytest.raises(RemoteError):
        open_source(
            f"https://example.org/m.zoo#{digest}",
            Settings(settings.home, settings.cache, offline=True),
        ).files()


def test_a_broken_file_in_the_index_is_told_with_the_way_out(
    zoo: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_INDEX", str(folder))
    (folder / "m.zoo").write_bytes((folder / "m.zoo").read_bytes()[:-1])
    ran = zoo("search", "m")
    assert ran.code == 4
    assert "`m.zoo` is cut off" in ran.err
    assert f"hint: mend `{folder}/m.zoo`, or take it out of ZOO_INDEX\n" in ran.err


def test_a_listing_on_a_web_server_is_no_index(zoo: Run, web: Hub) -> None:
    web.fault("html")
    ran = zoo("search", "big")
    assert ran.code == 4
    assert "others.zoo` is an HTML page" in ran.err
    assert "hint: if it is a folder, name its .zoo files one by one in ZOO_INDEX; " in ran.err


def test_a_folder_without_such_files_is_no_index(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("ZOO_INDEX", str(tmp_path / "empty"))
    ran = zoo("search", "m")
    assert ran.code == 3
    assert "no `.zoo` file in" in ran.err
