"""Conversion without a framework: a converter of another package, well behaved and not."""

import json
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from onnxzoo import resolve
from onnxzoo.cli.app import app
from onnxzoo.registry.api import Registry
from onnxzoo.registry.convert.api import convert
from onnxzoo.registry.convert.conversion import ConversionRequest
from onnxzoo.registry.convert.conversion import convert as run
from onnxzoo.registry.convert.convert_worker import perform
from onnxzoo.registry.convert.environments import environment_of, interpreter
from onnxzoo.registry.convert.interface import Converter, Input, Job
from onnxzoo.registry.core.errors import (
    InvalidModel,
    NotFound,
    Refused,
    RemoteError,
    UsageError,
    ZooError,
)
from onnxzoo.registry.core.recipes import command
from onnxzoo.registry.core.records import Lineage
from onnxzoo.registry.core.settings import Settings, child_environment
from onnxzoo.registry.measure.outputs import agreement
from tests.converters.case import run_apart
from tests.support.commands import Run

# A converter whose files say how it behaves; it is installed as another package would be.
ACME = """
import os, pathlib, socket, time
from onnxzoo.registry.convert.interface import Converter, Made, Sample
from onnxzoo.registry.core.errors import InvalidModel

CONVERTER = Converter(
    name="acme",
    module="acme",
    needs=("acme",),
    recognises=lambda path: path.is_file() and path.suffix == ".acme",
)
__version__ = "1.2"

class Own(InvalidModel):
    pass

def convert(job):
    import numpy as np
    from onnx import TensorProto, helper, save

    _, how, *more = job.source.read_text().split()
    if how == "call": socket.create_connection(("127.0.0.1", int(more[0])))
    if how == "abort": os.abort()
    if how == "hang": time.sleep(60)
    if how == "huge": bytes(1 << 40)
    if how == "fail": raise RuntimeError("unknown layer `Warp`\\nand a long graph")
    if how == "own": raise Own("acme knows better", hint="ask acme")
    if how == "nothing": return Made([])
    if how == "none": return None
    if how == "import": import no_such_package.part
    if how == "rubbish":
        job.model.write_bytes(b"\\x08\\x08\\x3a\\x02" + b"no")
        return Made([])
    op = "Nope" if how == "invalid" else "Neg"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    nodes = [helper.make_node(op, ["x"], ["y"])]
    if how == "mish" and (job.opset or 13) < 18:
        nodes = [
            helper.make_node("Softplus", ["x"], ["s"]), helper.make_node("Tanh", ["s"], ["t"]),
            helper.make_node("Mul", ["x", "t"], ["y"]),
        ]
    elif how == "mish":  # which there is not below opset 18
        nodes = [helper.make_node("Mish", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y])
    opset = [helper.make_opsetid("", job.opset or 13)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), job.model)
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    wanted = {"drift": rows, "shape": -rows[:1], "steps": 1 - rows, "far": rows}.get(how, -rows)
    if how == "mish": wanted = rows * np.tanh(np.log1p(np.exp(rows)))
    print("noise", os.environ.get("HF_TOKEN"))
    within = {0: 2} if how in {"steps", "far"} else {}
    notes = ("a note",) if how == "note" else ()
    wanted = [wanted, rows] if how == "more" else [wanted]
    found = ("it lay under `model`",) if how == "found" else ()
    return Made([Sample({"x": rows}, wanted)], notes, within=within, found=found)
"""


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "packages"
    (folder / "acme-1.2.dist-info").mkdir(parents=True)
    (folder / "acme.py").write_text(ACME)
    (folder / "acme-1.2.dist-info" / "METADATA").write_text("Name: acme\nVersion: 1.2\n")
    (folder / "acme-1.2.dist-info" / "entry_points.txt").write_text(
        "[onnxzoo.converters]\nacme = acme:CONVERTER\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.chdir(tmp_path)


def model(how: str) -> Path:
    path = Path("model.acme")
    path.write_text(f"ACME {how}")
    return path


def test_the_same_source_at_another_opset_is_a_variant_of_the_same_version(
    settings: Settings,
) -> None:
    first = convert(model("well"), "net", opset=17)
    second = convert(model("well"), "net", opset=16)
    assert (first.ref, second.ref) == ("net:fp32@1", "net:fp32-opset16@1")
    with Registry(settings=settings) as registry:
        assert registry.resolve("net").ref == "net:fp32@1"


def test_a_model_is_kept_with_what_it_was_made_from(settings: Settings) -> None:
    variant = convert(model("well"), "net", opset=17, task="demo", tags=["one"])
    assert (variant.ref, variant.opset, variant.task) == ("net:fp32@1", 17, "demo")
    assert variant.lineage is not None
    assert (variant.lineage.parent, variant.lineage.called) == (None, "model.acme")
    recipe = dict(variant.lineage.recipe)
    assert recipe["kind"] == "convert"
    assert (recipe["from"], recipe["opset"], recipe["seed"]) == ("acme", 17, 0)
    assert recipe["source"]["name"] == "model.acme"
    assert re.fullmatch("[0-9a-f]{64}", recipe["source"]["sha256"])
    assert recipe["tools"]["acme"] == "1.2"
    assert {"onnx", "onnxruntime", "onnxzoo", "python"} <= set(recipe["tools"])
    assert (recipe["drift"]["max"], recipe["drift"]["labels"]) == (0.0, 1.0)
    assert not list(settings.conversions.iterdir())


def test_the_same_model_converted_again_is_the_same_variant() -> None:
    assert convert(model("well"), "net").ref == convert(model("well"), "net").ref


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("fail", Refused, "acme could not convert it: RuntimeError: unknown layer `Warp`$"),
        ("abort", Refused, r"crashed \(exit -6\) while converting `model.acme`"),
        ("huge", Refused, "GB of memory were not enough while converting `model.acme`"),
        ("hang", Refused, "2 s were not enough while converting `model.acme`"),
        ("nothing", Refused, "acme said it had converted the model, but wrote no file"),
        ("none", Refused, "the `convert` of acme returned a `NoneType`; expected a `Made`"),
        ("rubbish", Refused, "what was made is no valid ONNX model"),
        ("invalid", Refused, "what was made is no valid ONNX model: .*Nope"),
        ("drift", Refused, "`model.acme` does not agree .*: 83.33% .* by 10 at most, .* `y`"),
        ("far", Refused, "66.67% .* lie beyond ±2 in `y`: by 10 at most, in the output `y`"),
        ("more", Refused, "it has 1 outputs; its framework gives 2"),
        ("own", InvalidModel, "acme knows better"),
        ("shape", Refused, r"the output `y` is \[2, 3\]; its framework's is \[1, 3\]"),
    ],
)
def test_whatever_goes_wrong_is_one_clear_error_and_nothing_is_kept(
    how: str, kind: type[ZooError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "hang":
        monkeypatch.setenv("ZOO_MAX_SECONDS", "2")
    with pytest.raises(kind, match=message):
        convert(model(how), "net")
    with Registry() as registry:
        assert not registry.list()


def test_a_package_that_is_missing_in_a_framework_is_to_be_installed() -> None:
    with pytest.raises(Refused, match="No module named 'no_such_package'") as caught:
        convert(model("import"), "net")
    assert caught.value.hint == "pip install no_such_package"


def test_what_another_packages_converter_needs_is_to_be_installed(tmp_path: Path) -> None:
    folder = tmp_path / "packages" / "lacking-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: lacking\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[onnxzoo.converters]\nlacking = lacking:CONVERTER\n")
    own = 'Converter("lacking", "lacking", ("no_such_package",))'
    file = tmp_path / "packages" / "lacking.py"
    file.write_text(
        f"from onnxzoo.registry.convert.interface import Converter\nCONVERTER = {own}\n"
    )
    with pytest.raises(NotFound, match="needs `no_such_package`, not here") as caught:
        convert(model("well"), "net", from_="lacking", trust=True)
    assert caught.value.hint == "pip install no_such_package"


def test_what_loads_a_model_reaches_no_network() -> None:
    said = run_apart(
        "from onnxzoo.registry.core import sandbox as child; assert child.leave_network()",
        Path.cwd(),
    )
    if said:
        pytest.skip("this system does not let a process leave the network")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Refused) as caught:
        convert(model(f"call {server.getsockname()[1]}"), "net")
    assert "Network is unreachable" in caught.value.message


def test_drift_is_kept_when_told(caplog: pytest.LogCaptureFixture) -> None:
    variant = convert(model("drift"), "net", accept_drift=True)
    assert variant.lineage is not None
    assert variant.lineage.recipe["drift"]["max"] == 10.0
    assert "does not agree with its framework" in caplog.text


def test_an_output_that_is_rounded_to_steps_may_lie_some_apart() -> None:
    variant = convert(model("steps"), "net")
    assert variant.lineage is not None
    drift = variant.lineage.recipe["drift"]
    assert (drift["max"], drift["outside"], drift["within"]) == (1.0, 0.0, {"y": 2})
    assert drift["labels"] == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"dynamic_axes": {"nope": {0: "batch"}}},
            "no input or output `nope`, whose axis is to be open; there are `x`, `y`",
        ),
        (
            {"dynamic": {"time": 3}},
            "no input has an axis `3`, from 0, to be called `time`: `x` has 2",
        ),
    ],
)
def test_an_open_axis_that_nothing_has_is_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        convert(model("well"), "net", **how)
    with Registry() as registry:
        assert not registry.list()


def test_a_broken_converter_of_another_package_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "packages" / "broken-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: broken\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[onnxzoo.converters]\nbroken = no_such_module:C\n")
    assert convert(model("well"), "net").ref == "net:fp32@1"
    assert "the converter `broken` of `broken` is broken: No module named" in caplog.text


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"tags": ["bad tag!"]}, "tag"),
        ({"example": "none.npz"}, "no file `none.npz`"),
        ({"name": "net@9"}, "net"),
        ({"opset": 99}, r"no opset `99`; the installed onnx knows 1 to \d+"),
        ({"factory": len}, "a factory is given by its name, .* found `<built-in function len>`"),
    ],
)
def test_what_cannot_be_kept_is_said_before_a_framework_is_loaded(
    how: dict[str, Any], message: str, settings: Settings
) -> None:
    with pytest.raises(ZooError, match=message):
        convert(model("abort"), **{"name": "net", **how})
    assert not settings.conversions.exists()


def test_a_converters_note_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    convert(model("note"), "net")
    assert "a note" in caplog.text


def test_information_on_the_source_is_a_plain_line_and_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = CliRunner().invoke(app, ["convert", str(model("found")), "--name", "net"])
    assert "\nit lay under `model`\nagrees with its framework" in said.stdout
    assert "it lay under" not in said.stderr
    lineage = Registry().resolve("net").lineage
    assert lineage is not None
    assert lineage.recipe["found"] == ["it lay under `model`"]
    with caplog.at_level("INFO", "onnxzoo"):
        convert(model("found"), "quiet")
    assert ("onnxzoo", 20, "it lay under `model`") in caplog.record_tuples


def test_a_child_has_no_secrets_and_no_hub() -> None:
    env = {"PATH": "p", "HF_TOKEN": "t", "ZOO_DATABASE_URL": "u", "ZOO_INDEX": "https://a:b@c/i"}
    env |= {"DATABASE_URL": "d", "SSH_AUTH_SOCK": "s", "GH_PAT": "g", "HTTPS_PROXY": "http://a:b@c"}
    assert child_environment(isolated=False, env=env) == {
        "PATH": "p",
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }
    there = child_environment(isolated=True, offline=False, env=env | {"PYTHONPATH": "x"})
    assert there == {
        "PATH": "p",
        "HTTPS_PROXY": "http://a:b@c",
        "PYTHONNOUSERSITE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


@pytest.mark.parametrize("source", ["nothing.pt", "no_such_module:make", "resnet50:int8"])
def test_what_is_not_there_is_not_found(source: str) -> None:
    with pytest.raises(NotFound, match=f"no file, folder or module:function `{source}`"):
        convert(source, "net")


@pytest.mark.parametrize(
    "source", ["specless:make", "~no-such-user/m.pt", "x" * 3000, "x" * 3000 + ":make", "a\0b"]
)
def test_what_cannot_be_is_not_found(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "specless", ModuleType("specless"))  # as `__main__` can be
    with pytest.raises(NotFound, match="no file, folder or module:function"):
        convert(source, "net")


def test_a_device_is_no_source() -> None:
    with pytest.raises(NotFound, match="`/dev/null` is neither a file nor a folder"):
        convert("/dev/null", "net")


@pytest.mark.parametrize("start", [b"GGUF", b"\x80\x04"])
def test_what_is_refused_is_not_read_whole_before(start: bytes) -> None:
    with Path("large").open("wb") as file:
        file.write(start)
        file.truncate(1 << 40)
    with pytest.raises(Refused):
        convert("large", "net")


def test_a_value_of_no_framework_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a `builtins.dict` is a model of no framework") as error:
        convert({}, "net")
    assert 'from_="jax"' in str(error.value.hint)


def test_what_a_converter_says_in_the_callers_process_is_not_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job("acme", "acme", "acme", model("well"), tmp_path)
    perform(job, ("acme",))
    assert capsys.readouterr() == ("", "noise None\n")
    with pytest.raises(Refused, match="unknown layer"):
        perform(replace(job, source=model("fail")), ("acme",))
    assert capsys.readouterr() == ("", "")  # no traceback: the error has it


def test_an_example_for_a_file_is_a_file() -> None:
    with pytest.raises(UsageError, match=r"the example for `model.acme` has to be a file"):
        convert(model("well"), "net", example=np.ones((2, 3), "float32"))


def test_a_missing_framework_is_named_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("m.json")
    path.write_text('{"learner": {}, "version": [3, 2, 0]}')
    from onnxzoo.registry.convert.frameworks import xgboost

    absent = ("no_such_framework",)
    monkeypatch.setattr(
        xgboost, "CONVERTER", Converter("xgboost", "x", absent, "boosters", Path("r.txt"))
    )
    with pytest.raises(NotFound, match="needs `no_such_framework`, not here") as caught:
        convert(path, "net")
    assert "pip install 'onnxzoo[boosters]'" in (caught.value.hint or "")
    assert "--isolated" in (caught.value.hint or "")


def test_an_environment_is_named_for_what_it_holds(settings: Settings) -> None:
    pins = Path("pins.txt")
    one = Converter("acme", "acme", (), requirements=pins)
    pins.write_text("acme==1\n")
    first = environment_of(one, settings)
    pins.write_text("acme==2\n")
    assert environment_of(one, settings) != first
    assert first.parent == settings.environments


def test_no_environment_is_made_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    Path("pins.txt").write_text("")
    one = Converter("acme", "acme", (), requirements=Path("pins.txt"))
    with pytest.raises(RemoteError, match="offline"):
        interpreter(one, Settings.from_env())


def test_an_environment_is_made_once_and_its_child_finds_onnxzoo_alone(
    settings: Settings,
) -> None:
    from onnxzoo.registry.convert.workers import Child
    from onnxzoo.registry.core.sandbox import Limits

    Path("pins.txt").write_text("")
    one = Converter("acme", "acme", (), requirements=Path("pins.txt"))
    python = interpreter(one, settings)
    stamp = python.parent.stat().st_mtime_ns
    assert interpreter(one, settings) == python
    assert python.parent.stat().st_mtime_ns == stamp
    assert [path.name for path in settings.environments.iterdir()] == [python.parts[-3]]
    child = Child("convert_worker", "trying", Limits(2 << 30, 60), python)
    job: dict[str, Any] = {"source": None, "folder": ".", "example": None, "inputs": []}
    job |= {"outputs": [], "dynamic": {}, "axes": {}, "converter": "x", "format": "x"}
    with pytest.raises(Refused, match="No module named 'numpy'"):
        child.ask({"job": job | {"module": "numpy"}, "needs": []}, Path.cwd(), settings)


def test_the_command_converts_and_says_how_well() -> None:
    done = CliRunner().invoke(
        app, ["convert", str(model("well")), "--name", "net", "--opset", "17"]
    )
    assert done.exit_code == 0, done.output
    assert "converted net:fp32@1  fp32, opset 17" in done.stdout
    assert "agrees with its framework: 0 apart at most, 100.0% of labels the same" in done.stdout
    told = CliRunner().invoke(app, ["convert", str(model("well")), "--name", "net", "--json"])
    assert json.loads(told.stdout)["lineage"]["recipe"]["from"] == "acme"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "a model needs a name"),
        (["--name", "net", "--dynamic", "batch=x"], "`x` is not an axis"),
        (["--name", "net", "--from", "theano"], "no converter is called `theano`"),
        (
            ["--name", "net", "--from", "torch", "--option", "a=b"],
            "has no option `a`",
        ),
        (["--name", "net", "--dry-run"], "`--dry-run` goes with a model of the registry"),
        (["--name", "net", "--label", "x"], "`--label` goes with a model of the registry"),
    ],
)
def test_a_wrong_option_is_a_mistake(options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["convert", str(model("well")), *options])
    assert isinstance(done.exception, UsageError)
    assert message in done.exception.message


def test_an_opset_of_a_held_model_takes_no_options_of_a_conversion() -> None:
    done = CliRunner().invoke(app, ["convert", "net", "--opset", "17", "--tag", "one"])
    assert isinstance(done.exception, UsageError)
    assert done.exception.message == "`--tag` goes with a file, a folder or module:function"


def test_what_is_kept_although_it_differs_is_said_to_differ() -> None:
    options = ["convert", str(model("drift")), "--name", "net", "--accept-drift"]
    assert "differs from its framework: 10 apart at most" in CliRunner().invoke(app, options).stdout


def test_a_damaged_model_is_repaired_by_the_command_that_repair_names(zoo: Run) -> None:
    asked = ["--input", "x=batch,3", "--seed", "3", "--opset", "17"]
    zoo("convert", model("well"), "--name", "net", *asked)
    Path("model.onnx").write_bytes(b"another's")
    path = resolve("net").path
    path.chmod(0o600)
    path.write_bytes(b"bad")
    command = (
        f"zoo convert {Path.cwd()}/model.acme --name net:fp32@1 --from acme --opset 17 "
        "--input x=batch,3 --seed 3"
    )
    for words in (["run", "net"], ["doctor"]):
        assert command in "".join(zoo(*words)[1:]), words
    ran = zoo("verify", "--repair")
    assert ran.code == 4
    assert ran.err.endswith(
        f"error: `net:fp32@1` was converted from `{Path.cwd()}/model.acme`: nothing but that gives "
        f"its bytes again\nhint: {command}\n"
    )
    again = zoo(*command.split()[1:])
    assert again.out == "repaired net:fp32@1: its files were missing or damaged\n", again.err
    assert zoo("verify").code == 0
    assert zoo(*command.split()[1:]).out == "net:fp32@1 is held already\n"


def test_where_no_opset_leads_there_the_exporter_is_named(zoo: Run) -> None:
    zoo("convert", model("mish"), "--name", "net", "--opset", 18)
    ran = zoo("convert", "net", "--opset", "12")
    command = (
        f"zoo convert {Path.cwd()}/model.acme --name net:fp32-opset12@1 --from acme --opset 12"
    )
    assert (ran.code, ran.err) == (
        5, f"error: `Mish` cannot go below opset 18\nhint: {command}\n",
    )  # fmt: skip
    assert zoo(*command.split()[1:]).code == 0
    assert zoo("list", "-q").out.split() == ["net:fp32@1", "net:fp32-opset12@1"]


def test_a_damaged_model_whose_source_is_gone_is_not_to_be_converted(zoo: Run) -> None:
    zoo("convert", model("well"), "--name", "net")
    Path("model.acme").unlink()
    path = resolve("net").path
    path.chmod(0o600)
    path.write_bytes(b"bad")
    assert zoo("run", "net").err.endswith("hint: zoo verify net --repair\n")
    assert "hint: zoo import a file that has `net:fp32@1`" in zoo("verify", "--repair").err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ConversionRequest(inputs=[Input.parse("ids=int64[batch,16]")]),
            "--input 'ids=int64[batch,16]'",
        ),
        (ConversionRequest(inputs=[Input("x")], outputs=["y"]), "--input x --output y"),
        (ConversionRequest(dynamic={0: "batch"}), "--dynamic batch=0"),
        (ConversionRequest(options={"a": "b c"}, trust=True), "--option 'a=b c'"),
        (ConversionRequest(axes={"x": {0: "batch"}}), None),
    ],
)
def test_the_command_says_what_was_asked_for(given: ConversionRequest, said: str | None) -> None:
    with Registry() as registry:
        variant = run(registry, model("well"), "net", given).variant
    begins = f"zoo convert {Path.cwd()}/model.acme --name net:fp32@1 --from acme "
    assert command(variant) == (said and begins + said)
    odd = Lineage(None, "model.acme", {"kind": "convert", "options": []})
    assert command(replace(variant, lineage=odd)) is None


def test_labels_that_are_truths_are_0_and_1_to_an_exporter() -> None:
    truths = np.array([True, False, True])
    for same in (np.array([1, 0, 1]), truths):
        assert agreement(same, truths) == (3, 3)
