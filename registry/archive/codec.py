"""The first member of a `.zoo` file: JSON, written the same way each time, read with suspicion."""

import json
import re
from typing import Any

from onnxzoo.registry.archive.snapshot import (
    Contents,
    Member,
    ModelOut,
    VariantOut,
    VersionOut,
    validate,
)
from onnxzoo.registry.core import decode
from onnxzoo.registry.core.errors import IntegrityError, Refused, UsageError, ZooError
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.core.names import check_name, check_word
from onnxzoo.registry.core.records import Measurement

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
    """Parse and validate the first member of an archive.

    Args:
        text: JSON.
        where: the archive, for errors.

    Raises:
        IntegrityError: if it is no such text, or does not agree with itself.
        Refused: if it is of a newer format, or names what must not be.
    """
    try:
        values = decode.mapping(json.loads(text))
        decode.check_plain(values)
        _check_format(values, where)
        return validate(_contents(values), where)
    except Refused:
        raise
    except (ArithmeticError, RecursionError, ValueError, TypeError, ZooError) as error:
        raise IntegrityError(f"the manifest of `{where}` is malformed: {error}") from error


def _check_format(values: dict[str, Any], where: str) -> None:
    if values.get("format") != FORMAT:
        raise ValueError(f"it does not say `{FORMAT}`")
    version = decode.get(values, "version", decode.version_number)
    if version > VERSION:
        raise Refused(
            f"`{where}` is of format {version}; this release reads {VERSION}",
            hint="pip install --upgrade onnxzoo",
        )


def _contents(values: dict[str, Any]) -> Contents:
    bundles: dict[str, Manifest] = {}
    for said, manifest in decode.get(values, "bundles", decode.each(_bundle)):
        if manifest.digest != said or said in bundles:
            raise ValueError(f"the files of `{said}` are those of `{manifest.digest}`")
        bundles[said] = manifest
    measured: dict[str, list[Measurement]] = {}
    for digest, one in decode.get(values, "measurements", decode.each(_measured)):
        if digest not in bundles:
            raise ValueError(f"`{digest}` was measured, and is not in it")
        measured.setdefault(digest, []).append(one)
    return Contents(
        decode.get(values, "models", decode.each(_model)),
        bundles,
        {digest: tuple(found) for digest, found in measured.items()},
        decode.get(values, "members", decode.each(_member)),
    )


def _bundle(values: Any) -> tuple[str, Manifest]:
    files = decode.get(values, "files", decode.each(decode.file))
    return decode.get(values, "digest", decode.text), Manifest.of(files)


def _member(values: Any) -> Member:
    return Member(
        decode.get(values, "name", decode.text),
        decode.get(values, "sha256", decode.text),
        decode.get(values, "bytes", decode.whole),
    )


def _model(values: Any) -> ModelOut:
    aliases = decode.get(values, "aliases", decode.mapping)
    return ModelOut(
        name=check_name(decode.get(values, "name", decode.text)),
        task=decode.get(values, "task", decode.maybe(decode.text)),
        tags=decode.get(values, "tags", decode.each(decode.word("tag"))),
        created_at=decode.get(values, "created_at", decode.time),
        aliases={
            _alias(name): decode.get(aliases, name, decode.version_number) for name in aliases
        },
        alias_variants=decode.labels(values, "alias_variants"),
        versions=decode.get(values, "versions", decode.each(_version)),
    )


def _version(values: Any) -> VersionOut:
    return VersionOut(
        number=decode.get(values, "number", decode.version_number),
        origin=decode.get(values, "origin", decode.maybe(decode.text)),
        license=decode.get(values, "license", decode.maybe(decode.text)),
        created_at=decode.get(values, "created_at", decode.time),
        variants=decode.get(values, "variants", decode.each(_variant)),
        test_data=decode.get(values, "test_data", decode.maybe(_digest)),
        test_data_source=decode.get(values, "test_data_source", decode.maybe(decode.text)),
    )


def _variant(values: Any) -> VariantOut:
    return VariantOut(
        label=decode.get(values, "label", decode.word("variant")),
        precision=decode.get(values, "precision", decode.word("precision")),
        opset=decode.get(values, "opset", decode.whole),
        digest=decode.get(values, "digest", decode.text),
        entry=decode.get(values, "entry", decode.text),
        source=decode.get(values, "source", decode.text),
        revision=decode.get(values, "revision", decode.maybe(decode.text)),
        created_at=decode.get(values, "created_at", decode.time),
        lineage=decode.get(values, "lineage", decode.maybe(decode.lineage)),
    )


def _measured(values: Any) -> tuple[str, Measurement]:
    context = decode.get(values, "context", decode.mapping)
    if not all(isinstance(value, str | int | float | None) for value in context.values()):
        raise TypeError("a context has numbers and words only")
    return decode.get(values, "digest", decode.text), Measurement(
        decode.get(values, "metric", decode.text),
        decode.get(values, "value", decode.number),
        decode.get(values, "unit", decode.text),
        context,
        decode.get(values, "at", decode.time),
    )


def _digest(value: Any) -> str:
    if not _DIGEST.fullmatch(decode.text(value)):
        raise ValueError("expected `sha256:` and 64 hexadecimal digits")
    return str(value)


def _alias(word: str) -> str:
    if not decode.may_be_alias(word):
        raise UsageError(f"`{word}` is not a valid alias")
    return check_word(word, "alias")
