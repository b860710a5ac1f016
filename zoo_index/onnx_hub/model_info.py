"""Describe the models of the indexes in `onnx.hub`'s form: name, opset, path, metadata."""

from collections.abc import Sequence
from typing import Any

from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, UsageError
from onnxzoo.registry.core.names import fold, slug
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.resolve.choose import nearness
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.index.indexes import Indexes

ZOO = "onnx/models:main"
_ZOOS = {"onnx/models", ZOO}


class NoSuchModel(NotFound, AssertionError):
    """No model of that name, opset or kind; `onnx.hub` raised an AssertionError."""


class UnknownRepository(Refused, AssertionError):
    """A repository that is not the zoo's; `onnx.hub` raised an AssertionError."""


class Damaged(IntegrityError, AssertionError):
    """Checksum mismatch with the index; `onnx.hub` raised an AssertionError."""


class ModelInfo:
    """The index's facts on one model at one opset.

    Attributes:
        model: its name, as `get_model_info` and `load` take it.
        model_path: where its file is, as ``zoo pull`` takes it.
        metadata: ``model_sha``, ``model_bytes``, ``tags``, ``io_ports``, and where reference data
            are known ``model_with_data_path``, ``model_with_data_sha``, ``model_with_data_bytes``.
        model_sha: the SHA-256 of its file, in hexadecimal.
        tags: words to find it by.
        opset: the version of the default operator set; 0 where nobody recorded it.
        raw_model_info: all of that as one JSON object, in the layout of the zoo's old manifest.
    """

    def __init__(self, raw_model_info: dict[str, Any]) -> None:
        self.raw_model_info = raw_model_info
        self.model: str = raw_model_info["model"]
        self.model_path: str = raw_model_info["model_path"]
        self.metadata: dict[str, Any] = raw_model_info["metadata"]
        self.model_sha: str | None = self.metadata.get("model_sha")
        self.tags: set[str] = set(self.metadata.get("tags", ()))
        self.opset: int = raw_model_info["opset_version"]

    def __repr__(self) -> str:
        return (
            f"ModelInfo(model={self.model}, opset={self.opset}, path={self.model_path}, "
            f"metadata={self.metadata})"
        )


def listed(repo: str, model: str | None, tags: Sequence[str] | None) -> list[Entry]:
    """Return the lines of a name, of all names if it is None, that carry one of these tags.

    Raises:
        Refused: for another repository than the zoo's.
    """
    if repo not in _ZOOS:
        raise UnknownRepository(
            f"the repository `{repo}` is not the model zoo, and nobody vouches for it",
            hint="put its models into an index of your own (ZOO_INDEX), or: zoo pull https://…",
        )
    if isinstance(tags, str):
        raise UsageError(f"tags are a list; found the text `{tags}`")
    indexes = Indexes.from_settings(Settings.from_env())
    found = indexes.search() if model is None else _named(indexes, model)
    words = None if tags is None else {fold(tag) for tag in tags}
    return [e for e in found if words is None or words & {fold(tag) for tag in e.tags}]


def _named(indexes: Indexes, model: str) -> list[Entry]:
    """Return the lines that a name of the old manifest means.

    A family's own name means its full precision: ``ResNet50`` stood beside ``ResNet50-int8``.
    """
    key = fold(slug(model))
    found = indexes.find(model) or [
        entry
        for head, _, precision in [key.rpartition("-")]
        if head
        for entry in indexes.find(head)
        if fold(entry.precision) == precision
    ]
    family = bool(found) and (key == fold(found[0].name) or len({e.precision for e in found}) > 1)
    nearest = min(map(nearness, found), default=0)
    return [entry for entry in found if not family or nearness(entry) == nearest]


def entry_for(model: str, repo: str, opset: int | None) -> Entry:
    """Return the line of a name at an opset, or at the highest that there is.

    Raises:
        NoSuchModel: if there is none.
        Refused: for another repository than the zoo's.
    """
    found = listed(repo, model, None)
    if not found:
        near = Indexes.from_settings(Settings.from_env()).suggest(model)
        meant = f"; did you mean {', '.join(f'`{name}`' for name in near)}?" if near else ""
        raise NoSuchModel(f"no model `{model}` in an index{meant}", hint="zoo search WORD")
    fitting = [entry for entry in found if opset in {None, entry.opset}]
    if not fitting:
        known = ", ".join(str(entry.opset) for entry in found)
        raise NoSuchModel(
            f"no opset `{opset}` of `{model}`; it has {known}", hint=f"zoo opsets {found[0].name}"
        )
    return max(fitting, key=lambda entry: entry.opset or 0)


def info_of(entry: Entry) -> ModelInfo:
    """Return an entry in the layout of the zoo's old manifest."""
    model = next(file for file in entry.files if file.path.lower().endswith(".onnx"))
    metadata: dict[str, Any] = {
        "model_sha": model.sha256,
        "model_bytes": model.bytes,
        "tags": list(entry.tags),
        "io_ports": {
            "inputs": [_port(tensor) for tensor in entry.inputs],
            "outputs": [_port(tensor) for tensor in entry.outputs],
        },
    }
    if (data := entry.test_data) is not None:
        metadata["model_with_data_path"] = f"{entry.source}/{data.path}"
        metadata["model_with_data_sha"] = data.sha256
        metadata["model_with_data_bytes"] = data.bytes
    return ModelInfo(
        {
            "model": _name(entry),
            "model_path": f"{entry.source}/{model.path}",
            "opset_version": entry.opset or 0,
            "metadata": metadata,
        }
    )


def _name(entry: Entry) -> str:
    """Return the name under which `get_model_info` finds a line and its other opsets."""
    return entry.name if entry.precision == "fp32" else f"{entry.name}-{entry.precision}"


def _port(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape or ()), "type": tensor.dtype}
