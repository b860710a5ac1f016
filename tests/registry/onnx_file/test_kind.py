"""What arrived, by its true name."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import onnx
import pytest

from onnxzoo.registry.core.errors import IntegrityError, InvalidModel, ZooError
from onnxzoo.registry.onnx_file.kind import check
from tests.support import models

WHEEL = Path(onnx.__file__).parent / "backend" / "test" / "data"


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("m.onnx"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "error", "name"),
    [
        (b"", IntegrityError, "is empty"),
        (b"\n<!DOCTYPE HTML><html>", IntegrityError, "an HTML page"),
        (b"<html><body>", IntegrityError, "an HTML page"),
        (b"<?xml version='1.0'?><Error/>", IntegrityError, "an XML document"),
        (b'{"error": "Entry not found"}', IntegrityError, "Entry not found"),
        (b'["a"]', IntegrityError, "a JSON document"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 102576593\n",
            IntegrityError,
            "a Git LFS pointer to a file of 102576593 bytes",
        ),
        (b"hello world\n", InvalidModel, "plain text"),
        (_zip(), InvalidModel, "a zip archive"),
        (_tar(), InvalidModel, "a tar archive"),
        (gzip.compress(b"x", mtime=0), InvalidModel, "a gzip archive"),
        (pickle.dumps({"a": 1}), InvalidModel, "a pickle"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 9, InvalidModel, "an HDF5 file"),
        (b"GGUF\x03\0\0\0", InvalidModel, "a GGUF model"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 9, InvalidModel, "a TensorFlow Lite model"),
        (b"\x1c\0\0\0ORTM" + b"\0" * 9, InvalidModel, "an ORT-format model"),
        (
            (20).to_bytes(8, "little") + json.dumps({"w": {}}).encode() + b" " * 40,
            InvalidModel,
            "a safetensors file",
        ),
        (b"\xff\xfe\xfd" * 40, InvalidModel, "not an ONNX model"),
    ],
)
def test_what_is_no_model_is_named(
    tmp_path: Path, content: bytes, error: type[ZooError], name: str
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        check(path)
    assert name in caught.value.message


@pytest.mark.parametrize("kept", [3, 40, 110])
def test_a_model_that_was_cut_off_is_named(tmp_path: Path, kept: int) -> None:
    path = models.linear(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(IntegrityError, match="cut off"):
        check(path)


def test_a_byte_too_much_is_not_taken_for_a_cut(tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InvalidModel, match="no field has number 0"):
        check(path)


def test_every_model_of_the_wheel_passes() -> None:
    for path in WHEEL.rglob("*.onnx"):
        check(path)


def test_a_json_document_is_known_by_its_start(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("{" + " " * 5000 + '"error": "beyond the start"}')
    with pytest.raises(IntegrityError, match="is a JSON document, not a model: ") as caught:
        check(path)
    assert "beyond" not in caught.value.message
    path.write_text("[" * 4000)
    with pytest.raises(IntegrityError, match="is a JSON document"):
        check(path)


def test_what_can_be_converted_is_told_how(tmp_path: Path) -> None:
    (tmp_path / "m.joblib").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with pytest.raises(InvalidModel, match="is a pickle") as caught:
        check(tmp_path / "m.joblib")
    assert caught.value.hint == "zoo convert FILE --name NAME"
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(InvalidModel, match=r"`tokenizer.json` is plain text"):
        check(tmp_path / "tokenizer.json")
