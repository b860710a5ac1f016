"""Where variants came from: as a tree, in words, and made again."""

from dataclasses import replace
from pathlib import Path

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, UsageError
from onnxzoo.registry.core.records import Draft, Lineage, Variant
from onnxzoo.registry.derive.lineage import family, lines
from onnxzoo.registry.derive.rederive import rederive
from onnxzoo.registry.onnx_file.describe import describe
from tests.support import models


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "home")
    registry.register(models.linear(tmp_path / "model.onnx"), "m")
    return registry


def child(
    registry: Registry,
    path: Path,
    parent: Variant | None,
    *,
    label: str,
    opset: int,
    value: float = 1.0,
    name: str | None = None,
) -> Variant:
    """Keep a file as made from another variant."""
    recipe = {"kind": "opset", "opset": opset, "from": models.OPSET, "tools": {"onnx": "0.1"}}
    with registry.store.stage() as stage:
        stage.copy(models.linear(path, opset=opset, value=value), "model.onnx")
        called = parent.ref if parent else "net.pt"
        lineage = Lineage(parent.digest if parent else None, called, recipe)
        draft = Draft(
            name or (parent.name if parent else "m"),
            "model.onnx",
            describe(path),
            "zoo:x",
            label,
            None if name else 1,
            lineage=lineage,
        )
        return registry.publish(stage, draft, "opset", must_open=False).variant


def drawn(registry: Registry, variant: Variant) -> list[str]:
    return list(lines(family(registry, variant), variant.ref))


def test_a_family_is_drawn_from_the_oldest_down(registry: Registry, tmp_path: Path) -> None:
    first = registry.resolve("m")
    second = child(registry, tmp_path / "2.onnx", first, label="two", opset=18)
    child(registry, tmp_path / "3.onnx", second, label="three", opset=19)
    child(registry, tmp_path / "4.onnx", first, label="zwei", opset=20)
    assert drawn(registry, second) == [
        "m:fp32@1",
        "├─ m:two@1  opset 17 → 18  ← this one",
        "│  └─ m:three@1  opset 17 → 19",
        "└─ m:zwei@1  opset 17 → 20",
    ]
    assert drawn(registry, first)[0] == "m:fp32@1  ← this one"


def test_a_parent_that_is_held_no_longer_is_shown_so(registry: Registry, tmp_path: Path) -> None:
    first = registry.resolve("m")
    second = child(registry, tmp_path / "2.onnx", first, label="two", opset=18)
    child(registry, tmp_path / "3.onnx", first, label="three", opset=19)
    registry.remove("m:fp32")
    assert drawn(registry, second) == [
        "m:fp32@1 (held no longer)",
        "├─ m:three@1  opset 17 → 19",
        "└─ m:two@1  opset 17 → 18  ← this one",
    ]


def test_a_source_is_no_model(registry: Registry, tmp_path: Path) -> None:
    made = child(registry, tmp_path / "2.onnx", None, label="two", opset=18)
    assert drawn(registry, made) == [
        "net.pt (a source)",
        "└─ m:two@1  opset 17 → 18  ← this one",
    ]
    with pytest.raises(UsageError, match="`m:two@1` was not made from another model"):
        rederive(registry, made)


def test_a_circle_of_bytes_is_drawn_once(registry: Registry, tmp_path: Path) -> None:
    first = registry.resolve("m")
    second = child(registry, tmp_path / "2.onnx", first, label="two", opset=18)
    third = child(registry, tmp_path / "3.onnx", second, name="n", label="back", opset=17)
    assert third.digest == first.digest
    assert drawn(registry, third) == [
        "m:fp32@1",
        "└─ m:two@1  opset 17 → 18",
        "   └─ n:back@1  opset 17 → 17  ← this one",
    ]


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"kind": ["opset"]},
        {"kind": "judge"},
        {"kind": "opset", "opset": "18"},
        {"kind": "opset", "opset": 18, "tools": ["onnx"]},
        {"kind": "quantize", "to": "int8"},
        {"kind": "quantize", "to": "int8", "method": 7},
        {"kind": "quantize", "to": "int8", "method": "dynamic", "ops": [1]},
        {"kind": "quantize", "to": "int8", "method": "dynamic", "other": 1},
    ],
)
def test_a_recipe_that_nobody_here_wrote_is_not_followed(
    registry: Registry, tmp_path: Path, recipe: dict[str, object]
) -> None:
    first = registry.resolve("m")
    second = child(registry, tmp_path / "2.onnx", first, label="two", opset=18)
    odd = replace(second, lineage=Lineage(first.digest, first.ref, recipe))
    with pytest.raises(Refused, match=r"the recipe of `m:two@1` is none that onnxzoo wrote"):
        rederive(registry, odd)


def test_what_comes_out_otherwise_is_compared_by_its_outputs(
    registry: Registry, tmp_path: Path
) -> None:
    first = registry.resolve("m")
    second = child(registry, tmp_path / "2.onnx", first, label="two", opset=18, value=1.0001)
    again = rederive(registry, second)
    assert (again.bytes_agree, again.outputs_agree) == (False, True)
    assert again.drift.max is not None
    assert 0 < again.drift.max < 1e-3
    assert again.tools["onnx"][0] == "0.1"
    assert again.parent == registry.resolve("m:fp32")
    assert len(registry.list()) == 2
    second.path.chmod(0o600)
    second.path.write_bytes(b"")
    with pytest.raises(IntegrityError, match="`m:two@1` are missing or were changed"):
        rederive(registry, second)


def test_without_its_parent_nothing_is_made_again(registry: Registry, tmp_path: Path) -> None:
    second = child(registry, tmp_path / "2.onnx", registry.resolve("m"), label="two", opset=18)
    registry.remove("m:fp32")
    with pytest.raises(NotFound, match="`m:fp32@1`, which `m:two@1` was made from, is held no"):
        rederive(registry, second)
