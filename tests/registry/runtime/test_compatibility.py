"""Whether a model runs, told beforehand: the verdict against truly opening a session."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, defs, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as native

from onnxzoo.registry.core.errors import InvalidModel, UsageError
from onnxzoo.registry.core.records import Graph
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.runtime import capabilities as asked
from onnxzoo.registry.runtime.compatibility import Runtime, installed, judge, misfits, release, runs
from onnxzoo.registry.runtime.providers import wanted_providers
from onnxzoo.registry.runtime.session import open_session
from onnxzoo.zoo_index.index.index import Index
from onnxzoo.zoo_index.index.indexes import SHIPPED, ZOO
from tests.support import models

HERE = installed()
OPSETS = (1, 6, 7, 11, 13, 17, 20, 22)
# What the runtime says of an op it does not have, and not of a model made without much care.
NO_OP = re.compile(r"No Op registered|not a registered function|Could not find an implementation")
FLOAT, DOUBLE, HALF, BRAIN = 1, 11, 10, 16
_TYPES = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(int64)": TensorProto.INT64,
    "tensor(bool)": TensorProto.BOOL,
    "tensor(int32)": TensorProto.INT32,
    "tensor(uint8)": TensorProto.UINT8,
    "tensor(int8)": TensorProto.INT8,
    "tensor(string)": TensorProto.STRING,
}
_VALUES: dict[str, Any] = {
    "INT": 1, "INTS": [1], "FLOAT": 1.0, "FLOATS": [1.0], "STRING": "a", "STRINGS": ["a"],
}  # fmt: skip


def why_not(path: Path) -> str:
    try:
        open_session(path, wanted_providers("cpu"))
    except InvalidModel as error:
        return str(error)
    return ""


def opens(path: Path) -> bool:
    return not why_not(path)


def model(
    path: Path,
    nodes: list[onnx.NodeProto],
    *,
    opsets: dict[str, int] | None = None,
    ir_version: int = 8,
    dtype: int = FLOAT,
    shape: tuple[int, ...] = (1, 3, 4, 4),
    weights: dict[str, np.ndarray[Any, Any]] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
) -> Path:
    """A model of these nodes from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*item) for item in (opsets or {"": 17}).items()],
        ir_version=ir_version,
        functions=functions or [],
    )
    path.write_bytes(made.SerializeToString())
    return path


def node(op: str, inputs: str = "x", output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], **attributes)


def branch(name: str, op: str) -> onnx.GraphProto:
    outputs = [helper.make_empty_tensor_value_info(name)]
    return helper.make_graph([node(op, output=name)], name, [], outputs)


OWN = helper.make_function(
    "com.acme", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
)
DOUBLES = np.ones((3, 3, 1, 1))
# Each with whether it runs on onnxruntime 1.22 and later, and a word of the reason where it does
# not; the test opens it to prove both.
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "opset 17": ({"nodes": [node("Softmax")]}, ""),
    "the lowest opset with a kernel": ({"nodes": [node("Add", "x x")], "opsets": {"": 7}}, ""),
    "an opset before the kernels": (
        {"nodes": [node("Add", "x x")], "opsets": {"": 6}},
        "no kernel for `Add` of opset 6 of ai.onnx on the CPU",
    ),
    "a later change without a kernel": (
        {"nodes": [node("GlobalLpPool")], "opsets": {"": 22}, "ir_version": 10},
        "no kernel for `GlobalLpPool` of opset 22 of ai.onnx on the CPU",
    ),
    "dropout, which is taken out": (
        {
            "nodes": [node("Dropout", output="a", is_test=1), node("Softmax", "a")],
            "opsets": {"": 6},
        },
        "",
    ),
    "a function of ONNX without a kernel": ({"nodes": [node("HardSwish")]}, ""),
    "a function whose body has no kernel": (
        {"nodes": [node("Bernoulli")], "opsets": {"": 22}, "ir_version": 10},
        "no kernel for `Bernoulli` of opset 22 of ai.onnx on the CPU "
        "(it runs as `RandomUniformLike`)",
    ),
    "the same function where its body has kernels": ({"nodes": [node("Bernoulli")]}, ""),
    "a function whose body depends on types, and has changed since": (
        {"nodes": [node("CastLike", "x x")], "opsets": {"": 28}, "ir_version": 11},
        "",
    ),
    "a function whose fixed body has changed since": (
        {"nodes": [node("Swish")], "opsets": {"": 25}, "ir_version": 11},
        "no kernel for `Swish` of opset 24 of ai.onnx on the CPU",
    ),
    "an op that came later": (
        {"nodes": [node("Gelu")]},
        "no op `Gelu` in opset 17 of ai.onnx: it came with 20",
    ),
    "an op that ended": (
        {"nodes": [node("Upsample", "x s")], "weights": {"s": np.ones(4, "f")}},
        "no op `Upsample` in opset 17 of ai.onnx: it ended with 10",
    ),
    "an op that nobody knows": (
        {"nodes": [node("Nope")]},
        "no op `Nope` in opset 17 of ai.onnx",
    ),
    "an op of a domain that nobody knows": (
        {"nodes": [node("Foo", domain="com.acme")], "opsets": {"": 17, "com.acme": 1}},
        "no kernel for `Foo` of com.acme",
    ),
    "a domain that is imported and not used": (
        {"nodes": [node("Softmax")], "opsets": {"": 17, "com.acme": 9}},
        "",
    ),
    "an op that onnxruntime's own domain does not have": (
        {"nodes": [node("Foo", domain="com.microsoft")], "opsets": {"": 17, "com.microsoft": 1}},
        "no kernel for `Foo` of com.microsoft",
    ),
    "an op of onnxruntime's own domain": (
        {"nodes": [node("FusedMatMul", "x x", domain="com.microsoft")]},
        "",
    ),
    "a function of the model's own": (
        {
            "nodes": [node("Twice", domain="com.acme")],
            "opsets": {"": 17, "com.acme": 1},
            "functions": [OWN],
        },
        "",
    ),
    "no kernel in a branch that is never taken": (
        {
            "nodes": [
                node(
                    "If",
                    "c",
                    then_branch=branch("t", "Neg"),
                    else_branch=branch("e", "GlobalLpPool"),
                )
            ],
            "opsets": {"": 22},
            "ir_version": 10,
            "weights": {"c": np.array(True)},  # noqa: FBT003
        },
        "",
    ),
    "no op in a branch that is never taken": (
        {
            "nodes": [
                node("If", "c", then_branch=branch("t", "Neg"), else_branch=branch("e", "No"))
            ],
            "weights": {"c": np.array(True)},  # noqa: FBT003
        },
        "no op `No` in opset 17 of ai.onnx",
    ),
    "a convolution in doubles": (
        {"nodes": [node("Conv", "x w")], "dtype": DOUBLE, "weights": {"w": DOUBLES}},
        "no kernel for `Conv` in float64 on the CPU",
    ),
    "a sum in doubles": (
        {"nodes": [node("Add", "x w")], "dtype": DOUBLE, "weights": {"w": DOUBLES}},
        "",
    ),
    "what is no double, counted among doubles": (
        {
            "nodes": [
                node("Greater", "x w", "more"),
                node("NonZero", "more", "where"),
                node("GatherND", "x i"),
            ],
            "dtype": DOUBLE,
            "weights": {"w": DOUBLES[0, 0, 0], "i": np.zeros((1, 1), np.int64)},
        },
        "",
    ),
    "a convolution in floats among doubles": (
        {
            "nodes": [
                node("Cast", output="f", to=FLOAT),
                node("Cast", "w", "wf", to=FLOAT),
                node("Conv", "f wf", "c"),
                node("Cast", "c", to=DOUBLE),
            ],
            "dtype": DOUBLE,
            "weights": {"w": DOUBLES},
        },
        "",
    ),
    "a convolution in half precision, which is cast": (
        {
            "nodes": [node("Conv", "x w")],
            "dtype": HALF,
            "weights": {"w": DOUBLES.astype("float16")},
        },
        "",
    ),
    "a convolution in bfloat16": (
        {"nodes": [node("Conv", "x x")], "dtype": BRAIN, "opsets": {"": 22}, "ir_version": 10},
        "no kernel for `Conv` in bfloat16 on the CPU",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_what_opening_it_says(tmp_path: Path, case: str) -> None:
    values, reason = CASES[case]
    if values.get("opsets", {}).get("", 0) > HERE.opsets[""]:
        pytest.skip("newer than the installed onnxruntime")
    path = model(tmp_path / "m.onnx", **values)
    verdict = judge(describe(path), HERE, "cpu")
    assert "; ".join(verdict.misfits) == reason
    assert verdict.runs is opens(path) is (not reason)


@pytest.mark.parametrize("opset", OPSETS)
def test_no_op_that_opens_is_a_misfit_and_none_that_is_missing_a_fit(
    tmp_path: Path, opset: int
) -> None:
    wrong = []
    for op, path in one_node_models(tmp_path, opset):
        reasons = "; ".join(misfits(describe(path), HERE, "cpu"))
        error = why_not(path)
        if bool(reasons) is not bool(NO_OP.search(error)) and not is_excused(op, opset, error):
            wrong.append((op, reasons, error))
    assert wrong == []


def one_node_models(folder: Path, opset: int) -> Iterator[tuple[str, Path]]:
    """A model of one node for every op of ai.onnx, as it is, or was last, in an opset."""
    for op in sorted({schema.name for schema in defs.get_all_schemas_with_history()}):
        if defs.has(op, ""):
            made = one_node(folder / f"{op}.onnx", op, opset)
            if made is not None:
                yield op, made


def one_node(path: Path, op: str, opset: int) -> Path | None:
    try:
        schema = defs.get_schema(op, opset, "")
    except defs.SchemaError:  # not there yet: the runtime must say so too
        schema = defs.get_schema(op, "")
    constraints = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    inputs = []
    for number in range(max(schema.min_input, 1 if schema.max_input else 0)):
        word = schema.inputs[min(number, len(schema.inputs) - 1)].type_str
        allowed = constraints.get(word, [word])
        dtype = next((number for name, number in _TYPES.items() if name in allowed), None)
        if dtype is None:
            return None
        inputs.append(helper.make_tensor_value_info(f"x{number}", dtype, None))
    needed = [item for item in schema.attributes.values() if item.required]
    kinds = {item.name: str(item.type).rpartition(".")[2] for item in needed}
    if not set(kinds.values()) <= set(_VALUES):
        return None
    attributes = {name: _VALUES[kind] for name, kind in kinds.items()}
    outputs = [f"y{number}" for number in range(max(schema.min_output, 1))]
    made = helper.make_node(op, [item.name for item in inputs], outputs, **attributes)
    values = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([made], "test", inputs, values)
    opsets = [helper.make_opsetid("", opset)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


def is_excused(op: str, opset: int, error: str) -> bool:
    """Tell what the rule leaves open: failures of these careless models, Dropout, functions."""
    if error and not NO_OP.search(error):
        return True
    schema: Any = defs.get_schema(op, opset, "")
    return op == "Dropout" or schema.has_function or schema.has_context_dependent_function


LIGHT = [e for e in Index(SHIPPED, ZOO, trusted=True).entries if e.collection == "light"]


@pytest.mark.parametrize("entry", LIGHT, ids=lambda entry: entry.name)
def test_the_light_models_run_as_their_lines_and_their_graphs_say(entry: Any) -> None:
    path = Path(onnx.__file__).parent / "backend/test/data/light" / entry.files[0].path
    assert opens(path)
    assert runs(entry, HERE) is True
    assert runs(describe(path), HERE) is True


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return describe(models.linear(tmp_path / "m.onnx"))


def with_opset(graph: Graph, opset: int) -> Graph:
    return replace(graph, opset=opset, opsets={"": opset})


def test_the_runtime_is_what_opens(tmp_path: Path) -> None:
    assert HERE.version == onnxruntime.__version__
    top, ir_version = HERE.opsets[""], HERE.ir_version
    nodes = [node("Identity")]
    for opset, version, there in [
        (top, ir_version, True),
        (top + 1, ir_version, False),
        (top, ir_version + 1, False),
        (300, 8, False),
    ]:
        path = model(tmp_path / "m.onnx", nodes, opsets={"": opset}, ir_version=version)
        assert opens(path) is there
        assert (runs(describe(path), HERE) is True) is there


def test_a_number_above_the_highest_is_named_with_it(graph: Graph) -> None:
    runtime = Runtime("onnxruntime", "1.32.0", 14, {"": 28, "ai.onnx.ml": 5})
    new = replace(graph, ir_version=15, opset=30, opsets={"": 30, "ai.onnx.ml": 6, "com.acme": 7})
    assert misfits(new, runtime) == (
        "IR version 15 is above 14, the highest that onnxruntime 1.32.0 reads",
        "opset 30 of ai.onnx is above 28, the highest that onnxruntime 1.32.0 runs",
        "opset 6 of ai.onnx.ml is above 5, the highest that onnxruntime 1.32.0 runs",
    )


def test_what_nobody_recorded_is_no_misfit_and_no_fit() -> None:
    entry = replace(LIGHT[0], opset=None, ir_version=None, ops={})
    assert judge(entry, HERE) == (None, ())
    foreign = replace(LIGHT[0], ops={"com.acme.Foo": 1}, ir_version=8)
    assert judge(foreign, HERE) == (None, ())  # it may be a function of the model's own
    assert judge(replace(foreign, ir_version=7), HERE).runs is False  # there were none yet
    assert judge(replace(LIGHT[0], opset=3, ops={}), HERE) == (None, ())


def test_kernels_are_not_asked_for_on_another_device(tmp_path: Path) -> None:
    old = describe(model(tmp_path / "m.onnx", [node("Add", "x x")], opsets={"": 6}))
    assert misfits(old, HERE, "cpu")
    assert misfits(old, HERE, "tensorrt") == ()


@pytest.mark.parametrize(
    ("spec", "opset", "ml", "ir_version"),
    [
        ("onnxruntime==1.17", 20, 4, 9),
        ("onnxruntime==1.17.3", 20, 4, 9),
        (" ONNXRuntime-GPU == 1.14 ", 18, 3, 8),
        ("1.20", 21, 5, 10),
        ("1.0", 11, 2, 6),
    ],
)
def test_a_release_is_looked_up(spec: str, opset: int, ml: int, ir_version: int) -> None:
    runtime = release(spec)
    assert (runtime.opsets, runtime.ir_version) == ({"": opset, "ai.onnx.ml": ml}, ir_version)


def test_the_table_has_the_installed_release_as_it_answers() -> None:
    major, minor = HERE.version.split(".")[:2]
    if (int(major), int(minor)) > (1, 32):
        pytest.skip("newer than the table")
    there = release(HERE.version)
    assert there.ir_version == HERE.ir_version
    assert there.opsets.items() <= HERE.opsets.items()


def test_a_release_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"onnxruntime 1\.99 runs is not known here.* 1\.0, 1\.1,"):
        release("onnxruntime==1.99")


@pytest.mark.parametrize("spec", ["", "tensorrt==8.6", "onnxruntime>=1.17", "onnxruntime", "x"])
def test_what_is_no_release_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="is not a release of onnxruntime"):
        release(spec)


def test_another_release_answers_for_its_opsets_only(graph: Graph) -> None:
    old = release("onnxruntime==1.17")
    assert runs(with_opset(graph, 20), old) is True
    assert misfits(with_opset(graph, 21), old) == (
        "opset 21 of ai.onnx is above 20, the highest that onnxruntime 1.17 runs",
    )
    assert runs(with_opset(graph, 6), old) is None  # below what every release promises
    assert runs(replace(graph, ops={"com.microsoft.FusedMatMul": 1}), old) is None
    assert misfits(replace(graph, ops={"com.acme.Foo": 1}), old) == (
        "no kernel for `Foo` of com.acme",
    )


def test_a_runtime_that_does_not_name_its_ops_still_answers_for_opsets(
    monkeypatch: pytest.MonkeyPatch, graph: Graph
) -> None:
    monkeypatch.delattr(native, "get_all_operator_schema")
    assert asked.operators.__wrapped__() is None
    mute = replace(HERE, operators=None)
    assert runs(graph, mute) is True
    assert runs(with_opset(graph, mute.opsets[""] + 1), mute) is False


def test_without_a_list_of_kernels_the_ops_are_still_known(graph: Graph) -> None:
    """A build with more than the CPU has no safe way to list kernels."""
    assert HERE.operators is not None
    blind = replace(HERE, operators=replace(HERE.operators, kernels=None))
    assert runs(graph, blind) is True
    assert runs(replace(graph, ops={"com.microsoft.FusedMatMul": 1}), blind) is None
    assert misfits(replace(graph, ops={"NoSuchOp": 1}), blind, "cpu") == (
        f"no op `NoSuchOp` in opset {graph.opset} of ai.onnx",
    )
