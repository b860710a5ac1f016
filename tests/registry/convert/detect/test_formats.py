"""What a file is, from its content: by magic numbers, keys, field numbers and opcodes."""

import bz2
import gzip
import lzma
import pickle
import pickletools
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from onnxzoo.registry.convert.detect.formats import code_in, recognise
from onnxzoo.registry.convert.detect.pickles import imports
from onnxzoo.registry.convert.discovery import converter_of
from onnxzoo.registry.convert.interface import Input
from onnxzoo.registry.core.errors import InvalidModel, NotFound, Refused, UsageError
from tests.support import models


def field(number: int, payload: bytes | int) -> bytes:
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


NODE = field(1, b"node") + field(2, b"Conv")
FILES = {
    "tflite": b"\x1c\0\0\0TFL3" + bytes(100),
    "ort": b"\x1c\0\0\0ORTM" + bytes(100),
    "catboost": b"CBM1" + bytes(100),
    "lightgbm": b"tree\nversion=v4\n",
    "gguf": b"GGUF\3\0\0\0",
    "cntk": b"B\0C\0N\0" + bytes(50),
    "mxnet-params": b"\x12\x01\0\0\0\0\0\0" + bytes(50),
    "xgboost": b'{"learner":{"gradient_booster":{}},"version":[3,2,0]}',
    "mxnet": b'{"nodes": [], "arg_nodes": [0], "heads": [[0, 0, 0]]}',
    "paddle": b'{"base_code": {"magic": "pir", "version": 1}, "program": {}}',
    "paddle-params": bytes(16) + b"\x02\0\0\0",
    "keras": b"\x89HDF\r\n\x1a\n" + b'{"class_name": "Dense"}',
    "keras-lambda": b"\x89HDF\r\n\x1a\n" + b'{"class_name": "Lambda"}',
    "jax-export": b"<\0\0\0" + bytes(300) + b"ML\xefR\rStableHLO_v1.15.0\0",
    "weights": (20).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}' + bytes(20),
    "tf-savedmodel": field(1, 1) + field(2, field(1, b"meta")),
    "tf-graphdef": field(1, NODE) + field(1, NODE) + field(4, field(1, 27)),
    "coreml-classic": field(1, 1) + field(2, field(1, b"in")) + field(500, NODE),
    "coreml-mlprogram": field(1, 7) + field(2, field(1, b"in")) + field(502, NODE),
    "coreml-other": field(1, 7) + field(2, field(1, b"in")) + field(501, NODE),
    "caffe2": field(1, b"resnet") + field(2, NODE) + field(2, NODE) + field(7, b"x"),
    "caffe": field(1, b"AlexNet") + field(100, NODE),
    "onnx-tensor": field(1, 3) + field(2, 1) + field(9, bytes(12)),
    "sklearn-pickle": b"\x80\x02csklearn.linear_model._base\nLinear\n.",
    "torch-pickle": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.",
    "pickle": b"\x80\x04" + pickle.dumps(Path("x"))[2:],
}  # fmt: skip
BERT = {"config.json": '{"architectures": ["BertModel"]}'}
REMOTE = """{"model_type": "own", "auto_map": {
    "AutoConfig": "nets.OwnConfig", "AutoModel": "acme/own--sub.nets.Own",
    "AutoTokenizer": ["tokens.Own", null]}}"""
ZIPS = {
    "keras": {"config.json": '{"class_name": "Dense"}', "metadata.json": "{}"},
    "keras-lambda": {"config.json": '{"class_name": "Lambda"}', "metadata.json": "{}"},
    "torch-pt2": {"m/archive_format": "pt2", "m/models/model.json": "{}"},
    "torchscript": {"m/constants.pkl": "", "m/code/__torch__.py": "", "m/data.pkl": ""},
    "torch-pickle": {"m/data.pkl": "", "m/version": "3"},
    "chainer": {"conv1/W.npy": "", "conv1/b.npy": ""},
    "weights": {"a.npy": ""},
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_recognised(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    assert recognise(path).name == name


@pytest.mark.parametrize("name", ZIPS)
def test_an_archive_is_recognised(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in ZIPS[name].items():
            archive.writestr(member, content)
    assert recognise(path).name == name


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("tf-savedmodel", {"saved_model.pb": ""}),
        ("coreml-mlprogram", {"Manifest.json": "{}", "Data/model": ""}),
        ("transformers", {"config.json": '{"model_type": "bert"}'}),
        ("transformers", {**BERT, "model.safetensors": "", "pytorch_model.bin": ""}),
        ("transformers-pickle", {**BERT, "pytorch_model-00001-of-00002.bin": ""}),
        ("transformers-code", {"config.json": REMOTE, "model.safetensors": ""}),
        ("paddle", {"__model__": ""}),
    ],
)
def test_a_folder_is_recognised(name: str, files: dict[str, str], tmp_path: Path) -> None:
    for file, content in files.items():
        (tmp_path / "m" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / file).write_text(content)
    assert recognise(tmp_path / "m").name == name


def test_a_folder_says_which_files_it_would_import(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(REMOTE)
    said = code_in(tmp_path, recognise(tmp_path))
    assert said == "it would import `nets.py`, `sub/nets.py` of `acme/own`"


def test_a_folder_says_what_its_pickled_weights_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(BERT["config.json"])
    (tmp_path / "pytorch_model.bin").write_bytes(FILES["torch-pickle"])
    (tmp_path / "training_args.bin").write_bytes(FILES["sklearn-pickle"])  # which nobody loads
    said = code_in(tmp_path, recognise(tmp_path))
    assert said == "its weights are pickles, which name `torch._utils._rebuild_tensor_v2`"


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b"PK\x03\x04broken", bytes(range(256))])
def test_what_is_no_model_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match="`file` is of no format that is known"):
        recognise(path)


def test_nothing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        recognise(tmp_path / "none")


def test_an_onnx_model_is_registered_instead(tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    assert recognise(path).name == "onnx"
    with pytest.raises(Refused, match="an ONNX model already") as caught:
        converter_of(path)
    assert "zoo register" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["cntk", "caffe2", "coreml-mlprogram", "caffe", "jax-export"])
def test_a_dead_format_is_said_to_be_dead_with_the_way_out(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    with pytest.raises(Refused, match="`file` is a") as caught:
        converter_of(path)
    assert caught.value.hint


def test_a_dead_format_is_not_taken_for_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILES["caffe2"])
    with pytest.raises(Refused, match="Caffe2"):
        converter_of(path, "torch")


def test_a_converter_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILES["xgboost"])
    with pytest.raises(UsageError, match=r"no converter is called `theano`; there are .*xgboost"):
        converter_of(path, "theano")


class Planted:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch planted",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_what_a_pickle_would_import_is_read_without_loading_it(
    protocol: int, pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pkl"
    content = pickle.dumps([OrderedDict(), Planted()], protocol)
    path.write_bytes(pack(content))
    assert imports(path) == ["collections.OrderedDict", "posix.system"]
    assert "`posix.system`" in code_in(path, recognise(path))
    assert not (tmp_path / "planted").exists()


def text(words: str) -> bytes:
    return b"\x8c" + bytes([len(words)]) + words.encode()


@pytest.mark.parametrize(
    "hidden",
    [
        text("posix") + b"\x94" + text("system") + b"\x94" + text("sklearn.x") + b"0h\x00h\x01\x93",
        text("posix") + text("system") + text("decoy") + b"0\x93",
        b"(" + text("decoy") + b"1" + text("posix") + text("system") + b"\x93",
    ],
    ids=["memo", "pop", "mark"],
)
def test_no_decoy_hides_what_a_pickle_imports(hidden: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x04" + hidden + text("id") + b"\x85R.")
    assert imports(path) == ["posix.system"]


def test_a_converter_that_does_not_read_a_file_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(FILES["xgboost"])
    with pytest.raises(UsageError, match="which the converter `lightgbm` does not read"):
        converter_of(path, "lightgbm")


def test_a_pickle_of_another_framework_is_no_checkpoint_for_a_factory(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(FILES["sklearn-pickle"])
    with pytest.raises(
        UsageError, match=r"a pickled scikit-learn model, which .* `torch` does not"
    ):
        converter_of(path, "torch")


@pytest.mark.parametrize("content", [b"hello", b""])
def test_what_cannot_be_a_pickle_is_not_offered_to_be_trusted(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "m.txt"
    path.write_bytes(content)
    with pytest.raises(
        InvalidModel, match="neither a pickle nor of another format that `lightgbm`"
    ):
        converter_of(path, "lightgbm")


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(OrderedDict(), 0),
        pickle.dumps(OrderedDict(), 1),
        bz2.compress(pickle.dumps(OrderedDict())),
        gzip.compress(pickle.dumps(OrderedDict())),
        lzma.compress(pickle.dumps(OrderedDict())),
        lzma.compress(pickle.dumps(OrderedDict()), lzma.FORMAT_ALONE),
    ],
    ids=["text", "binary", "bzip2", "gzip", "xz", "lzma"],  # gzip writes the time
)
def test_what_may_be_a_pickle_of_a_framework_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(content)
    assert converter_of(path, "lightgbm")[1].runs_code


def test_a_module_is_converted_by_its_function(tmp_path: Path) -> None:
    path = tmp_path / "nets.py"
    path.write_text("def make(): ...")
    with pytest.raises(InvalidModel) as caught:
        converter_of(path)
    assert caught.value.hint == "say which function makes the model: nets:function"


def test_pickles_in_archives_in_archives_are_read(tmp_path: Path) -> None:
    inner = tmp_path / "inner.pt"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(Planted(), 2))
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/data/sample_inputs/model.pt", inner.read_bytes())
    assert imports(tmp_path / "m.pt2") == ["posix.system"]


def zipped(path: Path, members: dict[str, str], method: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


def marked(content: bytes, *, flags: int | None = None, method: int | None = None) -> bytes:
    """A zip whose members are said to be encrypted, or packed by another method."""
    made = bytearray(content)
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = made.find(magic)
        while start >= 0:
            if flags is not None:
                made[start + at] = flags
            if method is not None:
                made[start + at + 2] = method
            start = made.find(magic, start + 4)
    return bytes(made)


DEEP = '{"model_type":' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: marked(made, flags=1), "is encrypted"),
        (lambda made: marked(made, method=99), "packed by method 99"),
        (lambda made: marked(made, method=zipfile.ZIP_BZIP2), "packed by method 12"),
        (lambda made: made.replace(b"Dense", b"DENSE"), None),
    ],
    ids=["encrypted", "an unknown method", "a method without bounds", "a wrong checksum"],
)
def test_an_archive_that_cannot_be_read_is_one_clear_error(
    change: Callable[[bytes], bytes], said: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(change(zipped(path, ZIPS["keras"])))
    with pytest.raises(InvalidModel, match=said or "of no format that is known"):
        recognise(path)
    path.write_bytes(change(zipped(path, {"m/data.pkl": "Dense", "m/version": "3"})))
    with pytest.raises(InvalidModel, match=f"`file` cannot be read: .*{said or 'Bad CRC'}"):
        code_in(path, recognise(path))


def test_a_broken_stream_in_an_archive_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    made = zipped(path, {"config.json": "Dense" * 99, "metadata.json": ""}, zipfile.ZIP_DEFLATED)
    at = 30 + len("config.json")
    path.write_bytes(made[:at] + b"\xff\xff" + made[at + 2 :])
    with pytest.raises(InvalidModel, match="`file` cannot be read: Error -3"):
        recognise(path)


def test_a_member_that_unpacks_to_far_more_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    zipped(path, {"config.json": " " * (9 << 20), "metadata.json": ""}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidModel, match=r"`config.json` in `file` is over 8388608 bytes"):
        recognise(path)


def test_a_config_that_is_nested_without_end_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(DEEP)
    with pytest.raises(InvalidModel, match="cannot be read: maximum recursion depth"):
        recognise(tmp_path)


def test_of_a_long_config_only_the_start_is_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.write(BERT["config.json"].encode())
        file.truncate(1 << 40)
    with pytest.raises(InvalidModel, match="of no format that is known"):
        recognise(tmp_path)


def test_archives_in_archives_are_opened_to_a_depth_only(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(Planted(), 2))
    for _ in range(2):
        assert imports(path) == ["posix.system"]
        content = path.read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("m.pt", content)
    assert imports(path) == ["posix.system"]
    content = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m.pt", content)
    assert imports(path) == []


def test_pickles_in_a_row_are_read_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x02." * 50_000 + pickle.dumps(Planted(), 2))
    assert imports(path) == ["posix.system"]


def test_a_pickle_of_opcodes_without_end_is_read_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x02" + b"N0" * 600_000 + b"cacme\nno\n." + b"c" * (4 << 20))
    read = 0

    def counted(stream: IO[bytes]) -> Iterator[object]:
        nonlocal read
        for read, found in enumerate(genops(stream), read + 1):  # noqa: B007, B020
            yield found

    genops = pickletools.genops
    monkeypatch.setattr(pickletools, "genops", counted)
    assert imports(path) == ["acme.no"]  # by its look
    assert read == 1 << 20


def test_a_pickle_before_a_zip_is_read_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    made = zipped(path, {"a.pkl": "\x80\x02."})
    path.write_bytes(pickle.dumps(Planted(), 2) + made)
    assert imports(path) == ["posix.system"]


def test_names_behind_arrays_are_found(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    head = pickle.dumps(OrderedDict(), 4)[:-1]
    names = b"\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\nsubprocess\x94\x8c\x03run\x94\x93"
    path.write_bytes(head + b"\xff" * 64 + names + b"\xffcacme\nnet\n")
    assert set(imports(path)) >= {"posix.system", "subprocess.run", "acme.net"}


@pytest.mark.parametrize(
    "text", ["", "=1,2", "1,3,32,32", "x=1;2", "x=float32[1", "x=[1]", "x=1,,2"]
)
def test_what_is_no_input_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="is no input"):
        Input.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", Input("x")),
        ("x:0=n,3", Input("x:0", None, ("n", 3))),
        ("s=string[n,1]", Input("s", "string", ("n", 1))),
        ("scalar=float32[]", Input("scalar", "float32", ())),
    ],
)
def test_an_input_is_parsed(text: str, expected: Input) -> None:
    assert Input.parse(text) == expected
