"""Which weights belong to a graph, and that what is missing is said before anything is started."""

from pathlib import Path

import pytest

from onnxzoo.registry.convert.api import convert
from onnxzoo.registry.convert.detect.formats import recognise
from onnxzoo.registry.convert.detect.weight_files import graph_in, weights_of
from onnxzoo.registry.convert.frameworks import coreml, mxnet, paddle
from onnxzoo.registry.convert.interface import Converter, Input, Job
from onnxzoo.registry.convert.source import source_of
from onnxzoo.registry.core.errors import NotFound, UsageError

SYMBOL = '{"nodes": [], "arg_nodes": [0], "heads": [[0, 0, 0]]}'
PIR = '{"base_code": {"magic": "pir", "version": 1}, "program": {}}'


def files(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(
            SYMBOL if name.endswith("-symbol.json") else PIR if name.endswith(".json") else name
        )
    return folder / names[0]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["m.json", "m.pdiparams", "n.pdiparams"], "m.pdiparams"),
        (["m.pdmodel", "m.pdiparams"], "m.pdiparams"),
        (["m-symbol.json", "m-0009.params", "m-0010.params", "mm-0011.params"], "m-0010.params"),
        (["m-symbol.json", "m-best.params"], None),
        (["m.pdmodel", "n.pdiparams"], None),
        (["m.txt", "m.pdiparams"], None),
    ],
)
def test_weights_are_found_beside_their_graph(
    names: list[str], found: str | None, tmp_path: Path
) -> None:
    weights = weights_of(files(tmp_path, *names), {})
    assert (weights and weights.name) == found


def test_weights_that_are_named_are_taken_and_missed(tmp_path: Path) -> None:
    graph = files(tmp_path, "m-symbol.json", "m-0010.params", "m-best.params")
    assert weights_of(graph, {"params": "m-best.params"}) == tmp_path / "m-best.params"
    with pytest.raises(NotFound, match=r"no file `nix` beside `m-symbol\.json`"):
        weights_of(graph, {"params": "nix"})


def test_a_source_is_its_graph_and_its_weights(tmp_path: Path) -> None:
    graph = files(tmp_path, "m.json", "m.pdiparams")
    one = source_of(graph).sha256
    (tmp_path / "m.pdiparams").write_text("other weights")
    other = source_of(graph)
    assert other.bytes == graph.stat().st_size + len("other weights")
    (tmp_path / "m.pdiparams").unlink()
    assert len({one, other.sha256, source_of(graph).sha256}) == 3


@pytest.mark.parametrize(
    ("names", "form"),
    [
        (["inference.json", "inference.pdiparams", "inference.yml"], "paddle"),
        (["__model__", "__params__"], "paddle"),
        (["m-symbol.json", "m-0000.params"], "mxnet"),
    ],
)
def test_a_folder_is_what_its_graph_is(names: list[str], form: str, tmp_path: Path) -> None:
    graph = files(tmp_path / "m", *names)
    assert recognise(tmp_path / "m").name == form
    assert graph_in(tmp_path / "m") == graph


def test_a_folder_of_several_graphs_is_a_mistake(tmp_path: Path) -> None:
    files(tmp_path / "m", "a.json", "a.pdiparams", "b.json", "b.pdiparams")
    with pytest.raises(UsageError, match=r"`m` holds several graphs: a\.json, b\.json"):
        recognise(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.json", {}, r"`m.json` is a graph without weights, and `m.pdiparams` is not beside it"),
        ("m-symbol.json", {"inputs": ["data=2,3"]}, "and `m-0000.params` is not beside it"),
    ],
)
def test_missing_weights_are_said_before_an_environment_is_made(
    name: str, options: dict[str, list[str]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match=message) as caught:
        convert(files(tmp_path, name), "net", isolated=True, **options)  # type: ignore[arg-type]
    assert "--option params=FILE" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("one", "opset", "message"),
    [
        (paddle.CONVERTER, 22, "paddle2onnx writes opsets 7 to 21, not 22"),
        (mxnet.CONVERTER, 17, "MXNet's exporter writes opset 12 or 13, not 17"),
        (coreml.CONVERTER, 12, "onnxmltools writes opset 11 of Core ML at most, not 12"),
    ],
)
def test_an_opset_that_is_not_written_is_refused_with_the_next_command(
    one: Converter, opset: int, message: str
) -> None:
    job = Job(one.name, one.module, "factory", None, Path(), factory="m:f", opset=opset)
    assert one.check is not None
    with pytest.raises(UsageError, match=message) as caught:
        one.check(job)
    assert f"zoo convert NAME --opset {opset}" in (caught.value.hint or "")


@pytest.mark.parametrize("one", [paddle.CONVERTER, mxnet.CONVERTER])
def test_shapes_that_no_file_holds_have_to_be_given(one: Converter) -> None:
    assert one.check is not None
    for inputs in ((), (Input("x"),)):
        job = Job(one.name, one.module, "factory", None, Path(), factory="m:f", inputs=inputs)
        with pytest.raises(UsageError, match=r"shapes of (their|its) inputs"):
            one.check(job)
