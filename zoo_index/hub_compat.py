"""The functions of the removed `onnx.hub`, over the indexes and the registry.

Their signatures are those of onnx 1.15 to 1.19, so that callers need not change. What differs:
a model's name is looked up as everywhere here, files are kept in the registry, and the errors are
this package's, which are the ones that callers caught before as well.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.choose import nearness
from onnxzoo.registry.errors import IntegrityError, NotFound, Refused, UsageError
from onnxzoo.registry.names import fold, slug
from onnxzoo.registry.records import Tensor, Variant
from onnxzoo.registry.settings import Settings
from onnxzoo.registry.store import clear, reporting_storage, staging_name
from onnxzoo.zoo_index.entries import Entry
from onnxzoo.zoo_index.index import Indexes
from onnxzoo.zoo_index.zoo import Zoo

if TYPE_CHECKING:
    from onnx import ModelProto

_ZOO = "onnx/models:main"
_ZOOS = {"onnx/models", _ZOO}


class NoSuchModel(NotFound, AssertionError):
    """No model of that name, opset or kind; `onnx.hub` raised an AssertionError."""


class ModelInfo:
    """What the index knows of one model at one opset.

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


class _Place:
    """Where this process keeps what the hub loads; None: where the environment says."""

    folder: str | None = None


def set_dir(new_dir: str) -> None:
    """Keep what is loaded from here on in another folder: a registry of its own.

    Args:
        new_dir: the folder; made when it is first needed.
    """
    _Place.folder = str(new_dir)


def get_dir() -> str:
    """Return the folder in which models are kept: that of `set_dir`, else ``ZOO_HOME``'s."""
    return _Place.folder or str(Settings.from_env().home)


def list_models(
    repo: str = _ZOO, model: str | None = None, tags: list[str] | None = None
) -> list[ModelInfo]:
    """Return what the indexes know, one item a model and opset.

    Args:
        repo: the zoo; see `load`.
        model: only of this name, upper and lower case alike.
        tags: only those that carry at least one of these, upper and lower case alike.

    Raises:
        Refused: for another repository.
    """
    return [_info(entry) for entry in _listed(repo, model, tags)]


def get_model_info(model: str, repo: str = _ZOO, opset: int | None = None) -> ModelInfo:
    """Return one model at one opset.

    Args:
        model: its name; see `list_models`.
        repo: the zoo; see `load`.
        opset: exactly this one; None: the highest that there is.

    Raises:
        NotFound: if there is none.
        Refused: for another repository.
    """
    return _info(_entry(model, repo, opset))


def load(
    model: str,
    repo: str = _ZOO,
    opset: int | None = None,
    force_reload: bool = False,  # noqa: FBT001, FBT002  (the removed function's)
    silent: bool = False,  # noqa: ARG001, FBT001, FBT002  (there is nothing to silence)
) -> "ModelProto":
    """Return a model, fetched and kept if it is not held; its bytes are verified either way.

    Args:
        model: its name; see `list_models`.
        repo: ``onnx/models:main``, the zoo, which stands for the indexes in force.
        opset: exactly this one; None: the highest that there is, whether or not it runs here.
        force_reload: hash what is held again, and fetch what is damaged.
        silent: accepted for the sake of old calls.

    Raises:
        NotFound: if there is no such model.
        Refused: for another repository.
        IntegrityError: if the bytes are not what the index says.
        RemoteError: if the model is not held and cannot be had.
    """
    import onnx

    with _zoo() as zoo:
        variant = _held(zoo, _entry(model, repo, opset), again=force_reload)
        zoo.registry.check_there(variant)
        _check_bytes(variant, zoo.registry.store.path(variant.digest))
        return onnx.load(variant.path)


def download_model_with_test_data(
    model: str,
    repo: str = _ZOO,
    opset: int | None = None,
    force_reload: bool = False,  # noqa: FBT001, FBT002  (the removed function's)
    silent: bool = False,  # noqa: ARG001, FBT001, FBT002  (there is nothing to silence)
) -> str | None:
    """Return a folder with a model's files and its ``test_data_set_*`` folders.

    The folder is a copy in the cache, made once.

    Args:
        model: see `load`, as for repo, opset and silent.
        repo: the zoo.
        opset: exactly this one; None: the highest that there is.
        force_reload: hash what is held again, and make the folder again.
        silent: accepted for the sake of old calls.

    Returns:
        The folder's path; None if the source has no reference data, of which a warning says why.

    Raises:
        NotFound, Refused, IntegrityError, RemoteError: see `load`.
    """
    with _zoo() as zoo:
        variant = _held(zoo, _entry(model, repo, opset), again=force_reload)
        zoo.registry.check_there(variant)
        zoo.need_test_data(variant)
        data = zoo.registry.test_data(variant.ref)
        if data is None or variant.variant not in data.labels:
            return None
        key = f"{data.digest_of(variant.variant)[7:19]}-{variant.digest[7:19]}"
        target = zoo.settings.cache / "hub" / f"{slug(variant.name)}-{key}"
        if force_reload:
            clear(target)
        if not target.exists():
            bundle = zoo.registry.store.path(variant.digest)
            _copy([bundle, data.folder / variant.variant], target)
        return str(target)


def load_composite_model(  # noqa: PLR0917  (the removed function's)
    network_model: str,
    preprocessing_model: str,
    network_repo: str = _ZOO,
    preprocessing_repo: str = _ZOO,
    opset: int | None = None,
    force_reload: bool = False,  # noqa: FBT001, FBT002  (the removed function's)
    silent: bool = False,  # noqa: FBT001, FBT002  (the removed function's)
) -> "ModelProto":
    """Return one model of two: what prepares the data, and the network that takes them.

    Outputs of the first are the inputs of the second, in their order. Of two opsets of the default
    domain the lower one is raised to the higher.

    Args:
        network_model: the network's name; see `load`.
        preprocessing_model: the name of the model before it.
        network_repo: the zoo.
        preprocessing_repo: the zoo.
        opset: of both; None: the highest that there is of each.
        force_reload: see `load`.
        silent: see `load`.

    Raises:
        Refused: if they differ in the opset of another domain, or do not fit together.
        NotFound, IntegrityError, RemoteError: see `load`.
    """
    from onnxzoo.zoo_index.composite import merged

    first = load(preprocessing_model, preprocessing_repo, opset, force_reload, silent)
    second = load(network_model, network_repo, opset, force_reload, silent)
    return merged(first, second, (preprocessing_model, network_model))


@contextmanager
def _zoo() -> Iterator[Zoo]:
    with Zoo(Registry(_Place.folder)) as zoo:
        yield zoo


def _listed(repo: str, model: str | None, tags: Sequence[str] | None) -> list[Entry]:
    if repo not in _ZOOS:
        raise Refused(
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


def _entry(model: str, repo: str, opset: int | None) -> Entry:
    found = _listed(repo, model, None)
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


def _held(zoo: Zoo, entry: Entry, *, again: bool) -> Variant:
    """Return the variant of a line, pulled if need be; a protobuf need not run here."""
    variant = zoo.pull(f"{entry.name}:{entry.variant}", force=True).variant
    for checked in zoo.registry.verify([variant.ref]) if again else ():
        if checked.problems:
            zoo.repair(checked)
    return variant


def _check_bytes(variant: Variant, folder: Path) -> None:
    import hashlib

    for file in variant.files:
        path = folder / file.path
        with reporting_storage(path), path.open("rb") as reader:
            found = hashlib.file_digest(reader, "sha256").hexdigest()
        if found != file.sha256:
            raise IntegrityError(
                f"`{path}` has SHA-256 {found}; expected {file.sha256}",
                hint=f"force_reload=True, or: zoo verify {variant.name} --repair",
            )


def _copy(sources: Sequence[Path], target: Path) -> None:
    """Copy folders into a new one that others see when it is complete."""
    from shutil import copyfile, copytree

    making = target.with_name(f"{target.name}-{staging_name()}")
    with reporting_storage(target.parent):
        try:
            for source in sources:
                copytree(source, making, dirs_exist_ok=True, copy_function=copyfile)
            if not target.exists():
                making.rename(target)
        finally:
            clear(making)


def _info(entry: Entry) -> ModelInfo:
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
