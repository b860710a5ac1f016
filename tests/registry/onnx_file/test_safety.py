"""What the guard lets in, and what it does not."""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import Refused, ZooError
from onnxzoo.registry.onnx_file.external_data import Where
from onnxzoo.registry.onnx_file.safety import check_safe
from tests.support import hostile

WHEEL = Path(onnx.__file__).parent / "backend" / "test" / "data"
CASES = list(hostile.cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_model_is_refused(tmp_path: Path, case: hostile.Case) -> None:
    path = case.build(tmp_path)
    with pytest.raises(Refused) as caught:
        check_safe(path)
    assert case.says in caught.value.message
    assert caught.value.exit_code == 5


def test_every_model_of_the_wheel_passes() -> None:
    found = sorted(WHEEL.rglob("*.onnx"))
    assert len(found) > 100
    for path in found:
        check_safe(path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, while onnx makes the examples
def test_every_model_of_the_operators_examples_passes(tmp_path: Path) -> None:
    from onnx.backend.test.case.node import collect_testcases

    made = [case.model for case in collect_testcases(None) if case.model is not None]
    assert len(made) > 1000
    for model in made:
        check_safe(hostile.written(model)(tmp_path))


def test_a_million_nodes_are_too_many(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="more than 1,000,000 nodes"):
        check_safe(hostile.raw(hostile.field(1, b"") * 1_000_001)(tmp_path))


def _healthy() -> dict[str, hostile.Build]:
    held, graph, model, node = hostile.held, hostile.graph, hostile.model, hostile.node
    weight, written = hostile.weight, hostile.written
    own = [*hostile.OPSETS, helper.make_opsetid("own", 1)]
    annotated = model(graph())
    annotated.doc_string = "made by us"
    annotated.metadata_props.add(key="k", value="v")
    annotated.graph.value_info.append(
        helper.make_value_info(
            "v", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["n", None]))
        )
    )
    no_text = annotated.SerializeToString().replace(b"made by us", b"\xffade by \xfe\xff")
    shared = held(*(weight(4, raw_data=bytes(16)) for _ in range(3)))
    sparse = model(graph())
    sparse.graph.sparse_initializer.append(
        onnx.SparseTensorProto(
            values=weight(1, raw_data=bytes(4)),
            indices=TensorProto(dims=[1, 2], data_type=TensorProto.INT64, raw_data=bytes(16)),
            dims=[9, 9],
        )
    )
    return {
        "prose that is no text": written(no_text),
        "weights": shared,
        "no elements": held(weight(0, 4)),
        "a scalar": held(weight(raw_data=bytes(4))),
        "half bytes": held(weight(5, dtype=TensorProto.INT4, raw_data=bytes(3))),
        "half bytes as numbers": held(helper.make_tensor("w", TensorProto.INT4, [5], [1] * 5)),
        "quarter bytes": held(helper.make_tensor("w", TensorProto.UINT2, [5], [1] * 5)),
        "six bits": held(helper.make_tensor("w", TensorProto.FLOAT6E2M3, [5], [1] * 5)),
        "six bits, raw": held(weight(5, dtype=TensorProto.FLOAT6E3M2, raw_data=bytes(4))),
        "complex numbers": held(helper.make_tensor("w", TensorProto.COMPLEX64, [1], [1])),
        "complex": held(numpy_helper.from_array(np.array([1j, 2j]), "w")),
        "half precision": held(helper.make_tensor("w", TensorProto.FLOAT16, [2], [1, 2])),
        "strings": held(weight(2, dtype=TensorProto.STRING, string_data=[b"a", b"\xff"])),
        "a sparse tensor": written(sparse),
        "a small field of a later format": written(
            annotated.SerializeToString() + hostile.field(99, b"new")
        ),
        "metadata added at the end": written(
            annotated.SerializeToString()
            + hostile.field(14, hostile.field(1, b"k") + hostile.field(2, b"v"))
        ),
        "an op of onnxruntime's": written(
            model(graph([node("FusedMatMul", "x x", domain="com.microsoft")]))
        ),
        "a graph compiled into a file": hostile.compiled("c.bin", Path.touch),
        "a graph that another node was compiled into": hostile.compiled(""),
        "a compiled graph": written(
            model(
                graph([node("EPContext", domain="com.microsoft", ep_cache_context=b"/\xff" * 9999)])
            )
        ),
        "functions of its own": written(
            hostile.calling(hostile.function("F0", "F1", "F1"), hostile.function("F1", "Neg"))
        ),
        "a domain that is imported and not used": written(model(graph(), opsets=own)),
        "an axis that is said to be -1": written(
            model(
                helper.make_graph(
                    [node("Identity")],
                    "g",
                    [helper.make_tensor_value_info("x", 1, [-1])],
                    [helper.make_tensor_value_info("y", 1, [-1])],
                )
            )
        ),
        "a large constant that a chain of nodes keeps as large": written(
            model(
                graph(
                    [
                        node("ConstantOfShape", "s", "t0"),
                        *(node("Mul", f"t{n} one", f"t{n + 1}") for n in range(9)),
                        node("Where", "yes t9 one", "t10"),
                    ],
                    [
                        hostile.shape("s", 100_000_000),
                        hostile.scalar("one", 1, "float32"),
                        hostile.scalar("yes", 1, "bool"),
                    ],
                )
            )
        ),
        "axes that meet by an attribute": written(
            model(
                graph(
                    [node("Mul", "v w", broadcast=1, axis=0)],
                    [
                        numpy_helper.from_array(np.zeros((1 << 18, 1), "float32"), "v"),
                        numpy_helper.from_array(np.zeros(1 << 18, "float32"), "w"),
                    ],
                ),
                opsets=[helper.make_opsetid("", 6)],
            )
        ),
        "a folded constant of 400 MB": written(
            model(graph([node("ConstantOfShape", "s")], [hostile.shape("s", 100_000_000)]))
        ),
    }


@pytest.mark.parametrize(("name", "build"), _healthy().items(), ids=list(_healthy()))
def test_a_healthy_model_passes(tmp_path: Path, name: str, build: hostile.Build) -> None:
    check_safe(build(tmp_path))


FLOATS = np.arange(8, dtype="float32").tobytes()


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "w.bin"},
        {"location": "./w.bin", "offset": "0", "length": "16"},
        {"location": "d/w.bin", "offset": "16"},
        {"location": "w.bin", "checksum": hashlib.sha1(FLOATS).hexdigest()},
        {"location": "w.bin", "checksum": hashlib.sha1(FLOATS).hexdigest().upper()},
        {
            "location": "w.bin",
            "offset": "16",
            "length": "16",
            "checksum": hashlib.sha1(FLOATS[16:]).hexdigest(),
        },
    ],
)
def test_sound_external_data_passes(tmp_path: Path, entries: dict[str, str]) -> None:
    (tmp_path / "d").mkdir()
    for name in ("w.bin", "d/w.bin"):
        (tmp_path / name).write_bytes(FLOATS)
    check_safe(hostile.held(hostile.outside(*entries.items()))(tmp_path))


def test_external_data_need_not_be_there_where_only_the_graph_is_looked_at(tmp_path: Path) -> None:
    path = hostile.held(hostile.outside(("location", "w.bin")))(tmp_path)
    check_safe(path, beside=False)
    path = hostile.held(hostile.outside(("location", "../w.bin")))(tmp_path)
    with pytest.raises(Refused, match="outside the model's folder"):
        check_safe(path, beside=False)


def test_many_checksums_of_one_file_hash_it_a_few_times_at_most(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(400))
    weights = []
    for start in range(380):
        found = hashlib.sha1(bytes(16)).hexdigest()
        keys = {"location": "w.bin", "offset": str(start), "length": "16", "checksum": found}
        weights.append(hostile.outside(*keys.items()))
    with pytest.raises(Refused, match="more checksums than bytes"):
        check_safe(hostile.held(*weights)(tmp_path))


def test_what_is_wrong_is_named_in_a_few_words(tmp_path: Path) -> None:
    """Names may have a megabyte, and sub-graphs nest: a message keeps to the outermost one."""
    inner = hostile.graph(weights=[hostile.outside(("location", "../secret"))])
    for _ in range(4):
        inner = hostile.branching(inner)
        inner.node[0].name = "n" * 10_000
    inner.node[0].name = "outermost"
    with pytest.raises(Refused) as caught:
        check_safe(hostile.written(hostile.model(inner))(tmp_path))
    assert caught.value.message == (
        "the tensor `w` of a sub-graph of the node `outermost` in the graph lies outside the "
        "model's folder: `../secret`"
    )
    long = hostile.outside(("location", "../" + "s" * 10_000))
    long.name = "w" * 10_000
    with pytest.raises(Refused) as caught:
        check_safe(hostile.held(long)(tmp_path))
    assert len(caught.value.message) < 300


def test_names_are_not_written_out_where_nothing_is_wrong(tmp_path: Path) -> None:
    calls: list[object] = []
    node = hostile.node("Constant", "", value=hostile.shape("s", 1))
    path = hostile.written(hostile.model(hostile.graph([node])))(tmp_path)
    sys.setprofile(lambda frame, _event, _argument: calls.append(frame.f_code))
    try:
        check_safe(path)
    finally:
        sys.setprofile(None)
    assert check_safe.__code__ in calls
    assert Where.__str__.__code__ not in calls


def test_a_foreign_domain_can_be_allowed(tmp_path: Path) -> None:
    foreign = hostile.model(hostile.graph([hostile.node("Foo", domain="com.acme")]))
    path = hostile.written(foreign)(tmp_path)
    check_safe(path, domains=["com.acme"])
    with pytest.raises(Refused) as caught:
        check_safe(path, domains=["com.other"])
    assert caught.value.hint is not None
    assert "--allow-domain com.acme" in caught.value.hint


def test_a_model_beyond_two_gigabytes_is_not_read_whole(tmp_path: Path) -> None:
    """A sparse file: its weights are a hole."""
    resource = pytest.importorskip("resource")
    size = 2_500_000_000
    tensor = hostile.weight(size // 4).SerializeToString()
    tensor += hostile.varint(9 << 3 | 2) + hostile.varint(size)
    initializer = hostile.varint(5 << 3 | 2) + hostile.varint(len(tensor) + size) + tensor
    whole = hostile.varint(7 << 3 | 2) + hostile.varint(len(initializer) + size) + initializer
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.write(hostile.field(1, 10) + hostile.field(8, hostile.field(2, 17)) + whole)
        file.truncate(file.tell() + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_safe(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


SEEDS = [case.build for case in CASES if case.name.startswith(("owner", "folding", "function: d"))]
SEEDS += list(_healthy().values())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_model_passes_or_is_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"guard-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    path = data.draw(st.sampled_from(SEEDS))(folder)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.binary(max_size=12))
        content[at : at + data.draw(st.integers(0, 12))] = piece
    path.write_bytes(content)
    with suppress(ZooError):
        check_safe(path)


def test_what_onnxruntime_packed_beforehand_is_taken(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    product = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, 1, ["n", 256]) for name in "xy"]
    graph = onnx.helper.make_graph(
        [product], "g", values[:1], values[1:], [onnx.numpy_helper.from_array(weights, "w")]
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "o.onnx"), 4
    for name, value in (
        ("optimized_model_external_initializers_file_name", "o.bin"),
        ("optimized_model_external_initializers_min_size_in_bytes", "100"),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(f"session.{name}", value)
    onnxruntime.InferenceSession(tmp_path / "m", options)
    assert b"prepacked_0" in (tmp_path / "o.onnx").read_bytes()
    check_safe(tmp_path / "o.onnx")
