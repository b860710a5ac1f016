"""Models that are registered from memory, and from protobuf's text."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format

import onnxzoo
from onnxzoo.registry.core.errors import InvalidModel, NotFound, UsageError
from tests.support import models
from tests.support.commands import Run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "m.onnx", value=3)


def answer(ref: str) -> list[float]:
    session = onnxzoo.load(ref)
    (out,) = session.run(None, {session.get_inputs()[0].name: np.ones((1, 4), np.float32)})
    return list(map(float, np.ravel(out)))


def test_a_model_in_memory_is_kept_as_its_file_is(path: Path) -> None:
    onnxzoo.register(path, "file")
    model = onnx.load(path)
    found = onnxzoo.register(model, "proto")
    assert (found.path.name, found.source) == ("model.onnx", "code:onnx.ModelProto")
    onnxzoo.register(path.read_bytes(), "bytes")
    onnxzoo.register(bytearray(path.read_bytes()), "array")
    assert answer("file") == answer("proto") == answer("bytes") == answer("array")
    assert onnx.load(path) == model  # as it was


def test_text_of_protobuf_is_kept_as_a_binary_file(zoo: Run, path: Path, tmp_path: Path) -> None:
    onnxzoo.register(path, "file")
    text = tmp_path / "net.pbtxt"
    text.write_text("# a comment\n" + text_format.MessageToString(onnx.load(path)))
    ran = zoo("register", text, "--name", "text")
    assert (ran.code, ran.err) == (0, "")
    assert onnxzoo.resolve("text").path.name == "net.onnx"
    assert answer("text") == answer("file")


def test_text_that_is_no_model_is_refused(zoo: Run, tmp_path: Path) -> None:
    text = tmp_path / "net.pbtxt"
    text.write_text("ir_version: 8\ngraph { no_such_field: 1 }\n")
    ran = zoo("register", text, "--name", "text")
    assert ran.code == 5
    assert "`net.pbtxt` is no ONNX model in protobuf's text" in ran.err
    text.write_text("ir_version: 8\n" + "graph { node { attribute { g { " * 400)
    assert zoo("register", text, "--name", "text").code == 5


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(InvalidModel, match="is a pickle"):
        onnxzoo.register(b"\x80\x04\x95" + b"." * 9, "net")


def test_weights_that_lie_in_a_file_are_not_in_memory(tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx")
    with pytest.raises(NotFound, match=r"lie in `weights.bin`") as caught:
        onnxzoo.register(onnx.load(path, load_external_data=False), "net")
    assert "onnx.load(FILE)" in str(caught.value.hint)
    assert onnxzoo.register(onnx.load(path), "net").ref == "net:fp32@1"


def test_an_argument_that_is_not_known_is_named(path: Path) -> None:
    with pytest.raises(UsageError, match="`register` takes no `metadata`"):
        onnxzoo.register(path, "net", metadata={})  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="did you mean `opset_version`"):
        onnxzoo.register(object(), "net", opset_versions=9)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"`dynamo` says how .*`.*m.onnx`, a file, is kept"):
        onnxzoo.register(path, "net", dynamo=True)
    with pytest.raises(UsageError, match="an ONNX model is kept as it is"):
        onnxzoo.register(onnx.load(path), "net", opset_version=9)
    with pytest.raises(UsageError, match="`convert` takes no `dynamic_axis`"):
        onnxzoo.convert("m.pt", "net", dynamic_axis={})
    with pytest.raises(UsageError, match="`convert` takes no `trust`"):
        onnxzoo.convert("net", opset=18, trust=True)
