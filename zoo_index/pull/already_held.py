"""Find the held part of a pull, as far as possible without the network."""

from pathlib import PurePosixPath
from shlex import quote

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, UsageError, ZooError
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.resolve.choose import Constraints
from onnxzoo.zoo_index.index.indexes import Indexes
from onnxzoo.zoo_index.pull.plan import Plan, split_source
from onnxzoo.zoo_index.sources.file_names import is_repository, repository_name
from onnxzoo.zoo_index.sources.open import open_source

_log = logger()


def find_held_plan(registry: Registry, plan: Plan) -> Variant | None:
    """Return the held variant that has all that a plan would fetch, if it is whole."""
    hashes = {file.sha256 for file in plan.files}
    for variant in registry.list(name=plan.name):
        same = plan.variant in {None, variant.variant}
        same = same and hashes <= {file.sha256 for file in variant.files}
        if same and registry.is_whole(variant) and _has_same_data(plan, variant):
            return variant
    return None


def check_name(registry: Registry, plan: Plan) -> None:
    """Refuse the name that a source gives itself where the held model is from somewhere else.

    Raises:
        UsageError: naming the source of the held one.
    """
    sources = {v.source for v in registry.list(name=plan.name) if v.lineage is None}
    if not sources or plan.source.lower() in {source.lower() for source in sources}:
        return
    raise UsageError(
        f"`{plan.name}` is held already, from `{min(sources)}`; "
        f"`{plan.source}` is another model until you say otherwise",
        hint=f"zoo pull {quote(plan.source)} --name NAME; "
        f"with `--name {plan.name}` it becomes a version of the held one",
    )


def _has_same_data(plan: Plan, variant: Variant) -> bool:
    """Return whether a plan's external data are the held ones.

    They lie beside the planned graph, under the names that it has for them. What another place
    does not tell of its data counts as different.
    """
    if plan.opened is None:  # an index pins every file
        return True
    held = {file.path: file for file in variant.files}
    same_place = (plan.source, plan.entry) == (variant.source, variant.entry)
    for location in variant.graph.external:
        file = held[str(PurePosixPath(variant.entry).parent / location)]
        try:
            there = plan.opened.beside(str(PurePosixPath(plan.entry).parent / location))
        except NotFound:  # the pull says it
            return False
        if there.sha256 is None and not same_place:
            return False
        if there.sha256 not in {None, file.sha256} or there.bytes not in {None, file.bytes}:
            return False
    return True


def find_held_source(
    registry: Registry, settings: Settings, ref: str, called: Ref | None, sha256: str | None
) -> Variant | None:
    """Return the intact held variant of a source.

    Args:
        registry: where to look.
        settings: see `open_source`.
        ref: the source, with the variant that is asked of it.
        called: the name, and the variant, under which it must be held.
        sha256: what a file of it must hash to.
    """
    text, variant = split_source(ref)
    source = open_source(text, settings)
    whole = repository_name(text) if called is None and is_repository(text) else None
    for held in registry.list(source=source.url):
        fits = (
            source.means(held.entry, held.revision)
            and whole in {None, held.name}  # a part of a repository is not all of it
            and variant in {None, held.variant}
            and (called is None or _is_called(held, called))
            and (sha256 is None or sha256 in {file.sha256 for file in held.files})
        )
        if fits and registry.is_whole(held):
            return held
    return None


def find_held_name(
    registry: Registry, indexes: Indexes, ref: str, called: Ref | None, wish: Constraints
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


def _exactly(registry: Registry, ref: str, called: Ref | None, wish: Constraints) -> Variant | None:
    """Return the held variant that a reference means, if it is whole and called so."""
    found = registry.resolve(ref, **wish)
    if called is not None and not _is_called(found, called):
        return None
    return found if registry.is_whole(found) else None


def _is_called(held: Variant, called: Ref) -> bool:
    return (called.name, called.variant or held.variant) == (held.name, held.variant)
