"""What is held already of what a pull would fetch, as far as that can be told without asking."""

from onnxzoo.registry.api import Registry
from onnxzoo.registry.choose import Wish
from onnxzoo.registry.errors import NotFound, ZooError
from onnxzoo.registry.logs import logger
from onnxzoo.registry.names import Ref
from onnxzoo.registry.records import Variant
from onnxzoo.registry.settings import Settings
from onnxzoo.zoo_index.index import Indexes
from onnxzoo.zoo_index.plan import Plan, split_source
from onnxzoo.zoo_index.sources import open_source

_log = logger()


def held_of_plan(registry: Registry, plan: Plan) -> Variant | None:
    """Return the held variant that a plan would fetch again, if it is whole."""
    hashes = {file.sha256 for file in plan.files}
    for variant in registry.list(name=plan.name):
        same_label = plan.variant in {None, variant.variant}
        if same_label and hashes <= {file.sha256 for file in variant.files}:
            same = registry.is_whole(variant) and _has_same_data(plan, variant)
            return variant if same else None
    return None


def _has_same_data(plan: Plan, variant: Variant) -> bool:
    """Tell whether a source still has the external data that is held, as far as it says."""
    if plan.opened is None:  # an index pins every file
        return True
    listed = {file.path for file in plan.files}
    for file in variant.files:
        if file.path not in listed:
            there = plan.opened.beside(file.path)
            if there.sha256 not in {None, file.sha256} or there.bytes not in {None, file.bytes}:
                return False
    return True


def held_of_source(
    registry: Registry, settings: Settings, ref: str, called: Ref | None, sha256: str | None
) -> Variant | None:
    """Return what is held of a source, whole.

    Args:
        registry: where to look.
        settings: see `open_source`.
        ref: the source, with the variant that is asked of it.
        called: the name, and the variant, under which it must be held.
        sha256: what a file of it must hash to.
    """
    text, variant = split_source(ref)
    source = open_source(text, settings)
    for held in registry.list(source=source.url):
        fits = (
            source.means(held.entry, held.revision)
            and variant in {None, held.variant}
            and (called is None or _is_called(held, called))
            and (sha256 is None or sha256 in {file.sha256 for file in held.files})
        )
        if fits and registry.is_whole(held):
            return held
    return None


def held_of_name(
    registry: Registry, indexes: Indexes, ref: str, called: Ref | None, wish: Wish
) -> Variant | None:
    """Return a held variant that no index knows, or of a version that the reference names.

    Args:
        registry: where to look.
        indexes: what may be pulled instead.
        ref: the reference.
        called: the name, and the variant, under which it must be held.
        wish: what else is asked of it.

    Raises:
        NotFound: if the model is held and no index knows it, but not what was asked for.
    """
    parsed = Ref.parse(ref)
    try:
        known = bool(indexes.find(parsed.name))
    except ZooError as error:  # an index that fails does not block what is held
        try:
            found = _exactly(registry, ref, called, wish)
        except NotFound:
            found = None
        if found is None:
            raise
        _log.warning("%s; `%s` is held, and is taken as it is", error.message, found.ref)
        return found
    if known and parsed.version is None:
        return None
    try:
        return _exactly(registry, ref, called, wish)
    except NotFound:
        if known or not registry.list(name=parsed.name, limit=1):
            return None
        raise


def _exactly(registry: Registry, ref: str, called: Ref | None, wish: Wish) -> Variant | None:
    """Return the held variant that a reference means, if it is whole and called so."""
    found = registry.resolve(ref, **wish)
    if called is not None and not _is_called(found, called):
        return None
    return found if registry.is_whole(found) else None


def _is_called(held: Variant, called: Ref) -> bool:
    return (called.name, called.variant or held.variant) == (held.name, held.variant)
