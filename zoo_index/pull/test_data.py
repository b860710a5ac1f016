"""Bring reference inputs and outputs into the registry, where an index knows of some.

They come when they are asked for, never with every pull: an archive of the zoo holds the model a
second time, and half a gigabyte is a high price for what most users never look at.
"""

from typing import TYPE_CHECKING

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, ZooError
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.records import Progress, Variant, VerifyReport
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.testdata.sets import gather, gather_light
from onnxzoo.zoo_index.download.download import Fetched
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.index.indexes import Indexes
from onnxzoo.zoo_index.pull.pull import at_revision
from onnxzoo.zoo_index.sources.open import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logger()


def fetch_test_data(
    registry: Registry,
    indexes: Indexes,
    variant: Variant,
    settings: Settings,
    progress: Progress | None = None,
) -> bool:
    """Fetch a variant's reference data, verified, and keep them; tell whether there were any.

    What an index pins may be gone from its source: that is a warning.

    Args:
        registry: where the variant is held.
        indexes: what may know of data of these bytes, whatever they are called here.
        variant: the variant.
        settings: whether the network may be touched, and where part files lie.
        progress: told of the bytes that arrive.

    Raises:
        RemoteError, NotAuthorised: if it cannot be told whether they are there.
        IntegrityError, Refused: if what arrived is not what it should be.
    """
    entry = known_data(indexes, variant)
    if entry is None or entry.test_data is None:
        return False
    file = entry.test_data
    where = at_revision(entry.source, entry.revision)
    source = open_source(where, settings, indexes.namer(entry))
    try:
        fetched = source.fetch(file.path, sha256=file.sha256, size=file.bytes, progress=progress)
    except NotFound as error:
        _log.warning(
            "the index knows of test data of `%s`, but they are not there: %s",
            variant.ref,
            error.message,
        )
        return False
    try:
        _keep(registry, variant, fetched, f"{source.url}/{file.path}")
    finally:
        if fetched.owned:
            fetched.path.unlink(missing_ok=True)
    return True


def require_test_data(
    registry: Registry,
    indexes: Indexes,
    variant: Variant,
    settings: Settings,
    progress: Progress | None = None,
) -> None:
    """Fetch reference data for a test, if a variant has none of its own.

    Where another variant of the version has some, they will do if its own cannot be had.
    """
    held = registry.test_data(variant.ref)
    if held is None:
        fetch_test_data(registry, indexes, variant, settings, progress)
    elif variant.variant not in held.labels and known_data(indexes, variant):
        try_test_data(registry, indexes, variant, settings, progress)


def try_test_data(
    registry: Registry,
    indexes: Indexes,
    variant: Variant,
    settings: Settings,
    progress: Progress | None = None,
) -> bool:
    """Fetch reference data if there are none; turn errors into warnings."""
    held = registry.test_data(variant.ref)
    if held is not None and variant.variant in held.labels:
        return True
    try:
        if known_data(indexes, variant) is None:
            _log.warning("no index knows of test data of `%s`", variant.ref)
            return False
        return fetch_test_data(registry, indexes, variant, settings, progress)
    except ZooError as error:
        _log.warning("`%s` stays without test data of its own: %s", variant.ref, error.message)
        return False


def refetch_test_data(
    registry: Registry,
    indexes: Indexes,
    checked: VerifyReport,
    settings: Settings,
    progress: Progress | None = None,
) -> None:
    """Fetch a version's damaged reference data again, for all its variants with data.

    Raises:
        NotFound: if no index knows of any.
        ZooError: if they cannot be had.
    """
    name, _, version = checked.refs[0].rpartition("@")
    held = [v for v in registry.list(name=name) if str(v.version) == version]
    brought = [fetch_test_data(registry, indexes, variant, settings, progress) for variant in held]
    if not any(brought):
        raise NotFound(
            f"the test data of `{checked.refs[0]}` came from no index, and cannot be fetched again",
            hint=f"zoo test {checked.refs[0]} --data FOLDER",
        )


def known_data(indexes: Indexes, variant: Variant) -> Entry | None:
    """Return the line of an index that knows of reference data of exactly these bytes."""
    looks: tuple[Callable[[], list[Entry]], ...] = (
        lambda: indexes.find(variant.name),
        indexes.search,  # it may have another name here
    )
    for look in looks:
        for entry in look():
            if entry.test_data is not None and entry.digest == variant.digest:
                return entry
    return None


def _keep(registry: Registry, variant: Variant, fetched: Fetched, source: str) -> None:
    with registry.store.stage() as stage:
        if source.endswith(".pb"):  # onnx's light models come with their output alone
            gather_light(fetched.path, stage, variant.graph)
        else:
            gather(fetched.path, stage, variant.graph)
        registry.keep_test_data(variant.ref, stage, source)
