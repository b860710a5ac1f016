"""The registry: versions, variants, references, aliases, removal, garbage, verification."""

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from filelock import FileLock

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import (
    IntegrityError,
    InvalidModel,
    NotFound,
    Refused,
    StorageError,
    UsageError,
    ZooError,
)
from onnxzoo.registry.core.records import Draft
from onnxzoo.registry.onnx_file.describe import describe
from tests.support import models


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


def add(
    registry: Registry,
    path: Path,
    *,
    label: str = "fp32",
    origin: str | None = None,
    version: int | None = None,
    new_version: bool = False,
) -> str:
    """Publish a file as `net` and return its reference, with `!` if it is new."""
    with registry.store.stage() as stage:
        stage.copy(path, path.name)
        draft = Draft(
            name="net",
            entry=path.name,
            graph=describe(path),
            source="test",
            label=label,
            origin=origin,
            version=version,
            new_version=new_version,
        )
        added = registry.publish(stage, draft, "test", must_open=True)
    return f"{added.variant.variant}@{added.variant.version}" + ("!" if added.new else "")


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "a.onnx")


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "b.onnx", value=2)


def test_the_same_bytes_under_the_same_label_are_not_new(registry: Registry, a: Path) -> None:
    assert [add(registry, a), add(registry, a)] == ["fp32@1!", "fp32@1"]


def test_other_bytes_of_a_label_start_a_version(registry: Registry, a: Path, b: Path) -> None:
    assert [add(registry, path) for path in (a, b, a)] == ["fp32@1!", "fp32@2!", "fp32@1"]


def test_another_label_of_the_same_origin_joins_its_version(
    registry: Registry, a: Path, b: Path
) -> None:
    assert add(registry, a, origin="zoo:net") == "fp32@1!"
    assert add(registry, b, label="int8", origin="zoo:net") == "int8@1!"


def test_another_origin_starts_a_version_and_the_first_goes_on(
    registry: Registry, a: Path, b: Path
) -> None:
    assert add(registry, a, origin="zoo:net") == "fp32@1!"
    assert add(registry, b, origin="hub:net") == "fp32@2!"
    assert add(registry, b, label="int8", origin="zoo:net") == "int8@1!"


def test_a_new_version_can_be_asked_for(registry: Registry, a: Path) -> None:
    assert [add(registry, a), add(registry, a, new_version=True)] == ["fp32@1!", "fp32@2!"]


def test_a_number_is_never_given_again_while_the_model_is_held(
    registry: Registry, a: Path, b: Path, tmp_path: Path
) -> None:
    c = models.linear(tmp_path / "c.onnx", value=3)
    assert [add(registry, path) for path in (a, b)] == ["fp32@1!", "fp32@2!"]
    registry.remove("net@2")
    with pytest.raises(NotFound, match="no version `2`"):
        registry.resolve("net@2")
    assert [add(registry, path) for path in (c, b)] == ["fp32@3!", "fp32@4!"]
    registry.remove("net@3")
    registry.remove("net@4")
    assert add(registry, c) == "fp32@5!"
    registry.remove("net")
    assert [add(registry, path) for path in (a, b)] == ["fp32@1!", "fp32@2!"]


def test_a_version_can_be_named_but_its_labels_do_not_move(
    registry: Registry, a: Path, b: Path
) -> None:
    add(registry, a)
    add(registry, b)
    assert add(registry, b, label="small", version=1) == "small@1!"
    with pytest.raises(Refused, match="`net:fp32@1` already stands for other bytes"):
        add(registry, b, version=1)
    with pytest.raises(NotFound, match="no version `7`"):
        add(registry, b, version=7)


def test_a_label_and_a_version_are_held_against_the_graph(
    registry: Registry, a: Path, tmp_path: Path
) -> None:
    registry.register(a, "net")
    with pytest.raises(Refused, match="the label `int8` is a precision, and the weights are fp32"):
        registry.register(a, "net:int8")
    other = models.chain(tmp_path / "other.onnx", 2)
    model = onnx.load(other)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "else"
    onnx.save(model, other)
    for name in ("net:tiny", "net:tiny@1"):
        with pytest.raises(Refused, match="`net@1` has other inputs and outputs") as caught:
            registry.register(other, name)
        assert "output `y` is gone" in caught.value.message
    assert registry.register(other, "net").variant.ref == "net:fp32@2"
    assert registry.register(other, "net:tiny@1", force=True).variant.ref == "net:tiny@1"
    assert registry.register(a, "net:int8@1", force=True).variant.ref == "net:int8@1"


def test_a_model_is_registered_with_its_external_data(registry: Registry, tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx", "data/w.bin")
    variant = registry.register(path, "net").variant
    assert [file.path for file in variant.files] == ["data/w.bin", "m.onnx"]
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(registry.load("net").run(None, {"x": x})[0], x)


def test_missing_external_data_is_named(registry: Registry, tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx", "w.bin")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(NotFound, match=r"keeps weights in `w\.bin`"):
        registry.register(path, "net")
    assert registry.list() == []


def test_external_data_outside_the_folder_is_refused(registry: Registry, tmp_path: Path) -> None:
    path = models.external(tmp_path / "sub" / "m.onnx", "../w.bin")
    with pytest.raises(Refused, match=r"`\.\./w\.bin`"):
        registry.register(path, "net")


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"hello", InvalidModel), (b"", IntegrityError), (b"PK\x03\x04", InvalidModel)],
)
def test_what_is_no_model_is_not_registered(
    registry: Registry, tmp_path: Path, content: bytes, error: type[ZooError]
) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(error):
        registry.register(tmp_path / "m.onnx", "net")


@pytest.mark.parametrize(
    ("path", "name", "error", "message"),
    [
        ("gone.onnx", "net", NotFound, "no file"),
        (".", "net", UsageError, "is a folder; expected an `.onnx` file"),
        ("m.onnx", "net@3", UsageError, "`net` is new: its first version is 1"),
    ],
)
def test_what_cannot_be_registered_is_named(
    registry: Registry, tmp_path: Path, path: str, name: str, error: type[ZooError], message: str
) -> None:
    models.linear(tmp_path / "m.onnx")
    with pytest.raises(error, match=message):
        registry.register(tmp_path / path, name)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 70_000])
@pytest.mark.parametrize("kind", ["task", "license"])
def test_a_text_that_no_database_takes_is_refused(
    registry: Registry, a: Path, kind: str, text: str
) -> None:
    with pytest.raises(UsageError, match=f"the {kind} "):
        registry.register(a, "net", **{kind: text})  # type: ignore[arg-type]
    assert registry.list() == []


def test_a_file_that_cannot_be_read_is_named(registry: Registry, tmp_path: Path) -> None:
    """The first page of /proc/self/mem opens and does not read, whoever asks."""
    unreadable = Path("/proc/self/mem")
    with pytest.raises(StorageError, match="cannot read `/proc/self/mem`: input/output") as caught:
        registry.register(unreadable, "net")
    assert caught.value.hint is None


def test_data_beside_the_model_may_be_named_with_a_dot(registry: Registry, tmp_path: Path) -> None:
    variant = registry.register(models.external(tmp_path / "m.onnx", "./w.bin"), "net").variant
    assert [file.path for file in variant.files] == ["m.onnx", "w.bin"]
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(registry.load("net").run(None, {"x": x})[0], x)


@pytest.fixture
def two(registry: Registry, a: Path, b: Path, tmp_path: Path) -> Registry:
    """Version 1 with fp32 and qdq, version 2 with fp32 at two opsets."""
    add(registry, a)
    add(registry, models.quantized(tmp_path / "q.onnx"), label="qdq")
    add(registry, b)
    older = models.linear(tmp_path / "old.onnx", value=2, opset=13)
    add(registry, older, label="fp32-opset13", version=2)
    return registry


@pytest.mark.parametrize(
    ("ref", "opset", "found"),
    [
        ("net", None, "net:fp32@2"),
        ("NET", None, "net:fp32@2"),
        ("net@1", None, "net:fp32@1"),
        ("net@latest", None, "net:fp32@2"),
        ("net:qdq@1", None, "net:qdq@1"),
        ("net", "<=13", "net:fp32-opset13@2"),
        ("net", 13, "net:fp32-opset13@2"),
        ("net:fp32", "13", "net:fp32-opset13@2"),
    ],
)
def test_references_resolve(two: Registry, ref: str, opset: str | None, found: str) -> None:
    assert two.resolve(ref, opset=opset).ref == found


def test_a_digest_is_a_version_too(two: Registry) -> None:
    digest = two.resolve("net:qdq@1").digest
    assert two.resolve(f"net@{digest}").ref == "net:qdq@1"
    assert two.resolve(f"net@{digest[:15]}").ref == "net:qdq@1"


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("gone", "no model `gone` is held"),
        ("net@3", "no version `3` of `net`; it has `1`, `2`"),
        ("net@99999999999", "no version `99999999999` of `net`; it has `1`, `2`"),
        ("net@production", "no version `production` of `net`"),
        ("net:qdq", "no variant `qdq` of `net@2` is held; it has `fp32` (opset 17, "),
    ],
)
def test_what_is_not_held_is_named_with_what_is(two: Registry, ref: str, message: str) -> None:
    with pytest.raises(NotFound) as caught:
        two.resolve(ref)
    assert message in caught.value.message


def test_listing_takes_words_and_a_limit(two: Registry, a: Path) -> None:
    two.register(a, "other", task="ranking", tags=["edge_ml"])
    refs = [variant.ref for variant in two.list()]
    assert refs == ["net:fp32@2", "net:fp32-opset13@2", "net:fp32@1", "net:qdq@1", "other:fp32@1"]
    assert [v.ref for v in two.list(limit=2)] == refs[:2]
    assert [v.ref for v in two.list(["rank"])] == ["other:fp32@1"]
    assert [v.ref for v in two.list(["EDGE-ml", "oth"])] == ["other:fp32@1"]
    assert [v.ref for v in two.list(["qdq"])] == ["net:qdq@1"]
    assert two.list(["%"]) == []


def test_aliases_point_move_and_go(two: Registry) -> None:
    assert two.alias("net@1", "production") is None
    assert two.alias("net@latest", "production") == 1
    assert two.aliases("net") == {"latest": 2, "production": 2}
    assert two.resolve("net@production").version == 2
    two.unalias("net", "production")
    with pytest.raises(NotFound, match="no alias `production`"):
        two.unalias("net", "production")


@pytest.mark.parametrize(("ref", "alias"), [("net", "latest"), ("net", "3"), ("net", "A B")])
def test_aliases_that_would_mislead_are_refused(two: Registry, ref: str, alias: str) -> None:
    with pytest.raises(UsageError):
        two.alias(ref, alias)


def test_removal_takes_a_variant_a_version_or_a_model(two: Registry) -> None:
    assert two.remove("net:fp32-opset13").refs == ("net:fp32-opset13@2",)
    assert set(two.remove("net@1").refs) == {"net:fp32@1", "net:qdq@1"}
    assert two.remove("net").refs == ("net:fp32@2",)
    with pytest.raises(NotFound):
        two.remove("net")


def test_what_an_alias_points_to_is_kept_unless_forced(two: Registry) -> None:
    two.alias("net@1", "production")
    for ref in ("net", "net@1", "net:qdq@1"):
        with pytest.raises(Refused, match="`production`"):
            two.remove(ref)
    assert len(two.list()) == 4
    two.remove("net@1", force=True)
    assert two.aliases("net") == {"latest": 2}


def test_garbage_is_what_nothing_refers_to(registry: Registry, a: Path, b: Path) -> None:
    registry.register(a, "one")
    registry.register(a, "two")
    registry.register(b, "three")
    assert registry.remove("one").bytes == 0
    assert registry.remove("three").bytes == b.stat().st_size
    would = registry.gc(dry_run=True)
    assert (len(would.items), would.bytes) == (1, b.stat().st_size)
    assert registry.gc() == would
    assert registry.gc().items == ()
    assert registry.is_whole(registry.resolve("two"))
    assert len(list(registry.store.digests())) == 1


def test_a_bundle_that_is_gone_costs_its_row_and_nothing_else(
    registry: Registry, a: Path, b: Path
) -> None:
    gone, there = registry.register(a, "gone").variant, registry.register(b, "there").variant
    for variant in (gone, there):
        registry.remove(variant.ref)
    shutil.rmtree(registry.store.path(gone.digest))
    would = registry.gc(dry_run=True)
    assert dict(would.items) == {gone.digest: 0, there.digest: b.stat().st_size}
    assert registry.gc() == would
    assert registry.gc().items == ()


def _aged(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    return path


def test_old_downloads_are_collected_unless_a_living_one_holds_them(registry: Registry) -> None:
    folder = registry.settings.downloads
    dead = [_aged(folder / name) for name in ("a.part", "a.part.json", "a.part.json.new", "a")]
    dead += [_aged(folder / "pull.lock"), _aged(folder / "a.part.lock")]
    with FileLock(folder / "b.part.lock"), FileLock(folder / "busy.lock"):
        held = [_aged(folder / name) for name in ("b.part", "b.part.json", "b")]
        for lock in ("b.part.lock", "busy.lock"):
            os.utime(folder / lock, (0, 0))
            held.append(folder / lock)
        found = {Path(what) for what, _ in registry.gc().items}
        assert all(path.exists() for path in held)
        assert found == set(dead)
        assert not any(path.exists() for path in dead)


def test_partial_downloads_are_freed_when_asked_unless_held(registry: Registry) -> None:
    folder = registry.settings.downloads
    folder.mkdir(parents=True)
    young = ("a.part", "a.part.json", "a", "b.part", "b.part.json", "c-0123abcd.part")
    for name in young:
        (folder / name).write_bytes(b"x")
    assert registry.gc().items == ()
    with FileLock(folder / "b.part.lock"):
        found = registry.gc(downloads=True).items
    assert {Path(what).name for what, _ in found} == {"a.part", "a.part.json"}
    assert {path.name for path in folder.iterdir()} - {"b.part.lock"} == set(young[2:])


def test_a_download_that_ends_while_garbage_is_listed_disturbs_nothing(registry: Registry) -> None:
    folder = registry.settings.downloads
    folder.mkdir(parents=True)
    (folder / "vanished.part").symlink_to(folder / "nowhere")  # listed, but not there to look at
    assert registry.gc().items == ()


def test_a_flipped_byte_is_found_moved_aside_and_healed(registry: Registry, a: Path) -> None:
    variant = registry.register(a, "net").variant
    variant.path.chmod(0o644)
    variant.path.write_bytes(variant.path.read_bytes()[:-1] + b"!")
    (found,) = registry.verify(["net"])
    assert found.refs == ("net:fp32@1",)
    assert found.problems
    assert found.moved_to is not None
    assert (found.moved_to / "a.onnx").exists()
    with pytest.raises(IntegrityError, match="net:fp32@1") as caught:
        registry.load("net")
    assert caught.value.hint == "zoo verify net --repair"
    assert not registry.register(a, "net").new
    assert [checked.problems for checked in registry.verify()] == [()]


def test_a_bundle_that_is_healed_while_it_is_hashed_stays(registry: Registry, a: Path) -> None:
    variant = registry.register(a, "net").variant
    variant.path.chmod(0o644)
    variant.path.write_bytes(a.read_bytes()[:-1])

    def heal(_: str, done: int, __: int | None) -> None:
        if not registry.is_whole(variant):
            _register(registry.settings.home, a)

    (found,) = registry.verify(["net"], progress=heal)
    assert (found.refs, found.problems, found.moved_to) == (("net:fp32@1",), (), None)
    assert registry.is_whole(variant)


def test_verification_tells_how_far_it_is(registry: Registry, a: Path, b: Path) -> None:
    registry.register(a, "one")
    registry.register(b, "two")
    told: list[tuple[int, int | None]] = []
    list(registry.verify(progress=lambda _, done, total: told.append((done, total))))
    total = a.stat().st_size + b.stat().st_size
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_names_aliases_and_tags_are_folded_as_everywhere(registry: Registry, a: Path) -> None:
    registry.register(a, "net_1")
    registry.register(a, "netx1")
    registry.alias("net_1", "Production")
    registry.tag("Net-1", ["Edge"])
    assert registry.aliases("NET_1") == {"latest": 1, "production": 1}
    assert registry.resolve("net_1").tags == ("edge",)
    assert {event.reference for event in registry.events("NET-1")} == {"net_1:fp32@1", "net_1"}
    registry.untag("NET_1", ["EDGE"])
    registry.unalias("Net_1", "PRODUCTION")
    assert registry.aliases("net_1") == {"latest": 1}


def test_what_is_said_of_held_bytes_is_recorded(registry: Registry, a: Path) -> None:
    registry.register(a, "net")
    for said in ("MIT", "Apache-2.0"):
        added = registry.register(a, "net", license=said, task=f"task-{said}", tags=[said])
        assert (added.new, added.variant.license, added.variant.task) == (
            False, said, f"task-{said}",
        )  # fmt: skip
        assert added.learnt == ("license", "task", "tags")
    assert added.variant.tags == ("apache-2.0", "mit")
    actions = [(event.action, event.detail) for event in registry.events("net")]
    assert actions[3:6] == [("tag", "mit"), ("task", "task-MIT"), ("license", "MIT")]
    assert registry.register(a, "net", license=said, task=f"task-{said}").learnt == ()
    assert registry.register(a, "net").variant.task == f"task-{said}"


@pytest.mark.parametrize("new_version", [True, False])
def test_a_task_that_is_given_with_other_bytes_is_the_models(
    registry: Registry, a: Path, tmp_path: Path, *, new_version: bool
) -> None:
    registry.register(a, "net", task="ranking")
    other = models.quantized(tmp_path / "q.onnx")
    added = registry.register(
        other, "net", new_version=new_version, task="image-classification", license="MIT"
    )
    assert added.variant.task == "image-classification"
    assert added.variant.license == "MIT"
    assert registry.resolve("net@1").task == "image-classification"
    sidecar = json.loads(registry.store.sidecar(added.variant.digest).read_text())
    assert {claim["task"] for claim in sidecar["variants"]} == {"image-classification"}


def test_an_indexs_task_does_not_replace_the_users(registry: Registry, a: Path) -> None:
    registry.register(a, "net", task="ranking")
    graph = registry.resolve("net").graph
    for label in (None, "other"):
        with registry.store.stage() as stage:
            stage.copy(a, a.name)
            draft = Draft(
                "net", a.name, graph, "https://a", label=label, origin="zoo/net", task="regression"
            )
            added = registry.publish(stage, draft, "pull", must_open=True)
        assert (added.variant.task, added.learnt) == ("ranking", ())


def test_the_event_log_says_what_happened(two: Registry) -> None:
    two.alias("net@1", "production")
    two.remove("net@2")
    actions = [(event.action, event.reference) for event in two.events("net")]
    assert actions[:3] == [
        ("remove", "net:fp32-opset13@2"),
        ("remove", "net:fp32@2"),
        ("alias", "net:fp32@1"),
    ]
    assert len(two.events(limit=2)) == 2


def _register(home: Path, path: Path) -> str:
    with Registry(home) as registry:
        return registry.register(path, "net").variant.ref


def _stir(home: Path, path: Path, number: int) -> list[str]:
    """Register, alias, remove and collect for two seconds; return what went wrong."""
    wrong = []
    until = time.monotonic() + 2
    with Registry(home) as registry:
        while time.monotonic() < until:
            for call in (
                lambda: registry.register(path, "net"),
                lambda: registry.alias("net", f"alias-{number}"),
                lambda: registry.remove("net", force=True),
                registry.gc,
            ):
                try:
                    call()
                except NotFound:
                    continue
                except ZooError as error:
                    wrong.append(f"{type(error).__name__}: {error.message}")
    return wrong


def test_twelve_processes_that_register_at_once_make_one_row(home: Path, a: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(12) as pool:
        refs = pool.starmap(_register, [(home, a)] * 12, chunksize=1)
    assert set(refs) == {"net:fp32@1"}
    with Registry(home) as registry:
        assert len(registry.list()) == len(list(registry.store.digests())) == 1


def test_processes_that_change_the_same_model_lose_nothing(home: Path, a: Path, b: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        wrong = pool.starmap(_stir, [(home, path, n) for n, path in enumerate([a, b, a, b])])
    assert wrong == [[], [], [], []]
    with Registry(home) as registry:
        assert all(registry.is_whole(variant) for variant in registry.list())
