"""The registry's questions in SQL, and the records that answer them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

from onnxzoo.registry.core.errors import Damaged, Refused, UsageError
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.core.names import LATEST, fold, keys_of
from onnxzoo.registry.core.records import (
    Context,
    Event,
    Graph,
    Lineage,
    Measurement,
    Tensor,
    Variant,
    Weights,
)
from onnxzoo.registry.database.connection import REBUILD
from onnxzoo.registry.database.database import Rows
from onnxzoo.registry.licenses.policy import spelled
from onnxzoo.registry.store import Store

Row = Mapping[str, Any]

# The bundles to which something refers.
USED = "SELECT digest FROM variant UNION SELECT digest FROM reference_data"
_BATCH = 500  # values in one IN (…); SQLite's bound was 999 for long
_VARIANTS = """
SELECT m.id AS model_id, m.name, m.task, v.id AS version_id, v.number, v.license, v.origin,
       r.id, r.label, r.precision, r.opset, r.digest, r.entry, r.source, r.revision, r.graph,
       r.created_at, b.bytes, l.parent, l.called, l.recipe
FROM model m
JOIN version v ON v.model_id = m.id
JOIN variant r ON r.version_id = v.id
JOIN bundle b ON b.digest = r.digest
LEFT JOIN lineage l ON l.variant_id = r.id
"""
_VERSION = {
    LATEST: "v.number = (SELECT max(number) FROM version WHERE model_id = m.id)",
    "number": "v.number = CAST(:version AS NUMERIC)",
    "digest": "r.digest LIKE :version || '%'",
    "alias": "v.id = (SELECT version_id FROM alias WHERE model_id = m.id AND name = :version)",
}

_ALIASED = """
SELECT a.variant_id FROM alias a JOIN model m ON m.id = a.model_id
WHERE m.key = :key AND a.name = :alias
"""
_EVENTS = r"""
SELECT at, action, reference, detail FROM event
WHERE :name = '' OR reference = :name
   OR reference LIKE :like || ':%' ESCAPE '\' OR reference LIKE :like || '@%' ESCAPE '\'
ORDER BY id DESC LIMIT :limit
"""
UNUSED = f"SELECT digest, bytes FROM bundle WHERE digest NOT IN ({USED})"  # noqa: S608


class Held(NamedTuple):
    """A variant's row, with the columns for choosing."""

    variant: str
    precision: str
    opset: int
    bytes: int
    digest: str
    derived: bool
    row: Row


def held(rows: Rows, name: str, version: str | None) -> list[Held]:
    """Return the variants of one version of a model; all None of them if it is not held."""
    where = f"WHERE m.key = :key AND {_VERSION[_kind(version)]} ORDER BY v.number, r.label"
    found = rows(_VARIANTS + where, key=fold(name), version=version)
    return [
        Held(
            variant=row["label"],
            precision=row["precision"],
            opset=row["opset"],
            bytes=row["bytes"],
            digest=row["digest"],
            derived=is_derived(row, found),
            row=row,
        )
        for row in found
    ]


def is_derived(row: Row, version: Sequence[Row]) -> bool:
    """Tell whether a variant was derived from another: the first conversion of a source was not."""
    first = min(other["id"] for other in version)
    return row["parent"] is not None or (row["called"] is not None and row["id"] != first)


def variant_of(rows: Rows, name: str, alias: str | None) -> int | None:
    """Return the id of the variant that an alias recorded; None if it is no alias, or that is gone.

    Args:
        rows: of the database.
        name: the model.
        alias: a reference's version.
    """
    if _kind(alias) != "alias":
        return None
    found = rows(_ALIASED, key=fold(name), alias=alias)
    return found[0]["variant_id"] if found else None


def listed(
    rows: Rows,
    words: Sequence[str] = (),
    *,
    ops: bool = False,
    name: str | None = None,
    source: str | None = None,
    limit: int | None = None,
) -> Sequence[Row]:
    """Return rows of variants by name, newest version first; every word must occur.

    A word is looked for in the name, the task, the tags, the precision, the label and the version's
    aliases; one with ``:`` or ``@`` in the reference; with `ops` in the text of the graph too,
    which has more than op types in it. A ``*`` stands for anything.
    """
    values: dict[str, object] = {}
    clauses = ["1 = 1"]
    if name is not None:
        clauses.append("m.key = :key")
        values["key"] = fold(name)
    if source is not None:
        clauses.append("r.source = :source")
        values["source"] = source
    keys = keys_of(words)
    if limit is not None and not keys and len(clauses) == 1:
        clauses.append(_FIRST_MODELS)
    for number, key in enumerate(keys):
        values[f"w{number}"] = f"%{key.translate(_ESCAPED)}%"
        where = _IN_REFERENCE if {":", "@"} & set(key) else _OCCURS
        occurs = (where + " OR " + _IN_GRAPH if ops else where).format(number)
        clauses.append(f"({occurs})")
    sql = f"{_VARIANTS} WHERE {' AND '.join(clauses)} ORDER BY m.name, v.number DESC, r.label"
    if limit is not None:
        sql += " LIMIT :limit"
        values["limit"] = limit
    return rows(sql, **values)


# Every model has a variant, so the first rows are among the first models': 84 ms become 1 ms.
_FIRST_MODELS = "m.id IN (SELECT id FROM model ORDER BY name LIMIT :limit)"
_ESCAPED = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\", "*": "%"})
_OCCURS = r"""m.key LIKE :w{0} ESCAPE '\' OR replace(lower(m.task), '_', '-') LIKE :w{0} ESCAPE '\'
 OR r.precision LIKE :w{0} ESCAPE '\' OR r.label LIKE :w{0} ESCAPE '\'
 OR EXISTS (SELECT 1 FROM alias a WHERE a.version_id = v.id AND a.name LIKE :w{0} ESCAPE '\')
 OR EXISTS (SELECT 1 FROM tag
            WHERE model_id = m.id AND replace(name, '_', '-') LIKE :w{0} ESCAPE '\')"""
_IN_REFERENCE = r"""m.key || ':' || r.label || '@' || v.number LIKE :w{0} ESCAPE '\'
 OR m.key || '@' || v.number LIKE :w{0} ESCAPE '\'
 OR EXISTS (SELECT 1 FROM alias a WHERE a.version_id = v.id
            AND m.key || '@' || a.name LIKE :w{0} ESCAPE '\')"""
_IN_GRAPH = r"replace(lower(r.graph), '_', '-') LIKE :w{0} ESCAPE '\'"


def records(rows: Rows, store: Store, found: Sequence[Row]) -> list[Variant]:
    """Return the records of these rows: with files, aliases and tags.

    Raises:
        Damaged: if a row holds what no registry writes.
    """
    with reading_rows():
        return _records(rows, store, found)


def _records(rows: Rows, store: Store, found: Sequence[Row]) -> list[Variant]:
    files = _grouped(
        rows, "SELECT digest AS owner, path, sha256, bytes FROM file WHERE digest", "path",
        [row["digest"] for row in found],
    )  # fmt: skip
    aliases = _grouped(
        rows, "SELECT version_id AS owner, name FROM alias WHERE version_id", "name",
        [row["version_id"] for row in found],
    )  # fmt: skip
    tags = _grouped(
        rows, "SELECT model_id AS owner, name FROM tag WHERE model_id", "name",
        [row["model_id"] for row in found],
    )  # fmt: skip
    return [
        Variant(
            name=row["name"],
            version=row["number"],
            variant=row["label"],
            digest=row["digest"],
            bytes=row["bytes"],
            source=row["source"],
            revision=row["revision"],
            license=spelled(row["license"]),
            task=row["task"],
            created_at=datetime.fromisoformat(row["created_at"]),
            aliases=tuple(alias["name"] for alias in aliases[row["version_id"]]),
            tags=tuple(tag["name"] for tag in tags[row["model_id"]]),
            files=tuple(File(f["path"], f["sha256"], f["bytes"]) for f in files[row["digest"]]),
            path=store.path(row["digest"]) / row["entry"],
            graph=graph_of(row),
            lineage=lineage_of(row),
        )
        for row in found
    ]


@contextmanager
def reading_rows() -> Iterator[None]:
    """Turn errors of reading a row that no registry wrote into Damaged."""
    try:
        yield
    except (KeyError, TypeError, ValueError, UsageError, Refused) as error:
        raise Damaged(
            f"the registry's database is damaged: a row does not read: {str(error).lower()}",
            hint=REBUILD,
        ) from error


def derived(rows: Rows, store: Store, digest: str) -> list[Variant]:
    """Return the held variants that were made from a bundle."""
    found = rows(f"{_VARIANTS} WHERE l.parent = :digest ORDER BY m.name, r.label", digest=digest)
    return records(rows, store, found)


def holding(rows: Rows, store: Store, digest: str) -> list[Variant]:
    """Return the held variants of a bundle."""
    found = rows(f"{_VARIANTS} WHERE r.digest = :digest ORDER BY m.name, r.label", digest=digest)
    return records(rows, store, found)


def places(rows: Rows) -> set[tuple[str, str]]:
    """Return where each held model lies: its bundle's digest, and its path in it."""
    return {(row["digest"], row["entry"]) for row in rows("SELECT digest, entry FROM variant")}


def manifests(rows: Rows, digests: Sequence[str] | None = None) -> list[Manifest]:
    """Return the manifests of these bundles, or of all that a variant refers to."""
    if digests is None:
        digests = [row["digest"] for row in rows("SELECT DISTINCT digest FROM variant")]
    sql = "SELECT digest AS owner, path, sha256, bytes FROM file WHERE digest"
    files = _grouped(rows, sql, "path", digests)
    return [
        Manifest.of(File(f["path"], f["sha256"], f["bytes"]) for f in files[digest])
        for digest in sorted(set(digests))
    ]


def events(rows: Rows, name: str | None, limit: int) -> list[Event]:
    """Return the last events, newest first: of one model, or of all."""
    held = rows("SELECT name FROM model WHERE key = :key", key=fold(name or ""))
    named = held[0]["name"] if held else name or ""
    found = rows(_EVENTS, name=named, like=named.translate(_ESCAPED), limit=limit)
    with reading_rows():
        return [
            Event(datetime.fromisoformat(row["at"]), row["action"], row["reference"], row["detail"])
            for row in found
        ]


def measurements(rows: Rows, digest: str) -> list[Measurement]:
    """Return the measurements of a bundle, by context and metric."""
    found = rows(
        "SELECT metric, value, unit, context, at FROM measurement "
        "WHERE digest = :digest ORDER BY context, metric",
        digest=digest,
    )
    return [
        Measurement(
            row["metric"],
            row["value"],
            row["unit"],
            json.loads(row["context"]),
            datetime.fromisoformat(row["at"]),
        )
        for row in found
    ]


def context_text(context: Context) -> str:
    """Return the JSON text under which a context is kept: alike for contexts that are equal.

    >>> context_text({"threads": 2, "batch": None})
    '{"batch":null,"threads":2}'
    """
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def graph_text(graph: Graph) -> str:
    """Return the JSON text under which a graph is kept."""
    return json.dumps(asdict(graph), separators=(",", ":"), ensure_ascii=False)


def graph_of(row: Row) -> Graph:
    """Return the graph of a variant's row."""
    fields = json.loads(row["graph"])
    fields |= {name: tuple(map(_tensor, fields[name])) for name in ("inputs", "outputs")}
    fields["external"] = tuple(fields["external"])
    if fields.get("functions") is not None:
        fields["functions"] = tuple(fields["functions"])
    if fields.get("weights") is not None:
        fields["weights"] = {name: Weights(**item) for name, item in fields["weights"].items()}
    return Graph(**fields)


def lineage_of(row: Row) -> Lineage | None:
    """Return the lineage in a variant's row, None if it has none."""
    if row["called"] is None:
        return None
    return Lineage(row["parent"], row["called"], json.loads(row["recipe"]))


def _tensor(fields: dict[str, Any]) -> Tensor:
    shape = fields["shape"]
    return Tensor(fields["name"], fields["dtype"], None if shape is None else tuple(shape))


def _kind(version: str | None) -> str:
    if version in {None, LATEST}:
        return LATEST
    if str(version).isdecimal():
        return "number"
    return "digest" if str(version).startswith("sha256:") else "alias"


def _grouped(
    rows: Rows, select: str, order: str, owners: Iterable[object]
) -> defaultdict[object, list[Row]]:
    """Return the rows that belong to each owner, asked for in batches."""
    grouped: defaultdict[object, list[Row]] = defaultdict(list)
    distinct = list(dict.fromkeys(owners))
    for start in range(0, len(distinct), _BATCH):
        values = {f"o{n}": owner for n, owner in enumerate(distinct[start : start + _BATCH])}
        names = ", ".join(f":{name}" for name in values)
        for row in rows(f"{select} IN ({names}) ORDER BY {order}", **values):
            grouped[row["owner"]].append(row)
    return grouped
