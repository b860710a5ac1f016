"""Proofs: noise in any weight is seen, and what shows nothing is called no proof."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.derive import compare_worker
from onnxzoo.registry.derive.acceptance import USUAL, unfit
from onnxzoo.registry.derive.derive import Proof
from onnxzoo.registry.derive.opset import judge, to_opset
from onnxzoo.registry.measure.drift import SHORT, Drift, drift
from onnxzoo.registry.runtime.random_nodes import MOST
from tests.support import models, networks
from tests.support.archives import npz

CASES = [
    (net, name) for net, make in networks.NETWORKS.items() for name in networks.matrices(make())
]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
PARTS = {"s[0]": np.arange(3, dtype=np.float32), "s[1]": np.ones(2, np.float32)}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Without a first look: what is compared here is known to open."""
    settings = replace(Settings.from_env(), home=tmp_path / "home", first_look=False)
    return Registry(settings=settings)


def proven(base: Path, other: Path, **asked: Any) -> Drift:
    request = {"inputs": None, "preprocess": None, "held": None, "samples": 8, "timed": False}
    told = compare_worker.main({"base": str(base), "model": str(other), **request, **asked})
    return Drift(**told["drift"])


def saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[Any, Any]],
    weights: dict[str, Any] | None = None,
    opset: int = 15,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(("net", "name"), CASES)
def test_noise_in_any_one_matrix_is_seen(
    registry: Registry, tmp_path: Path, net: str, name: str
) -> None:
    model = networks.NETWORKS[net]()
    onnx.save(model, tmp_path / "base.onnx")
    other = networks.with_noise(model, name, tmp_path / "other.onnx")
    base = registry.register(tmp_path / "base.onnx", "m").variant
    noisy = registry.register(other, "m", new_version=True).variant

    by_compare = drift(registry, base, [noisy])[0]
    assert by_compare.cosine is not None
    assert by_compare.cosine < 0.9
    assert by_compare.unproven is None

    proof = Proof(proven(tmp_path / "base.onnx", other), 1.0, None, 8)
    assert "fell apart" in str(unfit(proof, USUAL))
    with pytest.raises(Refused, match="its outputs lie up to"):
        judge(base, networks.OPSET)(proof, noisy.graph)


@pytest.mark.parametrize("net", networks.NETWORKS)
def test_the_same_network_passes_and_says_on_what(tmp_path: Path, net: str) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(networks.NETWORKS[net](), path)
    found = proven(path, path)
    assert (found.max, found.cosine, found.unproven) == (0, 1, None)
    assert unfit(Proof(found, 1.0, None, 8), USUAL) is None
    sizes = {"bert": "2x128", "vit": "2x3x224x224", "crnn": "2x1x32x320", "detector": "3x224x160"}
    assert sizes[net] in str(found.shapes)


def test_nan_on_both_sides_is_no_agreement(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "m.onnx",
        [helper.make_node("Sub", ["x", "x"], ["z"]), helper.make_node("Div", ["z", "z"], ["y"])],
        {"x": (FLOAT, ["n", 4])},
    )
    found = proven(path, path)
    assert found.cosine is None
    assert "not finite" in str(found.why)


def test_zero_on_both_sides_is_no_proof(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "m.onnx", [helper.make_node("Sub", ["x", "x"], ["y"])], {"x": (FLOAT, ["n", 4])}
    )
    found = proven(path, path)
    assert "show nothing" in str(found.unproven)
    assert "cannot be told" in str(unfit(Proof(found, 1.0, None, 8), USUAL))


def one_word(path: Path) -> Path:
    return saved(
        path,
        [
            helper.make_node("Gather", ["table", "x"], ["e"]),
            helper.make_node("Squeeze", ["e", "one"], ["y"]),
        ],
        {"x": (INT64, ["batch", "sequence"])},
        {
            "table": np.random.default_rng(0).standard_normal((9, 8), np.float32),
            "one": np.array([1]),
        },
    )


def test_a_length_of_one_is_no_proof_of_made_inputs(tmp_path: Path) -> None:
    path = one_word(tmp_path / "m.onnx")
    found = proven(path, path)
    assert found.unproven == SHORT
    assert SHORT in str(unfit(Proof(found, 1.0, None, 8), USUAL))


def test_a_length_of_one_that_a_user_gave_counts(tmp_path: Path) -> None:
    path = one_word(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=np.array([[3], [5]]))
    found = proven(path, path, inputs=str(tmp_path / "x.npz"))
    assert found.given
    assert unfit(Proof(found, 1.0, None, 1), USUAL) is None


def test_zeros_that_a_user_gave_prove_nothing_either(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "m.onnx", [helper.make_node("Sub", ["x", "x"], ["y"])], {"x": (FLOAT, ["n", 4])}
    )
    np.savez(tmp_path / "x.npz", x=np.ones((2, 4), np.float32))
    found = proven(path, path, inputs=str(tmp_path / "x.npz"))
    assert found.given
    assert "show nothing" in str(found.unproven)
    assert "cannot be told" in str(unfit(Proof(found, 1.0, None, 1), USUAL))


def noise(path: Path, **attributes: Any) -> Path:
    return saved(
        path,
        [
            helper.make_node("RandomNormalLike", ["x"], ["n"], **attributes),
            helper.make_node("Mul", ["n", "k"], ["m"]),
            helper.make_node("Add", ["x", "m"], ["y"]),
        ],
        {"x": (FLOAT, ["N", 64])},
        {"k": np.float32(0.667)},
    )


def test_a_random_model_is_held_against_its_own_spread(tmp_path: Path) -> None:
    base = noise(tmp_path / "m.onnx")
    found = proven(base, base)
    assert found.spread is not None
    assert found.spread < 2
    assert unfit(Proof(found, 1.0, None, 8), USUAL) is None


@pytest.mark.parametrize("other", [{"mean": 1.5}, {"scale": 3.0}])
def test_another_distribution_is_seen(tmp_path: Path, other: dict[str, float]) -> None:
    found = proven(noise(tmp_path / "m.onnx"), noise(tmp_path / "o.onnx", **other))
    assert found.spread is not None
    assert found.spread > MOST


def test_a_random_model_converts(registry: Registry, tmp_path: Path) -> None:
    parent = registry.register(noise(tmp_path / "m.onnx"), "m").variant
    done = to_opset(registry, parent, 17)
    assert done.variant.opset == 17
    assert done.proof is not None
    assert done.proof.drift.spread is not None


def reshaping(path: Path) -> Path:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    return saved(path, nodes, {"x": (FLOAT, [2, 3, 4]), "shape": (INT64, [3])})


def test_reference_data_prove_a_conversion(registry: Registry, tmp_path: Path) -> None:
    x, shape = np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.array([4, 2, 3])
    data = {"input:x": x, "input:shape": shape, "output:y": x.reshape(4, 2, 3)}
    np.savez(tmp_path / "d.npz", **data)  # type: ignore[arg-type]
    path = reshaping(tmp_path / "m.onnx")
    parent = registry.register(path, "m", test_data=tmp_path / "d.npz").variant
    proof = to_opset(registry, parent, 17).proof
    assert proof is not None
    assert proof.drift.given
    assert proof.drift.shapes == "x 2x3x4, shape 3"


def cast(path: Path, target: int, opset: int = 15) -> Path:
    """Write a model whose input has another type than its float output."""
    return saved(
        path,
        [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)],
        {"x": (target, ["n"])},
        opset=opset,
    )


def sequence(path: Path, *more: onnx.NodeProto, output: str = "y") -> Path:
    """Write a model that joins a sequence of tensors."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, ["n"]))
    value = helper.make_tensor_value_info(output, FLOAT, ["m"])
    graph = helper.make_graph(
        [helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0), *more],
        "g",
        [helper.make_value_info("s", kind)],
        [value if output == "y" else helper.make_value_info(output, kind)],
    )
    opsets = [helper.make_opsetid("", 15)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_reference_data_of_sequences_prove_a_conversion(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "d" / "test_data_set_0"
    folder.mkdir(parents=True)
    parts = [np.arange(3, dtype=np.float32), np.ones(2, np.float32)]
    for name, value in (
        ("input_0", numpy_helper.from_list(parts, "s")),
        ("output_0", numpy_helper.from_array(np.concatenate(parts), "y")),
    ):
        (folder / f"{name}.pb").write_bytes(value.SerializeToString())
    path = sequence(tmp_path / "m.onnx")
    parent = registry.register(path, "m", test_data=tmp_path / "d").variant
    proof = to_opset(registry, parent, 17).proof
    assert proof is not None
    assert proof.drift.given
    assert proof.drift.cosine == 1


def test_sequences_that_a_user_gives_are_compared_on(tmp_path: Path) -> None:
    path = sequence(tmp_path / "m.onnx")
    given = npz(tmp_path / "s.npz", PARTS)
    found = proven(path, path, inputs=str(given))
    assert (found.given, found.cosine, found.shapes) == (True, 1.0, "s 2 values")


def test_text_that_a_user_gives_is_compared_on(tmp_path: Path) -> None:
    path = cast(tmp_path / "m.onnx", TensorProto.STRING)
    np.savez(tmp_path / "x.npz", x=np.array(["1", "2.5", "-3"]))
    found = proven(path, path, inputs=str(tmp_path / "x.npz"))
    assert (found.given, found.cosine, found.why) == (True, 1.0, None)


def test_bfloat16_that_a_user_gives_is_compared_on(tmp_path: Path) -> None:
    paths = [cast(tmp_path / f"{t}.onnx", t) for t in (TensorProto.BFLOAT16, FLOAT)]
    np.savez(tmp_path / "x.npz", x=np.array([1, 2.5, -3], np.float32))
    for base, other in (paths, paths[::-1]):
        found = proven(base, other, inputs=str(tmp_path / "x.npz"))
        assert (found.given, found.cosine, found.why) == (True, 1.0, None)


def test_small_numbers_that_point_elsewhere_are_seen(tmp_path: Path) -> None:
    double = TensorProto.DOUBLE
    paths = []
    for sign in (1, -1):
        nodes = [helper.make_node("Mul", ["x", "k"], ["y"])]
        path = saved(
            tmp_path / f"{sign}.onnx",
            nodes,
            {"x": (double, ["n", 4])},
            {"k": np.float64(sign * 1e-100)},
        )
        model = onnx.load(path)
        model.graph.output[0].type.tensor_type.elem_type = double
        onnx.save(model, path)
        paths.append(path)
    assert proven(*paths).cosine == pytest.approx(-1)


def test_a_random_model_of_sequences_says_why_it_is_not_compared(tmp_path: Path) -> None:
    more = (
        helper.make_node("RandomNormalLike", ["y"], ["r"]),
        helper.make_node("SequenceConstruct", ["r"], ["out"]),
    )
    path = sequence(tmp_path / "m.onnx", *more, output="out")
    given = npz(tmp_path / "s.npz", PARTS)
    assert "random" in str(proven(path, path, inputs=str(given)).why)


def test_a_model_that_does_not_run_on_the_others_inputs_is_compared_with_the_rest(
    registry: Registry, tmp_path: Path
) -> None:
    inputs = {"x": (FLOAT, ["n", 4])}
    nodes = [helper.make_node("Abs", ["x"], ["y"])]
    registry.register(saved(tmp_path / "a.onnx", nodes, inputs), "base")
    registry.register(saved(tmp_path / "b.onnx", nodes, inputs, opset=17), "same")
    fixed = [
        helper.make_node("Reshape", ["x", "one"], ["z"]),
        helper.make_node("Abs", ["z"], ["y"]),
    ]
    path = saved(tmp_path / "c.onnx", fixed, inputs, {"one": np.array([1, 4])})
    registry.register(path, "fixed")
    base, *others = (registry.resolve(name) for name in ("base", "fixed", "same"))
    one, two = drift(registry, base, others)
    assert "could not run the model: the Reshape node" in str(one.why)
    assert two.max == 0


def test_what_no_sample_fits_says_how_to_give_inputs(registry: Registry, tmp_path: Path) -> None:
    parent = registry.register(reshaping(tmp_path / "m.onnx"), "m").variant
    with pytest.raises(Refused) as caught:
        to_opset(registry, parent, 17)
    assert "--inputs" in str(caught.value.hint)


def test_a_variant_that_gives_one_constant_has_no_correlation(
    registry: Registry, tmp_path: Path
) -> None:
    """An offset hides it from a cosine: kelvin that are all 300 are near to any others."""
    offset = numpy_helper.from_array(np.full(4, 300, np.float32), "off")
    paths = []
    for name, value in (("sound", 1.0), ("dead", 0.0)):
        weights = numpy_helper.from_array(np.full((4, 4), value, np.float32), "w")
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Add", ["a", "off"], ["y"]),
        ]
        paths.append(models.save(tmp_path / f"{name}.onnx", nodes, [weights, offset]))
        registry.register(paths[-1], f"net:{name}")
    base, other = registry.resolve("net:sound"), registry.resolve("net:dead")
    (found,) = drift(registry, base, [other])
    assert found.cosine == pytest.approx(1, abs=1e-3)
    assert found.correlation == 0
    (same,) = drift(registry, base, [base])
    assert same.cosine == pytest.approx(1)
    assert same.correlation == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:overflow")
def test_outputs_whose_squares_overflow_are_not_called_near(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["d", "w"], ["y"]),
    ]
    base = saved(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 4])}, {"w": np.full(4, 1e200)})
    model = onnx.load(base)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    onnx.save(model, base)
    found = proven(base, base)
    assert found.cosine is None
    assert found.why == "the outputs are too large for their squares to be added up"


def test_other_weights_behind_an_offset_are_seen(registry: Registry, tmp_path: Path) -> None:
    """A cosine of kelvin says 1 of any two models of temperatures."""
    paths = []
    for seed in (1, 2):
        weights = {
            "w": np.random.default_rng(seed).normal(size=(4, 64)).astype(np.float32),
            "off": np.full(64, 300, np.float32),
        }
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Add", ["a", "off"], ["y"]),
        ]
        paths.append(saved(tmp_path / f"{seed}.onnx", nodes, {"x": (FLOAT, ["n", 4])}, weights))
    found = proven(*paths)
    assert found.cosine is not None
    assert found.correlation is not None
    assert (found.cosine > 0.9999, abs(found.correlation) < 0.5) == (True, True)
    why = unfit(Proof(found, 1.0, None, 8), USUAL)
    assert why is not None
    assert why.startswith("its outputs do not follow its parent's as the inputs change")


def branches(path: Path, silent: list[onnx.NodeProto]) -> Path:
    """A model with the output `y = x * w` and a second one."""
    first = models.linear(path)
    model = onnx.load(first)
    model.graph.node.extend(silent)
    model.graph.output.append(helper.make_tensor_value_info("second", FLOAT, None))
    onnx.save(model, path)
    return path


def test_a_silent_branch_is_named(tmp_path: Path) -> None:
    """As when a detector finds nothing in made up images, and gives no boxes."""
    zeros = [
        helper.make_node("Constant", [], ["least"], value_float=1e30),
        helper.make_node("Greater", ["x", "least"], ["found"]),
        helper.make_node("Cast", ["found"], ["second"], to=FLOAT),
    ]
    base = branches(tmp_path / "m.onnx", zeros)
    found = proven(base, base)
    assert found.unproven == (
        "the base's output `second` shows nothing: it is the same for all inputs"
    )


@pytest.mark.parametrize("source", ["w", "sizes"])
def test_an_output_that_no_input_moves_may_stand_still(tmp_path: Path, source: str) -> None:
    still = {
        "w": [helper.make_node("Identity", ["w"], ["second"])],
        "sizes": [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["second"], to=FLOAT),
        ],
    }
    base = branches(tmp_path / "m.onnx", still[source])
    assert proven(base, base).unproven is None
