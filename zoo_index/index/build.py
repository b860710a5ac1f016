"""Build the shipped index: ``python -m onnxzoo.zoo_index.index.build FACTS OUT``.

FACTS is a JSON Lines file with what is known of each model of the ONNX Model Zoo: identity,
SHA-256, size, and what the zoo's manifest and its exporters recorded. The light models are read
from the installed onnx package. Running it again gives the same bytes.
"""

import hashlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.names import fold, slug
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.zoo_index.index.entry import Entry, dump

Facts = Mapping[str, Any]

LIGHT = "onnx/backend/test/data/light"
_PRECISION = re.compile(r"-(fp32|int8|qdq)$")
_OPSET = re.compile(r"-([0-9]+)$")
# One family under two names: the zoo's page lists both as MobileNet v2 of width 1.0.
_SAME_FAMILY = {"mobilenet-v2-1.0": "mobilenet-v2"}
_TASKS = {"classification": "image-classification"}  # the zoo's word covers images only
# onnx.hub's words for element types; source: onnx.proto, "TensorProto.DataType".
_DTYPES = {"float": "float32", "double": "float64"}


def build(facts: Path, out: Path) -> None:
    """Write the index of the models that the facts list and of onnx's light models."""
    rows = [json.loads(line) for line in facts.read_text(encoding="utf-8").splitlines()]
    entries = sorted([*_zoo(rows), *_light()], key=lambda e: (e.name, -(e.opset or 0), e.variant))
    out.write_text("".join(f"{dump(entry)}\n" for entry in entries), encoding="utf-8")


def _zoo(rows: Sequence[Facts]) -> Iterator[Entry]:
    names = _names(rows)
    by_name: dict[str, list[Facts]] = defaultdict(list)
    for row in rows:
        by_name[names[row["id"]]].append(row)
    taken = {fold(name) for name in by_name}
    for name, family in by_name.items():
        for row, variant, precision in _labelled(family):
            yield replace(
                _described(row),
                name=name,
                variant=variant,
                precision=precision,
                aliases=_aliases(row, taken),
            )


def _names(rows: Sequence[Facts]) -> dict[str, str]:
    """Return each model's name by its id; see `_family` and, for exporters' models, the README."""
    validated = [row for row in rows if row["collection"] == "validated"]
    bare = {_bare(row) for row in validated}
    names = {row["id"]: _family(row, bare) for row in validated}
    taken = {fold(name) for name in names.values()}
    exporters: dict[str, set[str]] = defaultdict(set)
    exported = [row for row in rows if row["collection"] != "validated"]
    for row in exported:
        exporters[fold(row["architecture"])].add(row["exported_from"])
    for row in exported:
        name, key = row["architecture"], fold(row["architecture"])
        alone = key not in taken and len(exporters[key]) == 1
        names[row["id"]] = (
            name if alone else f"{name}-{slug(row['exported_from']).replace('_', '-')}"
        )
    return names


def _family(row: Facts, bare: set[str]) -> str:
    """Return a validated model's family: its zoo name without precision and opset.

    A number at the end is an opset if it is the row's own (``MNIST-12``), if the rest is another
    row's whole name (``SSD-MobilenetV1-12-qdq`` stands at opset 13), or if the name is an id.
    """
    name = _bare(row)
    match = _OPSET.search(name)
    own = match and ("zoo_name" not in row or int(match[1]) == row.get("opset"))
    if match and (own or name[: match.start()] in bare):
        name = name[: match.start()]
    return _SAME_FAMILY.get(name, name)


def _bare(row: Facts) -> str:
    return _PRECISION.sub("", slug(row.get("zoo_name") or row["id"]).replace("_", "-"))


def _precision(row: Facts) -> str:
    match = _PRECISION.search(slug(row["id"]))
    return match[1] if match else "fp32"


def _labelled(family: Sequence[Facts]) -> Iterator[tuple[Facts, str, str]]:
    """Yield rows with label and precision: of one precision, the highest opset is plain."""
    by_precision: dict[str, list[Facts]] = defaultdict(list)
    for row in family:
        by_precision[_precision(row)].append(row)
    for precision, rows in by_precision.items():
        first, *others = sorted(rows, key=lambda row: -row.get("opset", 0))
        yield first, precision, precision
        for row in others:
            yield row, f"{precision}-opset{row['opset']}", precision


def _aliases(row: Facts, taken: set[str]) -> tuple[str, ...]:
    """Return a row's other names: its id, its old zoo name, and its id without the opset."""
    words = [row["id"], row.get("zoo_name")]
    if row["collection"] == "validated":
        stem = _PRECISION.sub("", row["id"])
        words.append(re.sub(f"[-_]{row.get('opset')}$", "", stem))
    known = {fold(slug(word)): word for word in words if word}
    return tuple(word for key, word in known.items() if key not in taken)


def _described(row: Facts) -> Entry:
    io = row.get("io", {})
    dims = {"inputs": row.get("input_dims", {})}
    data = row.get("test_data")
    return Entry(
        name="unnamed",
        variant="fp32",
        precision="fp32",
        source=f"hf://{row['repo']}",
        files=(File(row["file"], row["sha256"], row["bytes"]),),
        opset=row.get("opset"),
        task=_TASKS.get(row.get("task", ""), row.get("task", "").replace("_", "-")) or None,
        license=row.get("license"),
        tags=_tags(row),
        ir_version=row.get("ir_version"),
        inputs=_tensors(io.get("inputs"), dims["inputs"]),
        outputs=_tensors(io.get("outputs"), {}),
        parameters=row.get("parameters"),
        ops=row.get("op_counts", {}),
        collection=slug(row["collection"]).replace("_", "-"),
        exporter=row.get("exported_from"),
        test_data=File(data["file"], data["sha256"], data["bytes"]) if data else None,
    )


def _tags(row: Facts) -> tuple[str, ...]:
    words = [*row.get("tags", []), row.get("domain"), row.get("framework_class")]
    return tuple(dict.fromkeys(slug(word).replace("_", "-") for word in words if word))


def _tensors(listed: Any, dims: Mapping[str, Any]) -> tuple[Tensor, ...]:
    if listed:
        return tuple(Tensor(t["name"], _dtype(t["type"]), tuple(t["shape"])) for t in listed)
    return tuple(Tensor(name, "unknown", tuple(shape)) for name, shape in dims.items())


def _dtype(text: str) -> str:
    """Return a type as records.Tensor has it.

    >>> _dtype("tensor(float)"), _dtype("seq(tensor(uint8))")
    ('float32', 'seq(tensor(uint8))')
    """
    match = re.fullmatch(r"tensor\((\w+)\)", text)
    return _DTYPES.get(match[1], match[1]) if match else text


def _light() -> Iterator[Entry]:
    """Yield the networks that the onnx package ships, with expected outputs where it has them."""
    import onnx

    folder = Path(onnx.__file__).parent.parent / LIGHT
    for path in sorted(folder.glob("light_*.onnx")):
        graph = describe(path)
        expected = path.with_name(f"{path.stem}_output_0.pb")
        yield Entry(
            name=path.stem.replace("_", "-"),
            variant=graph.precision,
            precision=graph.precision,
            source=f"pkg://{LIGHT}",
            files=(_file(path),),
            opset=graph.opset,
            task="image-classification",
            license="Apache-2.0",
            tags=("light", "vision"),
            ir_version=graph.ir_version,
            inputs=graph.inputs,
            outputs=graph.outputs,
            parameters=graph.parameters,
            ops=graph.ops,
            collection="light",
            exporter="onnx",
            test_data=_file(expected) if expected.exists() else None,
        )


def _file(path: Path) -> File:
    content = path.read_bytes()
    return File(path.name, hashlib.sha256(content).hexdigest(), len(content))


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
