"""Write a bundle's sidecar: a JSON file of the database's facts on the bundle.

It is written in the transaction that changes the rows, before the commit. So a kill leaves a
sidecar that is ahead of the database at most, never behind: what is made again from it is what the
user had asked for, told of it or not. A change that fails takes its sidecars back, as far as the
disk lets it. Of two that disagree the newest counts. So the cost of a change does not grow with a
model's versions: only the sidecars of versions that it touched are written, and of what is said of
a whole model (its task, its tags) the newest variant's. `write_missing` brings all in step with
the database again.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import StorageError, ZooError
from onnxzoo.registry.core.files import reporting_storage, sync
from onnxzoo.registry.database.changed_rows import Touched
from onnxzoo.registry.database.database import Database, Rows, rows_of
from onnxzoo.registry.database.ownership import check_owner
from onnxzoo.registry.database.queries import USED, events, listed, reading_rows, records
from onnxzoo.registry.maintenance.sidecar_claims import FORMAT, LARGEST, parse
from onnxzoo.registry.store import Store

if TYPE_CHECKING:
    from sqlmodel import Session

_ALL = (1 << 31) - 1  # a limit that is none
_BATCH = 200  # sidecars written in one transaction: others wait for it, and give up after 30 s

_ALIASES = """
SELECT a.name, r.label FROM alias a LEFT JOIN variant r ON r.id = a.variant_id
WHERE a.version_id = :id ORDER BY a.name
"""
_WHOLE = ("task", "tags")  # what a claim says of its whole model, and may change
_LISTS = ("variants", "reference_data")
_MODEL = "m.id AS model_id, m.name, m.task, m.created_at AS model_created_at"
_VERSION = "v.id AS version_id, v.number, v.origin, v.license, v.created_at AS version_created_at"
_VARIANTS = f"""
SELECT {_MODEL}, {_VERSION}, r.label, r.precision, r.opset, r.entry, r.source, r.revision,
       r.created_at, l.parent, l.called, l.recipe
FROM model m JOIN version v ON v.model_id = m.id JOIN variant r ON r.version_id = v.id
LEFT JOIN lineage l ON l.variant_id = r.id
WHERE r.digest = :digest ORDER BY m.name, v.number, r.label
"""  # noqa: S608
_DATA = f"""
SELECT {_MODEL}, {_VERSION}, d.source
FROM model m JOIN version v ON v.model_id = m.id JOIN reference_data d ON d.version_id = v.id
WHERE d.digest = :digest ORDER BY m.name, v.number
"""  # noqa: S608


@contextmanager
def write_with_sidecars(database: Database, store: Store) -> "Iterator[Session]":
    """Give a session in one transaction, and write the sidecars of its changes."""
    from sqlalchemy import event

    written = set[str]()
    try:
        with database.write() as session:
            rows = rows_of(session)
            check_owner(rows, store, claim=True)
            touched = Touched()
            event.listen(session, "before_flush", touched.note)
            yield session
            session.flush()
            whole = touched.newest(rows)
            written = touched.digests(rows) | whole
            _keep(rows, store, written, anew=whole)
    except BaseException:
        if written:
            _take_back(database, store, written)
        raise


def _take_back(database: Database, store: Store, digests: Iterable[str]) -> None:
    """Restore sidecars from the database after a failure, if the disk allows it."""
    with suppress(ZooError), database.write() as session:
        for digest in sorted(digests):
            with suppress(StorageError):
                _keep(rows_of(session), store, [digest])


def stale_sidecars(
    database: Database, store: Store, *, leave: Container[str] = ()
) -> tuple[list[str], list[str]]:
    """Return the bundles with a missing or outdated sidecar.

    Args:
        database: the registry's.
        store: its store.
        leave: names of models whose sidecars are left alone.

    Returns:
        Those to be written, and the models of those that were written after the database's last
        change: it may be an older copy than its store.
    """
    late, newest = set[str](), dict[str, tuple[str, str, bool]]()
    ahead = set[str]()
    with database.read() as rows:
        last = rows("SELECT max(at) AS at FROM event")
        for digest in sorted(_digests(rows(USED))):
            (at, old), new = _read(store, digest), _content(rows, digest)
            names = _names(new)
            if any(name in leave for name in names | _names(old)):
                continue
            if _of_bundle(old) != _of_bundle(new):
                if old is not None and _is_after(at, last[0]["at"]):
                    ahead |= names
                else:
                    late.add(digest)
                continue
            for said, so in zip(_claims(old), _claims(new), strict=True):
                found = at, digest, _of_model(said) == _of_model(so)
                newest[said["name"]] = max(found, newest.get(said["name"], found))
    late |= {digest for _, digest, right in newest.values() if not right}
    return sorted(late), sorted(ahead)


def _is_after(written: str, last: str | None) -> bool:
    """Tell whether a sidecar was written in a later second than the database's last change."""
    try:
        return last is not None and datetime.fromisoformat(written) >= datetime.fromisoformat(
            last
        ) + timedelta(seconds=2)
    except (TypeError, ValueError):
        return False


def check(rows: Rows, store: Store) -> None:
    """Read everything that the database says.

    Raises:
        Damaged: if something does not read, or is none of what a registry writes.
    """
    records(rows, store, listed(rows))
    events(rows, None, _ALL)
    for digest in _digests(rows(USED)):
        _content(rows, digest)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def write_missing(database: Database, store: Store, digests: Sequence[str]) -> None:
    """Write these bundles' sidecars as the database has them now."""
    for start in range(0, len(digests), _BATCH):
        with database.write() as session:
            _keep(rows_of(session), store, digests[start : start + _BATCH])


def discard(store: Store, digest: str) -> None:
    """Remove a bundle's sidecar durably."""
    path = store.sidecar(digest)
    with reporting_storage(store.root):
        if path.exists():
            path.unlink(missing_ok=True)
            sync(path.parent)


def _keep(rows: Rows, store: Store, digests: Iterable[str], *, anew: Container[str] = ()) -> None:
    """Write outdated sidecars, and some in any case.

    What is gained comes before what is lost: an alias that moves is never nowhere.
    """
    found = {
        digest: (_read(store, digest)[1], _content(rows, digest)) for digest in sorted(digests)
    }
    for digest, (old, new) in sorted(found.items(), key=lambda item: _loses(*item[1])):
        if new is None:
            discard(store, digest)
        elif old != new or digest in anew:
            written = {"written_at": _now(), **new}
            store.put(json.dumps(written, indent=1).encode(), store.sidecar(digest))


def _loses(old: object, new: object) -> bool:
    return new is None or bool(_aliases(old) - _aliases(new))


def _aliases(content: Any) -> set[tuple[str, str]]:
    """Return the aliases that a sidecar claims, by model; garbage claims none."""
    try:
        return {(claim["name"], alias) for claim in _claims(content) for alias in claim["aliases"]}
    except (KeyError, TypeError):
        return set()


def _claims(content: Any) -> list[Any]:
    return [*content["variants"], *content["reference_data"]]


def _names(content: Any) -> set[str]:
    """Return the models that a sidecar claims; garbage claims none."""
    try:
        return {str(claim["name"]) for claim in _claims(content)}
    except (KeyError, TypeError):
        return set()


def _of_model(claim: Mapping[str, Any]) -> list[Any]:
    return [claim[key] for key in _WHOLE]


def _of_bundle(content: Any) -> Any:
    """Return a sidecar without the metadata of whole models; a newer one may have better."""
    try:
        claims = [
            {key: value for key, value in claim.items() if key not in _WHOLE}
            for claim in _claims(content)
        ]
        return {key: value for key, value in content.items() if key not in _LISTS}, claims
    except (AttributeError, KeyError, TypeError):  # none, or garbage
        return content


def _digests(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    return {row["digest"] for row in rows}


def _read(store: Store, digest: str) -> tuple[str, Any]:
    """Return when a sidecar was written and all else; None if it is not there, or no JSON."""
    try:
        with store.sidecar(digest).open("rb") as file:
            content = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return "", None
    at = content.pop("written_at", "") if isinstance(content, dict) else ""
    return str(at), content


def _content(rows: Rows, digest: str) -> dict[str, Any] | None:
    """Return the content of a bundle's sidecar; None for an unreferenced bundle."""
    variants, data = rows(_VARIANTS, digest=digest), rows(_DATA, digest=digest)
    if not variants and not data:
        return None
    files = rows("SELECT path, sha256, bytes FROM file WHERE digest = :d", d=digest)
    with reading_rows():  # a damaged row must not spoil what it can be made again from
        content = {
            "format": FORMAT,
            "digest": digest,
            "files": sorted(map(dict, files), key=lambda file: str(file["path"])),
            "variants": [_version(rows, row) | _variant(row) for row in variants],
            "reference_data": [_version(rows, row) | {"source": row["source"]} for row in data],
        }
        parse({"written_at": _now(), **content}, digest)
    return content


def _version(rows: Rows, row: Mapping[str, Any]) -> dict[str, Any]:
    aliases = rows(_ALIASES, id=row["version_id"])
    tags = rows("SELECT name FROM tag WHERE model_id = :id ORDER BY name", id=row["model_id"])
    return {
        "name": row["name"],
        "task": row["task"],
        "tags": [tag["name"] for tag in tags],
        "model_created_at": row["model_created_at"],
        "version": row["number"],
        "origin": row["origin"],
        "license": row["license"],
        "aliases": [alias["name"] for alias in aliases],
        "alias_variants": {alias["name"]: alias["label"] for alias in aliases if alias["label"]},
        "version_created_at": row["version_created_at"],
    }


def _variant(row: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("precision", "opset", "entry", "source", "revision", "created_at")
    lineage = None
    if row["called"] is not None:
        recipe = json.loads(row["recipe"])
        lineage = {"parent": row["parent"], "called": row["called"], "recipe": recipe}
    return {"variant": row["label"], **{key: row[key] for key in keys}, "lineage": lineage}
