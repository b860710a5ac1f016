"""Another opset: the graph converted without its weights, nothing lost, the same outputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.derive import opset_worker as opset_child
from onnxzoo.registry.derive import strip_weights
from onnxzoo.registry.derive.derive import Proof
from onnxzoo.registry.derive.opset import judge, original, to_opset, try_opset
from onnxzoo.registry.measure.drift import Drift, drift
from tests.support import models

BIG = 2000  # elements, more than stay in a skeleton


def converted(path: Path, target: int) -> onnx.ModelProto:
    """Convert as the child does, in this process."""
    into = path.parent / f"at{target}"
    into.mkdir()
    opset_child.main({"model": str(path), "into": str(into), "options": {"opset": target}})
    return onnx.load(into / "model.onnx")


def reduced(
    path: Path, op: str = "ReduceSum", *, opset: int = 11, more: Sequence[TensorProto] = ()
) -> Path:
    """``y = op(x * big)``, which changes at 13 or 18: axes become an input."""
    weights = numpy_helper.from_array(np.ones((BIG, 4), "float32"), "big")
    nodes = [
        helper.make_node("Gather", ["big", "row"], ["w"]),
        helper.make_node("Mul", ["x", "w"], ["t"], name="scale"),
        helper.make_node(op, ["t"], ["r"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["t", "r"], ["y"]),
    ]
    row = numpy_helper.from_array(np.array(7), "row")
    return models.save(path, nodes, [weights, row, *more], opset=opset)


def edit(path: Path, change: object) -> Path:
    model = onnx.load(path, load_external_data=False)
    assert callable(change)
    change(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


@pytest.mark.parametrize("target", [12, 13, 18, 22])
def test_the_weights_come_through_as_they_were(tmp_path: Path, target: int) -> None:
    path = reduced(tmp_path / "m.onnx")
    made = converted(path, target)
    assert made.opset_import[0].version == target
    before = {t.name: t for t in onnx.load(path).graph.initializer}
    assert {t.name: t for t in made.graph.initializer if t.name in before} == before


def test_the_converter_never_sees_a_large_weight(tmp_path: Path) -> None:
    bare, taken = strip_weights.read_skeleton(reduced(tmp_path / "m.onnx"))
    assert bare.ByteSize() < 2000
    assert [t.name for t in taken] == ["big"]
    assert {t.name: len(t.raw_data) for t in bare.graph.initializer} == {"big": 0, "row": 8}


def test_a_small_weight_outside_is_seen_by_the_converter(tmp_path: Path) -> None:
    axes = numpy_helper.from_array(np.array([1]), "axes")
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["r"], keepdims=1, noop_with_empty_axes=0),
        helper.make_node("Mul", ["x", "r"], ["y"]),
    ]
    path = models.save(tmp_path / "m.onnx", nodes, [axes], opset=18)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w", size_threshold=0)
    made = converted(path, 17)
    mean = next(node for node in made.graph.node if node.op_type == "ReduceMean")
    assert [(a.name, list(a.ints)) for a in mean.attribute if a.name == "axes"] == [("axes", [1])]
    assert mean.input == ["x"]


def test_external_data_stays_outside(tmp_path: Path) -> None:
    path = reduced(tmp_path / "a" / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="sub-w", size_threshold=0)
    converted(path, 18)
    assert (path.parent / "at18" / "sub-w").read_bytes() == (path.parent / "sub-w").read_bytes()
    assert (path.parent / "at18" / "model.onnx").stat().st_size < BIG


def test_what_is_over_the_limit_goes_beside_the_model(tmp_path: Path) -> None:
    model = onnx.load(reduced(tmp_path / "m.onnx"))
    strip_weights.write(model, tmp_path / "one.onnx", limit=10**6)
    strip_weights.write(model, tmp_path / "two.onnx", limit=1000)
    assert not (tmp_path / "one.onnx.data").exists()
    assert (tmp_path / "two.onnx.data").stat().st_size == BIG * 16
    onnx.checker.check_model(tmp_path / "two.onnx", full_check=True)


def test_metadata_is_put_back(tmp_path: Path) -> None:
    def note(model: onnx.ModelProto) -> None:
        for where in (model, model.graph, model.graph.node[1], model.graph.node[2]):
            where.metadata_props.add(key="made", value="by hand")
        model.graph.node[1].doc_string = "scaled"

    made = converted(edit(reduced(tmp_path / "m.onnx"), note), 18)
    by_output = {node.output[0]: node for node in made.graph.node}
    for where in (made, made.graph, by_output["t"], by_output["r"]):
        assert [(p.key, p.value) for p in where.metadata_props] == [("made", "by hand")]
    assert by_output["t"].doc_string == "scaled"
    assert by_output["t"].name == "scale"


def test_branches_are_converted_and_keep_their_metadata(tmp_path: Path) -> None:
    def note(model: onnx.ModelProto) -> None:
        branch = next(a.g for a in model.graph.node[1].attribute if a.name == "then_branch")
        branch.node[0].metadata_props.add(key="in", value="then")
        branch.node[0].CopyFrom(helper.make_node("ReduceMean", ["x"], ["t"], axes=[1]))
        branch.node[0].metadata_props.add(key="in", value="then")

    made = converted(edit(models.branching(tmp_path / "m.onnx"), note), 18)
    branch = next(a.g for a in made.graph.node[1].attribute if a.name == "then_branch")
    mean = next(node for node in branch.node if node.op_type == "ReduceMean")
    assert len(mean.input) == 2
    assert [(p.key, p.value) for p in mean.metadata_props] == [("in", "then")]


def with_function(model: onnx.ModelProto) -> None:
    """Put the second node into a function of the model's own, written for opset 16."""
    inside = helper.make_node("Mul", ["a", "b"], ["c"], name="inside")
    inside.metadata_props.add(key="scope", value="f")
    opsets = [helper.make_opsetid("", 16)]
    model.functions.append(helper.make_function("own", "F", ["a", "b"], ["c"], [inside], opsets))
    model.opset_import.add(domain="own", version=1)
    call = model.graph.node[0]
    call.op_type, call.domain = "F", "own"


def test_defaults_of_functions_attributes_come_through(tmp_path: Path) -> None:
    def scaled(model: onnx.ModelProto) -> None:
        inside = helper.make_node("LeakyRelu", ["a"], ["c"])
        inside.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
        opsets = [helper.make_opsetid("", 17)]
        default = [helper.make_attribute("slope", 0.25)]
        model.functions.append(
            helper.make_function("own", "F", ["a"], ["c"], [inside], opsets, [], default)
        )
        model.opset_import.add(domain="own", version=1)
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.append(helper.make_node("F", ["x"], ["t"], domain="own"))
        model.graph.node.append(helper.make_node("F", ["t"], ["y"], domain="own", slope=0.5))

    made = converted(edit(models.linear(tmp_path / "m.onnx"), scaled), 18)
    assert [node.attribute[0].f for node in made.graph.node] == [0.25, 0.5]


def test_an_output_with_a_wrong_declared_rank_is_corrected(tmp_path: Path) -> None:
    """Reshape to a computed shape, which is inferred from opset 14 on."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["d"]),
        helper.make_node("Unsqueeze", ["d"], ["u"], axes=[0]),
        helper.make_node("Concat", ["u", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.array(0), "zero"),
        numpy_helper.from_array(np.array([2, 2]), "rest"),
    ]
    path = models.save(tmp_path / "m.onnx", nodes, weights, opset=12)
    onnx.checker.check_model(path, full_check=True)
    made = converted(path, 17)
    assert len(made.graph.output[0].type.tensor_type.shape.dim) == 3
    registry = Registry(tmp_path / "home")
    kept = to_opset(registry, registry.register(path, "m").variant, 17)
    assert kept.proof is not None
    assert kept.proof.drift.max == 0


@pytest.mark.parametrize(
    ("ir", "opset", "target", "most", "made"),
    [
        (11, 21, 17, None, 8), (11, 17, 18, None, 8), (8, 17, 21, None, 10), (8, 17, 18, None, 8),
        (11, 21, 20, 9, 9), (11, 17, 17, 9, 9), (10, 17, 17, 13, 10), (9, 9, 7, None, 4),
    ],
)  # fmt: skip
def test_the_ir_version_is_that_of_the_opset(
    tmp_path: Path, ir: int, opset: int, target: int, most: int | None, made: int
) -> None:
    path = models.newer(tmp_path / "m.onnx", opset=opset, ir_version=ir)
    (tmp_path / "made").mkdir()
    options = {"opset": target, "ir_version": most}
    opset_child.main({"model": str(path), "into": str(tmp_path / "made"), "options": options})
    assert onnx.load(tmp_path / "made" / "model.onnx").ir_version == made


def test_an_ir_version_that_the_weights_need_stays(tmp_path: Path) -> None:
    def packed(model: onnx.ModelProto) -> None:
        scale = numpy_helper.from_array(np.array(1, "float32"), "s")
        quantized = helper.make_tensor("q", TensorProto.INT4, [4], [1, 2, 3, 4])
        del model.graph.initializer[:]
        model.graph.initializer.extend([quantized, scale])
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["q", "s"], ["w"]))

    path = edit(models.newer(tmp_path / "m.onnx", opset=21, ir_version=11), packed)
    for most, ir in ((None, 10), (10, 10)):
        options = {"opset": 21, "ir_version": most}
        (tmp_path / f"at{most}").mkdir()
        request = {"model": str(path), "into": str(tmp_path / f"at{most}"), "options": options}
        opset_child.main(request)
        assert onnx.load(tmp_path / f"at{most}" / "model.onnx").ir_version == ir
    with pytest.raises(Refused, match="its contents need IR version 10, above 9"):
        opset_child.main({**request, "options": {"opset": 21, "ir_version": 9}})


def test_functions_are_inlined_with_their_metadata(tmp_path: Path) -> None:
    made = converted(edit(models.linear(tmp_path / "m.onnx"), with_function), 18)
    assert not made.functions
    [node] = made.graph.node
    assert (node.op_type, node.domain) == ("Mul", "")
    assert [(p.key, p.value) for p in node.metadata_props] == [("scope", "f")]


def test_an_old_models_weights_stay_constants(tmp_path: Path) -> None:
    def old(model: onnx.ModelProto) -> None:
        model.ir_version = 3
        model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))

    path = edit(models.linear(tmp_path / "m.onnx", opset=8), old)
    same, newer = converted(path, 7), converted(path, 13)
    assert (same.ir_version, [i.name for i in same.graph.input]) == (3, ["x", "w"])
    assert (newer.ir_version, [i.name for i in newer.graph.input]) == (7, ["x"])


@pytest.mark.parametrize(
    ("op", "at", "target", "why", "hint"),
    [
        ("Erf", 17, 8, "`Erf` cannot go below opset 9", "--opset 9"),
        ("Erf", 9, 8, "`Erf` cannot go below opset 9", None),
        ("Mish", 22, 17, "`Mish` cannot go below opset 18", "--opset 18"),
        ("Gelu", 20, 18, "`Gelu` cannot go below opset 20", None),
    ],
)
def test_what_stands_in_the_way_is_named(
    tmp_path: Path, op: str, at: int, target: int, why: str, hint: str | None
) -> None:
    node = helper.make_node(op, ["x"], ["y"])
    path = models.save(tmp_path / "m.onnx", [node], [], opset=at)
    with pytest.raises(Refused, match=why) as caught:
        converted(path, target)
    assert caught.value.hint == hint


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    def sparse(model: onnx.ModelProto) -> None:
        values = numpy_helper.from_array(np.ones(2, "float32"), "s")
        indices = numpy_helper.from_array(np.array([0, 2]), "i")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))

    with pytest.raises(Refused, match="sparse weights"):
        converted(edit(models.linear(tmp_path / "m.onnx"), sparse), 18)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "home")
    registry.register(models.linear(tmp_path / "m.onnx", value=3), "m")
    return registry


def test_a_conversion_is_kept_once(registry: Registry) -> None:
    parent = registry.resolve("m")
    first = to_opset(registry, parent, 18)
    assert (first.variant.ref, first.new) == ("m:fp32-opset18@1", True)
    assert first.proof is not None
    assert (first.proof.drift.max, first.proof.drift.relative) == (0, 0)
    assert first.variant.lineage is not None
    recipe = dict(first.variant.lineage.recipe)
    assert set(recipe.pop("tools")) == {"onnx"}
    assert recipe == {"kind": "opset", "opset": 18, "from": 17}
    again = to_opset(registry, parent, 18)
    assert (again.variant, again.new, again.proof) == (first.variant, False, None)
    assert to_opset(registry, first.variant, 17).variant == parent
    assert original(registry, first.variant) == parent
    assert original(registry, parent) == parent


def test_another_variant_at_that_opset_is_not_the_same(registry: Registry, tmp_path: Path) -> None:
    parent = registry.resolve("m")
    registry.register(models.linear(tmp_path / "o.onnx", opset=18, value=9), "m:other@1")
    assert to_opset(registry, parent, 18).variant.ref == "m:fp32-opset18@1"


def test_siblings_of_a_precision_have_labels_of_their_own(
    registry: Registry, tmp_path: Path
) -> None:
    for value, label in enumerate(("small", "large", "small-opset15")):
        path = models.linear(tmp_path / f"{label}.onnx", value=value + 5)
        registry.register(path, f"m:{label}@1")
    for label in ("small", "large"):
        made = to_opset(registry, registry.resolve(f"m:{label}"), 18)
        assert made.variant.ref == f"m:{label}-opset18@1"
    assert to_opset(registry, made.variant, 16).variant.ref == "m:large-opset16@1"
    small = registry.resolve("m:small")
    with pytest.raises(UsageError, match="`m:small-opset15@1` is held and was made") as error:
        to_opset(registry, small, 15)
    assert error.value.hint == "--label NAME keeps both"
    for _ in range(2):
        assert to_opset(registry, small, 15, label="edge").variant.ref == "m:edge@1"


def test_a_model_with_its_weights_outside_is_kept_so(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home")
    path = reduced(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="a-w")
    parent = registry.register(path, "m").variant
    made = to_opset(registry, parent, 18).variant
    assert [file.path for file in made.files] == ["a-w", "model.onnx"]
    assert made.files[0].sha256 == parent.files[0].sha256


def classifying(path: Path, words: Sequence[str]) -> Path:
    """A classifier as scikit-learn's converter writes it: a word, and a map of words to scores."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
    kinds = [
        helper.make_tensor_type_proto(TensorProto.STRING, ["batch"]),
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(
                TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
            )
        ),
    ]
    outputs = [
        helper.make_value_info(name, kind)
        for name, kind in zip(("label", "maps"), kinds, strict=True)
    ]
    names: dict[str, Any] = {"keys_int64s": [0, 1], "values_strings": words}
    nodes = [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        helper.make_node("LabelEncoder", ["best"], ["label"], domain="ai.onnx.ml", **names),
        helper.make_node(
            "ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["a", "b"]
        ),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(nodes, "g", [x], outputs)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_words_and_maps_are_compared_too(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home")
    parent = registry.register(classifying(tmp_path / "m.onnx", ["a", "b"]), "m").variant
    made = to_opset(registry, parent, 18)
    assert made.proof is not None
    assert (made.proof.drift.max, made.proof.drift.labels) == (0, 1)
    other = registry.register(classifying(tmp_path / "o.onnx", ["a", "c"]), "o").variant
    (found,) = drift(registry, parent, [other], batch=8)
    assert (found.max, found.relative) == (1, 0.5)


def test_an_opset_that_is_named_twice_is_converted_once(tmp_path: Path) -> None:
    path = edit(
        models.linear(tmp_path / "m.onnx"),
        lambda model: model.opset_import.add(domain="", version=17),
    )
    assert [(o.domain, o.version) for o in converted(path, 18).opset_import] == [("", 18)]


def test_what_is_at_another_opset_than_asked_is_refused(registry: Registry) -> None:
    variant = registry.resolve("m")
    with pytest.raises(Refused, match="opset 18 was asked for; what was made is at 17"):
        judge(variant, 18)(Proof(Drift(0, 1, 1, relative=0), 1, 1, 8), variant.graph)


def test_a_try_keeps_nothing(registry: Registry) -> None:
    assert try_opset(registry, registry.resolve("m"), 18).drift.relative == 0
    assert [v.ref for v in registry.list()] == ["m:fp32@1"]


def test_an_opset_that_cannot_be_is_refused_at_once(registry: Registry) -> None:
    parent = registry.resolve("m")
    with pytest.raises(UsageError, match="`0` is no opset"):
        to_opset(registry, parent, 0)
    with pytest.raises(Refused, match=r"opset 99 is above \d+, the highest that onnxruntime"):
        to_opset(registry, parent, 99)
    with pytest.raises(Refused, match="onnx cannot convert it to opset 6: batch") as caught:
        to_opset(registry, parent, 6)
    assert caught.value.hint == "zoo convert m:fp32@1 --opset 7"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Drift(2, 1, 1, relative=0.002), "lie up to 2 from those of `m:fp32@1`, 0.002 of"),
        (Drift(why="its outputs are `z`"), "cannot be told: its outputs are `z`"),
    ],
)
def test_other_outputs_are_refused(registry: Registry, found: Drift, why: str) -> None:
    variant = registry.resolve("m")
    with pytest.raises(Refused, match=why):
        judge(variant, variant.opset)(Proof(found, 1, 1, 8), variant.graph)
    judge(variant, variant.opset)(Proof(Drift(2, 1, 1, relative=0.0009), 1, 1, 8), variant.graph)
