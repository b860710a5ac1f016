"""What a TensorFlow model would run, read without TensorFlow: nodes, functions, savers."""

from pathlib import Path

import pytest

from onnxzoo.registry.convert.detect.formats import code_in, recognise
from onnxzoo.registry.convert.detect.tensorflow_ops import reaching
from onnxzoo.registry.core.errors import InvalidModel
from tests.registry.convert.detect.test_formats import field, varint


def node(name: str, op: str, *inputs: str, calls: str | None = None, listed: bool = False) -> bytes:
    """A NodeDef; what it calls is the attribute `f`, or one of a list of functions."""
    parts = [field(1, name.encode()), field(2, op.encode())]
    parts += [field(3, one.encode()) for one in inputs]
    if calls:
        called = field(1, calls.encode())
        value = field(1, field(9, called)) if listed else field(10, called)
        parts.append(field(5, field(1, b"f") + field(2, value)))
    return b"".join(parts)


def function(name: str, *nodes: bytes) -> bytes:
    return field(1, field(1, name.encode())) + b"".join(field(3, one) for one in nodes)


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    library = b"".join(field(1, one) for one in functions)
    return b"".join(field(1, one) for one in nodes) + field(2, library)


SAVES = field(2, b"save:0") + field(3, b"restore")  # a SaverDef
SAVER = (node("w", "VarHandleOp"), node("merge", "MergeV2Checkpoints", "w"),
         node("save", "Identity", "w", "^merge"), node("restore", "RestoreV2"))  # fmt: skip
NET = (node("x", "Placeholder"), node("y", "MatMul", "x", "w"))


def saved(folder: Path, of: bytes, *, output: str = "y:0", parts: bytes = b"") -> Path:
    info = field(1, b"y") + field(2, field(1, output.encode()))
    signature = field(5, field(1, b"serving_default") + field(2, field(2, info)))
    meta = field(2, of) + field(3, SAVES) + signature + parts
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(field(1, 1) + field(2, meta))
    return folder


def test_what_only_the_saver_runs_is_left_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "m", graph(*NET, *SAVER))
    assert reaching(path, "tf-savedmodel") == []
    assert recognise(path).name == "tf-savedmodel"


@pytest.mark.parametrize("op", ["PyFunc", "EagerPyFunc", "WriteFile", "ReadFile", "SaveV2",
                                "MatchingFiles", "TFRecordDatasetV2", "PrintV2", "ImmutableConst",
                                "GenerateVocabRemapping",
                                "InitializeTableFromTextFileV2"])  # fmt: skip
def test_an_op_that_reaches_beyond_the_model_is_found(op: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "m", graph(*NET, node("z", op, "x"), *SAVER))
    form = recognise(path)
    assert (form.name, form.runs_code) == ("tf-savedmodel-code", True)
    assert f"`{op}`" in code_in(path, form)


@pytest.mark.parametrize("op", ["MatMul", "RestoreV2", "HashTableV2", "Assert", "ReadVariableOp"])
def test_an_op_of_the_model_alone_is_not(op: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "m", graph(*NET, node("z", op, "x"), *SAVER))
    assert reaching(path, "tf-savedmodel") == []


@pytest.mark.parametrize("listed", [True, False])
def test_an_op_in_a_function_of_a_function_is_found(tmp_path: Path, *, listed: bool) -> None:
    functions = (
        function("outer", node("a", "StatefulPartitionedCall", calls="inner")),
        function("inner", node("b", "WriteFile")),
        function("unused", node("c", "ReadFile")),
    )
    call = node("y", "Case", "x", calls="outer", listed=listed)
    path = saved(tmp_path / "m", graph(NET[0], call, *SAVER, functions=functions))
    assert reaching(path, "tf-savedmodel") == ["WriteFile"]


def test_a_function_whose_name_is_the_op_is_found(tmp_path: Path) -> None:
    functions = (function("acme", node("b", "WriteFile")),)
    path = saved(tmp_path / "m", graph(NET[0], node("y", "acme", "x"), functions=functions))
    assert reaching(path, "tf-savedmodel") == ["WriteFile"]


CALL = field(10, field(1, b"outer"))  # an AttrValue
OTHER = varint(2 << 3 | 5) + bytes(4)  # field 2 as FIXED32, which protobuf passes over


@pytest.mark.parametrize(
    "hidden",
    [
        node("y", "WriteFile", "x") + OTHER,
        node("y", "Case", "x") + field(5, field(1, b"f") + field(2, CALL) + field(2, b"")),
        node("y", "Case", "x") + field(5, field(1, b"dtype") + field(2, CALL)),
    ],
    ids=["a field of another wire type", "a value in two parts", "an attribute of a plain name"],
)
def test_what_protobuf_passes_over_or_merges_hides_no_op(hidden: bytes, tmp_path: Path) -> None:
    functions = (function("outer", node("a", "WriteFile")),)
    path = saved(tmp_path / "m", graph(NET[0], hidden, functions=functions))
    assert reaching(path, "tf-savedmodel") == ["WriteFile"]


def test_a_signature_that_is_called_the_savers_hides_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path / "m", graph(*NET, *SAVER), output="save:0")
    assert reaching(path, "tf-savedmodel") == ["MergeV2Checkpoints"]


def test_an_initializer_in_a_collection_is_run_too(tmp_path: Path) -> None:
    named = field(1, field(1, b"merge"))
    parts = field(4, field(1, b"saved_model_main_op") + field(2, named))
    path = saved(tmp_path / "m", graph(*NET, *SAVER), parts=parts)
    assert reaching(path, "tf-savedmodel") == ["MergeV2Checkpoints"]


def test_a_frozen_graph_has_no_saver(tmp_path: Path) -> None:
    path = tmp_path / "m.pb"
    path.write_bytes(graph(*NET, *SAVER))
    assert reaching(path, "tf-graphdef") == ["MergeV2Checkpoints"]


def test_tensorflows_ops_in_a_tflite_model_are_found_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    blank = bytes((1 << 22) - 18)
    path.write_bytes(b"\x1c\0\0\0TFL3" + blank + b"FlexWriteFile\0" + b"FlexMatMul\0")
    assert reaching(path, "tflite") == ["WriteFile"]
    assert recognise(path).runs_code


def test_a_graph_that_breaks_off_is_not_taken_for_a_safe_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "m", graph(*NET, node("z", "WriteFile")))
    content = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(content[:-9])
    with pytest.raises(InvalidModel, match=r"`saved_model.pb` cannot be read: a field goes on"):
        recognise(path)


def test_functions_nested_without_end_are_one_clear_error(tmp_path: Path) -> None:
    value = b""
    for _ in range(1500):
        value = field(10, field(2, field(2, value)))
    path = saved(tmp_path / "m", graph(node("y", "Case") + field(5, field(2, value))))
    with pytest.raises(InvalidModel, match="cannot be read: maximum recursion depth"):
        recognise(path)
