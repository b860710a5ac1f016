"""Quantizing: what fits is chosen, what came out is measured, and what is unfit is not kept."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxzoo
from onnxzoo.cli.app import main
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, Refused, UsageError
from onnxzoo.registry.core.records import Graph, Tensor
from onnxzoo.registry.derive.acceptance import Bounds, better, unfit
from onnxzoo.registry.derive.derive import Proof
from onnxzoo.registry.derive.quantization import Options, candidates, choose
from onnxzoo.registry.derive.quantize import quantize
from onnxzoo.registry.measure import input_files
from onnxzoo.registry.measure.drift import Drift
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.registry.runtime.machine import describe_machine
from tests.support import models

AVX2 = ("avx", "avx2", "fma")
VNNI = (*AVX2, "avx512_vnni")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry()
    registry.register(models.mlp(tmp_path / "mlp.onnx"), "mlp")
    registry.register(models.convolutions(tmp_path / "conv.onnx", opset=12), "conv")
    return registry


@pytest.mark.parametrize(
    ("to", "method", "precision", "size", "cosine"),
    [
        ("int8", "dynamic", "int8", 0.6, 0.99),
        ("uint8", "dynamic", "uint8", 0.6, 0.99),
        ("int8", "weight-only", "int8", 0.6, 0.999),
        ("int4", "weight-only", "int4", 0.5, 0.98),
        ("fp16", "cast", "fp16", 0.7, 0.9999),
        ("bf16", "cast", "bf16", 0.8, 0.9999),
    ],
)
def test_a_matrix_model_is_made_smaller_and_stays_near(
    registry: Registry, to: str, method: str, precision: str, size: float, cosine: float
) -> None:
    asked = method if method == "weight-only" else None
    made = quantize(registry, registry.resolve("mlp"), to, method=asked)
    variant, proof = made.derived.added.variant, made.derived.proof
    assert made.options.method == method
    assert variant.ref == f"mlp:{to}@1"
    assert variant.precision == precision
    assert variant.graph.metadata == {"author": "tests"}
    assert proof.size < size
    assert proof.drift.cosine is not None
    assert cosine < proof.drift.cosine
    assert proof.drift.max != 0


def test_static_quantization_raises_the_opset_and_is_qdq(registry: Registry) -> None:
    data = ({"x": np.random.default_rng(n).random((4, 3, 8, 8), np.float32)} for n in range(3))
    made = quantize(registry, registry.resolve("conv"), "int8", calibrate=data)
    variant = made.derived.added.variant
    assert variant.ref == "conv:int8@1"
    assert variant.precision == "qdq"
    assert variant.opset == 17
    assert made.derived.proof.size < 0.8
    assert made.derived.proof.drift.cosine is not None
    assert made.derived.proof.drift.cosine > 0.99
    scales = [
        tensor for tensor in onnx.load(variant.path).graph.initializer if tensor.name == "w2_scale"
    ]
    assert scales[0].dims == [16]  # one for each channel


def test_the_recipe_and_the_measurement_carry_the_instruction_sets(registry: Registry) -> None:
    made = quantize(registry, registry.resolve("conv"), "qdq", calibrate="random")
    variant = made.derived.added.variant
    assert variant.lineage is not None
    recipe = variant.lineage.recipe
    features = describe_machine().features
    assert recipe["kind"] == "quantize"
    assert recipe["method"] == "static"
    assert recipe["calibrate"] == "random"
    assert recipe.get("features", []) == list(features)
    assert {"onnx", "onnxruntime"} <= set(recipe["tools"])
    drift = next(m for m in registry.measurements(variant.ref) if m.metric == "drift_max")
    assert drift.context["features"] == " ".join(features)


def test_what_fell_apart_is_not_kept_and_the_error_says_what_to_try(registry: Registry) -> None:
    with pytest.raises(Refused, match=r"^the cosine .* is `0\.9") as error:
        quantize(registry, registry.resolve("mlp"), "int4", bounds=Bounds(min_cosine=0.99999))
    assert error.value.hint
    assert "--to int8" in error.value.hint
    with pytest.raises(
        Refused, match=r"lie up to `.*` from its parent's; expected at most `1e-06`"
    ):
        quantize(registry, registry.resolve("mlp"), "bf16", bounds=Bounds(max_drift=1e-6))
    assert [v.ref for v in registry.list(name="mlp")] == ["mlp:fp32@1"]
    assert not registry.gc(dry_run=True).items


def test_what_would_not_change_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.register(models.linear(tmp_path / "linear.onnx"), "linear")
    with pytest.raises(Refused, match="no matrix product and no convolution"):
        quantize(registry, registry.resolve("linear"), "int8")
    with pytest.raises(Refused, match=r"nothing in the model could be made bf16$") as error:
        quantize(registry, registry.resolve("linear"), "bf16")
    assert error.value.hint == "zoo show lists its ops"
    with pytest.raises(Refused, match="nothing in the model could be made int8"):
        quantize(registry, registry.resolve("mlp"), "int8", exclude=["MatMul", "last"])
    registry.register(models.quantized(tmp_path / "q.onnx"), "q")
    with pytest.raises(Refused, match="`q:qdq@1` is qdq already"):
        quantize(registry, registry.resolve("q"), "int8")


def test_weights_of_a_model_trained_for_it_are_folded_to_integers(
    registry: Registry, tmp_path: Path
) -> None:
    raw = registry.register(models.fake_quantized(tmp_path / "qat.onnx"), "qat:raw").variant
    assert raw.precision == "qdq"
    made = quantize(registry, raw, "qdq")
    variant, proof = made.derived.added.variant, made.derived.proof
    assert variant.ref == "qat:qdq@1"
    assert proof.size < 0.4
    assert proof.drift.max == 0
    assert variant.graph.ops["QuantizeLinear"] == raw.graph.ops["QuantizeLinear"] - 1
    with pytest.raises(Refused, match="nothing in the model could be made qdq"):
        quantize(registry, variant, "qdq", label="again")


def test_excluded_nodes_stay_as_they_are(registry: Registry) -> None:
    made = quantize(registry, registry.resolve("mlp"), "int8", exclude=["la*"])
    ops = made.derived.added.variant.graph.ops
    assert ops["MatMulInteger"] == 1
    with pytest.raises(UsageError, match=r"is called `lost`; did you mean `last`\?") as error:
        quantize(registry, registry.resolve("mlp"), "uint8", exclude=["lost"])
    assert error.value.hint == "ops: Gemm, MatMul, Relu; nodes: first, last, Relu_1"


def test_an_op_type_that_is_not_in_the_model_is_refused(registry: Registry) -> None:
    with pytest.raises(UsageError, match=r"no op of type `matmul`; did you mean `MatMul`\?"):
        quantize(registry, registry.resolve("mlp"), "int8", ops=["matmul"])


def test_precisions_are_taken_in_capitals_and_labels_checked_first(registry: Registry) -> None:
    parent = registry.resolve("mlp")
    assert quantize(registry, parent, "BF16").derived.added.variant.ref == "mlp:bf16@1"
    with pytest.raises(UsageError, match=r"`Bad Label!` is not a valid variant"):
        quantize(registry, parent, "nonsense", label="Bad Label!")


def test_a_label_that_is_taken_is_refused_before_the_work(registry: Registry) -> None:
    parent = registry.resolve("mlp")
    first = quantize(registry, parent, "bf16")
    again = quantize(registry, parent, "bf16")
    assert first.derived.added.new
    assert not again.derived.added.new
    with pytest.raises(UsageError, match="`mlp:bf16@1` is held and was made otherwise") as error:
        quantize(registry, parent, "bf16", exclude=["first"])
    assert error.value.hint == "--label NAME keeps both"
    made = quantize(registry, parent, "bf16", exclude=["first"], label="partly")
    assert made.derived.added.variant.ref == "mlp:partly@1"


def test_a_search_minds_only_the_label_of_what_won(registry: Registry) -> None:
    parent = registry.resolve("mlp")
    quantize(registry, parent, "bf16", exclude=["first"])
    made = quantize(registry, parent, None, search=True)
    assert made.derived.added.variant.ref == "mlp:int4@1"
    assert not quantize(registry, parent, None, search=True).derived.added.new
    registry.remove("mlp:int4")
    quantize(registry, parent, "int4", exclude=["first"])
    with pytest.raises(UsageError, match=r"`mlp:int4@1` .*; the best recipe is `weight-only"):
        quantize(registry, parent, None, search=True)


def test_a_search_for_a_label_that_stands_for_something_else_never_begins(
    registry: Registry,
) -> None:
    steps: list[int] = []
    with pytest.raises(UsageError, match="`mlp:fp32@1` is held and was made otherwise"):
        quantize(
            registry,
            registry.resolve("mlp"),
            None,
            search=True,
            label="fp32",
            progress=lambda _, done, __: steps.append(done),
        )
    assert not steps


def test_a_model_of_an_old_ir_version_is_quantized_too(registry: Registry, tmp_path: Path) -> None:
    """Before version 4 weights had to be inputs as well; those that are added are not."""
    model = onnx.load(models.convolutions(tmp_path / "old.onnx", opset=12))
    shapes = [
        onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims)
        for one in model.graph.initializer
    ]
    model.graph.input.extend(shapes)
    model.ir_version = 3
    onnx.save(model, tmp_path / "old.onnx")
    parent = registry.register(tmp_path / "old.onnx", "old").variant
    made = quantize(registry, parent, "int8", calibrate="random")
    assert made.derived.added.variant.precision == "qdq"


def test_a_search_keeps_the_smallest_within_the_bounds(registry: Registry) -> None:
    steps: list[tuple[int, int | None]] = []
    made = quantize(
        registry,
        registry.resolve("mlp"),
        "int8",
        method="dynamic",
        search=True,
        progress=lambda _, done, total: steps.append((done, total)),
    )
    fit = [trial for trial in made.trials if not trial.why]
    assert [trial.options.per_channel for trial in made.trials] == [True, False]
    lineage = made.derived.added.variant.lineage
    assert lineage is not None
    assert made.options.written().items() <= lineage.recipe.items()
    smallest = min(trial.proof.size for trial in fit if trial.proof)
    assert made.derived.proof.size <= smallest * 1.05
    assert steps[-1] == (2, 2)
    assert len(registry.list(name="mlp")) == 2


def test_a_search_without_a_fit_recipe_keeps_nothing(registry: Registry) -> None:
    with pytest.raises(Refused, match="none of 2 recipes keeps within the bounds; the nearest"):
        quantize(
            registry,
            registry.resolve("mlp"),
            "int4",
            search=True,
            bounds=Bounds(min_cosine=0.99999),
        )
    assert len(registry.list(name="mlp")) == 1


def test_what_is_unfit_is_said_in_figures_that_show_it() -> None:
    near = Proof(Drift(0.20004, 0.9999899, 1.0), 1, 1, 8)
    words = unfit(near, Bounds(min_cosine=0.99999))
    assert words == (
        "the cosine of its outputs with its parent's is `0.9999899`; expected at least `0.99999`"
    )
    assert "up to `0.20004` from" in (unfit(near, Bounds(max_drift=0.2)) or "")
    assert (unfit(proof(1, 1, 0.4), Bounds()) or "").startswith("it fell apart: ")


def test_labels_bound_where_it_is_asked_for() -> None:
    wrong = Proof(Drift(0.1, 0.99, 0.0625, shapes="x 1x16"), 1, 1, 8)
    bounds = Bounds(min_labels=0.9)
    assert unfit(wrong, Bounds()) is None
    assert unfit(wrong, bounds) == (
        "only `0.0625` of its labels are its parent's (x 1x16); expected at least `0.9` "
        "(--min-labels)"
    )
    assert unfit(Proof(Drift(0.1, 0.99, 0.9), 1, 1, 8), bounds) is None
    assert "no labels" in (unfit(Proof(Drift(0.1, 0.99), 1, 1, 8), bounds) or "")


def classes(path: Path, *end: onnx.NodeProto, width: int | str = 64) -> Path:
    """Write a layer of 64 values of which the greatest is lost in eight bits."""
    random = np.random.default_rng(0)
    weight = random.random((32, 1)) + random.normal(0, 2e-5, (32, 64))
    kept = [("w", weight), ("last", np.array([1]))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), *end],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", width])],
        [
            numpy_helper.from_array(array.astype(np.float32 if name == "w" else np.int64), name)
            for name, array in kept
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


SOFTMAX = [helper.make_node("Softmax", ["m"], ["s"]), helper.make_node("Identity", ["s"], ["y"])]
BY_HAND = [
    helper.make_node("Exp", ["m"], ["e"]),
    helper.make_node("ReduceSum", ["e", "last"], ["s"], keepdims=0),
    helper.make_node("Unsqueeze", ["s", "last"], ["t"]),
    helper.make_node("Div", ["e", "t"], ["y"]),
]


@pytest.mark.parametrize("end", [SOFTMAX, BY_HAND])
def test_a_classifier_that_mixes_up_its_labels_is_refused(
    tmp_path: Path, end: list[onnx.NodeProto]
) -> None:
    registry = Registry()
    registry.register(classes(tmp_path / "m.onnx", *end), "kinds")
    parent = registry.resolve("kinds")
    with pytest.raises(Refused, match=r"^only `0` of its labels .* at least `0\.5` \(--min-l"):
        quantize(registry, parent, "int8", method="weight-only")
    made = quantize(registry, parent, "int8", method="weight-only", bounds=Bounds(min_labels=0))
    drift = made.derived.proof.drift
    assert drift.labels is not None
    assert drift.labels < 0.5
    assert drift.cosine is not None
    assert drift.cosine > 0.99


@pytest.mark.parametrize(
    ("end", "width"),
    [([helper.make_node("Neg", ["m"], ["y"])], 64), (SOFTMAX, "anchors")],
)
def test_a_curve_or_a_row_of_open_length_has_no_classes(
    tmp_path: Path, end: list[onnx.NodeProto], width: int | str
) -> None:
    registry = Registry()
    registry.register(classes(tmp_path / "m.onnx", *end, width=width), "curve")
    made = quantize(registry, registry.resolve("curve"), "int8", method="weight-only")
    assert (made.derived.proof.drift.labels or 0) < 0.5


def proof(size: float, latency: float, cosine: float) -> Proof:
    return Proof(Drift(0.1, cosine, 1.0), size, latency, 8)


def test_better_is_smaller_then_faster_then_nearer() -> None:
    assert better(proof(0.25, 2.0, 0.95), proof(0.5, 0.5, 1.0))
    assert better(proof(0.26, 0.5, 0.95), proof(0.25, 1.0, 1.0))
    assert better(proof(0.26, 1.05, 0.99), proof(0.25, 1.0, 0.95))


def graph(path: Path) -> Graph:
    return describe(path)


def test_recipes_fit_the_model_and_the_processor(tmp_path: Path) -> None:
    conv, matrix = (
        graph(models.convolutions(tmp_path / "c.onnx", opset=12)),
        graph(models.mlp(tmp_path / "m")),
    )
    old = choose(conv, AVX2, "int8", None, data=True)
    assert (old.method, old.reduce_range, old.per_channel, old.opset) == ("static", True, True, 17)
    assert old.ops == ("Conv", "Gemm", "Relu", "GlobalAveragePool", "Flatten")
    assert not choose(conv, VNNI, "int8", None, data=True).reduce_range
    assert not choose(conv, AVX2, "uint8", None, data=True).reduce_range
    assert choose(matrix, AVX2, "int8", None, data=True).method == "dynamic"
    assert choose(matrix, AVX2, "int8", None, data=False).opset is None
    large = Graph(
        **{name: getattr(matrix, name) for name in Graph.__slots__}
        | {
            "parameters": 10**9,
        }
    )
    assert choose(large, AVX2, "int8", None, data=False).method == "weight-only"
    for to in (None, "int8", "int4", "fp16"):
        found = list(candidates(matrix, AVX2, to, None, data=False))
        assert 1 <= len(found) <= 12
        assert all(one.method != "static" for one in found)


@pytest.mark.parametrize(
    ("to", "method", "message"),
    [
        ("int3", None, "`int3` is not a precision"),
        ("float16", None, r"expected `int8`, .*; did you mean `fp16`"),
        ("int8", "magic", "`magic` is not a method"),
        ("int4", "dynamic", "`int4` does not go with the method `dynamic`"),
        ("fp16", "static", "it takes no method"),
        ("qdq", None, "needs calibration data"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    tmp_path: Path, to: str, method: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        choose(graph(models.mlp(tmp_path / "m")), AVX2, to, method, data=False)


def test_a_recipe_is_written_and_read_again(tmp_path: Path) -> None:
    chosen = choose(graph(models.convolutions(tmp_path / "c")), AVX2, "int8", None, data=True)
    again = Options(**chosen.written())
    assert again.written() == chosen.written()


def feeds(path: Path, shape: tuple[int | str | None, ...], how: str | None = None) -> list[object]:
    tensor = Tensor("x", "float32", shape)
    found = input_files.feeds(str(path), None, [tensor], how)
    return [feed["x"].shape for feed in found]


def test_calibration_data_is_read_from_files_and_folders(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.ones((5, 4)))
    assert feeds(tmp_path / "one.npz", (2, 4)) == [(2, 4), (2, 4)]
    assert feeds(tmp_path / "one.npz", ("batch", 4)) == [(5, 4)]
    np.save(tmp_path / "two.npy", np.ones(4))
    (tmp_path / "notes.txt").write_text("no data")
    assert feeds(tmp_path, ("batch", 4)) == [(5, 4), (1, 4)]
    with pytest.raises(NotFound, match="no inputs at"):
        feeds(tmp_path / "nowhere", (2, 4))
    np.savez(tmp_path / "other.npz", z=np.ones((5, 4)))
    with pytest.raises(UsageError, match=r"`other\.npz` holds `z`; the model takes `x`"):
        feeds(tmp_path / "other.npz", (2, 4))
    with pytest.raises(NotFound, match="holds no example, or fewer than the model takes at once"):
        feeds(tmp_path / "one.npz", (8, 4))
    for shape in [(None, 3), ("batch", None, 4), (4,)]:
        with pytest.raises(UsageError, match=r"`x` in `one\.npz` is \[5, 4\]; the model takes \["):
            feeds(tmp_path / "one.npz", shape)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[1, np.nan]]), r"`x` in `a\.npy` holds NaN"),
        (np.array([["one", "two"]]), r"`x` in `a\.npy` holds text; the model takes float32"),
    ],
)
def test_what_is_no_numbers_is_named_with_its_file(
    tmp_path: Path, values: "np.ndarray[tuple[int, int], np.dtype[np.generic]]", message: str
) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(UsageError, match=message):
        feeds(tmp_path, ("batch", 2))


def test_what_is_no_data_is_refused_before_the_work(registry: Registry, tmp_path: Path) -> None:
    parent = registry.resolve("conv")
    script = tmp_path / "train.py"
    script.write_text("")
    for given in ({"calibrate": script}, {"inputs": script}):
        with pytest.raises(UsageError, match=r"train\.py` is no data; expected `\.npz`"):
            quantize(registry, parent, "uint8", **given)  # type: ignore[arg-type]
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    np.save(arrays / "a.npy", np.ones((2, 3, 8, 8), np.float32))
    with pytest.raises(UsageError, match="`0-1` is of images, and the data holds none"):
        quantize(registry, parent, "uint8", calibrate=arrays, preprocess="0-1")
    (arrays / "b.png").write_bytes(b"")
    with pytest.raises(UsageError, match="holds images and arrays; expected one or the other"):
        quantize(registry, parent, "uint8", calibrate=arrays, preprocess="0-1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((8, 3, 8, 8)), "the data holds `ndarray`; expected inputs by name"),
        ([], "the data is empty; expected inputs by name"),
        (5, "`5` is no data; expected inputs by name"),
        ([{"x": [[1], [1, 2]]}], "the data's example `0` is no arrays"),
        ([{"y": np.zeros(1)}], r"`calibrate\[000000\]\.npz` holds `y`; the model takes `x`"),
    ],
)
def test_data_in_code_that_is_none_is_said_to_be_that(
    registry: Registry, given: object, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        quantize(registry, registry.resolve("conv"), "int8", calibrate=given)  # type: ignore[arg-type]


def test_images_are_compared_on_whatever_the_method(registry: Registry, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images"
    folder.mkdir()
    image.new("RGB", (20, 10), (255, 0, 0)).save(folder / "red.png")
    parent = registry.resolve("conv")
    made = quantize(registry, parent, "fp16", inputs=folder, preprocess="0-1")
    assert made.derived.proof.samples == 1
    made = quantize(registry, parent, "bf16", calibrate=folder, preprocess="0-1", inputs="random")
    assert made.derived.proof.samples > 1


def test_images_are_resized_and_normalised_as_stated(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "red.png")
    tensor = Tensor("x", "float32", (1, 3, 8, 6))
    feed = next(input_files.feeds(str(tmp_path), None, [tensor], "-1-1"))
    assert feed["x"].shape == (1, 3, 8, 6)
    assert feed["x"].dtype == np.float32
    np.testing.assert_allclose(feed["x"][0, :, 0, 0], [1, -1, -1])
    assert feeds(tmp_path, ("batch", 1, None, None), "0-1") == [(1, 1, 224, 224)]
    with pytest.raises(UsageError, match="images need a preprocessing"):
        feeds(tmp_path, (1, 3, 8, 6))
    with pytest.raises(UsageError, match=r"is not \[batch, 1 or 3, height, width\]"):
        feeds(tmp_path, (1, 8, 6, 3), "0-1")


def test_calibration_data_is_known_by_its_digest(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "a.npy", np.random.default_rng(0).random((4, 3, 8, 8), np.float32))
    made = quantize(registry, registry.resolve("conv"), "uint8", calibrate=folder)
    assert made.options.calibrate_digest == input_files.digest(folder)
    assert made.options.calibrate == str(folder)
    before = input_files.digest(folder)
    np.save(folder / "b.npy", np.ones((3, 8, 8)))
    assert input_files.digest(folder) != before


def test_in_code_it_is_one_call(registry: Registry) -> None:
    variant = onnxzoo.quantize("mlp", to="fp16")
    assert variant.ref == "mlp:fp16@1"
    assert [t.dtype for t in variant.graph.inputs] == ["float32"]


def zoo(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["zoo", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_command_prints_a_table_a_document_or_a_reference(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = zoo(capsys, "quantize", "mlp", "--to", "fp16")
    assert code == 0
    headers, row = out.splitlines()
    assert headers.split() == [
        "REFERENCE",
        "SIZE",
        "RATIO",
        "LATENCY",
        "DRIFT",
        "COSINE",
        "CORR",
        "LABELS",
    ]
    assert row.split()[0] == "mlp:fp16@1"
    assert "made so: cast, fp16" in err
    code, out, _ = zoo(
        capsys, "quantize", "mlp", "--to", "bf16", "--exclude", "first,Relu", "--json"
    )
    found = json.loads(out)
    assert found["ref"] == "mlp:bf16@1"
    assert 0 < found["size_ratio"] < 1
    assert found["drift_max"] > 0
    assert found["tried"][0]["recipe"]["exclude"] == ["first", "Relu"]
    assert found["lineage"]["called"] == "mlp:fp32@1"
    code, out, err = zoo(capsys, "quantize", "mlp", "--to", "int8", "--min-cosine", "1", "-q")
    assert (code, out) == (5, "")
    assert "the cosine of its outputs" in err
    assert zoo(capsys, "quantize", "mlp")[0] == 2
    left_out = "int8 and uint8 were left out: of convolutions they need --calibrate DATA"
    assert left_out in zoo(capsys, "quantize", "conv", "--search")[2]
    calibrated = "quantize", "conv", "--search", "--calibrate", "random"
    assert left_out not in zoo(capsys, *calibrated)[2]


def test_on_a_narrow_terminal_a_search_shows_its_figures(registry: Registry) -> None:
    reader, writer = pty.openpty()
    words = ["quantize", "mlp", "--to", "int8", "--method", "dynamic", "--search"]
    process = subprocess.run(
        [sys.executable, "-m", "onnxzoo", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    headers = os.read(reader, 1 << 16).decode().splitlines()[0].split()
    os.close(reader)
    os.close(writer)
    assert headers[:2] == ["TO", "RATIO"]
    assert headers[-3:] == ["LABELS", "VERDICT", "RECIPE"]
    assert "too narrow" not in process.stderr
