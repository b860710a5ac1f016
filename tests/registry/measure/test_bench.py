"""Measuring variants alone, comparing them, and the commands that do it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzoo.cli.commands import compare as compare_command
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Misfit, Refused, UsageError
from onnxzoo.registry.core.records import Measurement, Tensor
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.measure.bench import Effort, Trial, bench, kept
from onnxzoo.registry.measure.compare import compare
from onnxzoo.registry.measure.drift import Drift, drift
from onnxzoo.registry.measure.input_files import digest
from onnxzoo.registry.runtime.machine import describe_machine
from onnxzoo.registry.runtime.providers import CPU
from onnxzoo.registry.runtime.session import runtime_version
from onnxzoo.registry.sample_inputs.axes import batched
from onnxzoo.registry.sample_inputs.sample_inputs import sample_inputs
from tests.support import models
from tests.support.archives import npz
from tests.support.commands import Run

QUICK = Effort(runs=2, warmup=1, rounds=1)
METRICS = {
    "latency_p50", "latency_p95", "latency_p99", "throughput", "open_time", "peak_memory",
    "private_memory", "latency_spread",
}  # fmt: skip


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry(home) as opened:
        yield opened


@pytest.fixture
def net(registry: Registry, tmp_path: Path) -> Registry:
    """``net`` with two variants, ``fp32`` and ``qdq``."""
    registry.register(models.linear(tmp_path / "a.onnx"), "net")
    registry.register(models.quantized(tmp_path / "q.onnx"), "net")
    return registry


def test_what_is_measured_was_prepared_before(home: Path, tmp_path: Path) -> None:
    with Registry(home) as registry:  # that prepares nothing
        registry.register(models.linear(tmp_path / "a.onnx"), "net")
    settings = replace(
        Settings.from_env(), home=home, cache=home / "cache", cache_size=10**9, first_look=True
    )
    with Registry(settings=settings) as registry:
        variant = registry.resolve("net")
        assert registry.loader.found(variant) is None
        bench(registry, [Trial(variant)], effort=Effort(runs=1))
        found = registry.loader.found(variant)
    assert found is not None
    assert found.graph is not None


@pytest.mark.parametrize("effort", [{"runs": 0}, {"rounds": 0}, {"runs": -1}])
def test_an_effort_that_measures_nothing_is_refused(effort: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="one run and one round"):
        Effort(**effort)


def test_a_batch_of_none_is_refused(net: Registry) -> None:
    with pytest.raises(UsageError, match="`-3`"):
        Trial(net.resolve("net"), batch=-3)


def fixed(path: Path, batch: int) -> Path:
    """``y = x + x`` for a batch that the graph fixes."""
    models.chain(path, 1)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    path.write_bytes(model.SerializeToString())
    return path


def called(path: Path, *, input_: str = "x", output: str = "y", width: int = 4) -> Path:
    """``y = x * ones`` under other names, or wider."""
    weights = numpy_helper.from_array(np.ones(width, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", [input_, "w"], [output])],
        "test",
        [helper.make_tensor_value_info(input_, TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])],
        [weights],
    )
    opsets = [helper.make_opsetid("", models.OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_every_figure_is_measured_and_kept_with_its_context(net: Registry) -> None:
    trial = Trial(net.resolve("net"), threads=1, batch=3)
    (found,) = bench(net, [trial], effort=Effort(runs=5, warmup=1, rounds=2))
    assert found.runs == 5
    assert {m.metric for m in found.measurements} <= METRICS
    assert METRICS - {m.metric for m in found.measurements} <= {"private_memory"}
    assert all(
        m.value > 0
        for m in found.measurements
        if m.metric not in {"private_memory", "latency_spread"}
    )
    assert found.context == {
        "onnxruntime": runtime_version(),
        "provider": CPU,
        "cpu": describe_machine().cpu,
        "features": " ".join(describe_machine().features),
        "cores": found.context["cores"],
        "threads": 1,
        "batch": 3,
        "shapes": "x 3x4",
    }
    assert {m.metric: m.value for m in net.measurements("net")} == {
        m.metric: m.value for m in found.measurements
    }
    again = kept(net, trial)
    assert again is not None
    assert again.value("latency_p50") == found.value("latency_p50")
    assert kept(net, Trial(net.resolve("net"), threads=2, batch=3)) is None


def test_memory_is_that_of_one_configuration_alone(net: Registry) -> None:
    trials = [Trial(net.resolve("net"), batch=batch) for batch in (6_000_000, 1)]
    big, small = bench(net, trials, effort=QUICK)  # an output of the first takes 96 MB
    assert (big.value("peak_memory") or 0) > 96e6 > 2 * (small.value("peak_memory") or 0)


def test_time_bounds_the_runs_where_no_number_does(net: Registry) -> None:
    effort = Effort(seconds=0.02, warmup=0, rounds=2)
    (found,) = bench(net, [Trial(net.resolve("net"))], effort=effort)
    assert (found.runs or 0) > 2


def test_several_variants_take_turns_and_progress_is_told(net: Registry) -> None:
    told: list[tuple[int, int | None]] = []
    trials = [Trial(net.resolve("net:fp32")), Trial(net.resolve("net:qdq"))]
    found = bench(
        net,
        trials,
        effort=Effort(runs=2, warmup=0, rounds=2),
        progress=lambda _, done, total: told.append((done, total)),
    )
    assert [figures.trial for figures in found] == trials
    assert told == [(done, 4) for done in range(5)]


def test_a_process_that_takes_too_long_is_stopped_with_its_limit(net: Registry) -> None:
    with pytest.raises(Refused, match=r"`net:fp32@1` took over 0.01 s, its limit"):
        bench(net, [Trial(net.resolve("net"))], effort=Effort(timeout=0.01))
    assert net.measurements("net") == []


def test_an_error_of_the_process_is_the_callers(registry: Registry, tmp_path: Path) -> None:
    node = helper.make_node("NoSuchOp", ["x"], ["y"])
    registry.register(models.save(tmp_path / "m.onnx", [node], []), "bad")
    with pytest.raises(Misfit, match=r"`bad:fp32@1` does not run") as caught:
        bench(registry, [Trial(registry.resolve("bad"))], effort=QUICK)
    assert type(caught.value) is Misfit


def test_a_process_that_dies_says_how(net: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(Refused, match="measuring `net:fp32@1` ended with exit status"):
        bench(net, [Trial(net.resolve("net"))], effort=QUICK)


@pytest.mark.parametrize(
    ("shapes", "batch", "expected", "size"),
    [
        ([("n", 3)], 4, [(4, 3)], 4),
        ([("n", 3)], None, [(1, 3)], 1),
        ([(None, "n"), ("n", "m")], 2, [(2, 2), (2, "m")], 2),
        ([("n", 3), (1,), ()], 2, [(2, 3), (1,), ()], 2),
        ([(5, 3)], None, [(5, 3)], 5),
        ([(5, 3)], 5, [(5, 3)], 5),
        ([()], None, [()], 1),
    ],
)
def test_a_batch_goes_where_the_first_axis_is_open(
    shapes: list[tuple[int | str | None, ...]],
    batch: int | None,
    expected: list[tuple[int | str | None, ...]],
    size: int,
) -> None:
    inputs = [Tensor(f"x{n}", "float32", shape) for n, shape in enumerate(shapes)]
    found, number = batched(inputs, batch)
    assert ([tensor.shape for tensor in found], number) == (expected, size)


def test_a_batch_that_the_graph_does_not_take_is_refused_before_anything_runs(
    registry: Registry, tmp_path: Path
) -> None:
    registry.register(fixed(tmp_path / "f.onnx", 3), "fixed")
    with pytest.raises(UsageError, match=r"`fixed:fp32@1`: the batch .* fixed at `3`; `8` was"):
        bench(registry, [Trial(registry.resolve("fixed"), batch=8)], effort=QUICK)
    (found,) = bench(registry, [Trial(registry.resolve("fixed"))], effort=QUICK)
    assert found.context["batch"] == 3


def sequences(path: Path) -> Path:
    """``y = x + x`` for ``x`` of shape ``[batch, seq]``."""
    models.chain(path, 1)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[1].dim_param = "seq"
    path.write_bytes(model.SerializeToString())
    return path


def test_open_axes_take_their_sizes(registry: Registry, tmp_path: Path) -> None:
    registry.register(sequences(tmp_path / "a.onnx"), "net")
    trial = Trial(registry.resolve("net"), axes={"seq": 3})
    (found,) = bench(registry, [trial], effort=QUICK)
    assert (found.context["axes"], found.context["batch"]) == ("seq=3", 1)


def test_the_batch_by_its_name_is_the_batch(registry: Registry, tmp_path: Path) -> None:
    registry.register(sequences(tmp_path / "a.onnx"), "net")
    variant = registry.resolve("net")
    by_name = Trial(variant, axes={"batch": 8, "seq": 3})
    assert by_name == Trial(variant, batch=8, axes={"seq": 3})
    assert by_name.context()["batch"] == 8
    with pytest.raises(UsageError, match="`batch` is the batch: it cannot be `8` and `4`"):
        Trial(variant, batch=4, axes={"batch": 8})
    with pytest.raises(UsageError, match="a batch of `0` is none"):
        Trial(variant, axes={"batch": 0})
    registry.register(sequences(tmp_path / "a.onnx"), "net", new_version=True)
    found = compare(registry, [variant, registry.resolve("net@2")], axes={"batch": 8}, effort=QUICK)
    assert [item.figures.context["batch"] for item in found] == [8, 8]


def test_an_axis_with_a_size_of_its_own_is_no_batch() -> None:
    inputs = [Tensor("x", "float32", ("n", 3)), Tensor("state", "float32", ("layers", "n"))]
    found, _ = batched(inputs, 4, sized={"layers": 2})
    assert [tensor.shape for tensor in found] == [(4, 3), ("layers", 4)]


def test_an_axis_that_a_variant_has_not_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.register(sequences(tmp_path / "a.onnx"), "net")
    registry.register(models.linear(tmp_path / "b.onnx"), "other")
    registry.register(fixed(tmp_path / "f.onnx", 1), "fixed")
    net, other, still = map(registry.resolve, ("net", "other", "fixed"))
    said = "`other:fp32@1`: no axis `seq`; the model has `batch`"
    with pytest.raises(UsageError, match=said):
        bench(registry, [Trial(v, axes={"seq": 4}) for v in (net, other)], effort=QUICK)
    with pytest.raises(UsageError, match=said):
        compare(registry, [net, other], axes={"seq": 4}, effort=QUICK)
    both = bench(registry, [Trial(v, axes={"seq": 4}) for v in (net, still)], effort=QUICK)
    assert len(both) == 2


def test_drift_is_the_difference_on_the_same_inputs(registry: Registry, tmp_path: Path) -> None:
    for number in (1.0, 1.5, -1.0):
        registry.register(models.linear(tmp_path / "a.onnx", value=number), "net", new_version=True)
    base, more, turned = (registry.resolve(f"net@{n}") for n in (1, 2, 3))
    same, half, opposite = drift(registry, base, [base, more, turned], batch=2)
    assert (same.max, same.labels) == (0, 1)
    assert same.cosine == pytest.approx(1)
    session = registry.load(base.ref)
    feeds = sample_inputs(session, base.path, count=8, batch=2).feeds
    farthest = max(float(abs(feed["x"]).max()) for feed in feeds)
    assert half.max == pytest.approx(0.5 * farthest)
    assert opposite.max == pytest.approx(2 * farthest)
    assert half.cosine == pytest.approx(1)
    assert opposite.cosine == pytest.approx(-1)
    assert (half.labels, opposite.labels) == (1, 0)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: called(p, input_="z"), "its inputs are `z`; the base's are `x`"),
        (lambda p: called(p, output="z"), "its outputs are `z`; the base's are `y`"),
        (lambda p: called(p, width=5), "its input `x` does not take the base's shape [2, 4]"),
        (lambda p: fixed(p, 3), "its input `x` does not take the base's shape [2, 4]"),
        (models.strings, "its input `x` is string; the base's is float32"),
    ],
)
def test_drift_of_what_cannot_be_compared_is_unknown_with_a_reason(
    registry: Registry, tmp_path: Path, make: Callable[[Path], Path], why: str
) -> None:
    registry.register(models.linear(tmp_path / "a.onnx"), "net")
    registry.register(make(tmp_path / "b.onnx"), "other")
    found = drift(registry, registry.resolve("net"), [registry.resolve("other")], batch=2)
    assert found == [Drift(why=why)]


def test_half_precision_is_held_against_full_on_the_same_inputs(
    registry: Registry, tmp_path: Path
) -> None:
    registry.register(models.linear(tmp_path / "a.onnx", value=0.1), "net")
    weights = numpy_helper.from_array(np.full(4, 0.1, np.float16), "w")
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    half = models.save(tmp_path / "h.onnx", [node], [weights], dtype=TensorProto.FLOAT16)
    registry.register(half, "net")
    (found,) = drift(registry, registry.resolve("net"), [registry.resolve("net:fp16")])
    assert found.max is not None
    assert 0 < found.max < 0.01
    assert found.cosine == pytest.approx(1, abs=1e-4)


def test_a_comparison_keeps_what_it_measured_and_takes_it_again(net: Registry) -> None:
    variants = [net.resolve("net:fp32"), net.resolve("net:qdq")]
    one = compare(net, variants, effort=QUICK)
    assert [item.fresh for item in one] == [True, True]
    assert (one[0].ratio, one[0].drift) == (1, Drift(0, 1, 1, 1))
    assert (one[1].drift.max or 0) > 0
    contexts = [m.context for m in net.measurements("net:qdq") if m.metric == "drift_max"]
    assert [context["base"] for context in contexts] == [variants[0].digest]
    net.measure("net:qdq", [Measurement("drift_max", 99, "", contexts[0])])
    two = compare(net, variants, effort=QUICK)
    assert [item.fresh for item in two] == [False, False]
    assert two[1].drift == replace(one[1].drift, max=99)
    assert [item.ratio for item in two] == [item.ratio for item in one]
    three = compare(net, variants, effort=QUICK, fresh=True)
    assert [item.fresh for item in three] == [True, True]
    assert three[1].drift == one[1].drift
    assert [item.fresh for item in compare(net, variants, effort=QUICK, threads=1)] == [True, True]


def test_outputs_are_compared_on_inputs_that_are_given(
    zoo: Run, net: Registry, tmp_path: Path
) -> None:
    data = npz(tmp_path / "real.npz", {"x": np.full((2, 4), 0.25, np.float32)})
    words = ("compare", "net", "--runs", 1, "--json")
    assert json.loads(zoo(*words).out)[1]["drift_max"] > 1
    ran = zoo(*words, "--inputs", data)
    found = json.loads(ran.out)[1]
    assert (found["drift_max"], found["context"]["shapes"]) == (0.25, "x 2x4")
    assert found["context"]["inputs"] == digest(data)
    (real,) = [
        m for m in net.measurements("net:qdq") if m.metric == "drift_max" and "inputs" in m.context
    ]
    assert (real.value, real.context["inputs"], "samples" in real.context) == (
        0.25, digest(data), False,
    )  # fmt: skip
    assert f"on {digest(data)[:19]}" in zoo("show", "net:qdq").out
    assert zoo(*words, "--inputs", tmp_path / "gone.npz").code == 3
    wrong = npz(tmp_path / "wrong.npz", {"z": np.ones((2, 4), np.float32)})
    assert "`wrong.npz` holds `z`; the model takes `x`" in zoo(*words, "--inputs", wrong).err
    assert "`sepia` is not a preprocessing" in zoo(*words, "--preprocess", "sepia").err


def test_bench_prints_a_line_a_configuration(zoo: Run, net: Registry) -> None:
    words = ("bench", "net", "--all", "--batch", "1,2", "--threads", "1", "--runs", 1)
    code, out, err = zoo(*words)
    lines = [line.split() for line in out.splitlines()]
    both = "net:fp32@1, net:qdq@1"
    assert code == 0
    assert err.splitlines() == [
        f"measured on sample inputs x 1x4: {both}",
        f"measured on sample inputs x 2x4: {both}",
    ]
    assert lines[0] == [
        "REFERENCE", "BATCH", "THREADS", "P50", "P95", "P99", "SPREAD", "THROUGHPUT", "OPEN",
        "PEAK", "PRIVATE", "RUNS",
    ]  # fmt: skip
    assert [line[:3] for line in lines[1:]] == [
        ["net:fp32@1", "1", "1"],
        ["net:qdq@1", "1", "1"],
        ["net:fp32@1", "2", "1"],
        ["net:qdq@1", "2", "1"],
    ]


def test_bench_gives_json_and_show_has_the_figures(zoo: Run, net: Registry) -> None:
    code, out, _ = zoo("bench", "net", "--runs", 2, "--json")
    (found,) = json.loads(out)
    assert (code, found["ref"], found["runs"]) == (0, "net:fp32@1", 2)
    assert set(found) >= METRICS | {"context", "digest"}
    shown = json.loads(zoo("show", "net", "--json")[1])["measurements"]
    assert {m["metric"]: m["value"] for m in shown}["latency_p50"] == found["latency_p50"]
    assert set(shown[0]) == {"metric", "value", "unit", "context", "at"}
    text = zoo("show", "net")[1]
    assert "measurements\n" in text
    assert "batch 1, threads auto, sample inputs x 1x4, CPU, onnxruntime" in text
    assert zoo("bench", "net", "--runs", 1, "-q")[1] == "net:fp32@1\n"


def test_a_bare_name_compares_all_its_variants(zoo: Run, net: Registry) -> None:
    code, out, err = zoo("compare", "net", "--runs", 1)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert err == "measured on sample inputs x 1x4\noutputs compared on x 2x4; x 1x4\n"
    assert lines[0] == [
        "REFERENCE", "SIZE", "PRECISION", "OPSET", "P50", "RATIO", "DRIFT", "COSINE", "CORR",
        "LABELS", "MEMORY",
    ]  # fmt: skip
    assert [line[0] for line in lines[1:]] == ["net:fp32@1", "net:qdq@1"]
    assert "1.00x" in lines[1]
    assert "--fresh measures again" in zoo("compare", "net", "--runs", 1)[2]
    found = json.loads(zoo("compare", "net:qdq", "net:fp32", "--runs", 1, "--json")[1])
    assert [item["ref"] for item in found] == ["net:qdq@1", "net:fp32@1"]
    assert [item["ratio"] == 1 for item in found] == [True, False]
    assert found[1]["drift_max"] > 0


def test_an_unknown_drift_is_a_dash_with_a_reason(zoo: Run, net: Registry, tmp_path: Path) -> None:
    net.register(called(tmp_path / "z.onnx", input_="z"), "other")
    code, out, err = zoo("compare", "net", "other", "--runs", 1)
    assert code == 0
    assert out.splitlines()[2].split().count("-") == 4
    assert "other:fp32@1 has no drift (-): its inputs are `z`; the base's are `x`" in err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["bench", "net", "--batch", "0"], "`0` is not a list of counts"),
        (["bench", "net", "--threads", "1,x"], "`1,x` is not a list of counts"),
        (["bench", "net", "--axis", "n"], "`n` is not `NAME=VALUE`"),
        (["bench", "net", "--axis", "rows=8"], "no axis `rows`; the model has `batch`"),
        (["bench", "net", "--axis", "batch=8", "--batch", "4"], "it cannot be `8` and `4`"),
        (["compare", "net", "--axis", "rows=8"], "no axis `rows`; the model has `batch`"),
        (["compare", "net:qdq"], "`net:qdq@1` is all that was named"),
        (["compare", "net", "--plot", "a.gif"], "`a.gif` is not a file that a plot"),
    ],
)
def test_a_mistake_is_found_before_anything_is_measured(
    zoo: Run, net: Registry, words: list[str], error: str
) -> None:
    code, out, err = zoo(*words)
    assert (code, out) == (2, "")
    assert error in err
    assert "hint: " in err
    assert net.measurements("net") == []


def sentence(path: Path) -> Path:
    """Attention over an open sequence, whose axes have no names."""
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["ids", "w"], ["q"]),
        helper.make_node("Softmax", ["q"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("ids", TensorProto.FLOAT, [None, None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights],
    )
    opsets = [helper.make_opsetid("", models.OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_open_axes_get_usual_sizes_or_those_that_are_asked_for(
    registry: Registry, tmp_path: Path
) -> None:
    registry.register(sentence(tmp_path / "a.onnx"), "net")
    variant = registry.resolve("net")
    trials = [Trial(variant), Trial(variant, axes={"ids:1": 9}), Trial(variant, batch=3)]
    usual, nine, three = bench(registry, trials, effort=QUICK)
    assert usual.context["shapes"] == "ids 1x128x4"
    assert (nine.context["shapes"], nine.context["axes"]) == ("ids 1x9x4", "ids:1=9")
    assert (three.context["shapes"], three.context["batch"]) == ("ids 3x128x4", 3)
    assert kept(registry, trials[1]) is not None
    assert kept(registry, Trial(variant, axes={"ids:1": 8})) is None
    with pytest.raises(UsageError, match=r"no axis `ids:2`; the model has `ids:0`, `ids:1`"):
        bench(registry, [Trial(variant, axes={"ids:2": 8})], effort=QUICK)


def test_given_inputs_come_before_test_data_and_those_before_samples(
    registry: Registry, tmp_path: Path
) -> None:
    registry.register(sentence(tmp_path / "a.onnx"), "net")
    held = np.zeros((2, 7, 4), np.float32)
    reference = npz(tmp_path / "r.npz", {"input:ids": held, "output:y": held + 1 / 7})
    registry.add_test_data("net", reference)
    given = npz(tmp_path / "g.npz", {"ids": np.ones((1, 5, 4), np.float32)})
    variant = registry.resolve("net")
    (tested,) = bench(registry, [Trial(variant)], effort=QUICK)
    assert (tested.context["shapes"], tested.context["batch"]) == ("ids 2x7x4", 2)
    (own,) = bench(registry, [Trial(variant, inputs=given)], effort=QUICK)
    assert (own.context["shapes"], own.context["inputs"]) == ("ids 1x5x4", digest(given))


def test_throughput_counts_each_batch_of_given_inputs(registry: Registry, tmp_path: Path) -> None:
    registry.register(sentence(tmp_path / "a.onnx"), "net")
    given = npz(tmp_path / "g.npz", {"ids": np.ones((18, 5, 4), np.float32)})  # of 16 and of 2
    effort = Effort(runs=2, warmup=0, rounds=1)
    (found,) = bench(registry, [Trial(registry.resolve("net"), inputs=given)], effort=effort)
    middle, rate = found.value("latency_p50"), found.value("throughput")
    assert middle is not None
    assert rate is not None
    assert rate * 2 * middle == pytest.approx(18)


def test_rounds_are_added_until_the_median_settles(net: Registry) -> None:
    effort = Effort(seconds=0.01, warmup=0, rounds=2)
    (found,) = bench(net, [Trial(net.resolve("net"))], effort=effort)
    rounds, spread = len(found.medians), found.value("latency_spread")
    assert spread is not None
    assert found.stable == (spread <= 0.05)
    assert rounds == 6 if not found.stable else 2 <= rounds <= 6
    (fixed_runs,) = bench(net, [Trial(net.resolve("net"))], effort=Effort(runs=4, rounds=2))
    assert len(fixed_runs.medians) == 2


@pytest.mark.parametrize(("spreads", "shown"), [((0.01, 0.02), "2.00x"), ((0.01, 0.9), "~2.00x")])
def test_the_ratio_of_latencies_that_did_not_settle_is_marked(
    net: Registry, spreads: tuple[float, float], shown: str
) -> None:
    variants = [net.resolve("net:fp32"), net.resolve("net:qdq")]
    base, other = (
        replace(
            item,
            ratio=ratio,
            figures=replace(
                item.figures, measurements=(Measurement("latency_spread", spread, "", {}),)
            ),
        )
        for item, ratio, spread in zip(
            compare(net, variants, effort=QUICK), (1.0, 2.0), spreads, strict=True
        )
    )
    assert (compare_command._ratio(base, base), compare_command._ratio(other, base)) == (
        "1.00x", shown,
    )  # fmt: skip
