"""Bundles in the store that the database does not know, though their sidecars name them.

The database is an older copy then, put back over a newer store; or a registration was killed when
its sidecar was written and its rows were not. Either way the user had asked for them.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from onnxzoo.registry.archive.merge import Imported, merge
from onnxzoo.registry.archive.snapshot import Contents, ModelOut, VariantOut, VersionOut
from onnxzoo.registry.core.errors import DatabaseError, IntegrityError
from onnxzoo.registry.core.names import fold
from onnxzoo.registry.database.database import Database, Rows, rows_of
from onnxzoo.registry.database.queries import USED
from onnxzoo.registry.maintenance.rebuild import Rebuilt, Told, merge_sidecars
from onnxzoo.registry.maintenance.sidecar_claims import (
    Claims,
    DataClaim,
    VariantClaim,
    VersionClaim,
    read,
)
from onnxzoo.registry.maintenance.sidecars import check, write_with_sidecars
from onnxzoo.registry.store import Store

Claim = VariantClaim | DataClaim

_REMOVED = """
SELECT max(at) AS at FROM event
WHERE action = 'remove' AND reference = :ref AND detail = :digest
"""
_VERSION_REMOVED = r"""
SELECT max(at) AS at FROM event
WHERE action = 'remove' AND reference LIKE :name || ':%@' || :number ESCAPE '\'
AND NOT EXISTS (SELECT 1 FROM model m JOIN version v ON v.model_id = m.id
                WHERE m.key = :key AND v.number = CAST(:number AS INTEGER))
"""
_PLACES = """
SELECT m.key, v.number, r.label, r.digest FROM model m
JOIN version v ON v.model_id = m.id JOIN variant r ON r.version_id = v.id
UNION ALL
SELECT m.key, v.number, NULL AS label, d.digest FROM model m
JOIN version v ON v.model_id = m.id JOIN reference_data d ON d.version_id = v.id
"""


def unknown(rows: Rows, store: Store, *, used: bool = False) -> dict[str, tuple[str, ...]]:
    """Return the references that sidecars give to bundles without a row, by digest.

    Args:
        rows: of the database.
        store: its store.
        used: and what they call those of which it knows another name; it takes reading all.
    """
    found = _unknown(rows, store, used=used)
    return {digest: tuple(claim.ref for claim in new) for digest, (_, new) in found.items()}


def _unknown(rows: Rows, store: Store, *, used: bool) -> dict[str, tuple[Claims, list[Claim]]]:
    """Return sidecars, and which of their claims the database does not know, by digest."""
    keys = ("key", "number", "label", "digest")
    known = {tuple(row[key] for key in keys) for row in rows(_PLACES)} if used else set()
    in_use = set() if used else {row["digest"] for row in rows(USED)}
    found: dict[str, tuple[Claims, list[Claim]]] = {}
    for digest in sorted({*store.digests()} & {*store.sidecars()} - in_use):
        try:
            claims = read(store, digest)
        except IntegrityError:  # nobody knows what it was
            continue
        new = [
            claim
            for claim in claims.all
            if (*_place(claim), _label(claim), digest) not in known
            and not _was_removed(rows, claim, claims)
        ]
        if new:
            found[digest] = claims, new
    return found


def _was_removed(rows: Rows, claim: Claim, claims: Claims) -> bool:
    """Return whether the database removed it later, from another machine with its own store."""
    if isinstance(claim, VariantClaim):
        found = rows(_REMOVED, ref=claim.ref, digest=claims.manifest.digest)
    else:
        escaped = claim.version.name.replace("_", r"\_")
        key, number = _place(claim)
        found = rows(_VERSION_REMOVED, name=escaped, key=key, number=str(number))
    at = found[0]["at"] if found else None
    written = claims.written_at.replace(microsecond=0)  # the log counts whole seconds
    return at is not None and datetime.fromisoformat(at) >= written


def add_unknown(database: Database, store: Store) -> Rebuilt | None:
    """Add unknown bundles to an intact database; None if it is not intact, or knows all.

    What it knows already stays as it is: an alias that means something else here is named.
    """
    try:
        database.check()
        with database.read() as rows:
            check(rows, store)
            if not rows(USED) or not _unknown(rows, store, used=True):
                return None
    except DatabaseError:  # a rebuild says what is wrong
        return None
    with write_with_sidecars(database, store) as session:
        told = merge_sidecars(store, _beside(store, _unknown(rows_of(session), store, used=True)))
        graphs = {
            (manifest.digest, claim.entry): graph
            for claim, manifest, graph in told.variants.values()
        }
        done = merge(session, _contents(told), graphs, move_aliases=False)
    return _rebuilt(told, done)


def _beside(store: Store, found: Mapping[str, tuple[Claims, list[Claim]]]) -> list[Claims]:
    """Return the sidecars of some bundles, and of other bundles of the same versions.

    With them `merge` finds a version again. What stands where an unknown one stood, or in another
    version of its number, is left out: that was given again.
    """
    claims = [claim for _, new in found.values() for claim in new]
    versions = {_place(claim): claim.version.created_at for claim in claims}
    taken = {(_place(claim), _label(claim)) for claim in claims}
    beside = [sidecar for sidecar, _ in found.values()]
    for digest in {*store.sidecars()} - found.keys():
        with suppress(IntegrityError):
            there = read(store, digest)
            same = [c for c in there.all if versions.get(_place(c)) == c.version.created_at]
            if same and taken.isdisjoint((_place(c), _label(c)) for c in there.all):
                beside.append(there)
    return beside


def _label(claim: Claim) -> str | None:
    return claim.label if isinstance(claim, VariantClaim) else None


def _place(claim: Claim) -> tuple[str, int]:
    return fold(claim.version.name), claim.version.number


def _contents(told: Told) -> Contents:
    bundles = {manifest.digest: manifest for _, manifest, _ in told.variants.values()}
    bundles |= {manifest.digest: manifest for _, manifest in told.data.values()}
    models = tuple(_model(told, key) for key in sorted(told.models))
    return Contents(tuple(model for model in models if model.versions), bundles, {}, ())


def _model(told: Told, key: str) -> ModelOut:
    model = told.models[key]
    places = [place for place in told.versions if place[0] == key]  # the last written last
    aliases = {alias: place[1] for place in places for alias in told.versions[place].aliases}
    versions = tuple(filter(None, (_version(told, place) for place in sorted(places))))
    there = {(version.number, one.label) for version in versions for one in version.variants}
    labels = {
        alias: label
        for alias, number in aliases.items()
        if (label := told.versions[key, number].alias_variants.get(alias))
        and (number, label) in there
    }
    return ModelOut(
        name=model.name,
        task=model.task,
        tags=model.tags,
        created_at=datetime.fromisoformat(model.model_created_at),
        aliases={alias: n for alias, n in aliases.items() if n in {v.number for v in versions}},
        alias_variants=labels,
        versions=versions,
    )


def _version(told: Told, place: tuple[str, int]) -> VersionOut | None:
    claim: VersionClaim = told.versions[place]
    data = told.data.get(place)
    variants = tuple(
        _variant(variant, manifest.digest)
        for (*where, _), (variant, manifest, _) in sorted(told.variants.items())
        if tuple(where) == place
    )
    return VersionOut(
        number=claim.number,
        origin=claim.origin,
        license=claim.license,
        created_at=datetime.fromisoformat(claim.created_at),
        variants=variants,
        test_data=data[1].digest if data else None,
        test_data_source=data[0].source if data else None,
    )


def _variant(claim: VariantClaim, digest: str) -> VariantOut:
    return VariantOut(
        label=claim.label,
        precision=claim.precision,
        opset=claim.opset,
        digest=digest,
        entry=claim.entry,
        source=claim.source,
        revision=claim.revision,
        created_at=datetime.fromisoformat(claim.created_at),
        lineage=claim.lineage,
    )


def _rebuilt(told: Told, done: Imported) -> Rebuilt:
    digests = {claim.ref: manifest.digest for claim, manifest, _ in told.variants.values()}
    new = [arrival for arrival in done.variants if arrival.new]
    why = {arrival.ref: told.damage.get(digests[arrival.exported]) for arrival in new}
    moved = [
        (one.exported, f"that version is another one now; it is `{one.ref}`")
        for one in new
        if one.exported != one.ref
    ]
    kept = [
        (alias, f"it means `{here}` here, and `{there}` in the store; it stays")
        for alias, here, there in done.kept
    ]
    other = [(ref, "it has other reference data here, which stay") for ref in done.other_data]
    return Rebuilt(
        refs=tuple(sorted([ref for ref, damage in why.items() if not damage] + [*done.data])),
        damaged=tuple((ref, damage) for ref, damage in sorted(why.items()) if damage),
        lost=(*told.lost, *moved, *kept, *other),
        nameless=(),
        moved_to=None,
    )
