"""A registry's database made again from the sidecars in its store."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import (
    Busy,
    Damaged,
    DatabaseError,
    IntegrityError,
    NotFound,
    Refused,
    ZooError,
)
from onnxzoo.registry.core.files import sync
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import Ref, fold
from onnxzoo.registry.core.records import Graph
from onnxzoo.registry.core.text import without_password
from onnxzoo.registry.database.connection import BUSY, translating
from onnxzoo.registry.database.database import Database, Rows, rows_of
from onnxzoo.registry.database.ownership import FILE, check_owner, id_of
from onnxzoo.registry.database.queries import graph_text
from onnxzoo.registry.database.schema import check_whole, making
from onnxzoo.registry.maintenance.sidecar_claims import (
    Claims,
    DataClaim,
    VariantClaim,
    VersionClaim,
    read,
)
from onnxzoo.registry.maintenance.sidecars import check
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.resolve.lookup import chosen
from onnxzoo.registry.store import Store

if TYPE_CHECKING:
    from sqlmodel import Session

_GONE = "the database of before knows it, and no sidecar does"
_KNOWN = """
SELECT model.name, model.key, version.number, variant.label
FROM variant JOIN version ON version.id = version_id JOIN model ON model.id = model_id
ORDER BY model.name, version.number, variant.label
"""
_FILES = ("-wal", "-shm", "")  # the log first: it must never lie beside another database


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The result of a rebuild.

    Attributes:
        refs: what is held now and whole; reference data are ``NAME@VERSION``.
        damaged: what is held again although its bytes are not what they should be, and why.
        lost: what could not be restored, and why: damaged sidecars, models that do not read.
        nameless: digests of bundles without a sidecar: nobody knows what they were.
        moved_to: where the database of before lies now; None if there was none.
    """

    refs: tuple[str, ...]
    damaged: tuple[tuple[str, str], ...]
    lost: tuple[tuple[str, str], ...]
    nameless: tuple[str, ...]
    moved_to: Path | None


@dataclass(slots=True)
class Told:
    """The merged content of all sidecars; the latest one wins."""

    models: dict[str, VersionClaim] = field(default_factory=dict)
    versions: dict[tuple[str, int], VersionClaim] = field(default_factory=dict)
    variants: dict[tuple[str, int, str], tuple[VariantClaim, Manifest, Graph]] = field(
        default_factory=dict
    )
    data: dict[tuple[str, int], tuple[DataClaim, Manifest]] = field(default_factory=dict)
    lost: list[tuple[str, str]] = field(default_factory=list)  # what, and why
    damage: dict[str, str] = field(default_factory=dict)  # by digest


def rebuild(database: Database, store: Store, *, force: bool) -> Rebuilt:
    """Make a database again from the sidecars of all bundles.

    A damaged bundle is held again, too, so that its numbers, aliases and tags wait for its bytes.

    On SQLite it is made whole beside the old one, which is then set aside under another name. A
    kill between the two leaves none, and another call makes it. Measurements and the event log
    are in no sidecar.

    Args:
        database: the damaged one, or none; on a server it has to be empty.
        store: whose sidecars are read.
        force: set aside a file that is not damaged, too.

    Raises:
        Refused: if there is nothing to do it for, or nothing to do it with.
        DatabaseError, StorageError, Busy: if something else than damage is wrong.
    """
    if not any(store.sidecars()):
        raise Refused(
            f"no bundle in `{store.root}` has a sidecar that says what it is; nothing was done",
            hint="put a backup of the database back",
        )
    if database.path is None:
        return _into_server(database, store)
    there = database.path.exists()
    if there:
        _check_replaceable(database, store, database.path, force=force)
    known = _refs(database) if there else {}
    with _held_still(database.path) if there else nullcontext():
        before, told = _identities(database.path), _told(store)
        named = {what for what, _ in told.lost}
        gone = {ref for place, ref in known.items() if place not in told.variants}
        told.lost += [(ref, _GONE) for ref in sorted(gone - named)]
        with making(database.path) as fresh:
            with closing(Database(fresh)) as made, made.write() as session:
                _take_id(session, store)
                _insert(session, told)
            check_whole(fresh)
            if _identities(database.path) != before:
                raise Refused(f"`{database.path}` was changed meanwhile; nothing was done")
            moved = _set_aside(database.path)
            database.path.hardlink_to(fresh)
            sync(database.path.parent)
    return _rebuilt(store, told, moved)


def _into_server(database: Database, store: Store) -> Rebuilt:
    from sqlmodel import select

    from onnxzoo.registry.database.tables import Model

    told = _told(store)
    with database.write() as session:
        if session.exec(select(Model)).first() is not None:
            raise Refused(
                f"`{without_password(database.url)}` holds models; expected an empty database",
                hint="put a backup of the database back, or make an empty one",
            )
        _take_id(session, store)
        _insert(session, told)
    return _rebuilt(store, told, None)


def _rebuilt(store: Store, told: Told, moved: Path | None) -> Rebuilt:
    held = [(claim.ref, manifest.digest) for claim, manifest, _ in told.variants.values()]
    held += [(data.ref, manifest.digest) for data, manifest in told.data.values()]
    held.sort()
    nameless = set(store.digests()) - set(store.sidecars())
    return Rebuilt(
        tuple(ref for ref, digest in held if digest not in told.damage),
        tuple((ref, told.damage[digest]) for ref, digest in held if digest in told.damage),
        tuple(told.lost),
        tuple(sorted(nameless)),
        moved,
    )


def _check_replaceable(database: Database, store: Store, path: Path, *, force: bool) -> None:
    try:
        database.check()
        with database.read() as rows:
            check(rows, store)
            strange = _strange(rows, store)
    except Damaged:
        return
    except DatabaseError:  # another program's, or a newer onnxzoo's
        if not force or path.is_dir():
            raise
    else:
        if strange is not None:
            raise strange
        if not force:
            raise Refused(
                f"`{path}` is not damaged; nothing was done",
                hint="zoo doctor --rebuild --force sets it aside and makes it again from the store",
            )
    finally:
        database.close()


def _refs(database: Database) -> dict[tuple[str, int, str], str]:
    """Return the references in a readable database, by model, number and label."""
    found: dict[tuple[str, int, str], str] = {}
    with suppress(ZooError), database.read() as rows:
        for row in rows(_KNOWN):
            ref = str(Ref(row["name"], row["label"], str(row["number"])))
            found[row["key"], row["number"], row["label"]] = ref
    database.close()
    return found


def _strange(rows: Rows, store: Store) -> DatabaseError | None:
    """Return why a whole database is not of this store: it may be its registry's only one."""
    try:
        check_owner(rows, store)
    except DatabaseError as error:
        return error
    return None


@contextmanager
def _held_still(path: Path) -> Iterator[None]:
    """Keep other writers out, with all that the log has in the database; one that opens, that is.

    The log stays as it is: of a damaged database it may be all that can be read.
    """
    with closing(_opened(path)) as writer, closing(_opened(path)) as other:
        with suppress(Damaged), translating(str(path)):
            writer.execute("BEGIN IMMEDIATE")
            busy, logged, copied = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if busy or logged != copied:
                raise Busy(
                    f"`{path}` is being read by another process",
                    hint="run the command again when the other one is done",
                )
            other.close()
        yield


def _opened(path: Path) -> sqlite3.Connection:
    with translating(str(path)):
        return sqlite3.connect(path, timeout=BUSY, isolation_level=None)


def _set_aside(path: Path) -> Path | None:
    """Rename a database's files, none of which is ever removed; None if there is none.

    A kill after the first rename leaves a database without its log. One that opens has all of it
    in itself by then, see `_held_still`; one that does not open is set aside by the next call.
    A log alone, whose database was lost, goes too: the new one must not take it for its own.
    """
    found = [file for file in _files(path) if file.exists()]
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = f"{path.name}.damaged-{now}"
    for file in found:
        file.rename(path.with_name(aside + file.name.removeprefix(path.name)))
    return path.with_name(aside) if path in found else None


def _files(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in _FILES]


def _identities(path: Path) -> list[tuple[int, int, int] | None]:
    """Return a token of the state of a database and its log."""
    log, _, itself = map(_identity, _files(path))
    return [log, itself]


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _told(store: Store) -> Told:
    lost, read_well = list[tuple[str, str]](), list[Claims]()
    for digest in store.sidecars():
        try:
            read_well.append(read(store, digest))
        except IntegrityError as error:
            lost.append((digest, error.message))
    told = merge_sidecars(store, read_well)
    told.lost[:0] = lost
    return told


def merge_sidecars(store: Store, sidecars: Iterable[Claims]) -> Told:
    """Merge some sidecars, and find damaged bundles."""
    told = Told()
    for claims in sorted(sidecars, key=lambda claims: claims.written_at):
        problems = store.changes(claims.manifest)
        if problems:
            told.damage[claims.manifest.digest] = problems[0]
        _believe(told, store, claims)
    for place in told.data.keys() - told.versions.keys():  # no variant of it is left
        claim, _ = told.data.pop(place)
        told.lost.append((claim.ref, "reference data of a version that is lost"))
    return told


def _believe(told: Told, store: Store, claims: Claims) -> None:
    for claim in claims.variants:
        try:
            graph = describe(store.path(claims.manifest.digest) / claim.entry)
        except (ZooError, OSError) as error:
            if claims.manifest.digest not in told.damage:
                told.lost.append((claim.ref, str(error)))
                continue
            graph = _unread(claim)
        place = (*_believe_version(told, claim.version), claim.label)
        if place in told.variants:  # the database went on after a kill, and gave the place again
            told.lost.append(_meant_once(claim.ref, told.variants[place][1]))
        told.variants[place] = claim, claims.manifest, graph
    for data in claims.data:
        told.data[fold(data.version.name), data.version.number] = data, claims.manifest


def _unread(claim: VariantClaim) -> Graph:
    """Return a placeholder for an unreadable graph; a repair describes it again."""
    return Graph(
        ir_version=0,
        opset=claim.opset,
        opsets={"": claim.opset},
        producer="",
        inputs=(),
        outputs=(),
        ops={},
        parameters=0,
        precision=claim.precision,
        external=(),
        metadata={},
    )


def _believe_version(told: Told, version: VersionClaim) -> tuple[str, int]:
    """Note a version, last of all: of two that claim an alias, the last one has it.

    A version that was made at another time is another one, whose number was given again.
    """
    place = fold(version.name), version.number
    told.models[place[0]] = version
    before = told.versions.pop(place, None)
    if before is not None and before.created_at != version.created_at:
        for there in [there for there in told.variants if there[:2] == place]:
            claim, manifest, _ = told.variants.pop(there)
            told.lost.append(_meant_once(claim.ref, manifest))
        if place in told.data:
            data, manifest = told.data.pop(place)
            told.lost.append(_meant_once(data.ref, manifest))
    told.versions[place] = version
    return place


def _meant_once(ref: str, manifest: Manifest) -> tuple[str, str]:
    return ref, f"it meant `{manifest.digest}` once, and other bytes since"


def _take_id(session: "Session", store: Store) -> None:
    """Give a new database the id that its store carries, or the store the database's."""
    from sqlmodel import select

    from onnxzoo.registry.database.tables import RegistryId

    row = session.exec(select(RegistryId)).one()
    found = id_of(store)
    if found is None:
        store.put(f"{row.id}\n".encode(), store.root / FILE)
    else:
        row.id = found


def _insert(session: "Session", told: Told) -> None:
    models = {key: _insert_model(session, key, claim) for key, claim in told.models.items()}
    versions = {
        place: _insert_version(session, models[place[0]], claim)
        for place, claim in told.versions.items()
    }
    for (key, number, _), (variant, manifest, graph) in told.variants.items():
        _insert_variant(session, versions[key, number], variant, manifest, graph)
    for place, (data, manifest) in told.data.items():
        _insert_data(session, versions[place], data, manifest)
    for place, claim in told.versions.items():
        for alias in claim.aliases:
            _aim(session, (models[place[0]], alias), versions[place], claim)


def _insert_model(session: "Session", key: str, claim: VersionClaim) -> int:
    from onnxzoo.registry.database import writes
    from onnxzoo.registry.database.tables import Model, Tag

    row = Model(name=claim.name, key=key, task=claim.task, created_at=claim.model_created_at)
    session.add(row)
    session.flush()
    for tag in claim.tags:
        session.add(Tag(model_id=writes.id_of(row.id), name=tag))
    return writes.id_of(row.id)


def _insert_version(session: "Session", model: int, claim: VersionClaim) -> int:
    from onnxzoo.registry.database import writes
    from onnxzoo.registry.database.tables import Alias, Version

    row = Version(
        model_id=model,
        number=claim.number,
        origin=claim.origin,
        license=claim.license,
        created_at=claim.created_at,
    )
    session.add(row)
    session.flush()
    for alias in claim.aliases:
        session.merge(Alias(model_id=model, name=alias, version_id=writes.id_of(row.id)))
    session.flush()
    return writes.id_of(row.id)


def _aim(session: "Session", key: tuple[int, str], version: int, claim: VersionClaim) -> None:
    """Record the variant that an alias means, unless another version claimed the alias later."""
    from onnxzoo.registry.database.tables import Alias

    row, label = session.get(Alias, key), claim.alias_variants.get(key[1])
    if row is None or row.version_id != version:
        return
    if label is None and claim.records_variants:  # that variant was removed before
        return
    rows, number = rows_of(session), str(claim.number)
    try:
        row.variant_id = chosen(rows, Ref(claim.name, label, number), {}).found.row["id"]
    except NotFound:  # the variant's bytes are lost: what is left of its version is meant
        with suppress(NotFound):
            row.variant_id = chosen(rows, Ref(claim.name, version=number), {}).found.row["id"]


def _insert_variant(
    session: "Session", version: int, claim: VariantClaim, manifest: Manifest, graph: Graph
) -> None:
    from onnxzoo.registry.database import writes
    from onnxzoo.registry.database.tables import VariantRow

    writes.keep_bundle(session, manifest)
    row = VariantRow(
        version_id=version,
        label=claim.label,
        precision=graph.precision,
        opset=graph.opset,
        digest=manifest.digest,
        entry=claim.entry,
        source=claim.source,
        revision=claim.revision,
        graph=graph_text(graph),
        created_at=claim.created_at,
    )
    session.add(row)
    session.flush()
    writes.insert_lineage(session, writes.id_of(row.id), claim.lineage)
    writes.log(session, "rebuild", claim.ref, manifest.digest)


def _insert_data(session: "Session", version: int, claim: DataClaim, manifest: Manifest) -> None:
    from onnxzoo.registry.database import writes
    from onnxzoo.registry.database.tables import ReferenceData

    writes.keep_bundle(session, manifest)
    row = ReferenceData(version_id=version, digest=manifest.digest, source=claim.source)
    session.add(row)
