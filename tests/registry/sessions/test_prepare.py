"""The first look at a model: what happens to its child decides, not what an error says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.commands import Run


def loop(path: Path, op: str, inputs: list[str], trips: int) -> Path:
    """A loop that carries ``x`` through an op, over and over."""
    none = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("v", "w", "y")]
    ends = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("c", "d")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    attributes: dict[str, Any] = {"axis": 0} if op == "Concat" else {}
    nodes = [
        helper.make_node("Identity", ["c"], ["d"]),
        helper.make_node(op, inputs, ["w"], **attributes),
    ]
    body = helper.make_graph(nodes, "body", [count, ends[0], none[0]], [ends[1], none[1]])
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [none[2]],
        [numpy_helper.from_array(np.array(trips), "n")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_a_first_run_that_wants_all_memory_or_time_is_refused(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    double = loop(tmp_path / "double.onnx", "Concat", ["v", "v"], 60)
    ran = zoo("register", double, "--name", "double")
    assert (ran.code, "of memory were not enough" in ran.err) == (5, True), ran.err
    monkeypatch.setenv("ZOO_MAX_SECONDS", "4")
    endless = loop(tmp_path / "endless.onnx", "Sin", ["v"], 1 << 40)
    ran = zoo("register", endless, "--name", "endless")
    assert (ran.code, "4 s were not enough" in ran.err) == (5, True), ran.err
    assert zoo("list", "-q").out == ""


def test_what_no_runtime_opens_is_refused(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["x", "a"], ["b"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "b")]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "cyclic.onnx"
    path.write_bytes(model.SerializeToString())
    ran = zoo("register", path, "--name", "cyclic")
    assert (ran.code, "is not a valid ONNX model" in ran.err) == (5, True), ran.err
    assert zoo("list", "-q").out == ""


LARGE = """
import sys
from onnxzoo.cli import main
held = bytearray(2 << 30)
held[::4096] = b"x" * len(held[::4096])  # resident
sys.argv = ["zoo", "register", sys.argv[1], "--name", "double"]
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_the_parent_is_not_counted_as_the_models(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child begins with its parent's peak, by getrusage: what it takes below that is hidden."""
    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    double = loop(tmp_path / "double.onnx", "Concat", ["v", "v"], 60)
    ran = subprocess.run(
        [sys.executable, "-c", LARGE, str(double)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "of memory were not enough" in ran.stderr) == (5, True), ran.stderr
