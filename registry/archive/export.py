"""Collect the content of a `.zoo` file from the database."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from pathlib import Path

from onnxzoo.registry.archive.snapshot import Contents, ModelOut, VariantOut, VersionOut, members_of
from onnxzoo.registry.core.errors import NotFound
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.database.database import Rows
from onnxzoo.registry.database.queries import Row, lineage_of, listed, manifests, measurements
from onnxzoo.registry.resolve.lookup import all_of
from onnxzoo.registry.store import Store

_MODEL = "SELECT task, created_at FROM model WHERE id = :id"
_VERSION = """
SELECT v.created_at, d.digest, d.source
FROM version v LEFT JOIN reference_data d ON d.version_id = v.id WHERE v.id = :id
"""
_TAGS = "SELECT name FROM tag WHERE model_id = :id ORDER BY name"
_ALIASES = """
SELECT a.name, v.number, a.variant_id FROM alias a JOIN version v ON v.id = a.version_id
WHERE a.model_id = :id
"""


def collect_contents(rows: Rows, refs: Sequence[Ref]) -> Contents:
    """Collect everything known about some references.

    ``NAME`` means every version, ``NAME@VERSION`` every variant of it, ``NAME:VARIANT`` that
    variant of the latest version; no reference means everything. Aliases go with the versions
    that they point to.

    Raises:
        NotFound: if no such model, version or variant is held, or nothing is.
    """
    found = [row for ref in refs for row in all_of(rows, ref)] if refs else listed(rows)
    if not found:
        raise NotFound("no model is held; expected one to export", hint="zoo search")
    wanted = {row["id"]: row for row in found}
    by_name = sorted(wanted.values(), key=lambda row: (row["name"], row["number"], row["label"]))
    models = tuple(
        _model(rows, list(group)) for _, group in groupby(by_name, key=lambda row: row["name"])
    )
    contents = Contents(models, {}, {}, ())
    digests = {variant.digest for _, _, variant in contents.variants()}
    digests |= {version.test_data for _, version in contents.versions() if version.test_data}
    bundles = {manifest.digest: manifest for manifest in manifests(rows, sorted(digests))}
    measured = {digest: tuple(measurements(rows, digest)) for digest in sorted(digests)}
    return replace(
        contents,
        bundles=bundles,
        measurements={digest: found for digest, found in measured.items() if found},
        members=members_of(models, bundles),
    )


def locate_files(contents: Contents, store: Store) -> Mapping[str, Path]:
    """Return where in the store the file of each SHA-256 lies.

    Raises:
        NotFound: if nothing of a bundle is here.
    """
    for model, version, variant in contents.variants():
        if store.is_absent(variant.digest):
            ref = f"{model.name}:{variant.label}@{version.number}"
            raise store.not_here(ref, f"zoo verify {model.name} --repair")
    return {
        file.sha256: store.path(digest) / file.path
        for digest, manifest in contents.bundles.items()
        for file in manifest.files
    }


def _model(rows: Rows, found: Sequence[Row]) -> ModelOut:
    first = found[0]
    model = rows(_MODEL, id=first["model_id"])[0]
    versions: defaultdict[int, list[Row]] = defaultdict(list)
    for row in found:
        versions[row["number"]].append(row)
    aliases = [row for row in rows(_ALIASES, id=first["model_id"]) if row["number"] in versions]
    labels = {row["id"]: row["label"] for row in found}
    return ModelOut(
        name=first["name"],
        task=model["task"],
        tags=tuple(row["name"] for row in rows(_TAGS, id=first["model_id"])),
        created_at=datetime.fromisoformat(model["created_at"]),
        aliases={row["name"]: row["number"] for row in aliases},
        alias_variants={
            row["name"]: labels[row["variant_id"]] for row in aliases if row["variant_id"] in labels
        },
        versions=tuple(_version(rows, own) for _, own in sorted(versions.items())),
    )


def _version(rows: Rows, found: Sequence[Row]) -> VersionOut:
    first = found[0]
    version = rows(_VERSION, id=first["version_id"])[0]
    return VersionOut(
        number=first["number"],
        origin=first["origin"],
        license=first["license"],
        created_at=datetime.fromisoformat(version["created_at"]),
        variants=tuple(map(_variant, found)),
        test_data=version["digest"],
        test_data_source=version["source"],
    )


def _variant(row: Row) -> VariantOut:
    return VariantOut(
        label=row["label"],
        precision=row["precision"],
        opset=row["opset"],
        digest=row["digest"],
        entry=row["entry"],
        source=row["source"],
        revision=row["revision"],
        created_at=datetime.fromisoformat(row["created_at"]),
        lineage=lineage_of(row),
    )
