"""Detect the content of a Hugging Face model folder, without loading it.

Source: transformers' documentation, "Custom models", and the file names that it looks for.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onnxzoo.registry.convert.detect.bounded_read import values_of
from onnxzoo.registry.convert.detect.pickles import imports

_KINDS = ("AutoConfig", "AutoModel")  # what is loaded: no tokenizer, no image processor


def kind_of(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the format of a folder by its ``config.json``, and by how its weights are kept."""
    if any(_code(config)):
        return "transformers-code"
    return "transformers-pickle" if pickled(folder) else "transformers"


def pickled(folder: Path) -> list[Path]:
    """Return the pickles of a folder's weights; none where they are safetensors."""
    return [] if safe(folder) else sorted(folder.glob("pytorch_model*.bin"))


def safe(folder: Path) -> list[Path]:
    """Return the safetensors of a folder's weights."""
    return sorted(folder.glob("model*.safetensors"))


def code_in(folder: Path) -> str:
    """Return the code that loading a folder would import."""
    files = sorted(set(_code(values_of(folder / "config.json"))))
    if files:
        return f"it would import {', '.join(files)}"
    names = sorted({name for path in pickled(folder) for name in imports(path)})
    return f"its weights are pickles, which name {', '.join(f'`{name}`' for name in names)}"


def _code(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files that are named as the code of a model: ``[repository--]module.Class``."""
    said = config.get("auto_map")
    for kind, where in said.items() if isinstance(said, Mapping) else ():
        if isinstance(where, str) and str(kind).startswith(_KINDS):
            repository, _, name = where.rpartition("--")
            file = f"`{name.rpartition('.')[0].replace('.', '/')}.py`"
            yield f"{file} of `{repository}`" if repository else file
