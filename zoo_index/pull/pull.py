"""Pull a plan's model into the registry: fetch, verify, try, publish."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.recipes import command, is_converted
from onnxzoo.registry.core.records import AddResult, Draft, Progress, Variant, VerifyReport
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.store import Stage
from onnxzoo.zoo_index.download.download import WebPage
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.pull.plan import Plan
from onnxzoo.zoo_index.sources.open import open_source
from onnxzoo.zoo_index.sources.source import Listed, Source

_log = logger()
_DERIVED = "zoo:"  # begins the source of a variant that was made from another
_PATIENCE = 900  # seconds to wait for another process that pulls the same; then pull beside it


def fetch_and_publish(
    registry: Registry,
    plan: Plan,
    settings: Settings,
    progress: Progress | None = None,
    *,
    must_open: bool,
) -> AddResult:
    """Fetch a plan's files, and the external data that its graph names, and publish them.

    Args:
        registry: where to.
        plan: what.
        settings: whether the network may be touched, and where part files lie.
        progress: told of each file's bytes.
        must_open: see `Registry.publish`.

    Raises:
        RemoteError, NotFound, NotAuthorised: if a file cannot be had.
        IntegrityError, InvalidModel: if what arrived is not what it should be.
    """
    from onnxzoo.registry.onnx_file.describe import describe
    from onnxzoo.registry.onnx_file.kind import check

    where = at_revision(plan.source, plan.revision)
    source = plan.opened or open_source(where, settings, plan.named_by)
    registry.expect_write()
    with registry.store.stage() as stage:
        with _naming(plan):
            for file in plan.files:
                _fetch(stage, source, file, progress)
        check(stage.folder / plan.entry)
        graph = describe(stage.folder / plan.entry)
        there = {file.path for file in plan.files}
        for location in graph.external:
            path = str(PurePosixPath(plan.entry).parent / location)
            if path not in there:
                _fetch(stage, source, _unlisted(plan, source, path), progress)
        draft = Draft(
            name=plan.name,
            entry=plan.entry,
            graph=graph,
            source=plan.source,
            label=plan.variant,
            version=plan.version,
            revision=source.revision or plan.revision,
            origin=plan.origin,
            license=plan.license,
            task=plan.task,
            tags=plan.tags,
        )
        return registry.publish(stage, draft, "pull", must_open=must_open, progress=progress)


def refetch(
    registry: Registry, checked: VerifyReport, settings: Settings, progress: Progress | None = None
) -> None:
    """Fetch the bytes of a damaged bundle again from where they came from.

    A derived variant is made again from its parent; a converted one has to be converted again.

    Raises:
        ZooError: if the source is gone, or gives other bytes now.
    """
    variant = min((registry.resolve(ref) for ref in checked.refs), key=_trouble)
    if is_converted(variant):
        raise NotFound(
            f"`{variant.ref}` was converted from `{variant.source}`: nothing but that gives its "
            "bytes again",
            hint=command(variant),
        )
    if variant.source.startswith(_DERIVED):
        _make_again(registry, checked, variant, progress)
        return
    recorded = Namer(f"the record of `{variant.ref}`")
    source = open_source(at_revision(variant.source, variant.revision), settings, recorded)
    with registry.store.stage() as stage:
        for file in variant.files:
            _fetch(stage, source, Listed(file.path, file.bytes, file.sha256), progress)
        registry.restore(stage, checked)


def _trouble(variant: Variant) -> int:
    """Order repairs: fetched models, then rederived ones, then impossible ones."""
    return 2 if is_converted(variant) else int(variant.source.startswith(_DERIVED))


def _make_again(
    registry: Registry, checked: VerifyReport, variant: Variant, progress: Progress | None
) -> None:
    from onnxzoo.registry.derive.rederive import remade

    with remade(registry, variant, progress=progress) as (parent, made):
        if made.stage.manifest.digest != checked.digest:
            raise IntegrityError(
                f"made again from `{parent.ref}`, `{variant.ref}` has other bytes than it had",
                hint=f"forget it, and make it anew from {parent.ref}: zoo rm {variant.ref}",
            )
        registry.restore(made.stage, checked)


@contextmanager
def pull_lock(plan: Plan, downloads: Path) -> Iterator[None]:
    """Hold a lock that saves a second download; nothing but time depends on it."""
    from filelock import FileLock

    key = hashlib.sha256(f"{plan.source}/{plan.entry}".encode()).hexdigest()[:32]
    with reporting_storage(downloads):
        downloads.mkdir(parents=True, exist_ok=True)
    lock = FileLock(downloads / f"{key}.lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except (OSError, NotImplementedError):  # no locks here, or a process that stands still
        yield
        return
    try:
        yield
    finally:
        lock.release()


def at_revision(source: str, revision: str | None) -> str:
    """Return a repository's text at a commit; no other kind of source has one.

    >>> at_revision("hf://acme/net", "ab12"), at_revision("https://acme.org/net.onnx", None)
    ('hf://acme/net@ab12', 'https://acme.org/net.onnx')
    """
    if revision is None or "@" in source or not source.lower().startswith("hf://"):
        return source
    owner, repo, *file = source[len("hf://") :].split("/", 2)
    return "/".join((f"hf://{owner}/{repo}@{quote(revision, safe='')}", *file))


@contextmanager
def _naming(plan: Plan) -> Iterator[None]:
    """Name the model in a checksum error, which knows a URL only, often a CDN's."""
    try:
        yield
    except WebPage:
        raise
    except IntegrityError as error:
        label = f"{plan.name}:{plan.variant}" if plan.variant else plan.name
        hint = "if the index is old: zoo index update" if plan.indexed else error.hint
        raise IntegrityError(f"cannot pull `{label}`: {error.message}", hint=hint) from error


def _unlisted(plan: Plan, source: Source, path: str) -> Listed:
    """Return a file named by the graph alone, with its source's facts."""
    if plan.indexed:
        raise IntegrityError(
            f"the index pins no hash for `{path}`, which `{plan.entry}` of `{plan.name}` needs",
            hint="its line in the index must list every file: path, sha256 and bytes",
        )
    return source.beside(path)


def _fetch(stage: Stage, source: Source, file: Listed, progress: Progress | None) -> None:
    if file.sha256 is None:
        _log.warning(
            "`%s` gives no SHA-256 for `%s`: its bytes are taken as they come",
            source.url,
            file.path,
        )
    fetched = source.fetch(file.path, sha256=file.sha256, size=file.bytes, progress=progress)
    if fetched.owned:
        stage.take(fetched.path, File(file.path, fetched.sha256, fetched.bytes))
        return
    copied = stage.copy(fetched.path, file.path, progress)
    if copied.sha256 != fetched.sha256:
        raise Refused(
            f"`{fetched.path}` was replaced while it was read",
            hint="run the command again when nothing writes to that folder",
        )
