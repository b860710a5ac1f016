"""The first member of a `.zoo` file: JSON, written the same way each time, read with suspicion."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from onnxzoo.registry.errors import IntegrityError, Refused, UsageError, ZooError
from onnxzoo.registry.exported import (
    Contents,
    Member,
    ModelOut,
    VariantOut,
    VersionOut,
    agreeing,
)
from onnxzoo.registry.manifest import File, Manifest
from onnxzoo.registry.names import LATEST, check_name, check_word
from onnxzoo.registry.records import Lineage, Measurement, utc

T = TypeVar("T")

FORMAT = "onnxzoo"  # the word by which the first member says what the file is
VERSION = 1  # of the format; a higher one is not read
_MOST = 2**31 - 1  # the highest version number that a database's column takes
_LARGEST = 2**63 - 1
_DEEPEST = 30  # values within values; a recipe has some five
_TEXT = 1 << 16  # characters of a source, a licence, a task


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
        values = json.loads(text)
        _check_plain(values, _DEEPEST)
        _check_format(values, where)
        return agreeing(_contents(values))
    except Refused:
        raise
    except (ArithmeticError, RecursionError) as error:
        raise IntegrityError(f"the manifest of `{where}` is malformed: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, ZooError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise IntegrityError(f"the manifest of `{where}` is malformed: {said}") from error


def _check_plain(value: Any, depth: int) -> None:
    """Raise unless every text and number, at any depth, is one that a database takes."""
    if not depth:
        raise ValueError(f"it nests deeper than {_DEEPEST}")
    if isinstance(value, str):
        value.encode()  # half a surrogate pair is no text
        if "\0" in value:
            raise ValueError("a text holds a zero byte")
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError("a number has more than 64 bits")
    elif isinstance(value, dict | list):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            _check_plain(part, depth - 1)


def _check_format(values: Any, where: str) -> None:
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(f"it does not say `{FORMAT}`")
    if _whole(values.get("version")) < 1:
        raise ValueError(f"there is no format {values['version']}")
    if values["version"] > VERSION:
        raise Refused(
            f"`{where}` is of format {values['version']}; this release reads {VERSION}",
            hint="pip install --upgrade onnxzoo",
        )


def _contents(values: dict[str, Any]) -> Contents:
    bundles = {}
    for item in values["bundles"]:
        manifest = Manifest.of(map(_file, item["files"]))
        if manifest.digest != item["digest"] or manifest.digest in bundles:
            raise ValueError(f"the files of `{item['digest']}` are those of `{manifest.digest}`")
        bundles[manifest.digest] = manifest
    measured: dict[str, list[Measurement]] = {digest: [] for digest in bundles}
    for item in values["measurements"]:
        measured[_text(item["digest"])].append(_measurement(item))
    members = tuple(
        Member(_text(m["name"]), _text(m["sha256"]), _whole(m["bytes"])) for m in values["members"]
    )
    models = tuple(map(_model, values["models"]))
    kept = {digest: tuple(found) for digest, found in measured.items() if found}
    return Contents(models, bundles, kept, members)


def _model(values: Any) -> ModelOut:
    aliases = {_alias(name): _number(number) for name, number in values["aliases"].items()}
    return ModelOut(
        name=check_name(_text(values["name"])),
        task=_maybe(_text, values["task"]),
        tags=tuple(check_word(_text(tag), "tag") for tag in values["tags"]),
        created_at=_time(values["created_at"]),
        aliases=aliases,
        versions=tuple(map(_version, values["versions"])),
    )


def _version(values: Any) -> VersionOut:
    return VersionOut(
        number=_number(values["number"]),
        origin=_maybe(_text, values["origin"]),
        license=_maybe(_text, values["license"]),
        created_at=_time(values["created_at"]),
        variants=tuple(map(_variant, values["variants"])),
        test_data=_maybe(_text, values["test_data"]),
        test_data_source=_maybe(_text, values["test_data_source"]),
    )


def _variant(values: Any) -> VariantOut:
    return VariantOut(
        label=check_word(_text(values["label"]), "variant"),
        precision=check_word(_text(values["precision"]), "precision"),
        opset=_whole(values["opset"]),
        digest=_text(values["digest"]),
        entry=_text(values["entry"]),
        source=_text(values["source"]),
        revision=_maybe(_text, values["revision"]),
        created_at=_time(values["created_at"]),
        lineage=_maybe(_lineage, values["lineage"]),
    )


def _lineage(values: Any) -> Lineage:
    if not isinstance(values["recipe"], dict):
        raise TypeError("a recipe is an object")
    _text(values["recipe"]["kind"])
    return Lineage(_maybe(_text, values["parent"]), _text(values["called"]), values["recipe"])


def _measurement(values: Any) -> Measurement:
    context = values["context"]
    if not all(isinstance(value, str | int | float | None) for value in context.values()):
        raise TypeError("a context has numbers and words only")
    if type(values["value"]) not in {int, float}:
        raise TypeError(f"`{values['metric']}` is no number")
    return Measurement(
        _text(values["metric"]),
        float(values["value"]),
        _text(values["unit"]),
        context,
        _time(values["at"]),
    )


def _alias(word: str) -> str:
    if word == LATEST or word.isdecimal():
        raise UsageError(f"`{word}` is not a valid alias")
    return check_word(word, "alias")


def _file(values: Any) -> File:
    return File(_text(values["path"]), _text(values["sha256"]), _whole(values["bytes"]))


def _maybe(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _TEXT:
        raise TypeError(f"expected text, found {json.dumps(value)[:40]}")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise TypeError(f"expected a whole number, found {json.dumps(value)[:40]}")
    return value


def _number(value: Any) -> int:
    if not 0 < _whole(value) <= _MOST:
        raise ValueError(f"`{value}` is no version's number")
    return int(value)


def _time(value: Any) -> datetime:
    return utc(_text(value))
