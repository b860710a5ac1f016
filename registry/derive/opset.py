"""The child that converts a model to another opset, with onnx's version converter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxzoo.registry.child import answer
from onnxzoo.registry.derive.frame import MODEL
from onnxzoo.registry.errors import Refused


def main(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the model at another opset; see `frame` for the request."""
    import onnx
    from onnx import version_converter

    target = int(request["options"]["opset"])
    model = onnx.load(request["model"])
    try:
        converted = version_converter.convert_version(model, target)
    except Exception as error:
        words = " ".join(str(error).split())
        raise Refused(f"onnx cannot convert it to opset `{target}`: {words}") from error
    onnx.checker.check_model(converted)
    onnx.save(converted, Path(request["into"]) / MODEL)
    return {"tools": {"onnx": onnx.__version__}}


if __name__ == "__main__":
    answer(main)
