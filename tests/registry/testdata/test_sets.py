"""Reference inputs and outputs as files: every way in, one layout, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import NotFound, Refused, UsageError
from onnxzoo.registry.core.records import Graph, Tensor
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.store import Store
from onnxzoo.registry.testdata.sets import Case, gather, read, sets
from tests.support import models
from tests.support.archives import npz, one_set, pb, spread, tar, zipped

X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return describe(models.linear(tmp_path / "m.onnx"))


def brought(path: Path, graph: Graph) -> list[Case]:
    with Store(path.parent / "store").stage() as stage:
        gather(path, stage, graph)
        return [read(folder, graph) for folder in sets(stage.folder)]


def as_folder(folder: Path) -> Path:
    return spread(folder / "data", one_set() | one_set(number=1) | {"readme.txt": b"no data"})


def as_one_set(folder: Path) -> Path:
    return spread(folder / "data", one_set()) / "test_data_set_0"


def as_tar(folder: Path) -> Path:
    files = one_set(under="./net/") | {"net/model.onnx": b"x", "net/._input_0.pb": b"junk"}
    return tar(folder / "data.tar.gz", list(files.items()))


def as_zip(folder: Path) -> Path:
    return zipped(folder / "data.zip", list((one_set() | one_set(number=10)).items()))


def as_arrays(folder: Path) -> Path:
    npz(folder / "data.npz", {"output:y": X, "input:x": X})
    return folder / "data.npz"


def as_folder_of_arrays(folder: Path) -> Path:
    (folder / "data").mkdir()
    for number in range(3):
        npz(folder / f"data/{number}.npz", {"input:x": X, "output:y": X})
    return folder / "data"


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (as_folder, ["test_data_set_0", "test_data_set_1"]),
        (as_one_set, ["test_data_set_0"]),
        (as_tar, ["test_data_set_0"]),
        (as_zip, ["test_data_set_0", "test_data_set_10"]),
        (as_arrays, ["test_data_set_0"]),
        (as_folder_of_arrays, ["test_data_set_0", "test_data_set_1", "test_data_set_2"]),
    ],
)
def test_every_way_in_gives_the_same(
    tmp_path: Path, graph: Graph, make: Callable[[Path], Path], names: list[str]
) -> None:
    cases = brought(make(tmp_path), graph)
    assert [case.name for case in cases] == names
    np.testing.assert_array_equal(cases[0].inputs["x"], X)
    np.testing.assert_array_equal(cases[0].outputs["y"], X)


def test_values_belong_by_their_names_else_by_their_place(tmp_path: Path, graph: Graph) -> None:
    two = describe(models.linear(tmp_path / "two.onnx"))
    inputs = (*two.inputs, Tensor("z", "float32", None))
    two = replace(two, inputs=inputs)
    for names, expected in ((("z", "x"), ("z", "x")), (("a", "b"), ("x", "z"))):
        files = {
            "t/test_data_set_0/input_0.pb": pb(X, names[0]),
            "t/test_data_set_0/input_1.pb": pb(X + 1, names[1]),
            "t/test_data_set_0/output_0.pb": pb(X),
        }
        case = read(spread(tmp_path / names[0], files) / "t/test_data_set_0", two)
        assert {name: float(value[0, 0]) for name, value in case.inputs.items()} == {
            expected[0]: 0.0,
            expected[1]: 1.0,
        }


def test_sequences_and_texts_are_read(tmp_path: Path) -> None:
    graph = describe(models.strings(tmp_path / "s.onnx"))
    texts = np.array([["a", "ü", "", "d"]])
    npz(tmp_path / "s.npz", {"input:x": texts, "output:y": texts})
    (case,) = brought(tmp_path / "s.npz", graph)
    assert case.outputs["y"].tolist() == texts.tolist()
    inputs = (Tensor("x", "seq(tensor(float))", None),)
    graph = replace(graph, inputs=inputs)
    sequence = numpy_helper.from_list([X, X + 1]).SerializeToString()
    files = {"test_data_set_0/input_0.pb": sequence, "test_data_set_0/output_0.pb": pb(texts)}
    case = read(spread(tmp_path / "q", files) / "test_data_set_0", graph)
    assert [float(value[0, 0]) for value in case.inputs["x"]] == [0.0, 1.0]


def test_values_in_another_file_are_not_read(tmp_path: Path, graph: Graph) -> None:
    tensor = TensorProto(data_type=1, dims=[2, 4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../secret")
    (tmp_path / "secret").write_bytes(bytes(32))
    files = one_set() | {"test_data_set_0/input_0.pb": tensor.SerializeToString()}
    with pytest.raises(Refused, match="keeps its values in another file"):
        brought(spread(tmp_path / "data", files), graph)
    held = helper.make_sequence("s", onnx.SequenceProto.TENSOR, [tensor])
    inputs = (Tensor("x", "seq(tensor(float))", None),)
    graph = replace(graph, inputs=inputs)
    files["test_data_set_0/input_0.pb"] = held.SerializeToString()
    with pytest.raises(Refused, match="keeps its values in another file"):
        brought(spread(tmp_path / "seq", files), graph)


def test_python_objects_are_never_unpickled(tmp_path: Path, graph: Graph) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    objects = np.array([Bomb()], dtype=object)
    npz(tmp_path / "d.npz", {"input:x": objects, "output:y": X})
    with pytest.raises(Refused, match="holds Python objects, which can run code"):
        brought(tmp_path / "d.npz", graph)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"input_0.pb": b"\xff\xff junk"}, "is not a serialised TensorProto"),
        ({"input_0.pb": TensorProto(data_type=1, dims=[1 << 62]).SerializeToString()}, "not a ser"),
        ({"input_1.pb": pb(X)}, "has 2 inputs; the model has 1"),
        ({"output_1.pb": pb(X)}, "has 2 outputs; the model has 1"),
        ({"output_0.pb": None}, "has 0 outputs; the model has 1"),
    ],
)
def test_data_that_cannot_be_this_models_are_refused(
    tmp_path: Path, graph: Graph, files: dict[str, bytes | None], message: str
) -> None:
    changed = one_set() | {f"test_data_set_0/{name}": data for name, data in files.items()}
    there = {name: data for name, data in changed.items() if data is not None}
    with pytest.raises(Refused, match=message):
        brought(spread(tmp_path / "data", there), graph)


@pytest.fixture
def sub(tmp_path: Path) -> Graph:
    """``y = a - b``, of any number of rows."""
    a, b, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "aby")
    made = helper.make_graph([helper.make_node("Sub", ["a", "b"], ["y"])], "g", [a, b], [y])
    opsets = [helper.make_opsetid("", models.OPSET)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=8), tmp_path / "sub.onnx")
    return describe(tmp_path / "sub.onnx")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input:b": X, "input:left": X, "output:y": X}, "`input:left`, and the model no such"),
        ({"input:a": X, "input:b": X, "output:z": X}, "`output:z`, and the model no such output"),
        ({"input:b": X, "output:y": X}, "has no input `a`"),
        ({"input:a": X, "input:b": X[:, :3], "output:y": X}, r"`b` .*`\[2, 3\]`; .* \[n, 4\]"),
        ({"input:a": X, "input:b": X[0], "output:y": X}, r"`b` .* is `\[4\]`; .* takes \[n, 4\]"),
        ({"input:a": X, "input:b": X.astype(int), "output:y": X}, "`int64`; the model takes float"),
    ],
)
def test_arrays_that_are_not_the_models_are_refused_by_name(
    tmp_path: Path, sub: Graph, arrays: dict[str, np.ndarray[Any, Any]], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        brought(npz(tmp_path / "d.npz", arrays), sub)


def test_names_say_whose_arrays_they_are(tmp_path: Path, sub: Graph) -> None:
    arrays = {"input:b": X, "input:a": X + 1, "output:y": X}
    (case,) = brought(npz(tmp_path / "d.npz", arrays), sub)
    assert [float(case.inputs[name][0, 0]) for name in "ab"] == [1, 0]


def test_a_known_name_in_anothers_place_is_refused(tmp_path: Path, sub: Graph) -> None:
    files = {"input_0.pb": pb(X, "b"), "input_1.pb": pb(X, "left"), "output_0.pb": pb(X)}
    data = spread(tmp_path / "data", {f"test_data_set_0/{n}": data for n, data in files.items()})
    with pytest.raises(Refused, match="`b` stands in the place of `a`") as caught:
        brought(data, sub)
    assert caught.value.hint == "the model has `a`, `b`"


def test_an_output_that_is_left_out_is_named(tmp_path: Path, sub: Graph) -> None:
    two = replace(sub, outputs=(*sub.outputs, Tensor("z", "float32", None)))
    arrays = {"input:a": X, "input:b": X, "output:y": X}
    with pytest.raises(Refused, match="has no output `z`") as caught:
        brought(npz(tmp_path / "d.npz", arrays), two)
    assert caught.value.hint == "its own: `input:a`, `input:b`, `output:y`, `output:z`"


def test_two_files_of_one_name_are_refused(tmp_path: Path, graph: Graph) -> None:
    files = [*one_set(under="a/").items(), *one_set(under="b/").items()]
    with pytest.raises(Refused, match=r"holds `test_data_set_0/input_0\.pb` twice"):
        brought(tar(tmp_path / "d.tar.gz", files), graph)


def test_an_array_is_called_input_or_output(tmp_path: Path, graph: Graph) -> None:
    npz(tmp_path / "d.npz", {"x": X})
    with pytest.raises(UsageError, match=r"`d\.npz` has an array `x`; expected `input:NAME`"):
        brought(tmp_path / "d.npz", graph)


@pytest.mark.parametrize("name", ["gone", "empty", "none.zip"])
def test_no_data_are_not_found(tmp_path: Path, graph: Graph, name: str) -> None:
    (tmp_path / "empty").mkdir()
    zipped(tmp_path / "none.zip", [("model.onnx", b"x")])
    with pytest.raises(NotFound, match="no test data"):
        brought(tmp_path / name, graph)


def test_no_npz_is_said(tmp_path: Path, graph: Graph) -> None:
    zipped(tmp_path / "d.npz", [("input:x.npy", b"junk")])
    with pytest.raises(Refused, match=r"is not an \.npz file"):
        brought(tmp_path / "d.npz", graph)


def test_an_array_that_no_tensor_can_hold_is_said(tmp_path: Path, graph: Graph) -> None:
    npz(tmp_path / "d.npz", {"input:x": np.array(["2026-01-01"], "datetime64[D]")})
    with pytest.raises(Refused, match=r"`input:x` in `d.npz` is datetime64\[D\]"):
        brought(tmp_path / "d.npz", graph)
