"""Values in files, and sessions on types that NumPy lacks and on what is no tensor."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import NotFound, Refused, UsageError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.dtypes import BEYOND_NUMPY, NAMES, to_numpy
from onnxzoo.registry.runtime.session import infer, open_session, signature
from onnxzoo.registry.testdata.values import flattened, load_value
from tests.support.archives import npz
from tests.support.commands import Run

OPSET = 25


def cast(path: Path, source: int, target: int) -> Path:
    """``y = x`` in another type."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=target)],
        "test",
        [helper.make_tensor_value_info("x", source, ["n", 3])],
        [helper.make_tensor_value_info("y", target, ["n", 3])],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=13), path)
    return path


def joined(path: Path) -> Path:
    """``y`` is a sequence of tensors, joined; ``same`` the sequence itself."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"]))
    graph = helper.make_graph(
        [
            helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0),
            helper.make_node("Identity", ["s"], ["same"]),
        ],
        "test",
        [helper.make_value_info("s", kind)],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m"]),
            helper.make_value_info("same", kind),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4", "int2", "uint2"]
)
def test_a_type_that_numpy_lacks_goes_in_and_comes_out(tmp_path: Path, name: str) -> None:
    number = NAMES.index(name)
    values = np.array([[0, 1, 1], [1, 0, 1]], np.float32).astype(to_numpy(name))
    out = open_session(cast(tmp_path / "a.onnx", number, TensorProto.FLOAT), [])
    assert infer(out, {"x": values})["y"].tolist() == [[0, 1, 1], [1, 0, 1]]
    back = open_session(cast(tmp_path / "b.onnx", TensorProto.FLOAT, number), [])
    found = infer(back, {"x": values.astype(np.float32)})["y"]
    assert (found.dtype.name, found.tolist()) == (name, values.tolist())
    assert signature(out)[0][0].dtype == name


def test_an_array_of_another_type_is_named(tmp_path: Path) -> None:
    session = open_session(cast(tmp_path / "a.onnx", TensorProto.BFLOAT16, TensorProto.FLOAT), [])
    with pytest.raises(UsageError, match="the input `x` is float32; the model takes bfloat16"):
        infer(session, {"x": np.ones((1, 3), np.float32)})


@pytest.mark.parametrize("name", sorted(BEYOND_NUMPY - {"float6_e2m3fn", "float6_e3m2fn"}))
def test_a_file_keeps_a_type_that_numpy_lacks(tmp_path: Path, name: str) -> None:
    values = np.ones(3, to_numpy(name))
    (array,) = dict(flattened("x", values)).values()
    np.save(tmp_path / "x.npy", array)
    found = load_value(tmp_path / "x.npy", Tensor("x", name, ("n",)))
    assert (found.dtype, found.tolist()) == (values.dtype, values.tolist())


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("seq(tensor(float32))", [np.ones(2, np.float32), np.zeros(3, np.float32)]),
        ("seq(tensor(float32))", []),
        ("map(int64,tensor(float32))", {1: 0.5, 7: 0.25}),
        ("seq(map(string,tensor(float32)))", [{"a": 0.5}, {"a": 1.0, "b": 2.0}]),
        ("optional(tensor(float32))", None),
        ("optional(seq(tensor(int64)))", [np.arange(4)]),
    ],
)
def test_what_is_written_by_parts_is_read_as_it_was(tmp_path: Path, dtype: str, value: Any) -> None:
    arrays = dict(flattened("v", value)) or {"other": np.ones(1)}
    path = npz(tmp_path / "v.npz", arrays)
    if isinstance(value, list) and not value:
        with pytest.raises(UsageError, match="holds no `v`; it holds `other`"):
            load_value(path, Tensor("v", dtype, None))
        return
    found = load_value(path, Tensor("v", dtype, None))
    assert dict(flattened("v", found)).keys() == dict(flattened("v", value)).keys()
    for key, array in flattened("v", value):
        assert dict(flattened("v", found))[key].tolist() == array.tolist()


@pytest.mark.parametrize(
    ("dtype", "arrays", "said"),
    [
        ("seq(tensor(float32))", {"v": np.ones(3)}, "`v`, which is no part of `v`"),
        ("seq(tensor(float32))", {"v[1]": np.ones(3)}, r"`v\[1\]`, which is no part"),
        (
            "seq(tensor(float32))",
            {"v": np.ones(3), "v[0]": np.ones(3, np.float32)},
            "`v`, which is no part",
        ),
        (
            "seq(tensor(float32))",
            {"v[0]": np.arange(3)},
            r"`v\[0\]` is int64; the model takes float",
        ),
        ("map(int64,tensor(float32))", {"v.keys": np.ones(2), "v.values": np.ones(1)}, "as many"),
        (
            "map(int64,tensor(float32))",
            {"v.keys": np.ones(()), "v.values": np.ones(())},
            "in one row",
        ),
    ],
)
def test_parts_that_make_up_no_value_are_named(
    tmp_path: Path, dtype: str, arrays: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_value(npz(tmp_path / "v.npz", arrays), Tensor("v", dtype, None))


def test_an_input_that_is_called_like_a_part_is_another(tmp_path: Path) -> None:
    path = npz(tmp_path / "v.npz", {"v": np.ones(3), "v.1": np.zeros(2)})
    assert load_value(path, Tensor("v", "float32", None)).tolist() == [1, 1, 1]


def test_values_are_read_as_onnx_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "s.pb"
    path.write_bytes(numpy_helper.from_list([np.ones(2, np.float32)], "s").SerializeToString())
    (found,) = load_value(path, Tensor("s", "seq(tensor(float32))", None))
    assert found.tolist() == [1, 1]
    with pytest.raises(Refused, match="is not a serialised"):
        load_value(_written(tmp_path / "x.pb", b"\xff\xff"), Tensor("x", "float32", None))
    with pytest.raises(NotFound):
        load_value(tmp_path / "gone.pb", Tensor("x", "float32", None))


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_zoo_run_takes_sequences_and_saves_them(zoo: Run, tmp_path: Path) -> None:
    zoo("register", joined(tmp_path / "a.onnx"), "--name", "net")
    code, _, err = zoo("run", "net")
    assert code == 2
    assert "cannot make up the input `s` (seq(tensor(float32)))" in err
    assert "--input s=FILE" in err
    given = npz(tmp_path / "s.npz", {"s[0]": np.ones(2, np.float32), "s[1]": np.zeros(1, "f4")})
    saved = tmp_path / "out.npz"
    code, out, err = zoo("run", "net", "--input", f"s={given}", "--save", saved)
    assert (code, err) == (0, "")
    assert "1, 1, 0" in out
    with np.load(saved, allow_pickle=False) as found:
        assert found["same[1]"].tolist() == [0]
    one = _saved(tmp_path / "one.npy", np.ones(2, np.float32))
    code, _, err = zoo("run", "net", "--input", f"s={one}")
    assert (code, "is one array; the input `s` is seq(tensor(float32))" in err) == (2, True)


def _saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def test_zoo_run_makes_inputs_of_types_that_numpy_lacks(zoo: Run, tmp_path: Path) -> None:
    model = cast(tmp_path / "a.onnx", TensorProto.BFLOAT16, TensorProto.BFLOAT16)
    zoo("register", model, "--name", "net")
    code, out, err = zoo("run", "net", "--json")
    assert (code, err) == (0, "")
    assert [t["dtype"] for t in json.loads(out)["inputs"]] == ["bfloat16"]
    x = _saved(tmp_path / "x.npy", np.full((1, 3), 0.5, ml_dtypes.bfloat16))
    assert "0.5, 0.5, 0.5" in zoo("run", "net", "--input", f"x={x}").out
    wrong = _saved(tmp_path / "w.npy", np.ones((1, 3), np.float32))
    code, _, err = zoo("run", "net", "--input", f"x={wrong}")
    assert (code, "the input `x` is float32; the model takes bfloat16" in err) == (2, True)


def test_zoo_run_gives_open_axes_usual_sizes_or_those_asked_for(zoo: Run, tmp_path: Path) -> None:
    w = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "height", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [w],
    )
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    zoo("register", path, "--name", "net")

    def size(*options: Any) -> Any:
        return json.loads(zoo("run", "net", "--json", *options).out)["inputs"][0]["shape"]

    assert size() == [1, 3, 224, 224]
    assert size("--axis", "height=32", "--axis", "x:3=40") == [1, 3, 32, 40]
    ran = zoo("run", "net", "--axis", "height=1")
    assert ran.code != 0
    assert "--axis NAME=N, --input NAME=FILE.npy" in ran.err
