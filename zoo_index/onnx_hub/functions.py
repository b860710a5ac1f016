"""The functions of the removed `onnx.hub`, over the indexes and the registry.

Their signatures are those of onnx 1.15 to 1.19, so that callers need not change. What differs:
a model's name is looked up as everywhere here, files are kept in the registry, and the errors are
this package's, which are the ones that callers caught before as well.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError
from onnxzoo.registry.core.files import clear, reporting_storage
from onnxzoo.registry.core.names import slug
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.staging import staging_folder, staging_name
from onnxzoo.registry.sessions.loader import warn
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.onnx_hub.model_info import (
    ZOO,
    Damaged,
    ModelInfo,
    entry_for,
    info_of,
    listed,
)
from onnxzoo.zoo_index.zoo import Zoo

if TYPE_CHECKING:
    from onnx import ModelProto


_GRAPH = "model.onnx"  # as the zoo's archives call the graph's file
_VERSION = "2"  # of a copy's layout


class _Place:
    """The folder of the hub in this process; None: the environment's."""

    folder: str | None = None


def set_dir(new_dir: str) -> None:
    """Set the folder of further models: a registry of its own.

    Args:
        new_dir: the folder; made when it is first needed.
    """
    _Place.folder = str(new_dir)


def get_dir() -> str:
    """Return the folder in which models are kept: that of `set_dir`, else ``ZOO_HOME``'s."""
    return _Place.folder or str(Settings.from_env().home)


def list_models(
    repo: str = ZOO, model: str | None = None, tags: list[str] | None = None
) -> list[ModelInfo]:
    """Return the models of the indexes, one item a model and opset.

    Args:
        repo: the zoo; see `load`.
        model: only of this name, upper and lower case alike.
        tags: only those that carry at least one of these, upper and lower case alike.

    Raises:
        Refused: for another repository.
    """
    return [info_of(entry) for entry in listed(repo, model, tags)]


def get_model_info(model: str, repo: str = ZOO, opset: int | None = None) -> ModelInfo:
    """Return one model at one opset.

    Args:
        model: its name; see `list_models`.
        repo: the zoo; see `load`.
        opset: exactly this one; None: the highest that there is.

    Raises:
        NotFound: if there is none.
        Refused: for another repository.
    """
    return info_of(entry_for(model, repo, opset))


def load(
    model: str,
    repo: str = ZOO,
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
        variant = _held(zoo, entry_for(model, repo, opset), again=force_reload)
        zoo.registry.check_there(variant)
        _check_bytes(variant, zoo.registry.store.path(variant.digest))
        return onnx.load(variant.path)


def download_model_with_test_data(
    model: str,
    repo: str = ZOO,
    opset: int | None = None,
    force_reload: bool = False,  # noqa: FBT001, FBT002  (the removed function's)
    silent: bool = False,  # noqa: ARG001, FBT001, FBT002  (there is nothing to silence)
) -> str | None:
    """Return a folder with ``model.onnx``, its data and its ``test_data_set_*`` folders.

    The folder is a copy in the cache, made once, laid out as the zoo's archives are.

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
        variant = _held(zoo, entry_for(model, repo, opset), again=force_reload)
        zoo.registry.check_there(variant)
        zoo.need_test_data(variant)
        data = zoo.registry.test_data(variant.ref)
        if data is None or variant.variant not in data.labels:
            warn(f"`{variant.ref}` has no test data")
            return None
        key = f"{data.digest_of(variant.variant)[7:19]}-{variant.digest[7:19]}"
        target = zoo.settings.copies / f"{slug(variant.name)}-{key}-{_VERSION}"
        if force_reload:
            clear(target)
        if not target.exists():
            bundle = zoo.registry.store.path(variant.digest)
            entry = bundle / variant.entry
            _copy([entry.parent, data.folder / variant.variant], target, entry.name)
        return str(target)


def load_composite_model(  # noqa: PLR0917  (the removed function's)
    network_model: str,
    preprocessing_model: str,
    network_repo: str = ZOO,
    preprocessing_repo: str = ZOO,
    opset: int | None = None,
    force_reload: bool = False,  # noqa: FBT001, FBT002  (the removed function's)
    silent: bool = False,  # noqa: FBT001, FBT002  (the removed function's)
) -> "ModelProto":
    """Return one model composed of two: preprocessing, and the network.

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
    from onnxzoo.zoo_index.onnx_hub.compose import merged

    first = load(preprocessing_model, preprocessing_repo, opset, force_reload, silent)
    second = load(network_model, network_repo, opset, force_reload, silent)
    return merged(first, second, (preprocessing_model, network_model))


@contextmanager
def _zoo() -> Iterator[Zoo]:
    try:
        with Zoo(Registry(_Place.folder)) as zoo:
            yield zoo
    except IntegrityError as error:
        raise Damaged(error.message, hint=error.hint) from error


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


def _copy(sources: Sequence[Path], target: Path, graph: str) -> None:
    """Copy folders into a new one that others see when it is complete; name the graph's file."""
    from shutil import copyfile, copytree

    making = target.with_name(f"{target.name}-{staging_name()}")
    with reporting_storage(target.parent):
        try:
            with staging_folder(making):
                for source in sources:
                    copytree(source, making, dirs_exist_ok=True, copy_function=copyfile)
                (making / graph).rename(making / _GRAPH)
                if not target.exists():
                    making.rename(target)
        finally:
            clear(making)
