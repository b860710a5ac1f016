"""What a file says of itself, held against what onnx reads."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import IntegrityError, InvalidModel
from onnxzoo.registry.core.records import Tensor, Weights
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.onnx_file.kind import check
from tests.support import models

WHEEL = Path(onnx.__file__).parent / "backend" / "test" / "data"
ALL = sorted(WHEEL.rglob("*.onnx"))
LENGTHS = st.integers(0, 200)


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from nodes(inner)


def field(number: int, payload: bytes, hole: int = 0) -> bytes:
    """Encode a field whose payload is followed by so many bytes that are not written."""
    length, head = len(payload) + hole, bytes([number << 3 | 2])
    while length > 0x7F:
        head, length = head + bytes([length & 0x7F | 0x80]), length >> 7
    return head + bytes([length]) + payload


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.relative_to(WHEEL).as_posix())
def test_every_model_of_the_wheel_is_read_as_onnx_reads_it(path: Path) -> None:
    model = onnx.load(path, load_external_data=False)
    graph = describe(path)
    initialised = {tensor.name for tensor in model.graph.initializer}
    initialised |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    every = [*nodes(model.graph), *(node for f in model.functions for node in f.node)]
    ops = Counter(
        node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}.{node.op_type}"
        for node in every
    )
    assert graph.ir_version == model.ir_version
    assert graph.opsets == {
        "" if opset.domain == "ai.onnx" else opset.domain: opset.version
        for opset in model.opset_import
    }
    assert [t.name for t in graph.inputs] == [
        value.name for value in model.graph.input if value.name not in initialised
    ]
    assert [t.name for t in graph.outputs] == [value.name for value in model.graph.output]
    assert graph.ops == ops
    assert graph.metadata == {entry.key: entry.value for entry in model.metadata_props}


def test_a_graph_is_described(tmp_path: Path) -> None:
    graph = describe(models.linear(tmp_path / "m.onnx", opset=13))
    assert (graph.opset, graph.ir_version, graph.producer) == (13, 8, "tests")
    assert graph.inputs == (Tensor("x", "float32", ("batch", 4)),)
    assert (graph.ops, graph.parameters, graph.external) == ({"Mul": 1}, 4, ())


def test_subgraphs_and_constants_count(tmp_path: Path) -> None:
    graph = describe(models.branching(tmp_path / "m.onnx"))
    assert graph.ops == {"Constant": 1, "If": 1, "Mul": 1, "Neg": 1}
    assert graph.parameters == 5


def test_parameters_and_bytes_are_told_by_dtype(tmp_path: Path) -> None:
    """As onnx and NumPy count them: packed halves of bytes, text by its own length."""
    tensors = [
        numpy_helper.from_array(np.zeros((3, 5), np.float16), "half"),
        helper.make_tensor("four", TensorProto.INT4, [3], [1, 2, 3]),
        numpy_helper.from_array(np.array(["zoo", "model"], dtype=object), "words"),
    ]
    constants = [
        helper.make_node("Constant", [], ["a"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Constant", [], ["b"], value_int=300),
        helper.make_node("Constant", [], ["c"], value_ints=[1, 300]),
        helper.make_node("Constant", [], ["d"], value_string="zoo"),
    ]
    outputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [3])]
    graph = helper.make_graph(constants, "g", [], outputs, tensors)
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert describe(tmp_path / "m.onnx").weights == {
        "float16": Weights(15, 30),
        "int4": Weights(3, 2),
        "string": Weights(3, 11),
        "float32": Weights(3, 12),
        "int64": Weights(3, 24),
    }


def test_a_tensor_of_more_elements_than_can_be_is_refused(tmp_path: Path) -> None:
    dims = b"".join(b"\x08" + b"\xff" * 8 + b"\x7f" for _ in range(300))
    graph = field(5, dims + b"\x10\x01")
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"))
    with pytest.raises(InvalidModel, match="a tensor has more than"):
        describe(tmp_path / "m.onnx")


def test_a_negative_axis_is_an_unknown_one(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [-1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert describe(tmp_path / "m.onnx").inputs == (Tensor("x", "float32", (None, 4)),)


def test_external_data_is_named_and_need_not_be_there(tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx", "data/w.bin")
    (tmp_path / "data" / "w.bin").unlink()
    assert describe(path).external == ("data/w.bin",)


@pytest.mark.parametrize(
    ("location", "named"),
    [("./w.bin", "w.bin"), ("data/./w.bin", "data/w.bin"), ("../w.bin", "../w.bin")],
)
def test_an_external_file_has_one_name(tmp_path: Path, location: str, named: str) -> None:
    path = models.external(tmp_path / "sub" / "m.onnx", location)
    assert describe(path).external == (named,)


def test_a_long_metadata_value_is_shortened(tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="vocabulary", value="ä" * (1 << 20))
    model.metadata_props.add(key="author", value="us")
    path.write_bytes(model.SerializeToString())
    metadata = dict(describe(path).metadata)
    assert metadata == {"vocabulary": "ä" * 512 + "…", "author": "us"}


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_the_precision_is_that_of_the_weights(tmp_path: Path, dtype: str) -> None:
    path = models.linear(tmp_path / "model_half_int8.onnx", dtype=dtype)
    assert describe(path).precision == f"fp{dtype[-2:]}"


@pytest.mark.parametrize(
    ("op", "domain", "dtype", "precision"),
    [
        ("ConvInteger", "", "int8", "int8"),
        ("QLinearConv", "", "uint8", "uint8"),
        ("QLinearAdd", "com.microsoft", "int8", "int8"),
        ("MatMulNBits", "com.microsoft", "uint8", "int4"),
        ("DequantizeLinear", "", "int8", "qdq"),
        ("Mul", "", "int64", "fp32"),
    ],
)
def test_quantized_models_are_known_by_their_ops(
    tmp_path: Path, op: str, domain: str, dtype: str, precision: str
) -> None:
    node = helper.make_node(op, ["x", "w"], ["y"], domain=domain)
    weights = numpy_helper.from_array(np.ones(4, dtype), "w")
    assert describe(models.save(tmp_path / "m.onnx", [node], [weights])).precision == precision


@pytest.mark.parametrize(("dtype", "name"), [(27, "float6_e2m3fn"), (28, "float6_e3m2fn")])
def test_weights_of_six_bits_have_a_name_and_a_size(tmp_path: Path, dtype: int, name: str) -> None:
    weight = TensorProto(name="w", dims=[5], data_type=dtype, raw_data=bytes(4))
    found = describe(
        models.save(tmp_path / "m.onnx", [helper.make_node("Neg", "x", "y")], [weight])
    )
    assert found.weights == {name: Weights(5, 4)}


def test_a_qdq_model_is_qdq(tmp_path: Path) -> None:
    assert describe(models.quantized(tmp_path / "m.onnx")).precision == "qdq"


def test_types_that_are_no_tensors_are_spelt_as_onnxruntime_spells_them(tmp_path: Path) -> None:
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [None, 2])
    sequence = helper.make_sequence_type_proto(tensor)
    mapping = helper.make_map_type_proto(TensorProto.INT64, tensor)
    values = [
        helper.make_value_info("a", sequence),
        helper.make_value_info("b", helper.make_optional_type_proto(sequence)),
        helper.make_value_info("c", mapping),
        helper.make_value_info("d", tensor),
    ]
    graph = helper.make_graph([], "g", values, [])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert [(t.dtype, t.shape) for t in describe(path).inputs] == [
        ("seq(tensor(float32))", None),
        ("optional(seq(tensor(float32)))", None),
        ("map(int64,tensor(float32))", None),
        ("float32", (None, 2)),
    ]


def test_a_file_beyond_two_gigabytes_is_read_without_its_weights(tmp_path: Path) -> None:
    """A sparse file: the weight's payload is a hole of 2.5 GB."""
    model = onnx.load(models.linear(tmp_path / "small.onnx"))
    size = 2_500_000_000

    tensor = TensorProto(dims=[size // 4], data_type=TensorProto.FLOAT, name="big")
    initializer = field(5, tensor.SerializeToString() + field(9, b"", size), size)
    graph = model.graph.SerializeToString()
    head = field(7, graph + initializer, size)
    model.ClearField("graph")
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(model.SerializeToString() + head)
        file.truncate(file.tell() + size)
    assert describe(path).parameters == size // 4 + 4


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 100, b"\x08\x07", b"\x0a\xff"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InvalidModel, match=r"`m\.onnx` is not an ONNX model"):
        describe(tmp_path / "m.onnx")


def test_graphs_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(150):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08" + field(8, b"\x10\x11") + field(7, graph))
    with pytest.raises(InvalidModel, match="nest deeper"):
        describe(tmp_path / "m.onnx")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.branching(tmp_path_factory.mktemp("fuzz") / "m.onnx")


SMALL = [path for path in ALL if path.stat().st_size < 50_000]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_file_patched_from_others_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = data.draw(st.sampled_from(SMALL)).read_bytes()
    for _ in range(data.draw(st.integers(1, 6))):
        other = data.draw(st.sampled_from(SMALL)).read_bytes()
        start, at = (data.draw(st.integers(0, len(part))) for part in (other, content))
        piece = data.draw(st.binary(max_size=12)) + other[start : start + data.draw(LENGTHS)]
        content = content[:at] + piece + content[at + data.draw(LENGTHS) :]
    path = tmp_path_factory.getbasetemp() / f"patched-{os.getpid()}.onnx"
    path.write_bytes(content)
    for read in (describe, check):
        with suppress(InvalidModel, IntegrityError):
            read(path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(healthy: Path, data: st.DataObject) -> None:
    content = bytearray(healthy.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = healthy.with_name(f"fuzz-{os.getpid()}.onnx")
    path.write_bytes(content)
    try:
        describe(path)
    except InvalidModel as error:
        assert "is not an ONNX model" in error.message  # noqa: PT017


def test_metadata_and_names_are_bounded_where_they_are_kept(tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="labels", value="v" * (100 << 10))
    for number in range(8):
        model.metadata_props.add(key=f"k{number}", value="v" * (120 << 10))
    model.metadata_props.add(key="k" * (200 << 10), value="")
    model.producer_name = "p" * 5000
    onnx.save(model, path)
    graph = describe(path)
    assert list(graph.metadata) == ["labels", "k0", "k1", "k2"]
    assert len(graph.metadata["labels"]) == 100 << 10
    assert len(graph.producer) == 1024
    names = [f"{'n' * 1000}{number}" for number in range(1100)]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, [1]) for name in names)
    onnx.save(model, path)
    with pytest.raises(InvalidModel, match="its inputs, outputs, ops and files take over 1048576"):
        describe(path)
