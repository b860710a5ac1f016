"""The registry's changes, each inside a transaction that the caller opened."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onnxzoo.registry.core.errors import NotFound, Refused
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import fold
from onnxzoo.registry.core.records import Draft, Graph, Lineage, Measurement, now
from onnxzoo.registry.database.database import Rows, rows_of
from onnxzoo.registry.database.queries import Row, context_text, graph_of, graph_text
from onnxzoo.registry.database.tables import (
    Alias,
    Bundle,
    BundleFile,
    Event,
    LineageRow,
    MeasurementRow,
    Model,
    ReferenceData,
    Tag,
    VariantRow,
    Version,
)
from onnxzoo.registry.licenses.policy import spelled
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.onnx_file.dtypes import WIDTHS
from onnxzoo.registry.onnx_file.precisions import PRECISIONS
from onnxzoo.registry.onnx_file.signature import differences

if TYPE_CHECKING:
    from sqlmodel import Session

T = TypeVar("T")

_HELD = """
SELECT v.id AS version_id, v.number, v.origin, r.id, r.label, r.digest, r.entry
FROM model m JOIN version v ON v.model_id = m.id JOIN variant r ON r.version_id = v.id
WHERE m.key = :key ORDER BY v.number
"""
# `+id`: else SQLite walks all newer events, not the index of removals.
_REMOVED = """
SELECT reference, detail FROM event WHERE action = 'remove' AND reference LIKE :name || ':%@%'
AND +id > (SELECT coalesce(max(id), 0) FROM event WHERE action = 'remove' AND reference = :name)
"""


def add(
    session: "Session", draft: Draft, manifest: Manifest, action: str
) -> tuple[str, bool, list[str]]:
    """Insert a variant; return its reference, whether it is new, and the recorded fields.

    A task and a licence that users state of their own model take the place of what was there; those
    of an index do not.

    Held bytes are found again, not inserted twice. Otherwise the variant goes to the newest
    version of the same origin, unless that version's label already stands for other bytes: then
    a new version starts.
    """
    digest = manifest.digest
    held = rows_of(session)(_HELD, key=fold(draft.name))
    same = None if draft.new_version else _same_bytes(held, draft, digest)
    if same is not None:
        learnt = fill_in_metadata(session, draft, same, anew=draft.origin is None)
        return f"{draft.name}:{same['label']}@{same['number']}", False, learnt
    model = _model(session, draft)
    version, label = _place(session, model, held, draft)
    learnt = _state(session, draft, model, version, anew=draft.origin is None)
    keep_bundle(session, manifest)
    insert(session, (id_of(version.id), label), digest, draft, created_at=now())
    ref = f"{model.name}:{label}@{version.number}"
    log(session, action, ref, draft.source)
    return ref, True, learnt


def insert(
    session: "Session", place: tuple[int, str], digest: str, draft: Draft, *, created_at: str
) -> None:
    """Insert the row of a variant at its place, a version's row and a label there."""
    version, label = place
    row = VariantRow(
        version_id=version,
        label=label,
        precision=draft.graph.precision,
        opset=draft.graph.opset,
        digest=digest,
        entry=draft.entry,
        source=draft.source,
        revision=draft.revision,
        graph=graph_text(draft.graph),
        created_at=created_at,
    )
    session.add(row)
    session.flush()
    insert_lineage(session, id_of(row.id), draft.lineage)


def describe_again(session: "Session", digest: str, folder: Path) -> None:
    """Describe the models of a bundle again, once its bytes are restored.

    A rebuild may have made their rows from damaged ones.
    """
    from sqlmodel import col, select

    for row in session.exec(select(VariantRow).where(col(VariantRow.digest) == digest)):
        graph = describe(folder / row.entry)
        row.precision, row.opset, row.graph = graph.precision, graph.opset, graph_text(graph)


def set_alias(session: "Session", alias: str, variant: Row) -> int | None:
    """Set or move an alias to a variant; return the version that it pointed to before."""
    row = session.get(Alias, (variant["model_id"], alias))
    before = _get(session, Version, row.version_id).number if row else None
    if row is None:
        row = Alias(model_id=variant["model_id"], name=alias, version_id=variant["version_id"])
    row.version_id, row.variant_id = variant["version_id"], variant["id"]
    session.add(row)
    log(session, "alias", f"{variant['name']}:{variant['label']}@{variant['number']}", alias)
    return before


def drop_alias(session: "Session", alias: str, model: Row) -> bool:
    """Remove an alias of a model; return whether there was one."""
    row = session.get(Alias, (model["model_id"], alias))
    if row is not None:
        session.delete(row)
        log(session, "unalias", model["name"], alias)
    return row is not None


def add_tags(session: "Session", model: Row, tags: Sequence[str]) -> list[str]:
    """Add tags to a model; return the new ones."""
    new = [name for name in tags if session.get(Tag, (model["model_id"], name)) is None]
    for name in new:
        session.add(Tag(model_id=model["model_id"], name=name))
        log(session, "tag", model["name"], name)
    return new


def drop_tag(session: "Session", model: Row, tag: str) -> bool:
    """Remove a tag of a model; return whether there was one."""
    row = session.get(Tag, (model["model_id"], tag))
    if row is not None:
        session.delete(row)
        log(session, "untag", model["name"], tag)
    return row is not None


def measure(session: "Session", digest: str, measurements: Sequence[Measurement]) -> None:
    """Keep measurements of a bundle; each takes the place of an older one in its context."""
    from sqlmodel import col, delete

    for new in measurements:
        context = context_text(new.context)
        session.connection().execute(
            delete(MeasurementRow).where(
                col(MeasurementRow.digest) == digest,
                col(MeasurementRow.metric) == new.metric,
                col(MeasurementRow.context) == context,
            )
        )
        session.add(
            MeasurementRow(
                digest=digest,
                metric=new.metric,
                value=new.value,
                unit=new.unit,
                context=context,
                at=new.at.isoformat(),
            )
        )
        session.flush()


def set_reference_data(session: "Session", version: Row, manifest: Manifest, source: str) -> None:
    """Set a bundle as the reference data of a version, replacing the earlier one."""
    keep_bundle(session, manifest)
    row = session.get(ReferenceData, version["version_id"])
    if row is None:
        row = ReferenceData(version_id=version["version_id"], digest=manifest.digest, source=source)
    row.digest, row.source = manifest.digest, source
    session.add(row)
    session.flush()
    log(session, "test-data", f"{version['name']}:{version['label']}@{version['number']}", source)


def forget(session: "Session", digests: Sequence[str]) -> None:
    """Delete the rows of bundles that nothing refers to."""
    for digest in digests:
        bundle = session.get(Bundle, digest)
        if bundle is not None:
            session.delete(bundle)
        log(session, "gc", digest, None)


def remove(session: "Session", doomed: Sequence[Row]) -> None:
    """Delete variants, then the versions and the models that are left empty."""
    rows = rows_of(session)
    for row in doomed:
        session.delete(_get(session, VariantRow, row["id"]))
        log(session, "remove", f"{row['name']}:{row['label']}@{row['number']}", row["digest"])
    session.flush()
    for version in {row["version_id"] for row in doomed}:
        if not rows("SELECT 1 FROM variant WHERE version_id = :id LIMIT 1", id=version):
            session.delete(_get(session, Version, version))
    session.flush()
    for model in {row["model_id"] for row in doomed}:
        if not rows("SELECT 1 FROM version WHERE model_id = :id LIMIT 1", id=model):
            gone = _get(session, Model, model)
            session.delete(gone)
            log(session, "remove", gone.name, None)  # its numbers may be given again from here


def log(session: "Session", action: str, reference: str, detail: str | None) -> None:
    """Add to the event log."""
    session.add(Event(at=now(), action=action, reference=reference, detail=detail))


def fill_in_metadata(
    session: "Session", draft: Draft, same: Row, *, anew: bool = False
) -> list[str]:
    """Record a draft's metadata of held bytes, where nothing was recorded yet.

    Args:
        session: in a transaction.
        draft: what is said.
        same: the row of these bytes.
        anew: a task and a licence take the place of what was recorded.

    Returns:
        What was recorded: ``task``, ``license``, ``tags``, ``lineage``.
    """
    version = _get(session, Version, same["version_id"])
    model = _get(session, Model, version.model_id)
    learnt = _state(session, draft, model, version, anew=anew)
    if draft.lineage is not None and session.get(LineageRow, same["id"]) is None:
        insert_lineage(session, same["id"], draft.lineage)
        learnt.append("lineage")
    return learnt


def _state(
    session: "Session", draft: Draft, model: Model, version: Version, *, anew: bool
) -> list[str]:
    """Record the task, the licence and the tags that a draft gives; return which were."""
    name, learnt = model.name, []
    under = spelled(draft.license)
    if under and under != spelled(version.license) and (anew or not version.license):
        version.license = under
        learnt.append("license")
        log(session, "license", f"{name}@{version.number}", under)
    if draft.task and draft.task != model.task and (anew or not model.task):
        model.task = draft.task
        learnt.append("task")
        log(session, "task", name, draft.task)
    if add_tags(session, {"model_id": id_of(model.id), "name": name}, draft.tags):
        learnt.append("tags")
    return learnt


def insert_lineage(session: "Session", variant: int, lineage: Lineage | None) -> None:
    """Insert a variant's lineage, if it has one."""
    if lineage is not None:
        recipe = json.dumps(dict(lineage.recipe), sort_keys=True, ensure_ascii=False)
        session.add(
            LineageRow(
                variant_id=variant, parent=lineage.parent, called=lineage.called, recipe=recipe
            )
        )


def _same_bytes(held: Sequence[Row], draft: Draft, digest: str) -> Row | None:
    for row in reversed(held):
        fits = draft.label in {None, row["label"]} and draft.version in {None, row["number"]}
        if fits and (row["digest"], row["entry"]) == (digest, draft.entry):
            return row
    return None


def _model(session: "Session", draft: Draft) -> Model:
    from sqlmodel import select

    model = session.exec(select(Model).where(Model.key == fold(draft.name))).first()
    if model is None:
        key = fold(draft.name)
        model = Model(name=draft.name, key=key, task=draft.task, created_at=now())
        session.add(model)
        session.flush()
    for tag in draft.tags:
        session.merge(Tag(model_id=id_of(model.id), name=tag))
    return model


def _place(
    session: "Session", model: Model, held: Sequence[Row], draft: Draft
) -> tuple[Version, str]:
    """Return the version that a draft goes to, made if need be, and its label there."""
    wanted = draft.label or draft.graph.precision
    target = _target(held, draft)
    if draft.origin is None and draft.lineage is None and not draft.force:
        target = _suited(rows_of(session), target, draft)
    if target is None:
        version = Version(
            model_id=id_of(model.id),
            number=_next_number(session, model, held),
            origin=draft.origin,
            license=spelled(draft.license),
            created_at=datetime.now(UTC).isoformat(),  # tells it from another of its number
        )
        session.add(version)
        session.flush()
        return version, wanted
    taken = {row["label"] for row in held if row["number"] == target["number"]}
    if wanted not in taken:
        return _get(session, Version, target["version_id"]), wanted
    if draft.version is None:
        return _place(session, model, held, _renewed(draft))
    spare = f"{wanted}-opset{draft.graph.opset}"
    if draft.label is not None or spare in taken:
        raise Refused(
            f"`{model.name}:{wanted}@{draft.version}` already stands for other bytes",
            hint=f"leave `@{draft.version}` out to start a new version, or give another label",
        )
    return _get(session, Version, target["version_id"]), spare


def _suited(rows: Rows, target: Row | None, draft: Draft) -> Row | None:
    """Return the version that a user's own file may join; None for a new one.

    Raises:
        Refused: if the label says another precision than the weights have, or the version that
            was named has other inputs or outputs.
    """
    precision = draft.graph.precision
    if draft.label in PRECISIONS and draft.label != precision:
        raise Refused(
            f"the label `{draft.label}` is a precision, and the weights are {precision}",
            hint=f"--name {draft.name}:{precision}, another label, or --force",
        )
    if target is None:
        return None
    (row,) = rows("SELECT graph FROM variant WHERE id = :id", id=target["id"])
    unlike = differences(_widened(graph_of(row)), _widened(draft.graph))
    if not unlike:
        return target
    if draft.label is None and draft.version is None:
        return None
    raise Refused(
        f"`{draft.name}@{target['number']}` has other inputs and outputs: {'; '.join(unlike)}",
        hint="--new-version, another name, or --force",
    )


def _widened(graph: Graph) -> Graph:
    """Return a graph with all float inputs and outputs widened: callers may pass either width."""
    wide = [
        tuple(replace(t, dtype="float32") if t.dtype in WIDTHS else t for t in tensors)
        for tensors in (graph.inputs, graph.outputs)
    ]
    return replace(graph, inputs=wide[0], outputs=wide[1])


def _next_number(session: "Session", model: Model, held: Sequence[Row]) -> int:
    """Return a number that no version of this model ever had: scripts are pinned to them."""
    if not held:
        return 1
    return 1 + max([*removed(session, model.name), *(int(row["number"]) for row in held)])


def removed(session: "Session", name: str) -> dict[int, set[str]]:
    """Return the digests that were removed of a model's versions, by their numbers.

    Known from the event log, back to where the whole model last went.
    """
    found: dict[int, set[str]] = {}
    for row in rows_of(session)(_REMOVED, name=name):
        head, _, number = row["reference"].rpartition("@")
        if head.partition(":")[0] == name:
            found.setdefault(int(number), set()).add(row["detail"])
    return found


def _target(held: Sequence[Row], draft: Draft) -> Row | None:
    """Return a row of the version that a draft belongs to, or None for a new version."""
    if draft.new_version:
        return None
    if draft.version is not None:
        for row in held:
            if row["number"] == draft.version:
                return row
        raise NotFound(
            f"no version `{draft.version}` of `{draft.name}`", hint=f"zoo versions {draft.name}"
        )
    rows = [row for row in held if draft.origin in {None, row["origin"]}]
    return rows[-1] if rows else None


def _renewed(draft: Draft) -> Draft:
    return replace(draft, new_version=True)


def keep_bundle(session: "Session", manifest: Manifest) -> None:
    """Insert a bundle and its files, unless it is there."""
    if session.get(Bundle, manifest.digest) is not None:
        return
    session.add(Bundle(digest=manifest.digest, bytes=manifest.bytes))
    session.flush()
    for file in manifest.files:
        session.add(
            BundleFile(digest=manifest.digest, path=file.path, sha256=file.sha256, bytes=file.bytes)
        )


def id_of(value: int | None) -> int:
    """Return the id of a row that was flushed."""
    if value is None:  # only before a flush
        raise RuntimeError("the row has no id yet")
    return value


def _get(session: "Session", table: type[T], key: int) -> T:
    row = session.get(table, key)
    if row is None:
        raise RuntimeError(f"no row {key} in {table.__name__}")
    return row
