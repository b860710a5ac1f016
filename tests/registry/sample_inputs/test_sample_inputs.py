"""Sample inputs: the sizes and values that a model's real inputs would have."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.runtime.providers import CPU
from onnxzoo.registry.runtime.session import open_session, signature
from onnxzoo.registry.sample_inputs.sample_inputs import Samples, sample_inputs, shapes_text, short

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def made(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[Any, Any]],
    weights: dict[str, Any],
    output: str = "y",
) -> Path:
    values = [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        values,
        [helper.make_tensor_value_info(output, FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def sampled(path: Path, **asked: Any) -> Samples:
    return sample_inputs(open_session(path, [CPU]), path, **asked)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def words(path: Path) -> Path:
    """Write an embedding of 50 words that counts only what its mask lets through."""
    return made(
        path / "words.onnx",
        [
            helper.make_node("Gather", ["table", "input_ids"], ["e"]),
            helper.make_node("Cast", ["attention_mask"], ["m"], to=FLOAT),
            helper.make_node("Unsqueeze", ["m", "last"], ["m3"]),
            helper.make_node("Mul", ["e", "m3"], ["y"]),
        ],
        {
            "input_ids": (INT64, ["batch", "sequence"]),
            "attention_mask": (INT64, ["batch", "sequence"]),
        },
        {"table": random(50, 8), "last": np.array([2])},
    )


def test_words_are_long_within_the_table_and_as_frequent_as_words(tmp_path: Path) -> None:
    found = sampled(words(tmp_path))
    assert {feed["input_ids"].shape for feed in found.feeds} == {(2, 128), (1, 32)}
    every = np.concatenate([feed["input_ids"].ravel() for feed in found.feeds])
    assert every.min() >= 0
    assert every.max() < 50
    counts = np.sort(np.bincount(every, minlength=50))[::-1]
    assert counts[0] > 5 * counts[25] > 0


def test_a_mask_ends_in_padding(tmp_path: Path) -> None:
    mask = sampled(words(tmp_path)).feeds[0]["attention_mask"]
    assert mask[0].all()
    assert mask[-1, :96].all()
    assert not mask[-1, 96:].any()


def test_images_are_224_pixels_a_side_then_oblong(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    inputs = {"x": (FLOAT, ["N", 3, "H", "W"])}
    path = made(tmp_path / "m.onnx", nodes, inputs, {"w": random(4, 3, 3, 3)})
    found = sampled(path, count=4)
    assert shapes_text(found.feeds) == "x 2x3x224x224; x 1x3x224x160"
    image = found.feeds[0]["x"][0, 0]
    assert np.abs(np.diff(image, axis=0)).mean() < image.std() / 2  # smooth


@pytest.mark.parametrize(
    ("imgsz", "shapes"),
    [
        ("[96, 160]", "x 2x3x96x160; x 1x3x96x96"),
        ("128", "x 2x3x128x128; x 1x3x128x96"),
        ("[0, 640]", "x 2x3x224x224; x 1x3x224x160"),
        ("[99999, 99999]", "x 2x3x224x224; x 1x3x224x160"),  # beyond the memory of one set
        ("large", "x 2x3x224x224; x 1x3x224x160"),
    ],
)
def test_images_have_the_size_that_the_metadata_say(
    tmp_path: Path, imgsz: str, shapes: str
) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    inputs = {"x": (FLOAT, ["batch", 3, "height", "width"])}
    path = made(tmp_path / "m.onnx", nodes, inputs, {"w": random(4, 3, 3, 3)})
    model = onnx.load(path)
    helper.set_model_props(model, {"imgsz": imgsz})
    onnx.save(model, path)
    assert shapes_text(sampled(path, count=4).feeds) == shapes


def test_images_have_the_size_that_the_graph_makes_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "", "sizes"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["y"]),
    ]
    weights = {"w": random(4, 3, 3, 3), "sizes": np.array([1, 3, 96, 64])}
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 3, "H", "W"])}, weights)
    assert shapes_text(sampled(path, count=1).feeds) == "x 1x3x96x64"


@pytest.mark.parametrize("rows", [144, 145, 146])
def test_images_have_as_many_patches_as_there_are_positions(tmp_path: Path, rows: int) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[16, 16]),
        helper.make_node("Reshape", ["c", "flat"], ["f"]),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Pad", ["t", "classes"], ["p"]),
        helper.make_node("Add", ["positions", "p"], ["y"]),
    ]
    weights = {
        "w": random(8, 3, 16, 16),
        "flat": np.array([0, 8, -1]),
        "classes": np.array([0, rows - 144, 0, 0, 0, 0]),
        "positions": random(1, rows, 8),
    }
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", "c", "h", "w"])}, weights)
    assert shapes_text(sampled(path, count=4).feeds) == "x 2x3x192x192"


def test_pixels_reach_255_where_the_graph_divides_by_it(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Div", ["x", "full"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["y"]),
    ]
    weights = {"w": random(4, 3, 3, 3), "full": np.float32(255)}
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 3, 32, 32])}, weights)
    image = sampled(path).feeds[0]["x"]
    assert image.min() >= 0
    assert 100 < image.max() <= 255


def test_a_window_of_sound_is_filled(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["u"]),
        helper.make_node("Conv", ["u", "w"], ["y"], strides=[160]),
    ]
    weights = {"w": random(8, 1, 400), "one": np.array([1])}
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", "?"])}, weights)
    assert shapes_text(sampled(path, count=1).feeds) == "x 2x16000"


@pytest.mark.parametrize(("positions", "length"), [(512, 128), (40, 32)])
def test_a_table_of_positions_bounds_the_sequence(
    tmp_path: Path, positions: int, length: int
) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Range", ["zero", "length", "step"], ["at"]),
        helper.make_node("Gather", ["places", "at"], ["p"]),
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("Add", ["e", "p"], ["y"]),
    ]
    scalars = {"zero": np.array(0), "one": np.array(1), "step": np.array(1)}
    path = made(
        tmp_path / "m.onnx",
        nodes,
        {"x": (INT64, ["batch", "sequence"])},
        {"places": random(positions, 8), "table": random(9, 8), **scalars},
    )
    found = sampled(path)
    assert found.feeds[0]["x"].shape == (2, length)
    assert not short(found.feeds, signature(open_session(path, [CPU]))[0])


def test_a_length_of_one_is_known_for_what_it_is(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("Squeeze", ["e", "one"], ["y"]),
    ]
    weights = {"table": random(9, 8), "one": np.array([1])}
    path = made(tmp_path / "m.onnx", nodes, {"x": (INT64, ["batch", "sequence"])}, weights)
    found = sampled(path)
    assert shapes_text(found.feeds) == "x 2x1; x 1x1"
    assert short(found.feeds, signature(open_session(path, [CPU]))[0])


def test_sizes_that_are_asked_for_are_kept(tmp_path: Path) -> None:
    found = sampled(words(tmp_path), batch=3, axes={"sequence": 5}, count=2)
    assert shapes_text(found.feeds) == "input_ids 3x5, attention_mask 3x5"


def test_an_axis_without_a_name_is_sized_by_its_place(tmp_path: Path) -> None:
    nodes = [helper.make_node("Exp", ["x"], ["y"])]
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [None, None])}, {})
    assert shapes_text(sampled(path, axes={"x:1": 7}, count=1).feeds) == "x 2x7"


def test_a_batch_that_is_asked_for_is_kept_where_it_does_not_run(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "one"], ["y"])]
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 4])}, {"one": np.array([1, 4])})
    assert sampled(path).feeds[0]["x"].shape == (1, 4)
    with pytest.raises(Refused, match="no sample inputs were found on which the model runs"):
        sampled(path, batch=2)


def test_a_size_that_is_asked_for_counts_in_sums(tmp_path: Path) -> None:
    path = made(
        tmp_path / "m.onnx",
        [
            helper.make_node("Concat", ["past", "x"], ["all"], axis=1),
            helper.make_node("Concat", ["all", "attention_mask"], ["y"], axis=0),
        ],
        {
            "past": (FLOAT, ["batch", "past_sequence_length"]),
            "x": (FLOAT, ["batch", "sequence_length"]),
            "attention_mask": (FLOAT, ["batch", "past_sequence_length + sequence_length"]),
        },
        {},
    )
    found = sampled(path, axes={"sequence_length": 24}, count=4)
    assert {feed["x"].shape[1] for feed in found.feeds} == {24}
    assert found.silent is None


def test_a_table_of_two_rows_is_looked_up_throughout(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["table", "segments"], ["y"])]
    path = made(
        tmp_path / "m.onnx", nodes, {"segments": (INT64, ["n", "len"])}, {"table": random(2, 4)}
    )
    found = sampled(path)
    assert set(np.unique(found.feeds[0]["segments"])) == {0, 1}
    assert found.silent is None


@pytest.mark.parametrize("axes", [["B", 80, "T"], ["B", "T", 80]])
def test_a_length_is_that_of_the_open_axis(tmp_path: Path, axes: list[Any]) -> None:
    nodes = [
        helper.make_node("Cast", ["length"], ["l"], to=FLOAT),
        helper.make_node("ReduceSum", ["features"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "l"], ["y"]),
    ]
    inputs = {"features": (FLOAT, axes), "length": (INT64, ["B"])}
    found = sampled(made(tmp_path / "m.onnx", nodes, inputs, {}), count=4)
    place = axes.index("T")
    for feed in found.feeds:
        assert set(feed["length"].tolist()) == {feed["features"].shape[place]}


def test_a_type_that_is_a_scalar_is_zero(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["table", "token_type_ids"], ["y"])]
    path = made(
        tmp_path / "m.onnx", nodes, {"token_type_ids": (INT64, [])}, {"table": random(2, 4)}
    )
    assert sampled(path, count=1).feeds[0]["token_type_ids"] == 0


def test_given_values_stay_and_size_the_others(tmp_path: Path) -> None:
    ids = np.ones((4, 6), np.int64)
    feed = sampled(words(tmp_path), given={"input_ids": ids}, count=1).feeds[0]
    assert feed["input_ids"] is ids
    assert feed["attention_mask"].shape == (4, 6)


def test_sizes_at_which_outputs_say_nothing_are_passed_over(tmp_path: Path) -> None:
    nodes = [  # deviation from the mean of one row: nothing at a batch that is fixed at one
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1]),
        helper.make_node("Sub", ["x", "m"], ["c"]),
        helper.make_node("Div", ["c", "c"], ["d"]),
        helper.make_node("Log", ["d"], ["y"]),
    ]
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, "n"])}, {})
    assert sampled(path).silent == "they are the same for all inputs"


def test_a_model_that_runs_on_nothing_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"])]
    path = made(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 3])}, {"to": np.array([7, 11])})
    with pytest.raises(Refused, match="no sample inputs were found"):
        sampled(path)


def test_the_same_seeds_give_the_same_inputs(tmp_path: Path) -> None:
    one, two = (sampled(words(tmp_path)) for _ in range(2))
    for a, b in zip(one.feeds, two.feeds, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)
