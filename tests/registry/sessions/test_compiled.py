"""Prepared sessions on providers that compile: their form is kept, proven, or said why not."""

import json
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.runtime.providers import CPU, Provider, wanted_providers
from onnxzoo.registry.runtime.session import compiles, open_session, runtime_build
from onnxzoo.registry.sessions.loader import Loader
from onnxzoo.registry.sessions.prepare_worker import _alike, _with_tuples
from onnxzoo.registry.sessions.session_cache import WEIGHTS, Prepared, key_of
from tests.registry.sessions.test_session_cache import wait_for_background
from tests.support import models

QNN, OPENVINO = "QNNExecutionProvider", "OpenVINOExecutionProvider"
SIDE = 64
needs_qnn = pytest.mark.skipif(
    find_spec("onnxruntime_qnn") is None, reason="onnxruntime-qnn is not installed"
)
needs_openvino = pytest.mark.skipif(
    OPENVINO not in onnxruntime.get_available_providers(),
    reason="onnxruntime-openvino is not installed",
)


@pytest.fixture
def registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("ZOO_CACHE_SIZE", "1GB")
    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    with Registry() as opened:
        yield opened


def qnn() -> list[Provider]:
    """The emulator of a Qualcomm NPU, which runs on any x86-64 processor."""
    return [(QNN, {"backend_path": import_module("onnxruntime_qnn").get_qnn_htp_path()}), CPU]


def layers(path: Path, *, middle: str = "Add", **attributes: int) -> Path:
    """Two products of fixed shape with an op between them; weights beside, and metadata."""
    random = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(random.standard_normal((SIDE, SIDE)).astype(np.float32) / 8, name)
        for name in ("a", "b", "c")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node(middle, ["h", "b"], ["k"]),
        helper.make_node("MatMul", ["k", "c"], ["y"]),
    ]
    nodes[1].attribute.extend(helper.make_attribute(*item) for item in attributes.items())
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIDE, SIDE]) for name in ("x", "y")
    )
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"classes": "a,b"})
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def prepared(registry: Registry, variant: Variant, providers: list[Provider]) -> Prepared:
    """Load a model twice, as it is registered and as it was prepared meanwhile; compare."""
    feeds = {"x": np.random.default_rng(1).standard_normal((SIDE, SIDE)).astype(np.float32)}
    first = registry.load(str(variant.ref), providers=providers).run(None, feeds)[0]
    wait_for_background()
    key = key_of(variant.digest, variant.entry, runtime_build(providers), providers)
    entry = registry.loader.prepared.find(key)
    assert entry is not None
    loader = Loader(registry.settings)
    again = loader.session(variant, providers=providers)
    assert Path(again._model_path) == (entry.graph or variant.path)
    np.testing.assert_allclose(again.run(None, feeds)[0], first, atol=1e-2 * np.abs(first).max())
    return entry


def ops(graph: Path) -> list[str]:
    return [node.op_type for node in onnx.load(graph, load_external_data=False).graph.node]


@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        ([CPU], False),
        ([], False),
        ([CPU, OPENVINO], False),
        (["CUDAExecutionProvider", CPU], False),
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU], True),
        ([(OPENVINO, {"device_type": "CPU"}), CPU], True),
    ],
)
def test_the_first_provider_says_whether_there_is_a_compiled_form(
    providers: list[Provider], *, expected: bool
) -> None:
    assert compiles(providers) is expected


def test_a_provider_with_options_is_prepared_like_one_without(
    registry: Registry, tmp_path: Path
) -> None:
    variant = registry.register(layers(tmp_path / "m.onnx"), "net").variant
    entry = prepared(registry, variant, [(CPU, {"use_arena": 0})])
    assert entry.look.why_not is None


def test_a_childs_providers_are_the_parents() -> None:
    providers: list[Provider] = [(OPENVINO, {"device_type": "CPU"}), CPU]
    assert _with_tuples(json.loads(json.dumps(providers))) == providers


def test_a_plug_in_and_its_devices_are_part_of_the_key_but_not_of_the_cpus() -> None:
    build = onnxruntime.get_build_info()
    assert runtime_build([CPU]) == runtime_build() == f"{onnxruntime.__version__} {build}"
    if find_spec("onnxruntime_qnn") is not None:
        assert version("onnxruntime_qnn") in runtime_build(qnn())


@pytest.mark.parametrize(
    ("one", "tolerance", "expected"),
    [
        (np.array([1, 2.0]), 0.0, True),
        (np.array([1, 2.001]), 0.0, False),
        (np.array([1, 2.001]), 1e-2, True),
        (np.array([1, 2.03]), 1e-2, False),
        (np.array([1, np.nan]), 1e-2, False),
        (np.array([1, 2]), 1e-2, False),
        (np.array([[1, 2.0]]), 1e-2, False),
    ],
)
def test_outputs_are_alike_within_a_share_of_the_largest(
    one: np.ndarray[tuple[int, ...], np.dtype[np.float64]], tolerance: float, *, expected: bool
) -> None:
    assert _alike(one, np.array([1, 2.0]), tolerance) is expected


def test_outputs_that_are_no_floats_are_equal_or_not() -> None:
    assert not _alike(np.array([1000]), np.array([1001]), 1e-2)
    assert _alike(["a"], ["a"], 1e-2)
    assert _alike(np.array([np.inf, np.nan]), np.array([np.inf, np.nan]), 1e-2)


@pytest.mark.skipif(find_spec("onnxruntime_qnn") is not None, reason="it is there")
def test_a_plug_in_that_does_not_load_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.so").write_text("no library")
    (tmp_path / "onnxruntime_qnn.py").write_text(
        f"def get_library_path():\n    return {str(tmp_path / 'broken.so')!r}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Refused, match="`onnxruntime_qnn` cannot be loaded"):
        wanted_providers("qnn")


@needs_qnn
def test_a_plug_in_opens_by_its_providers_name(tmp_path: Path) -> None:
    session = open_session(models.linear(tmp_path / "m.onnx"), wanted_providers(providers=qnn()))
    assert session.get_providers() == [QNN, CPU]
    options = onnxruntime.SessionOptions()
    for _ in range(2):
        assert open_session(tmp_path / "m.onnx", qnn(), options).get_providers() == [QNN, CPU]


@needs_qnn
def test_the_form_that_qnn_compiled_is_what_opens(registry: Registry, tmp_path: Path) -> None:
    variant = registry.register(layers(tmp_path / "m.onnx"), "net").variant
    entry = prepared(registry, variant, qnn())
    assert entry.look.why_not is None
    assert entry.graph is not None
    assert ops(entry.graph) == ["EPContext"]


@needs_qnn
def test_what_qnn_leaves_to_the_cpu_comes_with_its_weights(
    registry: Registry, tmp_path: Path
) -> None:
    path = layers(tmp_path / "m.onnx", middle="Mod", fmod=1)
    variant = registry.register(path, "net").variant
    entry = prepared(registry, variant, qnn())
    assert entry.look.why_not is None
    assert entry.graph is not None
    assert set(ops(entry.graph)) == {"EPContext", "Mod"}
    assert (entry.graph.parent / WEIGHTS).stat().st_size == 4 * SIDE * SIDE


@needs_qnn
def test_where_qnn_compiles_nothing_the_plain_file_serves(
    registry: Registry, tmp_path: Path
) -> None:
    variant = registry.register(models.linear(tmp_path / "m.onnx"), "net").variant
    registry.load("net", providers=qnn())
    wait_for_background()
    key = key_of(variant.digest, variant.entry, runtime_build(qnn()), qnn())
    entry = registry.loader.prepared.find(key)
    assert entry is not None
    assert entry.look.why_not == f"`{QNN}` compiled no part of the model"


@needs_openvino
def test_openvino_opens_what_it_compiled_or_else_the_plain_file(
    registry: Registry, tmp_path: Path
) -> None:
    # Its package writes what it then cannot read: OpenVINO's reader of it is not in there (1.24.1).
    variant = registry.register(layers(tmp_path / "m.onnx"), "net").variant
    entry = prepared(registry, variant, [(OPENVINO, {"device_type": "CPU"}), CPU])
    if entry.graph is None:
        assert "cannot open what was prepared" in str(entry.look.why_not)
    else:
        assert ops(entry.graph) == ["EPContext"]
