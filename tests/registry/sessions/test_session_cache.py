"""Prepared sessions: made in a child, proven, kept, never trusted when they changed."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import InvalidModel, Refused
from onnxzoo.registry.core.records import Draft, Variant
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.sessions.session_cache import GRAPH, WEIGHTS, PreparedSessions
from tests.support import models
from tests.support.archives import twins
from tests.support.commands import Run

X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("ZOO_CACHE_SIZE", "1GB")
    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    with Registry() as opened:
        yield opened


@pytest.fixture
def variant(registry: Registry, tmp_path: Path) -> Variant:
    model = models.linear(tmp_path / "m.onnx", value=2, size=4)
    return registry.register(model, "net").variant


def entry(registry: Registry) -> Path:
    (folder,) = (path for path in registry.settings.sessions.iterdir() if path.name[0] != ".")
    return folder


def opened_from(registry: Registry) -> str:
    session = registry.load("net")
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], 2 * X)
    path: str = session._model_path
    return str(Path(path).parent)


def wait_for_background() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("onnxzoo prepares"):
            thread.join(60)


def test_a_registered_model_opens_from_what_was_prepared(
    registry: Registry, variant: Variant
) -> None:
    assert opened_from(registry) == str(entry(registry))


def test_what_was_prepared_gives_the_plain_files_outputs(
    registry: Registry, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal((64, 64)).astype(np.float32), f"w{n}")
        for n in range(3)
    ]
    nodes = [
        helper.make_node(
            "MatMul", [f"h{n}" if n else "x", f"w{n}"], [f"h{n + 1}" if n < 2 else "y"]
        )
        for n in range(3)
    ]
    x = helper.make_tensor_value_info("x", 1, ["n", 64])
    y = helper.make_tensor_value_info("y", 1, ["n", 64])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"classes": "a,b"})
    onnx.save(model, tmp_path / "mat.onnx")
    held = registry.register(tmp_path / "mat.onnx", "mat").variant
    prepared = registry.loader.found(held)
    assert prepared is not None
    assert prepared.graph is not None
    assert (prepared.graph.parent / WEIGHTS).stat().st_size > 3 * 64 * 64 * 4
    session = registry.load("mat")
    assert session.get_modelmeta().custom_metadata_map == {"classes": "a,b"}
    feeds = {"x": random.standard_normal((5, 64)).astype(np.float32)}
    import onnxruntime

    plain = onnxruntime.InferenceSession(held.path)
    np.testing.assert_array_equal(session.run(None, feeds)[0], plain.run(None, feeds)[0])
    fastest = registry.load("mat", open="fastest")
    np.testing.assert_allclose(fastest.run(None, feeds)[0], plain.run(None, feeds)[0], rtol=1e-4)


@pytest.mark.parametrize("harm", ["delete", "truncate", "alter", "garbage", "no entry"])
def test_a_damaged_one_is_never_used_and_is_made_again(
    registry: Registry, variant: Variant, harm: str
) -> None:
    folder = entry(registry)
    graph = folder / GRAPH
    graph.chmod(0o644)
    if harm == "delete":
        graph.unlink()
    elif harm == "truncate":
        os.truncate(graph, graph.stat().st_size // 2)
    elif harm == "alter":
        content = graph.read_bytes()
        stat = graph.stat()
        weight = np.float32(2).tobytes()
        assert weight in content
        graph.write_bytes(content.replace(weight, np.float32(3).tobytes()))
        os.utime(graph, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif harm == "garbage":
        (folder / "prepared.json").write_text("{")
    else:
        (folder / "prepared.json").unlink()
    assert opened_from(registry) == str(variant.path.parent)
    wait_for_background()
    assert opened_from(registry) == str(entry(registry))


def test_a_copied_one_is_proven_by_its_bytes(registry: Registry, variant: Variant) -> None:
    folder = entry(registry)
    copied = folder.with_name("copied")
    shutil.copytree(folder, copied)
    shutil.rmtree(folder)
    copied.rename(folder)
    assert opened_from(registry) == str(folder)


def test_other_bytes_another_runtime_or_other_providers_are_another_key() -> None:
    from onnxzoo.registry.sessions.session_cache import key_of

    keys = {
        key_of("sha256:aa", "m.onnx", "1.32", ["CPUExecutionProvider"]),
        key_of("sha256:aa", "n.onnx", "1.32", ["CPUExecutionProvider"]),
        key_of("sha256:bb", "m.onnx", "1.32", ["CPUExecutionProvider"]),
        key_of("sha256:aa", "m.onnx", "1.33", ["CPUExecutionProvider"]),
        key_of("sha256:aa", "m.onnx", "1.32", [("CPUExecutionProvider", {"use_arena": "0"})]),
    }
    assert len(keys) == 5


def test_two_models_of_one_bundle_are_prepared_apart(registry: Registry, tmp_path: Path) -> None:
    both = twins(
        tmp_path, models.save(tmp_path / "2.onnx", [helper.make_node("Neg", "x", "y")], [])
    )
    registry.import_file(both)
    for _ in range(2):  # as it is first opened, and as it is prepared
        for ref, sign in (("twins", 1), ("twins:other", -1)):
            session = registry.load(ref)
            np.testing.assert_array_equal(session.run(None, {"x": X})[0], sign * X)
            del session
        wait_for_background()


def test_a_light_model_of_ir_3_is_prepared(registry: Registry) -> None:
    import onnxzoo

    held = onnxzoo.pull("light-squeezenet")
    prepared = registry.loader.found(held)
    assert prepared is not None
    assert prepared.graph is not None


def test_a_model_that_gives_random_outputs_is_prepared_within_its_spread(
    registry: Registry, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    path = models.save(tmp_path / "m.onnx", nodes, [])
    held = registry.register(path, "net").variant
    prepared = registry.loader.found(held)
    assert prepared is not None
    assert prepared.graph is not None, prepared.look.why_not
    assert registry.load("net")._model_path == str(prepared.graph)


def big_from_nothing(path: Path, side: int) -> Path:
    """A model of some hundred bytes that wants ``4 * side * side`` bytes when it is opened."""
    column, row = (
        numpy_helper.from_array(np.array(shape, np.int64), name)
        for name, shape in (("high", [side, 1]), ("wide", [1, side]))
    )
    nodes = [
        helper.make_node("ConstantOfShape", ["high"], ["a"]),
        helper.make_node("ConstantOfShape", ["wide"], ["b"]),
        helper.make_node("MatMul", ["a", "b"], ["c"]),  # no guard sees how large this becomes
        helper.make_node("ReduceSum", ["c"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    return models.save(path, nodes, [column, row])


def sequences(path: Path) -> Path:
    """``y``: a list of one array, as text models and detectors give."""
    path = models.save(path, [helper.make_node("SequenceConstruct", ["x"], ["y"])], [])
    model = onnx.load(path)
    del model.graph.output[:]
    element = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["batch", 4])
    sequence = helper.make_sequence_type_proto(element)
    model.graph.output.append(helper.make_value_info("y", sequence))
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_that_gives_lists_is_prepared(registry: Registry, tmp_path: Path) -> None:
    registry.register(sequences(tmp_path / "m.onnx"), "net")
    prepared = registry.loader.found(registry.resolve("net"))
    assert prepared is not None
    assert prepared.graph is not None, prepared.look.why_not


def test_a_model_whose_inputs_nobody_can_make_up_is_kept_plain(
    registry: Registry, tmp_path: Path
) -> None:
    shape = numpy_helper.from_array(np.array([7, 11, 13]), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    registry.register(models.save(tmp_path / "m.onnx", nodes, [shape]), "net")
    prepared = registry.loader.found(registry.resolve("net"))
    assert prepared is not None
    assert "no sample inputs were found" in str(prepared.look.why_not)


def test_what_a_dead_process_began_is_swept(registry: Registry, tmp_path: Path) -> None:
    left = registry.loader.prepared.root / ".staging" / f"{socket.gethostname()}-999999999-00aa"
    left.mkdir(parents=True)
    registry.register(models.linear(tmp_path / "m.onnx"), "net")
    assert not left.exists()


def test_a_parent_that_ends_costs_nothing(registry: Registry, tmp_path: Path) -> None:
    settings = replace(registry.settings, cache_size=0, first_look=False)
    with Registry(settings=settings) as plain:
        plain.register(models.linear(tmp_path / "m.onnx"), "net")
    code = "import onnxzoo, time; s = onnxzoo.load('net'); time.sleep(0.3)"
    subprocess.run([sys.executable, "-c", code], check=True)
    until = time.monotonic() + 60
    while registry.loader.found(registry.resolve("net")) is None and time.monotonic() < until:
        time.sleep(0.1)
    assert registry.loader.found(registry.resolve("net")) is not None


def test_where_nothing_is_prepared_a_model_is_looked_at_all_the_same(
    registry: Registry, tmp_path: Path
) -> None:
    settings = replace(registry.settings, cache_size=0)
    path = models.save(tmp_path / "m.onnx", [helper.make_node("Nope", ["x"], ["y"])], [])
    with Registry(settings=settings) as bounded, bounded.store.stage() as stage:
        stage.copy(path, "m.onnx")
        draft = Draft("net", "m.onnx", describe(path), "here")
        with pytest.raises(InvalidModel, match="Nope"):
            bounded.publish(stage, draft, "pull", must_open=True)
    assert not list(registry.loader.prepared.root.glob("[0-9a-f]*"))


def test_opening_fastest_says_nothing(
    registry: Registry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.register(models.linear(tmp_path / "m.onnx"), "net")
    session = registry.load("net", open="fastest")
    assert str(session._model_path).startswith(str(registry.loader.prepared.root))
    assert capfd.readouterr() == ("", "")


def test_a_copied_entry_is_hashed_once(registry: Registry, tmp_path: Path) -> None:
    registry.register(models.linear(tmp_path / "m.onnx"), "net")
    found = registry.loader.found(registry.resolve("net"))
    assert found is not None
    assert found.graph is not None
    entry = found.graph.parent / "prepared.json"
    os.utime(found.graph, (1, 1))
    before = entry.read_bytes()
    assert registry.loader.found(registry.resolve("net")) is not None
    renewed = entry.read_bytes()
    assert renewed != before
    assert registry.loader.found(registry.resolve("net")) is not None
    assert entry.read_bytes() == renewed


def test_what_would_take_far_more_than_the_model_is_not_kept(
    registry: Registry, tmp_path: Path
) -> None:
    shape = numpy_helper.from_array(np.array([4, 4_000_000], np.int64), "s")
    nodes = [
        helper.make_node(
            "ConstantOfShape", ["s"], ["c"]
        ),  # 64 MB once it is folded, kept plain and packed
        helper.make_node("MatMul", ["x", "c"], ["wide"]),
        helper.make_node("ReduceMax", ["wide"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    registry.register(models.save(tmp_path / "m.onnx", nodes, [shape]), "net")
    prepared = registry.loader.found(registry.resolve("net"))
    assert prepared is not None
    assert prepared.graph is None
    assert "128.0 MB, the model" in str(prepared.look.why_not)


def test_a_model_that_wants_too_much_memory_is_refused_and_nothing_kept(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_MAX_MEMORY", "1500MB")
    with (
        Registry() as bounded,
        pytest.raises(Refused, match="memory were not enough") as caught,
    ):
        bounded.register(big_from_nothing(tmp_path / "m.onnx", 30_000), "net")
    assert "ZOO_MAX_MEMORY=" in str(caught.value.hint)
    assert not registry.list()
    assert not list(registry.store.digests())


def test_a_model_that_takes_too_long_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE_SIZE", "1GB")
    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    monkeypatch.setenv("ZOO_MAX_SECONDS", "1")
    shape = numpy_helper.from_array(np.array([4000, 4000], np.int64), "s")
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["c0"])]
    nodes += [helper.make_node("MatMul", [f"c{n}", f"c{n}"], [f"c{n + 1}"]) for n in range(99)]
    nodes += [
        helper.make_node("ReduceSum", ["c99"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    path = models.save(tmp_path / "m.onnx", nodes, [shape])
    with Registry() as registry, pytest.raises(Refused, match="1 s were not enough while opening"):
        registry.register(path, "net")


def test_what_does_not_open_is_kept_with_a_warning_but_not_pulled(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import onnxzoo

    node = helper.make_node("NoSuchOp", ["x"], ["y"])
    path = models.save(tmp_path / "m.onnx", [node], [])
    with pytest.raises(InvalidModel, match="NoSuchOp"):
        onnxzoo.pull(str(path), name="other")
    with caplog.at_level(logging.WARNING):
        registry.register(path, "net")
    assert "does not open here" in caplog.text


def test_where_no_session_can_be_kept_the_plain_file_serves_with_one_warning(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.settings.cache.mkdir(parents=True)
    registry.settings.sessions.write_text("a file where the folder should be")
    held = registry.register(models.linear(tmp_path / "m.onnx", value=2), "net").variant
    assert opened_from(registry) == str(held.path.parent)
    wait_for_background()
    registry.load("net", open="fastest")
    wait_for_background()
    assert caplog.text.count("opens from its plain file") == 2  # registering, loading


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    sessions = PreparedSessions(tmp_path, limit=150)
    for age, name in ((3, "aa"), (1, "bb"), (2, "cc")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(bytes(100))
        (folder / "prepared.json").write_text(json.dumps({"digest": name}))
        os.utime(folder / "prepared.json", (1e9 - age, 1e9 - age))
    sessions.trim()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == ["bb"]


def test_gc_frees_what_is_prepared_of_what_is_held_no_longer(
    registry: Registry, variant: Variant
) -> None:
    folder = entry(registry)
    assert str(folder) not in [what for what, _ in registry.gc().items]
    registry.remove("net")
    assert str(folder) in [what for what, _ in registry.gc().items]
    assert not folder.exists()


def test_with_no_room_at_all_no_child_looks(home: Path, tmp_path: Path) -> None:
    with Registry() as registry:
        registry.register(models.linear(tmp_path / "m.onnx"), "net")
        registry.load("net")
    assert Settings.from_env().cache_size == 0
    assert not registry.settings.sessions.exists()


def test_two_that_prepare_the_same_model_do_not_collide(
    registry: Registry, variant: Variant
) -> None:
    shutil.rmtree(entry(registry))
    threads = [threading.Thread(target=registry.loader.look, args=(variant,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened_from(registry) == str(entry(registry))
    assert not list((registry.settings.sessions / ".staging").iterdir())


INT16_MAX = [helper.make_node("Max", ["a", "b"], ["y"])]  # onnxruntime has no kernel for it


@pytest.fixture
def unopened(registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Variant:
    """A model that is valid, and that onnxruntime does not open."""
    a, b, y = (helper.make_tensor_value_info(n, onnx.TensorProto.INT16, [3]) for n in "aby")
    graph = helper.make_graph(INT16_MAX, "g", [a, b], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, tmp_path / "max.onnx")
    held = registry.register(tmp_path / "max.onnx", "max").variant
    assert "is kept, but does not open here" in caplog.text
    return held


def test_a_model_that_did_not_open_is_not_said_to_run(unopened: Variant, zoo: Run) -> None:
    assert json.loads(zoo("show", "max", "--json").out)["runs_here"] is False
    assert json.loads(zoo("opsets", "max", "--json").out)[0]["runs_here"] is False
    assert "Max" in zoo("show", "max").out.split("runs here")[1].splitlines()[0]
    assert "max" not in zoo("search", "max", "--runs-here", "-q").out.split()
    shown = json.loads(zoo("show", "max", "--for", "onnxruntime==1.17", "--json").out)
    assert shown["runs_here"] is not False  # nobody tried that one


def test_a_model_that_did_not_open_is_not_prepared_again(
    unopened: Variant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    for _ in range(2):
        with Registry() as registry, pytest.raises(InvalidModel):
            registry.load("max")
        wait_for_background()
    assert "opens from its plain file" not in caplog.text


def test_a_model_that_did_not_open_is_tried_again_where_it_is_registered_again(
    unopened: Variant, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    registry.register(tmp_path / "max.onnx", "max")
    assert "does not open here" in caplog.text


def test_sizes_at_which_a_model_ran_are_recorded(variant: Variant, registry: Registry) -> None:
    (axis,) = (axis for axis in variant.graph.inputs[0].shape or () if isinstance(axis, str))
    sizes = registry.loader.recorded_sizes(variant)
    assert sizes is not None
    assert set(sizes) == {axis}
    assert sizes[axis] > 0


def test_sizes_of_a_model_that_nobody_ran_are_not_recorded(
    unopened: Variant, registry: Registry
) -> None:
    assert registry.loader.recorded_sizes(unopened) is None
