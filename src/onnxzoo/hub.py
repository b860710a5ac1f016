"""Offer `onnx.hub`'s functions, which onnx removed: ``from onnxzoo import hub``.

The models are those of the indexes, the bytes are verified and kept in the registry. Nothing is
printed and nobody is asked: a repository other than the zoo's is refused.
"""

from onnxzoo.zoo_index.onnx_hub.functions import (
    download_model_with_test_data,
    get_dir,
    get_model_info,
    list_models,
    load,
    load_composite_model,
    set_dir,
)
from onnxzoo.zoo_index.onnx_hub.model_info import ModelInfo

__all__ = [
    "ModelInfo",
    "download_model_with_test_data",
    "get_dir",
    "get_model_info",
    "list_models",
    "load",
    "load_composite_model",
    "set_dir",
]
