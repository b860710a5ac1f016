"""``zoo index update`` against a loopback Hub."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import NotAuthorised, Refused, RemoteError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.index.entry import dump
from onnxzoo.zoo_index.index.index import Index
from onnxzoo.zoo_index.index.indexes import SHIPPED, ZOO, Indexes, updated_path
from onnxzoo.zoo_index.index.update import update
from tests.support import models
from tests.support.hub import Hub, sha256, size
from tests.support.servers import OF_LIST, Behaviour, Server

NAMES = ("mnist-12", "mnist-8", "candy-9")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def small(settings: Settings, hub: Hub) -> Settings:
    """Settings whose index in force knows three models, at the commits that the Hub has."""
    entries = {
        entry.source.rpartition("/")[2]: entry
        for entry in Index(SHIPPED, ZOO, trusted=True).entries
    }
    lines = []
    for name in NAMES:
        commit = hub.add(f"{ZOO}/{name}", {f"{name}.onnx": name.encode()})
        lines.append(dump(replace(entries[name], revision=commit)) + "\n")
    path = updated_path(settings)
    path.parent.mkdir(parents=True)
    path.write_text("".join(lines))
    return replace(settings, endpoint=hub.url)


def asked(hub: Hub) -> list[str]:
    """Return the repositories that were asked about one by one."""
    paths = [r.path for r in hub.requests if r.path.startswith(f"/api/models/{ZOO}/")]
    return [path.split("/")[4] for path in paths]


def sleeping(_: float) -> None:
    """Do not wait."""


def test_nothing_new_costs_no_call_beyond_the_list(hub: Hub, small: Settings) -> None:
    found = update(small, sleep=sleeping)
    assert (found.new, found.changed, found.gone, found.same) == ((), (), (), 3)
    assert asked(hub) == []


def test_new_changed_and_gone_are_kept_as_an_index(
    hub: Hub, small: Settings, tmp_path: Path
) -> None:
    path = models.linear(tmp_path / "m.onnx")
    hub.add(f"{ZOO}/mnist-12", {"mnist-12.onnx": path})
    hub.add(f"{ZOO}/fresh_Opset21", {"fresh_Opset21.onnx": path})
    del hub.repos[f"{ZOO}/candy-9"]
    found = update(small, sleep=sleeping)
    assert found.new == (f"{ZOO}/fresh_Opset21",)
    assert found.changed == (f"{ZOO}/mnist-12",)
    assert found.gone == (f"{ZOO}/candy-9",)
    assert sorted(asked(hub)) == ["fresh_Opset21", "mnist-12"]
    indexes = Indexes.from_settings(small)
    (fresh,) = indexes.find("fresh_opset21")
    assert (fresh.opset, fresh.license) == (21, None)
    assert (fresh.files[0].sha256, fresh.bytes) == (sha256(path), size(path))
    changed = next(e for e in indexes.find("mnist") if e.variant == "fp32")
    assert (changed.files[0].sha256, changed.opset) == (sha256(path), 12)
    assert indexes.find("candy") == []
    hub.requests.clear()
    update(small, sleep=sleeping)
    assert asked(hub) == []


@pytest.mark.parametrize("status", ["429", "500", "503"])
def test_what_may_pass_is_asked_again(hub: Hub, small: Settings, status: str) -> None:
    hub.add(f"{ZOO}/fresh", {"fresh.onnx": b"x"})
    hub.fault(status, at="api", path="fresh", Retry_After="7")
    waits: list[float] = []
    assert update(small, sleep=waits.append).new == (f"{ZOO}/fresh",)
    assert 7 in waits


def test_a_hub_that_cannot_be_reached_is_asked_again(small: Settings) -> None:
    waits: list[float] = []
    with pytest.raises(RemoteError, match="cannot be reached") as error:
        update(replace(small, endpoint="http://127.0.0.1:9", attempts=3), sleep=waits.append)
    assert (waits, "is kept" in str(error.value.hint)) == ([2, 2], True)


@pytest.mark.parametrize(
    ("said", "waited"), [("0", [0, 0]), ("300", [300, 300]), ("9999", []), ("soon", [60, 60])]
)
def test_a_wait_is_as_long_as_the_hub_says_within_bounds(
    hub: Hub, small: Settings, said: str, waited: list[float]
) -> None:
    hub.fault("429", at="api", times=-1, Retry_After=said)
    waits: list[float] = []
    with pytest.raises(RemoteError, match="429"):
        update(replace(small, attempts=3), sleep=waits.append)
    assert waits == waited


@pytest.mark.parametrize("row", OF_LIST, ids=lambda row: row.name.replace(" ", "-"))
def test_a_list_is_what_it_should_be_or_one_error(
    small: Settings, monkeypatch: pytest.MonkeyPatch, row: Behaviour
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary_token")
    before = updated_path(small).read_bytes()
    with Server({}) as server, Server({"/api/models": b"[]"}) as other:
        server.other = f"http://localhost:{other.port}"
        server.strike(row.answer)
        with pytest.raises(RemoteError) as caught:
            update(replace(small, endpoint=server.url), sleep=sleeping)
    assert "canary" not in f"{caught.value} {caught.value.hint}"
    assert other.requests == []
    assert updated_path(small).read_bytes() == before


def test_an_interrupted_update_goes_on_where_it_stopped(hub: Hub, small: Settings) -> None:
    for name in ("a", "b"):
        hub.add(f"{ZOO}/{name}", {f"{name}.onnx": name.encode()})
    before = updated_path(small).read_bytes()
    hub.fault("400", at="api", path="/b")
    with pytest.raises(RemoteError, match="400"):
        update(small, sleep=sleeping)
    assert updated_path(small).read_bytes() == before
    hub.requests.clear()
    update(small, sleep=sleeping)
    assert asked(hub) == ["b"]


def test_a_hub_that_lists_nothing_changes_nothing(settings: Settings) -> None:
    with Hub() as empty, pytest.raises(RemoteError, match="lists no models"):
        update(replace(settings, endpoint=empty.url), sleep=sleeping)
    assert not updated_path(settings).exists()


def test_offline_asks_nobody(settings: Settings) -> None:
    with pytest.raises(RemoteError, match="offline") as caught:
        update(replace(settings, offline=True))
    assert "HF_HUB_OFFLINE" in (caught.value.hint or "")


def test_what_did_not_change_since_the_shipped_index_was_compiled_is_not_asked_about(
    hub: Hub, settings: Settings
) -> None:
    hub.add(f"{ZOO}/mnist-12", {"mnist-12.onnx": b"x"})  # last changed in 2025
    mirror = replace(settings, endpoint=hub.url)
    with pytest.raises(Refused, match="lacks 2324 of 2325") as caught:
        update(mirror, sleep=sleeping)
    assert "is deleted" in (caught.value.hint or "")
    assert Indexes.from_settings(mirror).find("resnet50")
    found = update(mirror, force=True, sleep=sleeping)
    assert (found.new, found.changed, found.same, len(found.gone)) == ((), (), 1, 2324)
    assert asked(hub) == []
    assert Indexes.from_settings(settings).find("light-squeezenet")


def test_new_files_of_one_stem_get_names_of_their_own(hub: Hub, small: Settings) -> None:
    for name in ("one", "two"):
        hub.add(f"{ZOO}/{name}", {"model.onnx": name.encode()})
    hub.add(f"{ZOO}/three", {"a/model.onnx": b"a", "b/model.onnx": b"b", "c/model.onnx": b"c"})
    update(small, sleep=sleeping)
    found = Indexes.from_settings(small).search(["model"])
    assert len({(entry.name, entry.variant) for entry in found}) == len(found)
    names = {entry.source: entry.name for entry in found}
    hub.add(f"{ZOO}/three", {"a/model.onnx": b"A", "b/model.onnx": b"B"})
    update(small, sleep=sleeping)
    again = Indexes.from_settings(small).search(["three"])
    assert len(again) == 2
    assert names[f"hf://{ZOO}/three"]


def test_half_a_line_of_an_interrupted_update_is_dropped(hub: Hub, small: Settings) -> None:
    for name in ("a", "b", "c"):
        hub.add(f"{ZOO}/{name}", {f"{name}.onnx": name.encode()})
    hub.fault("400", at="api", path="/c")
    with pytest.raises(RemoteError):
        update(small, sleep=sleeping)
    part = updated_path(small).with_suffix(".part.jsonl")
    part.write_bytes(part.read_bytes()[:-10])
    hub.requests.clear()
    update(small, sleep=sleeping)
    assert asked(hub) == ["b", "c"]
    assert Indexes.from_settings(small).find("b")


def test_a_hub_that_wants_other_credentials_says_so(hub: Hub, small: Settings) -> None:
    hub.fault("403", at="api")
    with pytest.raises(NotAuthorised, match="does not accept your token"):
        update(small, sleep=sleeping)


def test_a_hub_that_is_not_there_cannot_be_reached(settings: Settings) -> None:
    with pytest.raises(RemoteError, match=r"`http://127.0.0.1:9` cannot be reached"):
        update(replace(settings, endpoint="http://127.0.0.1:9"), sleep=sleeping)


def test_an_index_that_was_shipped_since_the_update_is_in_force(small: Settings) -> None:
    assert Indexes.from_settings(small).status()[0].variants == 3
    os.utime(updated_path(small), (0, 0))
    assert Indexes.from_settings(small).status()[0].variants == 2334
