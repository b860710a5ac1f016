"""The first member of a `.zoo` file: JSON, written the same way each time, read with suspicion."""

import json
import re
from typing import Any

from onnxzoo.registry import told
from onnxzoo.registry.errors import IntegrityError, Refused, UsageError, ZooError
from onnxzoo.registry.exported import Contents, Member, ModelOut, VariantOut, VersionOut, agreeing
from onnxzoo.registry.manifest import File, Manifest
from onnxzoo.registry.names import check_name, check_word
from onnxzoo.registry.records import Measurement

FORMAT = "onnxzoo"  # the word by which the first member says what the file is
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = 1  # of the format; a higher one is not read


def dump(contents: Contents) -> bytes:
    """Return the text of an archive's first member: the same for the same contents."""
    values = {
        "format": FORMAT,
        "version": VERSION,
        "models": [_model_values(model) for model in contents.models],
        "measurements": [
            {
                "digest": digest,
                "metric": one.metric,
                "value": one.value,
                "unit": one.unit,
                "context": dict(sorted(one.context.items())),
                "at": one.at.isoformat(),
            }
            for digest, found in sorted(contents.measurements.items())
            for one in found
        ],
        "bundles": [
            {"digest": digest, "files": [_file_values(file) for file in manifest.files]}
            for digest, manifest in sorted(contents.bundles.items())
        ],
        "members": [
            {"name": m.name, "sha256": m.sha256, "bytes": m.bytes} for m in contents.members
        ],
    }
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()


def _model_values(model: ModelOut) -> dict[str, Any]:
    return {
        "name": model.name,
        "task": model.task,
        "tags": list(model.tags),
        "created_at": model.created_at.isoformat(),
        "aliases": dict(sorted(model.aliases.items())),
        "alias_variants": dict(sorted(model.alias_variants.items())),
        "versions": [
            {
                "number": version.number,
                "origin": version.origin,
                "license": version.license,
                "created_at": version.created_at.isoformat(),
                "test_data": version.test_data,
                "test_data_source": version.test_data_source,
                "variants": [_variant_values(variant) for variant in version.variants],
            }
            for version in model.versions
        ],
    }


def _variant_values(variant: VariantOut) -> dict[str, Any]:
    lineage = variant.lineage
    return {
        "label": variant.label,
        "precision": variant.precision,
        "opset": variant.opset,
        "digest": variant.digest,
        "entry": variant.entry,
        "source": variant.source,
        "revision": variant.revision,
        "created_at": variant.created_at.isoformat(),
        "lineage": lineage
        and {"parent": lineage.parent, "called": lineage.called, "recipe": dict(lineage.recipe)},
    }


def _file_values(file: File) -> dict[str, Any]:
    return {"path": file.path, "sha256": file.sha256, "bytes": file.bytes}


def parse(text: bytes, where: str) -> Contents:
    """Return what an archive's first member says, every word of it checked.

    Args:
        text: JSON.
        where: the archive, for errors.

    Raises:
        IntegrityError: if it is no such text, or does not agree with itself.
        Refused: if it is of a newer format, or names what must not be.
    """
    try:
        values = told.mapping(json.loads(text))
        told.check_plain(values)
        _check_format(values, where)
        return agreeing(_contents(values), where)
    except Refused:
        raise
    except (ArithmeticError, RecursionError, ValueError, TypeError, ZooError) as error:
        raise IntegrityError(f"the manifest of `{where}` is malformed: {error}") from error


def _check_format(values: dict[str, Any], where: str) -> None:
    if values.get("format") != FORMAT:
        raise ValueError(f"it does not say `{FORMAT}`")
    version = told.get(values, "version", told.version_number)
    if version > VERSION:
        raise Refused(
            f"`{where}` is of format {version}; this release reads {VERSION}",
            hint="pip install --upgrade onnxzoo",
        )


def _contents(values: dict[str, Any]) -> Contents:
    bundles: dict[str, Manifest] = {}
    for said, manifest in told.get(values, "bundles", told.each(_bundle)):
        if manifest.digest != said or said in bundles:
            raise ValueError(f"the files of `{said}` are those of `{manifest.digest}`")
        bundles[said] = manifest
    measured: dict[str, list[Measurement]] = {}
    for digest, one in told.get(values, "measurements", told.each(_measured)):
        if digest not in bundles:
            raise ValueError(f"`{digest}` was measured, and is not in it")
        measured.setdefault(digest, []).append(one)
    return Contents(
        told.get(values, "models", told.each(_model)),
        bundles,
        {digest: tuple(found) for digest, found in measured.items()},
        told.get(values, "members", told.each(_member)),
    )


def _bundle(values: Any) -> tuple[str, Manifest]:
    files = told.get(values, "files", told.each(told.file))
    return told.get(values, "digest", told.text), Manifest.of(files)


def _member(values: Any) -> Member:
    return Member(
        told.get(values, "name", told.text),
        told.get(values, "sha256", told.text),
        told.get(values, "bytes", told.whole),
    )


def _model(values: Any) -> ModelOut:
    aliases = told.get(values, "aliases", told.mapping)
    return ModelOut(
        name=check_name(told.get(values, "name", told.text)),
        task=told.get(values, "task", told.maybe(told.text)),
        tags=told.get(values, "tags", told.each(told.word("tag"))),
        created_at=told.get(values, "created_at", told.time),
        aliases={_alias(name): told.get(aliases, name, told.version_number) for name in aliases},
        alias_variants=told.labels(values, "alias_variants"),
        versions=told.get(values, "versions", told.each(_version)),
    )


def _version(values: Any) -> VersionOut:
    return VersionOut(
        number=told.get(values, "number", told.version_number),
        origin=told.get(values, "origin", told.maybe(told.text)),
        license=told.get(values, "license", told.maybe(told.text)),
        created_at=told.get(values, "created_at", told.time),
        variants=told.get(values, "variants", told.each(_variant)),
        test_data=told.get(values, "test_data", told.maybe(_digest)),
        test_data_source=told.get(values, "test_data_source", told.maybe(told.text)),
    )


def _variant(values: Any) -> VariantOut:
    return VariantOut(
        label=told.get(values, "label", told.word("variant")),
        precision=told.get(values, "precision", told.word("precision")),
        opset=told.get(values, "opset", told.whole),
        digest=told.get(values, "digest", told.text),
        entry=told.get(values, "entry", told.text),
        source=told.get(values, "source", told.text),
        revision=told.get(values, "revision", told.maybe(told.text)),
        created_at=told.get(values, "created_at", told.time),
        lineage=told.get(values, "lineage", told.maybe(told.lineage)),
    )


def _measured(values: Any) -> tuple[str, Measurement]:
    context = told.get(values, "context", told.mapping)
    if not all(isinstance(value, str | int | float | None) for value in context.values()):
        raise TypeError("a context has numbers and words only")
    return told.get(values, "digest", told.text), Measurement(
        told.get(values, "metric", told.text),
        told.get(values, "value", told.number),
        told.get(values, "unit", told.text),
        context,
        told.get(values, "at", told.time),
    )


def _digest(value: Any) -> str:
    if not _DIGEST.fullmatch(told.text(value)):
        raise ValueError("expected `sha256:` and 64 hexadecimal digits")
    return str(value)


def _alias(word: str) -> str:
    if not told.may_be_alias(word):
        raise UsageError(f"`{word}` is not a valid alias")
    return check_word(word, "alias")
