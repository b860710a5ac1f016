"""The main job: pull a model by its name, keep it, and hand back a session."""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from onnxzoo.registry.api import Registry
from onnxzoo.registry.errors import IntegrityError, Misfit, NotFound, UsageError, ZooError
from onnxzoo.registry.fit import installed, refusal
from onnxzoo.registry.lookup import narrowed
from onnxzoo.registry.manifest import File
from onnxzoo.registry.names import Ref, fold
from onnxzoo.registry.records import Added, Checked, Draft, Progress, Variant
from onnxzoo.registry.store import Stage, reporting_storage
from onnxzoo.registry.transport import without_query
from onnxzoo.zoo_index.index import Indexes
from onnxzoo.zoo_index.plan import (
    Plan,
    from_index,
    from_source,
    is_source,
    nearest_of,
    of_held,
    split_source,
)
from onnxzoo.zoo_index.sources import Listed, Source, open_source

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

    from onnxzoo.registry.sessions import Provider

_log = logging.getLogger("onnxzoo")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PATIENCE = 900  # seconds to wait for another process that pulls the same; then pull beside it


class Zoo:
    """A registry together with the indexes that it can pull from.

    Args:
        registry: where models are kept; None for the one that the environment names.
        offline: never touch the network; None for what the environment says.
    """

    def __init__(self, registry: Registry | None = None, *, offline: bool | None = None) -> None:
        self.registry = registry or Registry()
        self.settings = self.registry.settings
        if offline is not None:
            self.settings = replace(self.settings, offline=offline)
        self.indexes = Indexes.from_settings(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.registry.close()

    def plan(
        self,
        ref: str,
        *,
        opset: str | int | None = None,
        name: str | None = None,
        sha256: str | None = None,
        runtime: str | None = None,
    ) -> Plan:
        """Return what `pull` would fetch; for a name in an index nothing is asked of the network.

        Args:
            ref: a name, or a source: ``hf://org/repo[@revision][/file][:variant]``,
                ``https://…/model.onnx``, ``pkg://package/path``, a local path.
            opset: a number or a constraint, for a name.
            name: what to call it here: ``NAME[:VARIANT]``.
            sha256: what the file of a source must hash to.
            runtime: the release that is to run it, ``onnxruntime==1.17``; None: the installed.
        """
        sha256 = _checked(ref, opset, sha256)
        called = Ref.parse(name) if name else None
        if is_source(ref):
            text, variant = split_source(ref)
            return from_source(open_source(text, self.settings), variant, called, sha256)
        plan = from_index(self.indexes, Ref.parse(ref), opset, runtime)
        if called is None:
            return plan
        return replace(plan, name=called.name, variant=called.variant or plan.variant)

    def held(self, plan: Plan) -> Variant | None:
        """Return the held variant that a plan would fetch again, if it is whole."""
        hashes = {file.sha256 for file in plan.files}
        for variant in self.registry.list(name=plan.name):
            same_label = plan.variant in {None, variant.variant}
            if same_label and hashes <= {file.sha256 for file in variant.files}:
                return variant if self.registry.is_whole(variant) else None
        return None

    def preview(
        self,
        ref: str,
        *,
        opset: str | int | None = None,
        name: str | None = None,
        sha256: str | None = None,
        runtime: str | None = None,
    ) -> tuple[Plan, Variant | None]:
        """Return what `pull` would fetch, and what is held of it: then it would fetch nothing."""
        held = self._held_of(ref, opset, name, _checked(ref, opset, sha256), runtime)
        if held is not None:
            return of_held(held, runtime), held
        plan = self.plan(ref, opset=opset, name=name, sha256=sha256, runtime=runtime)
        return plan, self.held(plan)

    def pull(
        self,
        ref: str,
        *,
        opset: str | int | None = None,
        name: str | None = None,
        sha256: str | None = None,
        runtime: str | None = None,
        force: bool = False,
        upgrade: bool = False,
        progress: Progress | None = None,
    ) -> Added:
        """Fetch a model, verify it and keep it; what is held already is left alone.

        Args:
            ref: see `plan`, as for opset, name and sha256.
            opset: a number or a constraint.
            name: what to call it here.
            sha256: what the file of a source must hash to.
            runtime: see `plan`.
            force: keep it although it does not run, or does not open here.
            upgrade: ask a source for something newer although one of its models is held.
            progress: told of each file's bytes.

        Raises:
            Misfit: if what an index has does not run; nothing was fetched.
        """
        sha256 = _checked(ref, opset, sha256)
        held = None if upgrade else self._held_of(ref, opset, name, sha256, runtime)
        if held is not None:
            return Added(held, new=False)
        plan = self.plan(ref, opset=opset, name=name, sha256=sha256, runtime=runtime)
        held = self.held(plan)
        if held is not None:
            return Added(held, new=False)
        if not force:
            _check_fit(plan, ref)
        with self._waiting_for_others(plan):
            held = self.held(plan)
            if held is not None:
                return Added(held, new=False)
            must_open = not force and runtime is None  # it need not open here to run elsewhere
            return self._fetch(plan, progress, must_open=must_open)

    def resolve(
        self,
        ref: str,
        *,
        variant: str | None = None,
        opset: str | int | None = None,
        runtime: str | None = None,
    ) -> Variant:
        """Return the held variant that a reference means; an index's other names count too."""
        try:
            return self.registry.resolve(ref, variant=variant, opset=opset, runtime=runtime)
        except NotFound as error:
            asked = narrowed(ref, variant)
            parsed = self._renamed(asked)
            missed = error
            if parsed is not None:
                try:
                    return self.registry.resolve(str(parsed), opset=opset, runtime=runtime)
                except NotFound as again:
                    missed = again
            name = (parsed or asked).name
            if asked.version is None and not self.registry.list(name=name, limit=1):
                hint = f"zoo pull {asked}" if self.indexes.find(name) else missed.hint
                raise NotFound(missed.message, hint=hint) from error
            raise missed from None

    def obtain(
        self,
        ref: str,
        *,
        variant: str | None = None,
        opset: str | int | None = None,
        progress: Progress | None = None,
    ) -> Variant:
        """Return a held variant, pulled first if only an index has it.

        Raises:
            NotFound: if neither the registry nor an index has it.
        """
        try:
            return self.resolve(ref, variant=variant, opset=opset)
        except NotFound:
            wanted = narrowed(ref, variant)
            if wanted.version is not None and self.registry.list(name=wanted.name, limit=1):
                raise
        return self.pull(str(wanted), opset=opset, progress=progress).variant

    def load(
        self,
        variant: Variant,
        *,
        device: str = "auto",
        providers: "Sequence[Provider] | None" = None,
        session_options: "SessionOptions | None" = None,
    ) -> "InferenceSession":
        """Open a session on a held variant; see `onnxzoo.load`.

        Raises:
            Misfit: if it does not run on the installed onnxruntime; its hint is what to pull.
        """
        try:
            return self.registry.load(
                variant.ref, device=device, providers=providers, session_options=session_options
            )
        except Misfit as error:
            self.hint(error, variant.name)
            raise

    def hint(self, error: Misfit, name: str) -> None:
        """Add what to pull instead to an error without a hint, where an index has what runs."""
        if error.hint is not None:
            return
        try:
            nearest = nearest_of(self.indexes.find(name), installed())
        except ZooError as failed:  # an index that fails does not hide why the model does not run
            _log.warning("%s", failed.message)
            return
        if nearest is not None:
            error.hint = f"zoo pull {nearest.name}:{nearest.variant}"

    def repair(self, checked: Checked, progress: Progress | None = None) -> None:
        """Fetch the bytes of a damaged bundle again from where they came from.

        Raises:
            ZooError: if the source is gone, or gives other bytes now.
        """
        variant = self.registry.resolve(checked.refs[0])
        source = open_source(_pinned(variant.source, variant.revision), self.settings)
        with self.registry.store.stage() as stage:
            for file in variant.files:
                _fetch_into(stage, source, Listed(file.path, file.bytes, file.sha256), progress)
            self.registry.restore(stage, checked)

    def _fetch(self, plan: Plan, progress: Progress | None, *, must_open: bool) -> Added:
        from onnxzoo.registry.inspect import describe
        from onnxzoo.registry.sniff import check

        source = plan.opened or open_source(_pinned(plan.source, plan.revision), self.settings)
        self.registry.expect_write()
        with self.registry.store.stage() as stage:
            for file in plan.files:
                _fetch_into(stage, source, file, progress)
            check(stage.folder / plan.entry)
            graph = describe(stage.folder / plan.entry)
            there = {file.path for file in plan.files}
            for location in graph.external:
                path = str(PurePosixPath(plan.entry).parent / location)
                if path not in there:
                    _fetch_into(stage, source, _unlisted(plan, source, path), progress)
            draft = Draft(
                name=plan.name,
                entry=plan.entry,
                graph=graph,
                source=plan.source,
                label=plan.variant,
                revision=source.revision,
                origin=plan.origin,
                license=plan.license,
                task=plan.task,
                tags=plan.tags,
            )
            return self.registry.publish(
                stage, draft, "pull", must_open=must_open, progress=progress
            )

    def _held_of(
        self,
        ref: str,
        opset: str | int | None,
        name: str | None,
        sha256: str | None,
        runtime: str | None,
    ) -> Variant | None:
        """Return what is held of a reference, where that can be told without asking anyone."""
        if not is_source(ref):
            return self._own(ref, opset, name, runtime)
        text, variant = split_source(ref)
        source = open_source(text, self.settings)
        called = Ref.parse(name) if name else None
        for held in self.registry.list(source=source.url):
            fits = (
                source.means(
                    held.path.relative_to(self.registry.store.path(held.digest)).as_posix(),
                    held.revision,
                )
                and variant in {None, held.variant}
                and (
                    called is None
                    or (called.name, called.variant or held.variant) == (held.name, held.variant)
                )
                and (sha256 is None or sha256 in {file.sha256 for file in held.files})
            )
            if fits and self.registry.is_whole(held):
                return held
        return None

    def _own(
        self, ref: str, opset: str | int | None, name: str | None, runtime: str | None
    ) -> Variant | None:
        """Return a held variant that no index knows, or of a version that the reference names.

        Raises:
            NotFound: if the model is held and no index knows it, but not what was asked for.
        """
        parsed = Ref.parse(ref)
        try:
            known = bool(self.indexes.find(parsed.name))
        except ZooError as error:  # an index that fails does not block what is held
            try:
                found = self._exactly(ref, opset, name, runtime)
            except NotFound:
                found = None
            if found is None:
                raise
            _log.warning("%s; `%s` is held, and is taken as it is", error.message, found.ref)
            return found
        if known and parsed.version is None:
            return None
        try:
            return self._exactly(ref, opset, name, runtime)
        except NotFound:
            if known or not self.registry.list(name=parsed.name, limit=1):
                return None
            raise

    def _exactly(
        self, ref: str, opset: str | int | None, name: str | None, runtime: str | None
    ) -> Variant | None:
        """Return the held variant that a reference means, if it is whole and called so."""
        found = self.registry.resolve(ref, opset=opset, runtime=runtime)
        called = Ref.parse(name) if name else Ref(found.name)
        if (called.name, called.variant or found.variant) != (found.name, found.variant):
            return None
        return found if self.registry.is_whole(found) else None

    def _renamed(self, ref: Ref) -> Ref | None:
        """Return a reference under the name that an index's other name stands for."""
        entries = self.indexes.find(ref.name)
        if not entries or fold(entries[0].name) == fold(ref.name):
            return None
        variant = entries[0].variant if len(entries) == 1 else None
        return Ref(entries[0].name, ref.variant or variant, ref.version)

    @contextmanager
    def _waiting_for_others(self, plan: Plan) -> Iterator[None]:
        """Hold a lock that saves a second download; nothing but time depends on it."""
        from filelock import FileLock

        key = hashlib.sha256(f"{plan.source}/{plan.entry}".encode()).hexdigest()[:32]
        with reporting_storage(self.settings.downloads):
            self.settings.downloads.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.settings.downloads / f"{key}.lock")
        try:
            lock.acquire(timeout=_PATIENCE)
        except (OSError, NotImplementedError):  # no locks here, or a process that stands still
            yield
            return
        try:
            yield
        finally:
            lock.release()


def _check_fit(plan: Plan, ref: str) -> None:
    if plan.fit is None or not plan.fit.misfits:
        return
    fit = plan.fit
    called = f"{Ref.parse(ref).name}:{plan.variant}"
    error = refusal(called, fit.misfits, fit.runtime, fit.nearest)
    error.hint = (
        f"zoo pull {fit.nearest}"
        if fit.nearest
        else f"zoo pull {ref} --force keeps it all the same"
    )
    raise error


def _checked(ref: str, opset: str | int | None, sha256: str | None) -> str | None:
    """Return the hash that was asked for, in lower case; refuse what does not go together."""
    if is_source(ref) and opset is not None:
        raise UsageError(
            f"an opset chooses among an index's variants; `{_shown(ref)}` is a source",
            hint="name the file, or the variant where the source has several",
        )
    if sha256 is None:
        return None
    if not is_source(ref):
        raise UsageError(
            f"a SHA-256 goes with a source; an index pins those of `{ref}` itself",
            hint=f"zoo pull {ref}",
        )
    if not _SHA256.fullmatch(sha256.strip()):
        raise UsageError(f"`{sha256}` is not a SHA-256; expected 64 hexadecimal digits")
    return sha256.strip().lower()


def _shown(ref: str) -> str:
    return without_query(ref) if ref.lower().startswith(("http://", "https://")) else ref


def _pinned(source: str, revision: str | None) -> str:
    """Return a repository's text at a commit; no other kind of source has one.

    >>> _pinned("hf://acme/net", "ab12"), _pinned("https://acme.org/net.onnx", None)
    ('hf://acme/net@ab12', 'https://acme.org/net.onnx')
    """
    if revision is None or "@" in source or not source.lower().startswith("hf://"):
        return source
    owner, repo, *file = source.removeprefix("hf://").split("/", 2)
    return "/".join((f"hf://{owner}/{repo}@{quote(revision, safe='')}", *file))


def _unlisted(plan: Plan, source: Source, path: str) -> Listed:
    """Return a file that only the graph names, with what its source knows of it."""
    if plan.indexed:
        raise IntegrityError(
            f"the index pins no hash for `{path}`, which `{plan.entry}` of `{plan.name}` needs",
            hint="its line in the index must list every file: path, sha256 and bytes",
        )
    return source.beside(path)


def _fetch_into(stage: Stage, source: Source, file: Listed, progress: Progress | None) -> None:
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
    if file.sha256 not in {None, copied.sha256}:
        raise IntegrityError(
            f"`{fetched.path}` has SHA-256 {copied.sha256}; expected {file.sha256}"
        )
