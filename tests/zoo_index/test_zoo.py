"""The main job: pull from every kind of source, keep it, load it."""

import json
import multiprocessing
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxzoo
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import (
    IntegrityError,
    InvalidModel,
    Misfit,
    NotAuthorised,
    NotFound,
    RemoteError,
    StorageError,
    UsageError,
)
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.runtime.capabilities import accepts
from onnxzoo.zoo_index.index.entry import Entry, dump
from onnxzoo.zoo_index.index.index import Index
from onnxzoo.zoo_index.index.indexes import SHIPPED, ZOO
from onnxzoo.zoo_index.zoo import Zoo
from tests.support import models
from tests.support.hub import Hub, sha256, size

LIGHT = [e.name for e in Index(SHIPPED, ZOO, trusted=True).entries if e.collection == "light"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def zoo(hub: Hub, settings: Settings) -> Iterator[Zoo]:
    with Zoo(Registry(settings=replace(settings, endpoint=hub.url))) as opened:
        yield opened


def indexed(
    hub: Hub, settings: Settings, folder: Path, variants: Mapping[str, Path]
) -> tuple[Settings, Path]:
    """Serve variants of one model, ``net``, and return settings with an index of them."""
    lines = []
    for label, path in variants.items():
        hub.add(f"zoo/net-{label}", {path.name: path})
        lines.append(entry(label, path))
    index = folder / "index.jsonl"
    index.write_text("".join(f"{dump(line)}\n" for line in lines))
    return replace(settings, endpoint=hub.url, indexes=(str(index),)), index


def entry(label: str, path: Path) -> Entry:
    file = {"path": path.name, "sha256": sha256(path), "bytes": size(path)}
    opset = label.partition("opset")[2]
    values = {
        "name": "net",
        "variant": label,
        "precision": label.partition("-")[0],
        "source": f"hf://zoo/net-{label}",
        "files": [file],
        "opset": int(opset or 17),
        "license": "MIT",
        "task": "tests",
        "tags": ["small"],
        "aliases": [f"old-net-{label}"],
    }
    from onnxzoo.zoo_index.index.entry import parse

    return parse(json.dumps(values), "test")


@pytest.fixture
def net(hub: Hub, settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose index knows three variants of ``net``."""
    variants = {
        "fp32": models.linear(tmp_path / "net-17.onnx"),
        "fp32-opset13": models.linear(tmp_path / "net-13.onnx", opset=13),
        "qdq": models.quantized(tmp_path / "net-qdq.onnx"),
    }
    return indexed(hub, settings, tmp_path, variants)[0]


def test_a_model_is_pulled_by_its_name(hub: Hub, net: Settings) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        added = zoo.pull("net")
        assert (added.variant.ref, added.new) == ("net:fp32@1", True)
        assert added.variant.license == "MIT"
        assert added.variant.task == "tests"
        assert added.variant.tags == ("small",)
        assert added.variant.revision == hub.repos["zoo/net-fp32"].refs["main"]
        assert zoo.registry.is_whole(added.variant)


def test_another_variant_of_the_same_model_joins_its_version(net: Settings) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        refs = [zoo.pull(ref).variant.ref for ref in ("net", "net:qdq")]
        refs.append(zoo.pull("net", opset="<=13").variant.ref)
        assert refs == ["net:fp32@1", "net:qdq@1", "net:fp32-opset13@1"]


def test_other_bytes_of_a_variant_start_a_new_version(
    hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    refs = []
    for number in (1, 2):
        path = models.linear(tmp_path / f"net{number}.onnx", value=number)
        changed, _ = indexed(hub, settings, tmp_path, {"fp32": path})
        with Zoo(Registry(settings=changed)) as zoo:
            refs.append(zoo.pull("net").variant.ref)
    assert refs == ["net:fp32@1", "net:fp32@2"]


def test_pulling_what_is_held_touches_no_network(hub: Hub, net: Settings) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        zoo.pull("net")
        hub.requests.clear()
        again = zoo.pull("net")
    assert (again.new, again.variant.ref, hub.requests) == (False, "net:fp32@1", [])


@pytest.mark.parametrize("ref", ["old-net-qdq", "OLD_net_QDQ", "net:qdq", "NET:QDQ"])
def test_an_indexs_other_name_means_the_same_before_and_after_the_pull(
    net: Settings, ref: str
) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        assert zoo.pull(ref).variant.ref == "net:qdq@1"
        assert zoo.resolve(ref).ref == "net:qdq@1"


def test_a_model_keeps_the_name_that_it_is_given(net: Settings) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        assert zoo.pull("net", name="mine:first").variant.ref == "mine:first@1"


@pytest.mark.parametrize(
    ("ref", "opset", "message"),
    [
        ("nett", None, "did you mean `net`"),
        ("mien", None, "did you mean `mine`"),
        ("net:int4", None, "no variant `int4` of `net`; it has `fp32` (opset 17, "),
        ("net", "<=9", "no variant at opset `<=9` of `net`"),
        ("net@7", None, "no version `7` of `net`"),
    ],
)
def test_what_no_index_has_is_not_found(
    net: Settings, ref: str, opset: str | None, message: str
) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        zoo.registry.register(models.linear(net.home.parent / "m.onnx"), "mine")
        with pytest.raises(NotFound) as caught:
            zoo.pull(ref, opset=opset)
    assert message in caught.value.message


def test_external_data_that_changed_is_not_called_held(net: Settings, tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx", value=1)
    with Zoo(Registry(settings=net)) as zoo:
        assert zoo.pull(str(path), name="mine").variant.ref == "mine:fp32@1"
        assert not zoo.pull(str(path), name="mine").new
        models.external(tmp_path / "m.onnx", value=2)
        added = zoo.pull(str(path), name="mine")
    assert (added.new, added.variant.ref) == (True, "mine:fp32@2")


def test_what_is_held_needs_no_index_to_be_missed(net: Settings, tmp_path: Path) -> None:
    dead = replace(net, indexes=("https://127.0.0.1:1/index.jsonl",))
    with Zoo(Registry(settings=dead)) as zoo:
        zoo.registry.register(models.linear(tmp_path / "m.onnx"), "mine")
        with pytest.raises(NotFound, match="no version `9`"):
            zoo.resolve("mine@9")


def test_a_file_of_another_size_is_named_by_its_repository(hub: Hub, net: Settings) -> None:
    hub.fault("short", after=7)
    with Zoo(Registry(settings=net)) as zoo, pytest.raises(IntegrityError) as caught:
        zoo.pull("net")
    said = re.fullmatch(
        r"cannot pull `net:fp32`: `(.*)` \(from `(.*)`\) has \d+ bytes; expected \d+",
        caught.value.message,
    )
    assert said is not None
    assert said[1].startswith(f"{hub.url}/")
    assert said[1].endswith(".onnx")
    assert said[2].startswith(hub.cdn)
    assert caught.value.hint == "if the index is old: zoo index update"


def test_wrong_bytes_are_never_kept(hub: Hub, net: Settings) -> None:
    hub.fault("wrong")
    with Zoo(Registry(settings=net)) as zoo:
        with pytest.raises(
            IntegrityError, match=r"cannot pull `net:fp32`: .* has SHA-256"
        ) as caught:
            zoo.pull("net")
        assert caught.value.hint == "if the index is old: zoo index update"
        assert zoo.registry.list() == []
        assert zoo.pull("net").new


def test_a_model_that_is_held_loads_with_no_network(hub: Hub, net: Settings) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        zoo.pull("net")
    hub.requests.clear()
    with Zoo(Registry(settings=net), offline=True) as zoo:
        session = zoo.registry.load(zoo.obtain("net").ref)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x)
    assert hub.requests == []


def test_what_is_not_held_is_not_fetched_offline(net: Settings) -> None:
    with Zoo(Registry(settings=net), offline=True) as zoo, pytest.raises(RemoteError) as caught:
        zoo.obtain("net")
    assert "offline" in caught.value.message


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_models_outputs_are_the_expected_ones(name: str) -> None:
    session = onnxzoo.load(name)
    path = onnxzoo.resolve(name).path
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    tensor = onnx.TensorProto.FromString((folder / f"{path.stem}_output_0.pb").read_bytes())
    expected = numpy_helper.to_array(tensor)
    (feed,) = session.get_inputs()
    count = int(np.prod(feed.shape))
    x = (np.arange(count).reshape(feed.shape) / count).astype(np.float32)
    np.testing.assert_allclose(session.run(None, {feed.name: x})[0], expected, 1e-3, 1e-7)


def test_pull_register_and_resolve_agree(tmp_path: Path) -> None:
    pulled = onnxzoo.pull("light-squeezenet")
    assert onnxzoo.resolve("light-squeezenet") == pulled
    mine = onnxzoo.register(pulled.path, "mine", tags=["a"])
    assert (mine.ref, mine.digest) == ("mine:fp32@1", pulled.digest)


def test_a_repository_with_one_model_needs_no_choice(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    commit = hub.add("Acme/Ranker", {"model.onnx": models.linear(tmp_path / "m.onnx")})
    variant = zoo.pull("hf://Acme/Ranker").variant
    assert (variant.ref, variant.source) == ("acme/ranker:fp32@1", "hf://Acme/Ranker")
    assert variant.revision == commit


@pytest.fixture
def several(hub: Hub, tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {
        "onnx/model.onnx": models.linear(tmp_path / "a.onnx"),
        "onnx/model_fp16.onnx": models.linear(tmp_path / "b.onnx", dtype="float32", value=2),
        "onnx/model_quantized.onnx": models.quantized(tmp_path / "c.onnx"),
        "README.md": b"# Ranker",
    }
    hub.add("acme/ranker", files)


def test_several_models_are_listed_with_their_variants(zoo: Zoo, several: None) -> None:
    with pytest.raises(UsageError) as caught:
        zoo.pull("hf://acme/ranker")
    assert "`onnx/model.onnx` (:fp32), `onnx/model_fp16.onnx` (:fp16)" in caught.value.message
    assert "hf://acme/ranker:" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("asked", "ref"),
    [
        (":fp32", "acme/ranker:fp32@1"),
        (":fp16", "acme/ranker:fp16@1"),
        (":quantized", "acme/ranker:quantized@1"),
        ("/onnx/model_quantized.onnx", "acme/ranker:quantized@1"),
        ("@main/onnx/model.onnx", "acme/ranker:fp32@1"),
    ],
)
def test_one_of_several_is_asked_for_by_variant_or_file(
    zoo: Zoo, several: None, asked: str, ref: str
) -> None:
    assert zoo.pull(f"hf://acme/ranker{asked}").variant.ref == ref


def test_variants_of_one_commit_share_a_version_and_another_commit_starts_one(
    hub: Hub, zoo: Zoo, several: None, tmp_path: Path
) -> None:
    refs = [zoo.pull(f"hf://acme/ranker:{v}").variant.ref for v in ("fp32", "fp16")]
    hub.add("acme/ranker", {"model.onnx": models.linear(tmp_path / "z.onnx", value=9)})
    refs.append(zoo.pull("hf://acme/ranker", upgrade=True).variant.ref)
    assert refs == ["acme/ranker:fp32@1", "acme/ranker:fp16@1", "acme/ranker:fp32@2"]


def test_two_graphs_of_a_repository_are_two_models(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    parts = ("encoder_model", "decoder_model", "decoder_model_q4")
    files = {
        f"onnx/{part}.onnx": models.linear(tmp_path / f"{part}.onnx", value=n)
        for n, part in enumerate(parts)
    }
    hub.add("acme/s2s", files)
    refs = [zoo.pull(f"hf://acme/s2s/{file}").variant.ref for file in files]
    assert refs == [
        "acme/s2s-encoder_model:fp32@1",
        "acme/s2s-decoder_model:fp32@1",
        "acme/s2s-decoder_model:q4@1",
    ]
    with pytest.raises(UsageError, match="several models"):
        zoo.pull("hf://acme/s2s")


def test_a_twin_with_the_same_graph_and_other_weights_is_fetched(
    hub: Hub, zoo: Zoo, tmp_path: Path
) -> None:
    files: dict[str, bytes | Path] = {}
    for value, part in enumerate(("base", "tuned"), start=1):
        (tmp_path / part).mkdir()
        files[f"{part}/model.onnx"] = models.external(tmp_path / part / "model.onnx", value=value)
        (data,) = (p for p in (tmp_path / part).iterdir() if p.suffix != ".onnx")
        files[f"{part}/{data.name}"] = data
    hub.add("acme/pair", files)
    for name, part in (("base", "base"), ("tuned", "tuned")):
        added = zoo.pull(f"hf://acme/pair/{part}/model.onnx")
        assert (added.new, added.variant.name) == (True, f"acme/pair-{name}")
    one = zoo.pull("hf://acme/pair/base/model.onnx", name="one").variant
    two = zoo.pull("hf://acme/pair/tuned/model.onnx", name="one").variant
    assert one.digest != two.digest
    assert one.version != two.version


def test_a_name_that_another_source_gave_is_not_taken_over(zoo: Zoo, tmp_path: Path) -> None:
    for value, part in enumerate(("a", "b"), start=1):
        (tmp_path / part).mkdir()
        models.linear(tmp_path / part / "model.onnx", value=value)
    zoo.pull(str(tmp_path / "a" / "model.onnx"))
    with pytest.raises(UsageError, match="held already, from") as caught:
        zoo.pull(str(tmp_path / "b" / "model.onnx"))
    assert "--name NAME" in (caught.value.hint or "")
    named = zoo.pull(str(tmp_path / "b" / "model.onnx"), name="model")
    assert named.variant.version == 2


def test_a_held_model_of_a_repository_touches_no_network(hub: Hub, zoo: Zoo, several: None) -> None:
    zoo.pull("hf://acme/ranker:fp16")
    hub.requests.clear()
    assert not zoo.pull("hf://acme/ranker:fp16").new
    assert hub.requests == []


def test_external_data_is_found_from_the_graph(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    path = models.external(tmp_path / "model.onnx", "data/w.weights")
    hub.add(
        "acme/large",
        {"onnx/model.onnx": path, "onnx/data/w.weights": tmp_path / "data" / "w.weights"},
    )
    variant = zoo.pull("hf://acme/large").variant
    assert [file.path for file in variant.files] == ["onnx/data/w.weights", "onnx/model.onnx"]
    assert zoo.registry.load(variant.ref).get_inputs()[0].name == "x"


def test_a_private_repository_is_named_as_such(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    hub.add("acme/secret", {"model.onnx": models.linear(tmp_path / "m.onnx")}, gated=True)
    with pytest.raises(NotAuthorised):
        zoo.pull("hf://acme/secret")


def test_a_file_behind_a_url_is_pulled_with_its_hash(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    url = hub.put("/files/my_net.onnx", path)
    with pytest.raises(IntegrityError):
        zoo.pull(url, sha256="0" * 64)
    variant = zoo.pull(url, sha256=sha256(path)).variant
    assert (variant.ref, variant.source) == ("my_net:fp32@1", url)


def test_a_signed_url_is_pulled_and_its_signature_is_not_kept(
    hub: Hub, zoo: Zoo, tmp_path: Path
) -> None:
    url = hub.put("/files/net.onnx", models.linear(tmp_path / "m.onnx"))
    assert zoo.pull(f"{url}?X-Amz-Signature=abc").variant.source == url
    assert "X-Amz-Signature=abc" in {request.query for request in hub.requests}


def test_a_file_without_a_hash_is_taken_with_a_warning(
    hub: Hub, zoo: Zoo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = hub.put("/files/net.onnx", models.linear(tmp_path / "m.onnx"))
    zoo.pull(url)
    assert "gives no SHA-256" in caplog.text


@pytest.mark.parametrize(
    ("content", "error", "name"),
    [
        (b"<!doctype html><html></html>", IntegrityError, "HTML page"),
        (b'{"error": "Repository not found"}', IntegrityError, "Repository not found"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1234\n",
            IntegrityError,
            "1234 bytes",
        ),
        (b"", IntegrityError, "empty"),
        (b"PK\x03\x04" + b"x" * 50, InvalidModel, "zip archive"),
        (b"\x80\x04\x95\x00.", InvalidModel, "pickle"),
    ],
)
def test_what_is_no_model_is_refused_by_its_true_name(
    hub: Hub, zoo: Zoo, content: bytes, error: type[Exception], name: str
) -> None:
    url = hub.put("/files/net.onnx", content)
    with pytest.raises(error, match=name):
        zoo.pull(url)
    assert zoo.registry.list() == []


def test_a_local_file_is_copied(zoo: Zoo, tmp_path: Path) -> None:
    path = models.external(tmp_path / "my.onnx")
    variant = zoo.pull(str(path)).variant
    assert (variant.ref, len(variant.files), path.exists()) == ("my:fp32@1", 2, True)
    assert not zoo.pull(str(path)).new


def test_a_damaged_bundle_is_healed_by_repair_and_by_pulling_again(
    net: Settings,
) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        for heal in ("repair", "pull"):
            path = zoo.pull("net").variant.path
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"!")
            (checked,) = zoo.registry.verify()
            assert checked.problems
            if heal == "repair":
                zoo.repair(checked)
            else:
                zoo.pull("net")
            assert [found.problems for found in zoo.registry.verify()] == [()]


def _pull_net(settings: Settings) -> str:
    with Zoo(Registry(settings=settings)) as zoo:
        return zoo.pull("net").variant.ref


def test_twelve_processes_that_pull_at_once_make_one_bundle(hub: Hub, net: Settings) -> None:
    with multiprocessing.get_context("spawn").Pool(12) as pool:
        refs = pool.map(_pull_net, [net] * 12, chunksize=1)
    assert set(refs) == {"net:fp32@1"}
    with Registry(settings=net) as registry:
        assert len(registry.list()) == 1
        assert len(list(registry.store.digests())) == 1
    assert len([r for r in hub.bodies() if r.method == "GET"]) == 1


def test_external_data_that_the_index_does_not_list_is_not_fetched(
    hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    path = models.external(tmp_path / "net.onnx", "w.bin")
    changed, _ = indexed(hub, settings, tmp_path, {"fp32": path})
    hub.add("zoo/net-fp32", {path.name: path, "w.bin": tmp_path / "w.bin"})
    with Zoo(Registry(settings=changed)) as zoo, pytest.raises(IntegrityError) as caught:
        zoo.pull("net")
    assert "the index pins no hash for `w.bin`" in caught.value.message
    assert caught.value.hint
    assert len(hub.bodies()) == 1


def test_external_data_of_a_repository_is_held_against_the_hubs_hash(
    hub: Hub, zoo: Zoo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = models.external(tmp_path / "model.onnx", "w.bin")
    data = (tmp_path / "w.bin").read_bytes()
    hub.add("acme/large", {"model.onnx": path, "w.bin": data})
    hub.fault("wrong", path=sha256(data), times=-1)
    with pytest.raises(IntegrityError, match="has SHA-256"):
        zoo.pull("hf://acme/large/model.onnx")
    assert zoo.registry.list() == []
    assert caplog.text == ""


def test_every_file_of_a_web_server_without_a_hash_is_named(
    hub: Hub, zoo: Zoo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = models.external(tmp_path / "net.onnx", "w.bin")
    url = hub.put("/files/net.onnx", path)
    hub.put("/files/w.bin", tmp_path / "w.bin")
    zoo.pull(url, sha256=sha256(path))
    (record,) = caplog.records
    assert "gives no SHA-256 for `w.bin`" in record.getMessage()


def test_an_opset_of_an_own_model_is_that_opset_or_not_found(zoo: Zoo, tmp_path: Path) -> None:
    for opset in (13, 17):
        zoo.registry.register(models.linear(tmp_path / f"{opset}.onnx", opset=opset), "mine")
    assert zoo.pull("mine@1", opset=13).variant.opset == 13
    for get in (zoo.obtain, zoo.pull):
        assert get("mine", opset=17)
        with pytest.raises(NotFound, match="no variant at opset `11` of `mine@2` is held"):
            get("mine", opset=11)


def test_an_own_model_is_not_handed_out_for_another_name(zoo: Zoo, tmp_path: Path) -> None:
    zoo.registry.register(models.linear(tmp_path / "m.onnx"), "mine")
    assert not zoo.pull("mine", name="mine:fp32").new
    with pytest.raises(NotFound):
        zoo.pull("mine", name="other")


@pytest.mark.parametrize(
    ("ref", "asked", "message"),
    [
        ("net", {"sha256": "0" * 64}, "an index pins those of `net` itself"),
        ("hf://acme/ranker", {"sha256": "abc"}, "`abc` is not a SHA-256"),
        ("hf://acme/ranker", {"opset": 12}, "`hf://acme/ranker` is a source"),
        ("https://me:pw@h.example/m.onnx?sig=1", {"opset": 12}, "`https://h.example/m.onnx`"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anyone_is_asked(
    hub: Hub, net: Settings, ref: str, asked: dict[str, str], message: str
) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        for ask in (zoo.pull, zoo.plan):
            with pytest.raises(UsageError) as caught:
                ask(ref, **asked)  # type: ignore[arg-type]
            assert message in caught.value.message
    assert hub.requests == []


def test_a_hash_may_be_given_in_capitals(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    assert zoo.pull(hub.put("/net.onnx", path), sha256=sha256(path).upper()).new


def test_an_index_pinned_to_a_commit_pulls_after_main_moved_on(
    hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    path = models.linear(tmp_path / "net.onnx")
    changed, index = indexed(hub, settings, tmp_path, {"fp32": path})
    commit = hub.repos["zoo/net-fp32"].refs["main"]
    index.write_text(f"{dump(replace(entry('fp32', path), revision=commit))}\n")
    hub.add("zoo/net-fp32", {"net.onnx": models.linear(tmp_path / "other.onnx", value=2)})
    with Zoo(Registry(settings=changed)) as zoo:
        assert zoo.pull("net").variant.revision == commit


def test_an_index_that_fails_does_not_block_what_is_held(
    net: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Zoo(Registry(settings=net)) as zoo:
        zoo.pull("net")
    broken = replace(net, indexes=(str(tmp_path / "gone.jsonl"), *net.indexes))
    with Zoo(Registry(settings=broken)) as zoo:
        assert zoo.pull("net").variant.ref == "net:fp32@1"
        assert zoo.obtain("net").ref == "net:fp32@1"
        with pytest.raises(NotFound, match="no index"):
            zoo.pull("net:qdq")
    assert caplog.text.count("is held, and is taken as it is") == 1


@pytest.mark.parametrize(
    ("label", "file"),
    [
        ("fp32", "model.onnx"),
        ("o1", "model_O1.onnx"),
        ("O3", "model_O3.onnx"),
        ("fp16", "model_FP16.onnx"),
        ("qint8_avx512", "model_qint8_avx512.onnx"),
        ("quint8_avx2", "model_quint8_avx2.onnx"),
    ],
)
def test_an_exporters_marks_are_variants_whatever_their_case(
    hub: Hub, zoo: Zoo, tmp_path: Path, label: str, file: str
) -> None:
    names = ("", "_fp32", "_O1", "_O3", "_FP16", "_qint8_avx512", "_quint8_avx2")
    path = models.linear(tmp_path / "m.onnx")
    hub.add("acme/ranker", {f"model{name}.onnx": path for name in names})
    plan = zoo.plan(f"hf://acme/ranker:{label}")
    assert (plan.entry, plan.name) == (file, "acme/ranker")


def test_where_a_label_means_several_files_the_hint_names_one(
    hub: Hub, zoo: Zoo, tmp_path: Path
) -> None:
    path = models.linear(tmp_path / "m.onnx")
    hub.add("acme/two", {"a/model.onnx": path, "b/model.onnx": path})
    with pytest.raises(UsageError) as caught:
        zoo.plan("hf://acme/two:fp32")
    assert caught.value.hint == "zoo pull hf://acme/two/a/model.onnx"


@pytest.mark.parametrize("ref", [None, ["net"], 3])
def test_what_is_no_text_is_no_reference(ref: object) -> None:
    for use in (onnxzoo.load, onnxzoo.pull, onnxzoo.resolve):
        with pytest.raises(UsageError, match="is not a reference; expected `NAME"):
            use(ref)  # type: ignore[arg-type]


@pytest.fixture
def mixed(hub: Hub, settings: Settings, tmp_path: Path) -> Settings:
    """An index with a model that is too new in fp32, old enough in int8 and in fp32 of opset 13."""
    paths = {
        "fp32-opset99": models.linear(tmp_path / "new.onnx", opset=99),
        "fp32-opset21": models.linear(tmp_path / "mid.onnx", opset=21),
        "int8-opset13": models.linear(tmp_path / "old.onnx", opset=13),
    }
    return indexed(hub, settings, tmp_path, paths)[0]


def test_a_pull_takes_what_runs(mixed: Settings) -> None:
    with Zoo(Registry(settings=mixed)) as zoo:
        assert zoo.pull("net").variant.variant == "fp32-opset21"


def test_a_pull_for_another_release_takes_what_runs_there(mixed: Settings) -> None:
    with Zoo(Registry(settings=mixed)) as zoo:
        added = zoo.pull("net", runtime="onnxruntime==1.12")
    assert added.variant.variant == "int8-opset13"


def test_a_pull_of_what_does_not_run_fetches_nothing_and_names_what_does(
    hub: Hub, mixed: Settings
) -> None:
    with Zoo(Registry(settings=mixed)) as zoo, pytest.raises(Misfit) as caught:
        zoo.pull("net:fp32-opset99")
    assert re.fullmatch(
        r"`net:fp32-opset99` does not run on onnxruntime [0-9.]+: opset 99 of ai.onnx is above "
        r"[0-9]+, the highest that onnxruntime [0-9.]+ runs; `net:fp32-opset21` does",
        caught.value.message,
    )
    assert caught.value.hint == "zoo pull net:fp32-opset21"
    assert caught.value.exit_code == 5
    assert hub.bodies() == []


def test_a_pull_of_what_runs_nowhere_says_how_to_keep_it_all_the_same(
    hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    path = models.linear(tmp_path / "new.onnx", opset=99)
    settings, _ = indexed(hub, settings, tmp_path, {"fp32-opset99": path})
    with Zoo(Registry(settings=settings)) as zoo:
        with pytest.raises(Misfit) as caught:
            zoo.pull("net")
        assert caught.value.hint == "zoo pull net --force keeps it all the same"
        added = zoo.pull("net", force=True)
        assert (added.new, added.variant.opset) == (True, 99)
        assert zoo.pull("net").variant == added.variant  # held: there is nothing to refuse


def test_what_does_not_run_is_still_resolved_and_says_so_when_it_is_loaded(
    mixed: Settings,
) -> None:
    with Zoo(Registry(settings=mixed)) as zoo:
        new = zoo.pull("net:fp32-opset99", force=True).variant
        assert zoo.resolve("net") == new
        with pytest.raises(Misfit, match=r"opset 99 of ai\.onnx is above") as caught:
            zoo.load(new)
        assert caught.value.hint == "zoo pull net:fp32-opset21"
        old = zoo.pull("net:int8").variant
        assert zoo.resolve("net") == old  # of what is held it is what runs
        assert zoo.resolve("net:fp32-opset99") == new
        with pytest.raises(Misfit, match=f"; `{old.ref}` does$"):
            zoo.load(new)


def test_a_held_model_is_resolved_for_another_release(mixed: Settings) -> None:
    with Zoo(Registry(settings=mixed)) as zoo:
        zoo.pull("net:int8")
        zoo.pull("net:fp32-opset21")
        assert zoo.resolve("net").variant == "fp32-opset21"
        assert zoo.resolve("net", runtime="onnxruntime==1.12").variant == "int8-opset13"


def test_a_choice_among_held_variants_asks_the_runtime_once(mixed: Settings) -> None:
    with Zoo(Registry(settings=mixed)) as zoo:
        zoo.pull("net:int8")
        zoo.pull("net:fp32-opset21")
        accepts.cache_clear()
        zoo.resolve("net")
        assert accepts.cache_info().misses == 1


def test_a_damaged_model_of_ones_own_is_not_to_be_pulled(zoo: Zoo, tmp_path: Path) -> None:
    path = zoo.registry.register(models.linear(tmp_path / "m.onnx"), "mine").variant.path
    path.unlink()
    with pytest.raises(NotFound, match="`mine` is held, and no index has it to pull") as caught:
        zoo.pull("mine")
    assert "zoo verify mine --repair" in str(caught.value.hint)


def test_a_model_that_is_damaged_is_not_called_a_misfit(zoo: Zoo, tmp_path: Path) -> None:
    node = onnx.helper.make_node("Conv", ["x", "x"], ["y"])  # of two axes: there is no such Conv
    zoo.registry.register(models.save(tmp_path / "m.onnx", [node], []), "bad")
    with pytest.raises(InvalidModel, match="cannot open"):
        zoo.load(zoo.resolve("bad"))


def test_a_cache_that_is_no_folder_is_a_storage_error(home: Path) -> None:
    home.mkdir()
    (home / "cache").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cache"):
        onnxzoo.pull("light-squeezenet")
