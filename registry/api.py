"""The registry: register, resolve, load, list, alias, tag, remove, collect garbage, verify."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from threading import Thread, get_ident
from typing import TYPE_CHECKING, BinaryIO, Self, Unpack
from weakref import ref as weakref

from onnxzoo.registry.core.errors import (
    Busy,
    IntegrityError,
    InvalidModel,
    Misfit,
    NotFound,
    Refused,
    StorageError,
    UsageError,
    ZooError,
)
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import LATEST, Ref, check_list, check_word
from onnxzoo.registry.core.records import (
    AddResult,
    Draft,
    Event,
    Garbage,
    Measurement,
    Progress,
    RemoveResult,
    Variant,
    VerifyReport,
)
from onnxzoo.registry.core.settings import Settings, at
from onnxzoo.registry.database.database import Database, Rows, rows_of
from onnxzoo.registry.database.queries import (
    Row,
    derived,
    events,
    graph_of,
    holding,
    listed,
    measurements,
    places,
    records,
)
from onnxzoo.registry.licenses.policy import check_license
from onnxzoo.registry.maintenance.sidecars import check as check_rows
from onnxzoo.registry.maintenance.sidecars import write_with_sidecars
from onnxzoo.registry.onnx_file.signature import differences
from onnxzoo.registry.reference_data import Reference, find, keep
from onnxzoo.registry.resolve.choose import Constraints, choose, parse_opset
from onnxzoo.registry.resolve.lookup import (
    all_of,
    chosen,
    digest_of,
    ref_of,
    version_of,
    with_variant,
)
from onnxzoo.registry.sessions.loader import EXACT, Loader, warn
from onnxzoo.registry.store import Stage, Store

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession, SessionOptions

    from onnxzoo.registry.archive.merge import Imported
    from onnxzoo.registry.archive.snapshot import Exported
    from onnxzoo.registry.maintenance.rebuild import Rebuilt
    from onnxzoo.registry.onnx_file.given_model import Given
    from onnxzoo.registry.runtime.providers import Provider


_REMEMBERED = 256  # ways to ask for a session that is open
_NAMED = 3  # damaged files; the hint names all


class Registry:
    """The models that are held: a database of rows and a store of bytes.

    Args:
        home: the folder of both; None for what the environment says (``ZOO_HOME``).
        settings: everything the environment says, where it was read already.
    """

    def __init__(self, home: str | Path | None = None, *, settings: Settings | None = None) -> None:
        settings = settings or Settings.from_env()
        self.settings = settings if home is None else at(Path(home), settings)
        self.store = Store(self.settings.home / "store")
        self.loader = Loader(self.settings, self.held_sets)
        self._database = Database(
            self.settings.home / "registry.db",
            self.settings.database_url,
            was_there=lambda: any(self.store.sidecars()),
        )
        self._warned: set[str] = set()
        self._loaded: dict[object, tuple[object, weakref[InferenceSession]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this thread's connection to the database; another thread's closes with it."""
        self._database.close()

    def stamp(self) -> object | None:
        """Return a token that changes when another connection commits to the registry.

        None where that cannot be told cheaply (PostgreSQL): then it may have changed.
        """
        return self._database.stamp()

    def reads_as_is(self) -> bool:
        """Tell whether the database is a local file that can be read without being migrated.

        Raises:
            ZooError, sqlite3.Error: if it cannot be read at all.
        """
        return self._database.reads_as_is()

    def expect_write(self) -> None:
        """Create the database and import SQLAlchemy in the background, while a download runs.

        A process that ends sooner waits for it: the interpreter's end disturbs what still runs.
        """
        Thread(target=self._make).start()

    def _make(self) -> None:
        import_module("onnxzoo.registry.database.writes")
        with suppress(ZooError):  # `publish` will say it
            self._database.make()

    def register(
        self,
        path: "str | Path | ModelProto | bytes",
        name: str,
        *,
        new_version: bool = False,
        task: str | None = None,
        license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
        tags: Sequence[str] = (),
        test_data: str | Path | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> AddResult:
        """Copy an ONNX file and its external data into the store and give it a name.

        Args:
            path: a `.onnx` file, whose external data lies where the graph names it; a ModelProto in
                protobuf's text format; or in memory a ModelProto or its bytes.
            name: ``NAME[:VARIANT][@VERSION]``. Without a variant the label is the precision of
                the weights; without a version the file joins the latest one, or starts a new one
                where that label is taken there by other bytes.
            new_version: start a new version whatever is held.
            task: what the model does, such as ``image-classification``.
            license: of the version, an SPDX identifier. Both take the place of what was recorded.
            tags: words to find the model by.
            test_data: reference inputs and outputs; see `add_test_data`.
            force: take a label that says another precision than the weights have, or a version
                with other inputs or outputs.
            progress: told of the bytes copied.

        Raises:
            NotFound: if the file or its external data is not there.
            InvalidModel, IntegrityError: if it is not an ONNX model, or only a part of one.
            Refused: if it is not safe to be opened; if the named version holds the label already,
                for other bytes.
        """
        from onnxzoo.registry.onnx_file.describe import describe
        from onnxzoo.registry.onnx_file.given_model import given_model
        from onnxzoo.registry.testdata.sets import gather

        check_list(tags, "tags")
        ref = Ref.parse(name)
        version = self.number(ref)
        given = given_model(path)
        with self.store.stage() as stage, self.store.stage() as data:
            _place(stage, given, progress)
            graph = describe(stage.folder / given.entry)
            for location in graph.external:
                if given.file is None:
                    raise NotFound(
                        f"the weights of the model lie in `{location}`, which a model in memory "
                        "has not got",
                        hint="onnx.load(FILE) loads them too; or register the file",
                    )
                _copy_beside(stage, given.file, location, progress)
            stage.check_sources()
            draft = Draft(
                name=ref.name,
                entry=given.entry,
                graph=graph,
                source=given.source,
                label=ref.variant,
                version=version,
                new_version=new_version,
                license=license,
                task=task,
                tags=tuple(check_word(tag.lower(), "tag") for tag in tags),
                force=force,
            )
            if test_data is not None:
                gather(Path(test_data).expanduser(), data, graph)
            return self.publish(
                stage,
                draft,
                "register",
                must_open=False,
                data=data if test_data else None,
                data_source=str(test_data),
                progress=progress,
            )

    def publish(
        self,
        stage: Stage,
        draft: Draft,
        action: str,
        *,
        must_open: bool,
        data: Stage | None = None,
        data_source: str = "",
        domains: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> AddResult:
        """Move a staged bundle into the store and insert its rows, in one transaction.

        Before that our own reader checks all of it (see `check_safe`), whatever brought it here;
        then a child process opens the model and prepares a session on it.

        Args:
            stage: the files, all of them.
            draft: what is known of them.
            action: the word for it in the event log.
            must_open: refuse a model that onnxruntime does not open here; else only warn.
            data: reference data in the layout of `sets.gather`, to be kept with it.
            data_source: where they come from.
            domains: whose ops it may hold, beside those that the settings allow.
            progress: told of the bytes that are prepared.

        Raises:
            InvalidModel: if it is damaged, or has to open and does not.
            Refused: if it is not safe to be opened, or wants more memory or time to open than it
                is allowed.
        """
        from onnxzoo.registry.database import writes
        from onnxzoo.registry.onnx_file.safety import check_safe

        allowed = {*self.settings.allow_domains, *domains}
        check_safe(stage.folder / draft.entry, domains=allowed)
        held = None if data is None else data.folder
        self._look(
            stage.folder,
            stage.manifest.digest,
            draft,
            must_open=must_open,
            progress=progress,
            held=held,
        )
        with write_with_sidecars(self._database, self.store) as session:
            whole = not self.store.changes(stage.manifest)
            manifest = self.store.publish(stage)
            ref, new, learnt = writes.add(session, draft, manifest, action)
            repaired = not (new or whole)
            if repaired:
                writes.describe_again(session, manifest.digest, self.store.path(manifest.digest))
                writes.log(session, "repair", ref, manifest.digest)
            if data is not None and keep(session, self.store, ref, data, data_source):
                learnt.append("test data")
        return AddResult(self.resolve(ref), new, repaired, tuple(learnt))

    def _look(
        self,
        folder: Path,
        digest: str,
        draft: Draft,
        *,
        must_open: bool,
        progress: Progress | None,
        held: Path | None = None,
    ) -> None:
        try:
            ops = sum(draft.graph.ops.values())
            self.loader.look_at(folder, draft.entry, digest, progress, held=held, ops=ops)
        except InvalidModel as error:
            if must_open:
                raise
            said = error.message.replace(str(folder / draft.entry), draft.entry)
            warn(f"`{draft.name}` is kept, but does not open here: {said}")
        except StorageError as error:
            warn(f"`{draft.name}` opens from its plain file: {error.message}")

    def restore(self, stage: Stage, checked: VerifyReport) -> None:
        """Put back the bytes of a damaged bundle.

        Raises:
            IntegrityError: if these are not the bundle's bytes.
        """
        from onnxzoo.registry.maintenance import verify as upkeep

        upkeep.restore(self._database, self.store, stage, checked)

    def resolve(self, ref: str, **wish: Unpack[Constraints]) -> Variant:
        """Return the held variant that a reference means, whether or not it runs here.

        Args:
            ref: ``NAME[:VARIANT][@VERSION]``.
            wish: what else is asked of it; see `Constraints`. The answer's `why` says what decided.

        Raises:
            NotFound: if no such model, version or variant is held.
        """
        parsed = with_variant(ref, wish.get("variant"))
        with self._database.read() as rows:
            choice = chosen(rows, parsed, wish)
            found = replace(records(rows, self.store, [choice.found.row])[0], why=choice.why)
        if choice.warning is not None and choice.warning not in self._warned:
            self._warned.add(choice.warning)
            warn(choice.warning)
        return found

    def load(
        self,
        ref: str,
        *,
        providers: "Sequence[Provider] | None" = None,
        session_options: "SessionOptions | None" = None,
        open: str = EXACT,  # noqa: A002  (what is asked: how to open)
        **wish: Unpack[Constraints],
    ) -> "InferenceSession":
        """Return a session on a held variant; see `onnxzoo.load`.

        Raises:
            Misfit: if it does not run on the installed onnxruntime; it says why, and what does.
        """
        asked = get_ident(), ref, repr(providers), open, repr(wish)
        stamp = self.stamp() if session_options is None else None
        if stamp is not None and (loaded := self._loaded.get(asked)) is not None:
            then, known = loaded
            session = known() if then == stamp else None
            if session is not None:  # and nothing was committed since: nothing is looked up
                return session
        found, device = self.resolve(ref, **wish), wish.get("device", "auto")
        self.check_there(found)
        try:
            session = self.loader.session(
                found,
                device=device,
                providers=providers,
                session_options=session_options,
                open=open,
            )
        except InvalidModel as error:  # only now: a model that opens is asked nothing
            misfit = self._misfit(found, device)
            if misfit is None:
                raise
            raise misfit from error
        if stamp is not None:
            if len(self._loaded) >= _REMEMBERED:
                self._loaded.clear()
            self._loaded[asked] = stamp, weakref(session)
        return session

    def is_whole(self, variant: Variant) -> bool:
        """Tell whether every file of a variant is as it was published; see `Store.changes`."""
        return not self.store.changes(Manifest(variant.files))

    def check_there(self, variant: Variant) -> None:
        """Check that every file of a variant is as it was published.

        Raises:
            NotFound: if nothing of it is in this machine's store.
            IntegrityError: if a file is missing or was changed.
        """
        problems = self.store.changes(Manifest(variant.files))
        if problems:
            from onnxzoo.registry.core.recipes import repair_command

            hint = repair_command(variant)
            if self.store.is_absent(variant.digest):
                raise self.store.not_here(variant.ref, hint)
            raise IntegrityError(
                f"the files of `{variant.ref}` are missing or were changed, in "
                f"`{self.store.path(variant.digest)}`: {'; '.join(problems[:_NAMED])}"
                f"{f' and {len(problems) - _NAMED} more' if len(problems) > _NAMED else ''}",
                hint=hint,
            )

    def list(
        self,
        words: Sequence[str] = (),
        *,
        ops: bool = False,
        name: str | None = None,
        source: str | None = None,
        task: str | None = None,
        opset: str | int | None = None,
        max_bytes: int | None = None,
        license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
        limit: int | None = None,
    ) -> Sequence[Variant]:
        """Return held variants, by name, newest version first.

        Args:
            words: each must occur in the name, the task, a tag, the precision, the label or an
                alias; one with ``:`` or ``@`` in the reference. A ``*`` stands for anything.
            ops: or in the text of the graph, such as its op types.
            name: of this model only.
            source: that came from this source only.
            task: such as ``image-classification``.
            opset: a number or a constraint, such as ``"<=13"``.
            max_bytes: of all its files together.
            license: an SPDX identifier, upper and lower case alike.
            limit: at most so many.
        """
        check_list(words, "words")
        within = parse_opset(opset)
        bounded = (task, within, max_bytes, license) != (None,) * 4
        most = None if bounded else limit
        with self._database.read() as rows:
            found = [
                row
                for row in listed(rows, words, ops=ops, name=name, source=source, limit=most)
                if task in {None, row["task"]}
                and (within is None or within.contains(str(row["opset"])))
                and (max_bytes is None or row["bytes"] <= max_bytes)
                and (license is None or license.lower() == (row["license"] or "").lower())
            ]
            return records(rows, self.store, found[:limit])

    def selected(self, refs: Sequence[str]) -> Sequence[Variant]:
        """Return every held variant that references mean, by name, version and label.

        Args:
            refs: models (every version), versions, or variants (of the latest version); none of
                them means everything.

        Raises:
            NotFound: if one of them is not held.
        """
        with self._database.read() as rows:
            found = (
                {row["id"]: row for ref in refs for row in all_of(rows, Ref.parse(ref))}.values()
                if refs
                else listed(rows)
            )
            key = itemgetter("name", "number", "label")
            return records(rows, self.store, sorted(found, key=key))

    def derived(self, digest: str) -> Sequence[Variant]:
        """Return the held variants that were made from a bundle."""
        with self._database.read() as rows:
            return derived(rows, self.store, digest)

    def holding(self, digest: str) -> Sequence[Variant]:
        """Return the held variants of a bundle; none if it is not held."""
        with self._database.read() as rows:
            return holding(rows, self.store, digest)

    def names(self) -> set[str]:
        """Return the names of all models that are held."""
        with self._database.read() as rows:
            return {row["name"] for row in rows("SELECT name FROM model")}

    def measure(self, ref: str, found: Sequence[Measurement]) -> None:
        """Store measurements of a variant, or of a bundle by its digest (``sha256:…``).

        A measurement takes the place of the older one of its metric in the same context. They
        belong to the bytes: every variant with these bytes has them.

        Raises:
            NotFound: if no such variant or bundle is held.
        """
        from onnxzoo.registry.database import writes

        digest = self._digest(ref)
        with self._database.write() as session:
            writes.measure(session, digest_of(rows_of(session), digest), found)

    def keep_figures(self, found: Iterable[tuple[str, Sequence[Measurement]]]) -> None:
        """Store measurements of several bundles, by digest, in one transaction.

        A database that may not be written keeps nothing, which is logged: the figures are as
        true without it.

        Raises:
            NotFound: if no such bundle is held.
        """
        from onnxzoo.registry.database import writes

        try:
            with self._database.write() as session:
                for digest, measurements in found:
                    writes.measure(session, digest_of(rows_of(session), digest), measurements)
        except StorageError as error:
            warn(f"the figures are not kept: {error.message}")

    def measurements(self, ref: str) -> Sequence[Measurement]:
        """Return the measurements of a variant, or of a bundle by its digest.

        Raises:
            NotFound: if no such variant or bundle is held.
        """
        digest = self._digest(ref)
        with self._database.read() as rows:
            return measurements(rows, digest_of(rows, digest))

    def test_data(self, ref: str) -> Reference | None:
        """Return the reference data of a version, None if it has none or their bytes are gone.

        Raises:
            NotFound: if no such version is held.
        """
        with self._database.read() as rows:
            return find(rows, self.store, Ref.parse(ref))

    def held_sets(self, variant: Variant) -> Path | None:
        """Return the folder of the reference data that are for a variant, None without any."""
        held = self.test_data(variant.ref)
        if held is None:
            return None
        return held.folder / held.label_for(variant, self.list(name=variant.name))

    def add_test_data(self, ref: str, path: str | Path) -> None:
        """Store reference inputs and outputs of a held variant, replacing its earlier ones.

        Args:
            ref: the variant.
            path: a folder of ``test_data_set_*`` folders with ``input_*.pb`` and ``output_*.pb``,
                or an archive of such (``.tar.gz``, ``.zip``); or ``.npz`` files, each a set, with
                the arrays ``input:NAME`` and ``output:NAME``.

        Raises:
            NotFound: if the variant is not held, or there are no such data.
            Refused: if they are unsafe to read, malformed, or not for this model.
        """
        from onnxzoo.registry.testdata.sets import gather

        variant, path = self.resolve(ref), Path(path).expanduser()
        with self.store.stage() as stage:
            gather(path, stage, variant.graph)
            self.keep_test_data(variant.ref, stage, str(path.absolute()))

    def keep_test_data(self, ref: str, stage: Stage, source: str) -> None:
        """Keep reference data that are staged in the layout of `sets.gather`."""
        with write_with_sidecars(self._database, self.store) as session:
            keep(session, self.store, ref, stage, source)
        with suppress(ZooError):  # what is not prepared opens from its plain file
            self.loader.look_again(self.resolve(ref))

    def events(self, name: str | None = None, *, limit: int = 50) -> Sequence[Event]:
        """Return the event log, newest first: of one model, or of all."""
        with self._database.read() as rows:
            return events(rows, name and Ref.parse(name).name, limit)

    def aliases(self, name: str) -> Mapping[str, int]:
        """Return the version that each alias of a model points to, ``latest`` included.

        `resolve` returns the variant: ``resolve("resnet50@production")``.
        """
        with self._database.read() as rows:
            latest = version_of(rows, _model(name))[0].row
            return {LATEST: latest["number"]} | {
                row["name"]: row["number"]
                for row in rows(
                    "SELECT a.name, v.number FROM alias a JOIN version v ON v.id = a.version_id "
                    "WHERE a.model_id = :model ORDER BY a.name",
                    model=latest["model_id"],
                )
            }

    def alias(self, ref: str, alias: str, *, force: bool = False) -> int | None:
        """Point an alias at the variant that a reference means now.

        It goes on to mean that variant whatever is added to the version later.

        Returns:
            The version that it pointed to before, or None if it is new.

        Raises:
            UsageError: if the alias is ``latest``, which is built in, or could be a number.
            Refused: if it moves to a model with other inputs or outputs, without ``force``.
        """
        from onnxzoo.registry.database import writes

        parsed, alias = Ref.parse(ref), alias.lower()
        _check_alias(alias)
        with write_with_sidecars(self._database, self.store) as session:
            rows = rows_of(session)
            target = chosen(rows, parsed, {}).found.row
            if not force:
                _check_signature(rows, target, alias)
            return writes.set_alias(session, alias, target)

    def unalias(self, name: str, alias: str) -> None:
        """Remove an alias of a model; its version stays."""
        from onnxzoo.registry.database import writes

        model = _model(name)
        with write_with_sidecars(self._database, self.store) as session:
            row = version_of(rows_of(session), model)[0].row
            if not writes.drop_alias(session, alias.lower(), row):
                raise NotFound(f"`{name}` has no alias `{alias}`", hint=f"zoo alias {name}")

    def tag(self, name: str, tags: Sequence[str]) -> None:
        """Add tags to a model; existing tags stay."""
        check_list(tags, "tags")
        from onnxzoo.registry.database import writes

        words = [check_word(tag.lower(), "tag") for tag in tags]
        model = _tagged(name, tags)
        with write_with_sidecars(self._database, self.store) as session:
            row = version_of(rows_of(session), model)[0].row
            writes.add_tags(session, row, words)

    def untag(self, name: str, tags: Sequence[str]) -> None:
        """Remove tags from a model."""
        check_list(tags, "tags")
        from onnxzoo.registry.database import writes

        model = _tagged(name, tags)
        with write_with_sidecars(self._database, self.store) as session:
            row = version_of(rows_of(session), model)[0].row
            for tag in tags:
                if not writes.drop_tag(session, row, tag.lower()):
                    raise NotFound(f"`{name}` has no tag `{tag}`", hint=f"zoo tag {name}")

    def remove(self, ref: str, *, force: bool = False) -> RemoveResult:
        """Forget a model (``NAME``), a version (``NAME@2``) or a variant (``NAME:int8[@2]``).

        The bytes stay in the store until `gc`.

        Raises:
            Refused: if an alias points to a version that would lose a variant, without ``force``.
        """
        from onnxzoo.registry.maintenance import removal

        return removal.remove(self._database, self.store, Ref.parse(ref), force=force)

    def gc(
        self,
        *,
        dry_run: bool = False,
        environments: bool = False,
        downloads: bool = False,
        force: bool = False,
    ) -> Garbage:
        """Delete unreferenced bundles, half-made and damaged ones, and old downloads.

        Args:
            dry_run: only say what it is.
            force: free bundles, too, that the database does not know, but that the store names:
                `rebuild` adds them to it.
            environments: free those that converters have for themselves, too.
            downloads: free partial downloads that nobody works at, too, however young.
        """
        from onnxzoo.registry.maintenance import gc as gc_

        return gc_.collect(
            self._database,
            self.store,
            self.settings,
            self.loader.prepared,
            dry_run=dry_run,
            environments=environments,
            downloads=downloads,
            force=force,
        )

    def verify(
        self, refs: Sequence[str] = (), *, progress: Progress | None = None
    ) -> Iterator[VerifyReport]:
        """Re-hash the held bundles and yield a report on each; set damaged ones aside.

        A model that would be refused today is named; it stays.

        Args:
            refs: models, versions or variants; none of them means everything.
            progress: told of the bytes hashed, of all bundles together.
        """
        check_list(refs, "refs")
        from onnxzoo.registry.maintenance import verify as upkeep

        return upkeep.verify(self._database, self.store, [*map(Ref.parse, refs)], progress)

    def check(self) -> None:
        """Read the whole database.

        Raises:
            Damaged: if it is damaged or gone; see `rebuild`.
            DatabaseError, StorageError, Busy: if it cannot be used for another reason.
        """
        self._database.check()
        with self._database.read() as rows:
            check_rows(rows, self.store)

    def migrate(self) -> None:
        """Bring the database's schema up to date, where it waits for that: on a server."""
        self._database.migrate()

    def rebuild(self, *, force: bool = False) -> "Rebuilt":
        """Rebuild a damaged or lost database from the sidecars in the store.

        A whole one that does not know all of them, such as an older copy that was put back, gets
        what it lacks. A damaged one is set aside under another name. No other process should use
        the registry meanwhile: what it wrote would be in the old one.

        Args:
            force: set a database aside that is not damaged, too.

        Raises:
            Refused: if the database is not damaged, or the store does not say what it holds.
        """
        from onnxzoo.registry.maintenance.rebuild import rebuild
        from onnxzoo.registry.maintenance.unknown_bundles import add_unknown

        self.close()
        url = self.settings.database_url
        with closing(Database(self.settings.home / "registry.db", url)) as database:
            added = None if force else add_unknown(database, self.store)
            return added or rebuild(database, self.store, force=force)

    def unknown(self) -> Sequence[str]:
        """Return the bundles that the store names and the database does not know; see `rebuild`."""
        from onnxzoo.registry.maintenance.unknown_bundles import unknown

        with self._database.read() as rows:
            found = unknown(rows, self.store, used=True)
        return sorted(ref for refs in found.values() for ref in refs)

    def write_sidecars(self) -> "tuple[int, Sequence[str]]":
        """Write the missing and outdated sidecars.

        Sidecars of models of which the store knows more than the database are left alone.

        Returns:
            How many bundles it was not so for: those of an older onnxzoo, or after a kill; and the
            models whose sidecars were written after the database's last change, which may be an
            older copy than its store.
        """
        from onnxzoo.registry.maintenance.sidecars import stale_sidecars, write_missing

        leave = {Ref.parse(ref).name for ref in self.unknown()}
        digests, ahead = stale_sidecars(self._database, self.store, leave=leave)
        write_missing(self._database, self.store, digests)
        return len(digests), ahead

    def export(
        self, refs: Sequence[str], output: Path | BinaryIO, *, progress: Progress | None = None
    ) -> "Exported":
        """Write models with all that is known of them into one `.zoo` file.

        Args:
            refs: models (every version), versions, or variants (of the latest version); none of
                them means everything.
            output: a file, which is there when it is whole, or a stream of bytes.
            progress: told of the bytes of all files.

        Raises:
            NotFound: if one of them is not held, or its files are not here, or nothing is held.
            IntegrityError: if a file is damaged or missing.
        """
        check_list(refs, "refs")
        from onnxzoo.registry.archive.export import collect_contents, locate_files
        from onnxzoo.registry.archive.snapshot import Exported
        from onnxzoo.registry.archive.tar import pack, writing

        with self._database.read() as rows:
            contents = collect_contents(rows, [*map(Ref.parse, refs)])
        places = locate_files(contents, self.store)
        if isinstance(output, Path):
            with writing(output) as file:
                sha256 = pack(contents, places, file, output.name, progress)
        else:
            sha256 = pack(contents, places, output, "export", progress)
        return Exported(contents, sha256)

    def import_file(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        move_aliases: bool = False,
        allow_licenses: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> "Imported":
        """Keep everything that a `.zoo` file holds, or nothing of it.

        Args:
            path: what `export` wrote.
            name: what errors and progress call it; None for the file's own name.
            move_aliases: move aliases that point elsewhere here; else they stay.
            allow_licenses: refuse others; None for what the environment says.
            progress: told of the bytes of all files, and of those that are prepared.

        Raises:
            NotFound: if there is no such file.
            IntegrityError: if a byte of it is not what it should be.
            Refused: if it is no such file, or holds what is unsafe, invalid or unfit.
        """
        check_list(allow_licenses, "allow_licenses")
        from onnxzoo.registry.archive.merge import merge
        from onnxzoo.registry.archive.tar import opened
        from onnxzoo.registry.archive.unpack import staged
        from onnxzoo.registry.database.writes import describe_again
        from onnxzoo.registry.onnx_file.safety import check_safe

        allowed = self.settings.allow_licenses if allow_licenses is None else allow_licenses
        self.expect_write()
        with opened(Path(path).expanduser(), name) as packed, ExitStack() as stack:
            for model, version in packed.contents.versions():
                check_license(f"{model.name}@{version.number}", version.license, allowed)
            with self._database.read() as rows:
                held = places(rows)
            found = stack.enter_context(staged(packed, self.store, held, progress))
            for (digest, entry), (folder, draft) in found.new.items():
                check_safe(folder / entry, domains=self.settings.allow_domains)
                self._look(folder, digest, draft, must_open=False, progress=progress)
            published = set()
            with write_with_sidecars(self._database, self.store) as session:
                for digest, manifest in packed.contents.bundles.items():
                    if digest in found.stages:
                        if self.store.changes(manifest):  # else it arrived meanwhile
                            published.add(digest)
                        self.store.publish(found.stages[digest])
                        describe_again(session, digest, self.store.path(digest))
                    elif not self.store.holds(manifest):
                        raise Busy(f"`{digest}` was removed meanwhile", hint="run it again")
                return merge(
                    session,
                    packed.contents,
                    found.graphs,
                    move_aliases=move_aliases,
                    published=published,
                )

    def _digest(self, ref: str) -> str:
        return ref if ref.startswith("sha256:") else self.resolve(ref).digest

    def _misfit(self, variant: Variant, device: str) -> Misfit | None:
        """Return why a variant did not open, where that is its fit, and which held one does."""
        from onnxzoo.registry.runtime.compatibility import installed, misfits, refusal, runs

        here = installed()
        reasons = misfits(variant.graph, here, device)
        if not reasons:
            return None
        fitting = [v for v in self.list(name=variant.name) if runs(v.graph, here, device)]
        nearest = choose(fitting, {}, fits=lambda _: True)
        return refusal(variant.ref, reasons, here, nearest.found.ref if nearest else None)

    def number(self, ref: Ref) -> int | None:
        """Return the number of the version that a reference names, None if it names none."""
        if ref.version is None:
            return None
        if not self.list(name=ref.name, limit=1):
            raise UsageError(
                f"`{ref.name}` is new: its first version is 1; `@{ref.version}` was asked for",
                hint=f"leave `@{ref.version}` out: versions are numbered by the registry",
            )
        with self._database.read() as rows:
            return int(version_of(rows, ref)[0].row["number"])


def _model(name: str) -> Ref:
    """Return the reference to a model that a name means, its letters folded."""
    return Ref(Ref.parse(name).name)


def _tagged(name: str, tags: Sequence[str]) -> Ref:
    """Return the model that tags belong to; a version or a variant has none of its own.

    Raises:
        UsageError: if a version or a variant is named.
    """
    ref = Ref.parse(name)
    if ref.version is not None or ref.variant is not None:
        raise UsageError(
            f"tags belong to a model, not to `{ref}` alone",
            hint=f"zoo tag {ref.name} {' '.join(tags)}, or name the version: zoo alias {ref} NAME",
        )
    return ref


def _place(stage: Stage, given: "Given", progress: Progress | None) -> None:
    """Bring a model's own file into a stage."""
    from onnxzoo.registry.onnx_file.kind import check

    if given.content is not None:
        stage.write([given.content], given.entry)
        check(stage.folder / given.entry)
    elif given.file is not None:
        stage.copy(given.file, given.entry, progress)


def _copy_beside(stage: Stage, path: Path, location: str, progress: Progress | None) -> None:
    from onnxzoo.registry.onnx_file.external_data import check_location, open_beside

    who = f"a tensor of `{path.name}`"
    location = check_location(location, who)
    source = path.parent / location
    try:
        with reading(source):
            descriptor = open_beside(path, location, who)
    except NotFound as error:
        raise NotFound(
            f"`{path}` keeps weights in `{location}`, which is not beside it",
            hint=f"put the file at {source}, or save the model again as one file",
        ) from error
    stage.copy(source, location, progress, descriptor=descriptor)


def _check_signature(rows: Rows, target: Row, alias: str) -> None:
    """Refuse to move an alias to a version with a different signature."""
    ref = Ref(target["name"], version=alias)
    try:
        before = chosen(rows, ref, {}).found.row
    except NotFound:
        return
    unlike = differences(graph_of(before), graph_of(target))
    if unlike:
        raise Refused(
            f"`{ref}` is `{ref_of(before)}`, and `{ref_of(target)}` takes other calls: "
            f"{'; '.join(unlike)}",
            hint=f"zoo alias {ref_of(target)} {alias} --force moves it all the same",
        )


def _check_alias(alias: str) -> None:
    check_word(alias, "alias")
    if alias == LATEST:
        raise UsageError("`latest` always means the highest version and cannot be set")
    if alias.isdecimal():
        raise UsageError(f"`{alias}` would read as a version's number", hint="take a word")
