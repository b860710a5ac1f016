"""Detect the format of a file or folder from its content; unpickle nothing."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

from onnxzoo.registry.convert.detect import transformers_folder
from onnxzoo.registry.convert.detect.bounded_read import (
    SCANNED,
    glancing,
    member_of,
    start_of,
    values_of,
)
from onnxzoo.registry.convert.detect.pickles import imports, is_pickle
from onnxzoo.registry.convert.detect.protobufs import kind
from onnxzoo.registry.convert.detect.tensorflow_ops import reaching
from onnxzoo.registry.convert.detect.weight_files import graph_in, is_safetensors
from onnxzoo.registry.core.errors import InvalidModel, NotFound
from onnxzoo.registry.core.zips import open_zip

_HEAD = 4096  # bytes; every magic number lies within
# Packages whose names come last where not all are shown: others are what one looks for.
_USUAL = {"collections", "joblib", "numpy", "scipy", "sklearn", "torch"}
_SHOWN = 6  # names that a pickle would import
_LAMBDA = re.compile(rb'"class_name":\s*"Lambda"')


class Format(NamedTuple):
    """A format of models.

    Attributes:
        name: as lineage keeps it.
        words: as errors say it.
        converter: by whom it becomes ONNX; None where nothing does.
        runs_code: whether loading a file of it can run code from the file.
        way_out: what to do where nothing converts it.
    """

    name: str
    words: str
    converter: str | None = None
    runs_code: bool = False
    way_out: str | None = None


_AGAIN = "convert it with the framework that made it, or look for the ONNX file: zoo search NAME"
FORMATS: Mapping[str, Format] = {
    form.name: form
    for form in (
        Format("sklearn-pickle", "a pickled scikit-learn model", "sklearn", runs_code=True),
        Format("xgboost-pickle", "a pickled XGBoost model", "xgboost", runs_code=True),
        Format("lightgbm-pickle", "a pickled LightGBM model", "lightgbm", runs_code=True),
        Format("catboost-pickle", "a pickled CatBoost model", "catboost", runs_code=True),
        Format("xgboost", "an XGBoost model", "xgboost"),
        Format("lightgbm", "a LightGBM model", "lightgbm"),
        Format("catboost", "a CatBoost model", "catboost"),
        Format("torchscript", "a TorchScript archive", "torch", runs_code=True),
        Format("torch-pt2", "a PyTorch ExportedProgram", "torch", runs_code=True),
        Format("torch-pickle", "a PyTorch checkpoint, which is a pickle", "torch", runs_code=True),
        Format("keras", "a Keras model", "keras"),
        Format("keras-lambda", "a Keras model with a Lambda layer", "keras", runs_code=True),
        Format("tf-savedmodel", "a TensorFlow SavedModel", "tensorflow"),
        Format("tf-graphdef", "a TensorFlow GraphDef", "tensorflow"),
        Format("tflite", "a TensorFlow Lite model", "tensorflow"),
        *(
            Format(f"{name}-code", f"{words} that reaches beyond it", "tensorflow", runs_code=True)
            for name, words in (
                ("tf-savedmodel", "a TensorFlow SavedModel"),
                ("tf-graphdef", "a TensorFlow GraphDef"),
                ("tflite", "a TensorFlow Lite model"),
            )
        ),
        Format("paddle", "a Paddle model", "paddle"),
        Format("coreml-classic", "a Core ML model", "coreml"),
        Format("transformers", "a Hugging Face transformers folder", "transformers"),
        Format(
            "transformers-pickle",
            "a Hugging Face transformers folder with pickled weights",
            "transformers",
            runs_code=True,
        ),
        Format(
            "transformers-code",
            "a Hugging Face transformers folder with code of its own",
            "transformers",
            runs_code=True,
        ),
        Format(
            "jax-export",
            "a serialized jax.export: StableHLO, from which no converter to ONNX exists",
            way_out="convert the function it was made of: zoo convert module:function --from jax",
        ),
        Format("mxnet", "an MXNet symbol", "mxnet"),
        Format(
            "coreml-mlprogram",
            "a Core ML mlProgram, from which no converter to ONNX exists",
            way_out="export the model that it was made from, such as the PyTorch module",
        ),
        Format(
            "coreml-other",
            "a Core ML model of a kind from which no converter to ONNX exists",
            way_out="export the model that it was made from",
        ),
        Format(
            "cntk",
            "a CNTK model; CNTK ended in 2019, and has no package for this Python",
            way_out="in Docker, with Python 3.6: `pip install cntk` and "
            '`cntk.Function.load(f).save("m.onnx", format=cntk.ModelFormat.ONNX)`',
        ),
        Format(
            "caffe2",
            "a Caffe2 network; Caffe2 left PyTorch in 2.4 and no converter is maintained",
            way_out="many were published as ONNX: zoo search NAME",
        ),
        Format("caffe", "a Caffe network, whose converters are not maintained", way_out=_AGAIN),
        Format(
            "chainer",
            "an archive of Chainer's weights; Chainer ended in 2019, and its exporter with it",
            way_out="load the arrays into a PyTorch module of the same layers, and convert that",
        ),
        Format("onnx", "an ONNX model already", way_out="zoo register FILE --name NAME"),
        Format("onnx-tensor", "an ONNX tensor, not a model"),
        Format("ort", "an ORT-format model, optimised from an ONNX file", way_out=_AGAIN),
        Format(
            "weights",
            "an archive of weights without a graph",
            way_out="say what makes the module: --factory module:function "
            '(in code: factory="module:function")',
        ),
        Format("gguf", "a GGUF model, from which no converter to ONNX exists", way_out=_AGAIN),
        Format(
            "mxnet-params",
            "MXNet's weights without the graph",
            way_out="convert the -symbol.json beside it",
        ),
        Format(
            "paddle-params",
            "Paddle's weights without the graph",
            way_out="convert the .json or .pdmodel beside it",
        ),
        Format(
            "pickle",
            "a pickle of no framework that is known",
            way_out='say what reads it: --from sklearn (in code: from_="sklearn")',
            runs_code=True,
        ),
    )
}
_MAGIC: Sequence[tuple[int, bytes, str]] = (
    (4, b"TFL3", "tflite"),
    (4, b"ORTM", "ort"),
    (0, b"CBM1", "catboost"),
    (0, b"tree\n", "lightgbm"),
    (0, b"tree\r\n", "lightgbm"),
    (0, b"GGUF", "gguf"),
    (0, b"B\0C\0N\0", "cntk"),
    (0, b"\x12\x01\0\0\0\0\0\0", "mxnet-params"),
)
_TENSORFLOW = {"tf-savedmodel", "tf-graphdef", "tflite"}
_STABLEHLO = b"ML\xefR\rStableHLO_v"  # MLIR's magic number and its producer
_NO_LODS = bytes(12)  # version 0 and no levels: how Paddle's tensors begin


def _parts(names: Sequence[str]) -> set[str]:
    return {name.partition("/")[2] for name in names}


def _program(names: Sequence[str]) -> bool:
    ends = ("archive_format", "serialized_exported_program.json")
    return any(name.endswith(ends) for name in names)


def _script(names: Sequence[str]) -> bool:
    parts = _parts(names)
    return "constants.pkl" in parts and any(part.startswith("code/") for part in parts)


def _arrays(names: Sequence[str]) -> bool:
    return bool(names) and all(name.endswith(".npy") for name in names)


# Tried in this order. Source: what each framework writes.
_ZIPS: Sequence[tuple[str, Callable[[Sequence[str]], bool]]] = (
    ("torch-pt2", _program),
    ("torchscript", _script),
    ("torch-pickle", lambda names: "data.pkl" in _parts(names)),
    ("chainer", lambda names: _arrays(names) and any(n.endswith("/W.npy") for n in names)),
    ("weights", _arrays),
)


def recognise(path: Path) -> Format:
    """Return the format of a file or folder.

    Raises:
        NotFound: if nothing is there.
        InvalidModel: if it is no format that is known, or cannot be read.
        StorageError: if the disk refuses.
    """
    with glancing(path):
        name = _in_folder(path) if path.is_dir() else _in_file(path)
        if name in _TENSORFLOW and reaching(path, name):
            name += "-code"
    if name is None:
        raise InvalidModel(
            f"`{path.name}` is of no format that is known",
            hint=f"say which function makes the model: {path.stem}:function"
            if path.suffix == ".py"
            else 'say what it is: --from sklearn, torch, tensorflow, … (in code: from_="sklearn")',
        )
    return FORMATS[name]


def code_in(path: Path, form: Format) -> str:
    """Return the code that loading a file would import or run, as far as can be told.

    Raises:
        InvalidModel: if it cannot be read.
        StorageError: if the disk refuses.
    """
    with glancing(path):
        return _code_in(path, form)


def _code_in(path: Path, form: Format) -> str:
    if form.name == "keras-lambda":
        return "it holds a Lambda layer's Python code"
    if form.name == "torchscript":
        return "it holds TorchScript code"
    if form.converter == "tensorflow":
        return f"it holds ops that run Python or reach files: {_listed(reaching(path, form.name))}"
    if form.converter == "transformers":
        return transformers_folder.code_in(path)
    found = sorted(imports(path), key=lambda name: (name.partition(".")[0] in _USUAL, name))
    return f"it would import {_listed(found) or 'nothing that can be told'}"


def _listed(found: Sequence[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in found[:_SHOWN]) + more


def _in_folder(path: Path) -> str | None:
    if (path / "saved_model.pb").is_file():
        return "tf-savedmodel"
    if (path / "Manifest.json").is_file() and (path / "Data").is_dir():
        return "coreml-mlprogram"
    config = values_of(path / "config.json") if (path / "config.json").is_file() else {}
    if {"model_type", "architectures"} & set(config):
        return transformers_folder.kind_of(path, config)
    graph = graph_in(path)
    if graph is None:
        return None
    return "paddle" if graph.name == "__model__" else _in_file(graph)


def _in_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError as error:
        raise NotFound(f"no file or folder `{path}`") from error
    for offset, magic, name in _MAGIC:
        if head[offset:].startswith(magic):
            return name
    if is_pickle(head):
        return _in_pickle(path)
    if head.lstrip()[:1] == b"{":
        return _in_json(path, head)
    return _in_binary(path, head)


def _in_binary(path: Path, head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        try:
            return _in_zip(path)
        except BadZipFile:
            return None
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _keras(start_of(path))
    if is_safetensors(path):
        return "weights"
    if head.startswith(_NO_LODS):
        return "paddle-params"
    return kind(path) or ("jax-export" if _STABLEHLO in start_of(path) else None)


def _in_zip(path: Path) -> str | None:
    with path.open("rb") as file, open_zip(file) as archive:
        names = archive.namelist()
        if {"config.json", "metadata.json"} <= set(names):
            config = member_of(archive, "config.json", SCANNED + 1)
            if len(config) > SCANNED:  # a layer with code may lie beyond
                raise InvalidModel(f"the `config.json` in `{path.name}` is over {SCANNED} bytes")
            return _keras(config)
    return next((form for form, is_it in _ZIPS if is_it(names)), None)


def _keras(config: bytes) -> str:
    return "keras-lambda" if _LAMBDA.search(config) else "keras"


def _in_pickle(path: Path) -> str:
    roots = [name.partition(".")[0] for name in imports(path)]
    if {"torch", "collections"} <= set(roots) and "sklearn" not in roots:
        return "torch-pickle"
    for framework in ("sklearn", "xgboost", "lightgbm", "catboost"):
        if framework in roots:
            return f"{framework}-pickle"
    return "torch-pickle" if "torch" in roots else "pickle"


def _in_json(path: Path, head: bytes) -> str | None:
    if head.startswith(b"{L") and b"learner" in head:  # UBJSON
        return "xgboost"
    if re.match(rb'\s*{\s*"(learner|version)"', head) and b'"learner"' in start_of(path):
        return "xgboost"
    text = start_of(path)
    if b'"base_code"' in head and b'"pir"' in head:
        return "paddle"
    if b'"arg_nodes"' in text and b'"heads"' in text:
        return "mxnet"
    return None
