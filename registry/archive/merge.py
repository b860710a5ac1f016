"""Merge an archive's models into the registry: match versions, resolve conflicts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxzoo.registry.archive.snapshot import Contents, ModelOut, Place, VersionOut, draft_of
from onnxzoo.registry.core.names import Ref, fold
from onnxzoo.registry.core.records import Graph, Measurement
from onnxzoo.registry.database import writes
from onnxzoo.registry.database.database import Rows, rows_of
from onnxzoo.registry.database.queries import Row, context_text, measurements
from onnxzoo.registry.database.tables import Model, Version
from onnxzoo.registry.resolve.lookup import chosen, ref_of

if TYPE_CHECKING:
    from sqlmodel import Session

_MODEL = "SELECT id, name FROM model WHERE key = :key"
_VERSIONS = """
SELECT v.id AS version_id, v.number, v.origin, r.id, r.label, r.digest
FROM version v JOIN variant r ON r.version_id = v.id WHERE v.model_id = :model ORDER BY v.number
"""
_ALIASES = """
SELECT a.name, v.number, r.label
FROM alias a JOIN version v ON v.id = a.version_id LEFT JOIN variant r ON r.id = a.variant_id
WHERE a.model_id = :model
"""
_VARIANT = "SELECT id, version_id FROM variant WHERE version_id = :version AND label = :label"
_DATA = "SELECT digest FROM reference_data WHERE version_id = :version"


@dataclass(frozen=True, slots=True)
class ImportedVariant:
    """A variant of an archive: its reference there and here, and whether it is new here."""

    exported: str
    ref: str
    new: bool


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        variants: all of the archive's.
        set: aliases that are new or were moved, ``NAME@ALIAS``.
        kept: aliases that point elsewhere here and were left: ``(NAME@ALIAS, here, offered)``,
            both as references.
        data: versions that have reference data now.
        other_data: versions that have other reference data, which were left.
        measurements: how many are new here.
        facts: models and versions of which something was said that was not known here.
        repaired: variants that were held, and whose files were missing or damaged.
    """

    variants: tuple[ImportedVariant, ...]
    set: tuple[str, ...] = ()
    kept: tuple[tuple[str, str, str], ...] = ()
    data: tuple[str, ...] = ()
    other_data: tuple[str, ...] = ()
    measurements: int = 0
    facts: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """True if the import changed anything."""
        new = any(arrival.new for arrival in self.variants)
        more = self.set or self.data or self.measurements or self.facts or self.repaired
        return bool(new or more)


@dataclass(slots=True)
class _Merge:
    """The state of one merging transaction."""

    session: "Session"
    contents: Contents
    graphs: Mapping[Place, Graph]
    published: Collection[str] = ()
    variants: list[ImportedVariant] = field(default_factory=list)
    set: list[str] = field(default_factory=list)
    kept: list[tuple[str, str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    other_data: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    measurements: int = 0

    @property
    def rows(self) -> Rows:
        return rows_of(self.session)


def merge(
    session: "Session",
    contents: Contents,
    graphs: Mapping[Place, Graph],
    *,
    move_aliases: bool,
    published: Collection[str] = (),
) -> Imported:
    """Insert the models of an archive that are not held; run inside a transaction.

    A version is the held one that has a variant of its label and its bytes, or that is of the
    same origin, unless a label stands for other bytes there. Otherwise it keeps its number where
    that was never given to anything else here, and the order of the versions stays; else it
    gets the next one.

    Args:
        session: where the bundles' rows go too; their bytes are in the store.
        contents: what the archive holds.
        graphs: by the places of the models.
        move_aliases: move aliases that point elsewhere here.
        published: the digests of bundles whose bytes were put into the store just now.
    """
    work = _Merge(session, contents, graphs, published)
    for manifest in contents.bundles.values():
        writes.keep_bundle(session, manifest)
    for model in contents.models:
        _merge_model(work, model, move_aliases=move_aliases)
    for digest, found in contents.measurements.items():
        _merge_measurements(work, digest, found)
    return Imported(
        tuple(work.variants),
        tuple(work.set),
        tuple(work.kept),
        tuple(work.data),
        tuple(work.other_data),
        work.measurements,
        tuple(work.facts),
        tuple(work.repaired),
    )


def _merge_model(work: _Merge, model: ModelOut, *, move_aliases: bool) -> None:
    row = _row_of(work, model)
    numbers: dict[int, int] = {}
    last = 0
    for version in model.versions:
        held = work.rows(_VERSIONS, model=row["id"])
        target = _target([r for r in held if r["number"] not in numbers.values()], version)
        if target is None:
            last = _free_number(work, row, version, last)
            target = _new_version(work, row, version, last)
        numbers[version.number] = target["number"]
        _merge_version(work, row, target, model, version)
    _merge_aliases(work, row, model, numbers, move=move_aliases)


def _row_of(work: _Merge, model: ModelOut) -> Row:
    """Return the row of a model, made if it is new."""
    if not work.rows(_MODEL, key=fold(model.name)):
        work.session.add(
            Model(
                name=model.name,
                key=fold(model.name),
                task=model.task,
                created_at=model.created_at.isoformat(),
            )
        )
        work.session.flush()
    return work.rows(_MODEL, key=fold(model.name))[0]


def _target(held: Sequence[Row], version: VersionOut) -> Row | None:
    """Return a row of the held version that an archive's version is, None if there is none."""
    found: list[tuple[tuple[int, int, bool, int], Row]] = []
    for number in sorted({row["number"] for row in held}):
        there = [row for row in held if row["number"] == number]
        alike = _alike(there, version)
        if alike is not None:
            rank = alike, -len(there), number == version.number, -number
            found.append((rank, there[0]))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _alike(there: Sequence[Row], version: VersionOut) -> int | None:
    """Return how many variants a held version shares; None if it is another version."""
    wanted = {variant.label: variant.digest for variant in version.variants}
    if any(wanted.get(row["label"], row["digest"]) != row["digest"] for row in there):
        return None
    shared = sum(row["label"] in wanted for row in there)
    same_origin = version.origin is not None and there[0]["origin"] == version.origin
    return shared if shared or same_origin else None


def _free_number(work: _Merge, model: Row, version: VersionOut, last: int) -> int:
    """Return a version's own number, or the next one where it means, or meant, something else."""
    own = {variant.digest for variant in version.variants}
    removed = writes.removed(work.session, model["name"])
    held = {int(row["number"]) for row in work.rows(_VERSIONS, model=model["id"])}
    free = version.number not in held and removed.get(version.number, own) <= own
    if free and version.number > last:
        return version.number
    return 1 + max([*removed, *held, last])


def _new_version(work: _Merge, model: Row, version: VersionOut, number: int) -> Row:
    row = Version(
        model_id=model["id"],
        number=number,
        origin=version.origin,
        license=version.license,
        created_at=version.created_at.isoformat(),
    )
    work.session.add(row)
    work.session.flush()
    return {"version_id": row.id, "number": number}


def _merge_version(
    work: _Merge, model: Row, target: Row, exported: ModelOut, version: VersionOut
) -> None:
    name, number = model["name"], target["number"]
    for variant in version.variants:
        draft = draft_of(exported, version, variant, work.graphs[variant.place])
        ref, version_id = f"{name}:{variant.label}@{number}", target["version_id"]
        new = not work.rows(_VARIANT, version=version_id, label=variant.label)
        if new:
            at = variant.created_at.isoformat()
            place = version_id, variant.label
            writes.insert(work.session, place, variant.digest, draft, created_at=at)
            writes.log(work.session, "import", ref, variant.source)
        elif variant.digest in work.published:
            work.repaired.append(ref)
            writes.log(work.session, "repair", ref, variant.digest)
        row = work.rows(_VARIANT, version=version_id, label=variant.label)[0]
        if writes.fill_in_metadata(work.session, draft, row):
            work.facts.append(ref)
        there = f"{exported.name}:{variant.label}@{version.number}"
        work.variants.append(ImportedVariant(there, ref, new))
    _merge_data(work, name, target, version)


def _merge_data(work: _Merge, name: str, target: Row, version: VersionOut) -> None:
    if version.test_data is None:
        return
    ref = f"{name}@{target['number']}"
    held = work.rows(_DATA, version=target["version_id"])
    if not held:
        label = version.variants[0].label
        row = {**target, "name": name, "label": label}
        manifest = work.contents.bundles[version.test_data]
        writes.set_reference_data(work.session, row, manifest, version.test_data_source or "")
        work.data.append(ref)
    elif held[0]["digest"] != version.test_data:
        work.other_data.append(ref)


def _merge_aliases(
    work: _Merge, model: Row, exported: ModelOut, numbers: Mapping[int, int], *, move: bool
) -> None:
    name = model["name"]
    held = {row["name"]: row for row in work.rows(_ALIASES, model=model["id"])}
    for alias, there in sorted(exported.aliases.items()):
        now, label = held.get(alias), exported.alias_variants.get(alias)
        if now and now["number"] == numbers[there] and label in {None, now["label"]}:
            continue
        target = chosen(work.rows, Ref(name, label, str(numbers[there])), {}).found.row
        if now is None or move:
            writes.set_alias(work.session, alias, target)
            work.set.append(f"{name}@{alias}")
        else:
            here = str(Ref(name, now["label"], str(now["number"])))
            work.kept.append((f"{name}@{alias}", here, ref_of(target)))


def _merge_measurements(work: _Merge, digest: str, found: Sequence[Measurement]) -> None:
    """Store measurements that are newer than the held ones of the same context."""
    held = {
        (one.metric, context_text(one.context)): one.at for one in measurements(work.rows, digest)
    }
    new = [
        one
        for one in found
        if (at := held.get((one.metric, context_text(one.context)))) is None or one.at > at
    ]
    writes.measure(work.session, digest, new)
    work.measurements += len(new)
