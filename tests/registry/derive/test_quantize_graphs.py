"""Quantizing graphs as exporters write them: dense layers, fp16, branches, flaws of the parent."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.derive import quantize_worker
from onnxzoo.registry.onnx_file.protos import nodes

SIDE = 64
ROWS = np.random.default_rng(1).standard_normal((4, SIDE)).astype(np.float32)


def made(path: Path, method: str, to: str, **more: Any) -> Path:
    """Quantize as the child does, in this process."""
    work = path.parent / f"{path.stem}-{method}-{to}"
    into = work / "made"
    into.mkdir(parents=True)
    weights = {"int8": "Int8", "qdq": "Int8", "int4": "Int4"}.get(to, "")
    given = {"ops": ("MatMul",), "calibrate": "random", "activations": "UInt8", **more}
    options = {"to": to, "method": method, "weights": weights, **given}
    quantize_worker.main(
        {"model": str(path), "into": str(into), "folder": str(work), "options": options}
    )
    return into / "model.onnx"


def run(path: Path, **feeds: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    dtype = {"tensor(float16)": np.float16}.get(session.get_inputs()[0].type, np.float32)
    return np.asarray(session.run(None, {"x": ROWS.astype(dtype), **feeds})[0], np.float32)


def ops(path: Path) -> list[str]:
    return [node.op_type for node in nodes(onnx.load(path))]


def near(one: np.ndarray, two: np.ndarray) -> float:
    return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


def weight(name: str, *shape: int, dtype: str = "float32", seed: int = 0) -> TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) / 8
    return numpy_helper.from_array(values.astype(dtype), name)


def saved(
    path: Path, nodes: list[Any], weights: list[TensorProto], *, dtype: int = 1, more: Any = ()
) -> Path:
    x, y = (helper.make_tensor_value_info(n, dtype, ["batch", SIDE]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x, *more], [y], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def dense(path: Path, *, dtype: str = "float32") -> Path:
    """Two layers as Keras writes them, MatMul and Add, and a Gemm of the model's own."""
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m"], name="first"),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b"], ["g"], name="own"),
        helper.make_node("MatMul", ["g", "w2"], ["n"], name="last"),
        helper.make_node("Add", ["b", "n"], ["y"]),
    ]
    square = [weight(f"w{n}", SIDE, SIDE, dtype=dtype, seed=n) for n in range(3)]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return saved(path, nodes, [*square, weight("b", SIDE, dtype=dtype)], dtype=kind)


MARKS = {"dynamic": "MatMulInteger", "static": "DequantizeLinear", "weight-only": "MatMulNBits"}
KINDS = [("dynamic", "int8"), ("static", "qdq"), ("weight-only", "int4")]


@pytest.mark.parametrize(("method", "to"), KINDS)
@pytest.mark.parametrize(
    ("chosen", "exclude", "count"),
    [
        (("MatMul",), (), 2), (("MatMul", "Gemm"), (), 3), (("Gemm",), (), 1),
        (("MatMul", "Gemm"), ("first",), 2), (("MatMul", "Gemm"), ("MatMul",), 1),
    ],
)  # fmt: skip
def test_a_product_with_an_add_is_a_matmul(
    tmp_path: Path, method: str, to: str, chosen: Any, exclude: Any, count: int
) -> None:
    path = dense(tmp_path / "m.onnx")
    out = made(path, method, to, ops=chosen, exclude=exclude)
    names = {f"w{n}" for n in range(3)}
    left = {t.name for t in onnx.load(out).graph.initializer if t.data_type == 1 and t.dims}
    assert len(names & left) == 3 - count
    assert MARKS[method] in ops(out)
    assert near(run(path), run(out)) > 0.97


@pytest.mark.parametrize(("method", "to"), KINDS)
def test_of_a_model_in_fp16(tmp_path: Path, method: str, to: str) -> None:
    path = dense(tmp_path / "m.onnx", dtype="float16")
    out = made(path, method, to)
    assert MARKS[method] in ops(out)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert [v.type for v in (*session.get_inputs(), *session.get_outputs())] == (
        ["tensor(float16)"] * 2
    )
    assert near(run(path), run(out)) > 0.97


def branch(name: str, weights: list[TensorProto]) -> Any:
    nodes = [
        helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_m"], name=f"{name}_mm"),
        helper.make_node("Add", [f"{name}_m", "b"], [f"{name}_y"]),
    ]
    shown = helper.make_tensor_value_info(f"{name}_y", 1, ["batch", SIDE])
    return helper.make_graph(nodes, name, [], [shown], weights)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize(("method", "to"), [KINDS[0], KINDS[2]])
def test_of_weights_that_branches_read(
    tmp_path: Path, method: str, to: str, *, outside: bool
) -> None:
    weights = [weight(f"{n}_w", SIDE, SIDE, seed=s) for s, n in enumerate(("t", "e"))]
    inner = [[], []] if outside else [[w] for w in weights]
    branches = {
        "then_branch": branch("t", inner[0]), "else_branch": branch("e", inner[1]),
    }  # fmt: skip
    path = saved(
        tmp_path / "m.onnx",
        [helper.make_node("If", ["yes"], ["y"], **branches)],
        [weight("b", SIDE), *(weights if outside else ())],
        more=[helper.make_tensor_value_info("yes", TensorProto.BOOL, [1])],
    )
    out = made(path, method, to)
    assert ops(out).count(MARKS[method]) == 2
    for yes in (True, False):
        flag = np.array([yes])
        assert near(run(path, yes=flag), run(out, yes=flag)) > 0.97


@pytest.mark.parametrize(("method", "to"), [KINDS[0], KINDS[2]])
def test_of_weights_in_a_loop(tmp_path: Path, method: str, to: str) -> None:
    values = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("h", 1, ["batch", SIDE]),
    ]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "w"], ["k"], name="mm"),
            helper.make_node("Identity", ["c"], ["d"]),
        ],
        "body",
        values,
        [
            helper.make_tensor_value_info("d", TensorProto.BOOL, []),
            helper.make_tensor_value_info("k", 1, ["batch", SIDE]),
        ],
        [weight("w", SIDE, SIDE)],
    )
    count = numpy_helper.from_array(np.array(2), "count")
    path = saved(
        tmp_path / "m.onnx",
        [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
        [count],
    )
    out = made(path, method, to)
    assert MARKS[method] in ops(out)
    assert near(run(path), run(out)) > 0.97


def test_static_says_that_it_passes_branches_by(tmp_path: Path) -> None:
    weights = [weight(f"{n}_w", SIDE, SIDE) for n in ("t", "e")]
    path = saved(
        tmp_path / "m.onnx",
        [helper.make_node("If", ["yes"], ["y"], then_branch=branch("t", weights[:1]),
                          else_branch=branch("e", weights[1:]))],
        [weight("b", SIDE)],
        more=[helper.make_tensor_value_info("yes", TensorProto.BOOL, [1])],
    )  # fmt: skip
    with pytest.raises(Refused, match="nothing in the model could be made qdq") as caught:
        made(path, "static", "qdq")
    assert caught.value.hint is not None
    assert "--to int8 --method dynamic" in caught.value.hint


@pytest.mark.parametrize(("method", "to"), [*KINDS, ("cast", "fp16")])
@pytest.mark.parametrize("flaw", ["name", "shape"])
def test_a_flaw_of_the_parent_is_no_fault_of_its_variant(
    tmp_path: Path, method: str, to: str, flaw: str
) -> None:
    path = dense(tmp_path / "m.onnx")
    model = onnx.load(path)
    if flaw == "name":
        model.graph.name = ""
    else:
        model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    more: dict[str, Any] = {"ops": ()} if method == "cast" else {}
    if flaw == "shape" and method == "static":
        data = tmp_path / "data.npz"
        np.savez(data, x=ROWS)
        more = {"calibrate": str(data)}
    out = made(path, method, to, **more)
    assert near(run(path), run(out)) > 0.97


def test_a_cast_takes_dense_layers_too(tmp_path: Path) -> None:
    path = dense(tmp_path / "m.onnx")
    out = made(path, "cast", "fp16", ops=())
    assert {t.data_type for t in onnx.load(out).graph.initializer} == {TensorProto.FLOAT16}
    assert near(run(path), run(out)) > 0.999


@pytest.mark.parametrize("passed", ["x", "w0", "spare"])
def test_what_a_model_passes_on_as_output_stays_so_in_fp16(tmp_path: Path, passed: str) -> None:
    path = dense(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(weight("spare", SIDE))
    shape: Any = {"x": ["batch", SIDE], "w0": [SIDE, SIDE], "spare": [SIDE]}[passed]
    model.graph.output.insert(0, helper.make_tensor_value_info(passed, 1, shape))
    onnx.save(model, path)
    out = made(path, "cast", "fp16", ops=())
    before, after = (
        onnxruntime.InferenceSession(p, providers=["CPUExecutionProvider"]) for p in (path, out)
    )
    assert [v.name for v in after.get_outputs()] == [passed, "y"]
    one, two = (session.run(None, {"x": ROWS}) for session in (before, after))
    assert two[0].dtype == np.float32
    assert np.array_equal(one[0], two[0])
    assert near(one[1], two[1]) > 0.999


def test_weights_outside_and_in_constants_become_fp16(tmp_path: Path) -> None:
    path = dense(tmp_path / "m.onnx")
    model = onnx.load(path)
    moved = model.graph.initializer.pop(0)
    node = helper.make_node("Constant", [], ["w0"], value=moved)
    model.graph.node.insert(0, node)
    onnx.save(model, path, save_as_external_data=True, location="w", size_threshold=0)
    out = made(path, "cast", "fp16", ops=())
    found = onnx.load(out)
    assert {t.data_type for t in found.graph.initializer} == {TensorProto.FLOAT16}
    assert [a.t.data_type for a in found.graph.node[0].attribute] == [TensorProto.FLOAT16]
    assert near(run(path), run(out)) > 0.999
    assert not [p.name for p in out.parent.iterdir() if p != out]


@pytest.mark.parametrize(("table", "opset"), [(False, 12), (True, 21)])
def test_int4_of_an_old_opset_is_raised_for_a_table_of_weights_alone(
    tmp_path: Path, *, table: bool, opset: int
) -> None:
    """Unsqueeze has its axes as an attribute until 13; the tool only names opset 21."""
    source = "w1" if table else "s"
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", [source, "i"], ["g"]),
        helper.make_node("Cast", ["g"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["c"], ["u"], axes=[0]),
        helper.make_node("MatMul", ["x", "w0"], ["m"]),
        helper.make_node("Add", ["m", "u"], ["y"]),
    ]
    weights = [weight(f"w{n}", SIDE, SIDE, seed=n) for n in range(2)]
    index = numpy_helper.from_array(np.array(0), "i")
    path = saved(tmp_path / "m.onnx", nodes, [*weights, index])
    model = onnx.load(path)
    model.opset_import[0].version = 12
    onnx.save(model, path)
    out = made(path, "weight-only", "int4", ops=("MatMul", "Gather"))
    onnx.checker.check_model(out)
    assert onnx.load(out).opset_import[0].version == opset
    assert near(run(path), run(out)) > 0.97
