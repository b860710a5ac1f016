"""`zoo convert NAME --opset N` and what tells of where a variant came from, as a user meets it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxzoo
from tests.registry.derive.test_lineage import child
from tests.support import models
from tests.support.commands import Run


@pytest.fixture
def mine(zoo: Run, tmp_path: Path) -> Path:
    """A registered model, ``mine``, at opset 17."""
    path = models.linear(tmp_path / "mine.onnx")
    assert zoo("register", path, "--name", "mine").code == 0
    return path


def test_convert_says_what_it_made_and_how_it_compares(zoo: Run, mine: Path) -> None:
    ran = zoo("convert", "mine", "--opset", 18)
    assert ran.code == 0, ran.err
    first, second = ran.out.splitlines()
    assert first.startswith("converted mine:fp32@1 to mine:fp32-opset18@1  fp32, opset 17 → 18, ")
    assert second.startswith("  outputs within 0, 100 % equal labels, on 8 inputs, size ×1, lat")
    shown = zoo("show", "mine:fp32-opset18").out
    assert "against sha256:" in shown
    assert "batch None" not in shown
    assert zoo("convert", "mine", "--opset", 18).out == "mine:fp32-opset18@1 is held already\n"
    assert zoo("convert", "mine", "--opset", 17).out == "mine:fp32@1 is held already\n"
    assert zoo("convert", "mine", "--opset", 18, "-q").out == "mine:fp32-opset18@1\n"


@pytest.mark.parametrize("shadow", ["folder", "file", "module"])
def test_a_held_model_goes_before_what_bears_its_name(
    zoo: Run, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shadow: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if shadow == "folder":
        Path("mine").mkdir()
    else:
        Path("mine" if shadow == "file" else "mine.py").write_text("def fp32(): ...\n")
    assert zoo("convert", "mine", "--opset", 18, "-q").out == "mine:fp32-opset18@1\n"
    assert zoo("convert", "mine:fp32", "--opset", 19, "-q").out == "mine:fp32-opset19@1\n"
    ran = zoo("convert", "./mine" if shadow != "module" else "mine.py", "--opset", 18)
    assert (ran.code, "--name NAME" in ran.err) == (2, True)


def test_convert_takes_a_label_and_prints_json(zoo: Run, mine: Path) -> None:
    ran = zoo("convert", "mine", "--opset", 15, "--label", "edge", "--json")
    found = json.loads(ran.out)
    assert (found["ref"], found["parent"], found["new"]) == ("mine:edge@1", "mine:fp32@1", True)
    assert (found["opset"], found["proof"]["drift"]["max"]) == (15, 0)
    assert found["lineage"]["recipe"]["from"] == 17


def test_a_dry_run_keeps_nothing(zoo: Run, mine: Path) -> None:
    ran = zoo("convert", "mine", "--opset", 18, "--dry-run")
    assert ran.out.startswith("mine:fp32@1 can be converted to opset 18\n  outputs within 0, ")
    assert json.loads(zoo("convert", "mine", "--opset", 17, "--dry-run", "--json").out) == {
        "parent": "mine:fp32@1", "opset": 17, "held": "mine:fp32@1", "proof": None,
    }  # fmt: skip
    far = zoo("convert", "light-resnet50", "--opset", 11, "--dry-run")
    assert far.out.splitlines()[1].split() == ["held", "no"]
    assert "known after that" in far.err
    assert zoo("list", "-q").out == "mine:fp32@1\n"


def test_what_stands_in_the_way_is_an_error_with_a_way_out(zoo: Run, mine: Path) -> None:
    erf = models.save(mine.parent / "erf.onnx", [helper.make_node("Erf", ["x"], ["y"])], [])
    zoo("register", erf, "--name", "erf")
    ran = zoo("convert", "erf", "--opset", 8)
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == (
        "error: `Erf` cannot go below opset 9\nhint: zoo convert erf:fp32@1 --opset 9\n"
    )
    assert zoo("convert", "mine", "--opset", 0).code == 2
    assert zoo("convert", "nobody-has-it", "--opset", 12).code == 3


def test_a_release_gets_the_opset_and_the_ir_version_that_it_reads(zoo: Run, mine: Path) -> None:
    zoo(
        "register", models.newer(mine.parent / "new.onnx", opset=21, ir_version=11), "--name", "new"
    )
    zoo("register", models.newer(mine.parent / "ir.onnx", opset=17, ir_version=11), "--name", "ir")
    for name, label, opset in (("new", "fp32-opset20", 20), ("ir", "fp32-ir9", 17)):
        words = ("convert", name, "--for", "onnxruntime==1.17")
        tried = zoo(*words, "--dry-run")
        assert tried.out.startswith(f"{name}:fp32@1 can be converted to opset {opset}\n")
        made = zoo(*words)
        assert "IR version 11 → 9" in made.out
        shown = json.loads(zoo("show", f"{name}:{label}", "--for", words[3], "--json").out)
        assert (shown["opset"], shown["ir_version"], shown["runs_here"]) == (opset, 9, True)
        assert zoo(*words).out == f"{name}:{label}@1 is held already\n"
    assert (
        zoo("convert", "mine", "--for", "onnxruntime==1.17").out == "mine:fp32@1 is held already\n"
    )
    high = zoo("convert", "new", "--opset", 22, "--for", "onnxruntime==1.17")
    assert (high.code, high.err) == (5,
        "error: opset 22 is above 20, the highest that onnxruntime 1.17 runs\n"
        "hint: zoo convert new:fp32@1 --for onnxruntime==1.17\n",
    )  # fmt: skip
    assert zoo("convert", "new", "--for", "onnxruntime==0.1").code == 2
    assert zoo("convert", mine, "--name", "x", "--for", "onnxruntime==1.17").code == 2


def test_what_no_conversion_helps_is_refused_for_a_release(zoo: Run, mine: Path) -> None:
    path = models.newer(mine.parent / "ml.onnx", opset=17, ir_version=8)
    model = onnx.load(path)
    model.opset_import.add(domain="ai.onnx.ml", version=5)
    model.graph.node[0].output[0] = "t"
    model.graph.node.append(helper.make_node("Binarizer", ["t"], ["y"], domain="ai.onnx.ml"))
    onnx.save(model, path)
    zoo("register", path, "--name", "ml")
    ran = zoo("convert", "ml", "--for", "onnxruntime==1.17")
    assert (ran.code, ran.out) == (5, "")
    assert "opset 5 of ai.onnx.ml is above 4, the highest that onnxruntime 1.17 runs" in ran.err
    rows = json.loads(zoo("opsets", "ml", "--for", "onnxruntime==1.17", "--json").out)
    assert [(row["converts_to"], row["may_convert_to"]) for row in rows] == [([], [])]


def test_opsets_offers_the_own_opset_where_the_ir_version_is_the_only_fault(
    zoo: Run, mine: Path
) -> None:
    path = models.newer(mine.parent / "ir.onnx", opset=17, ir_version=11)
    zoo("register", path, "--name", "ir")
    (row,) = json.loads(zoo("opsets", "ir", "--for", "onnxruntime==1.17", "--json").out)
    assert (row["converts_to"], row["may_convert_to"]) == ([*range(14, 21)], [*range(7, 14)])
    (row,) = json.loads(zoo("opsets", "ir", "--for", "onnxruntime==1.12", "--json").out)
    assert row["converts_to"] == [14, 15, 16, 17]


def test_in_code_what_is_not_held_is_pulled_first(zoo: Run) -> None:
    variant = onnxzoo.convert("light-squeezenet", opset=13)
    assert (variant.ref, variant.opset) == ("light-squeezenet:fp32-opset13@1", 13)
    assert zoo("list", "-q").out.split() == ["light-squeezenet:fp32@1", variant.ref]
    assert onnxzoo.convert("light-squeezenet", opset=13) == variant


def at18(
    folder: Path, *, name: str = "mine", label: str = "fp32-opset18", value: float = 1.0
) -> None:
    """Keep what `zoo convert` would, without comparing it."""
    with onnxzoo.Registry() as registry:
        parent = registry.resolve(name)
        child(registry, folder / "child.onnx", parent, label=label, opset=18, value=value)


def test_show_tells_of_the_lineage(zoo: Run, mine: Path, tmp_path: Path) -> None:
    at18(tmp_path)
    assert zoo("show", "mine:fp32-opset18", "--lineage").out.splitlines() == [
        "mine:fp32@1",
        "└─ mine:fp32-opset18@1  opset 17 → 18  ← this one",
    ]
    found = json.loads(zoo("show", "mine:fp32", "--lineage", "--json").out)
    assert (found["ref"], found["lineage"]["ref"]) == ("mine:fp32@1", "mine:fp32@1")
    [child] = found["lineage"]["children"]
    assert (child["ref"], child["held"]) == ("mine:fp32-opset18@1", True)
    assert child["lineage"]["recipe"]["opset"] == 18
    shown = zoo("show", "mine:fp32-opset18").out
    assert "made from   mine:fp32@1, opset 17 → 18\n" in shown
    assert "made from" not in zoo("show", "mine:fp32").out


def test_rederive_says_whether_it_comes_out_the_same(zoo: Run, mine: Path, tmp_path: Path) -> None:
    at18(tmp_path)
    ran = zoo("rederive", "mine:fp32-opset18")
    same = "made again from mine:fp32@1, mine:fp32-opset18@1 has the same bytes\n"
    assert (ran.code, ran.out, ran.err) == (0, same, f"onnx: 0.1 then, {onnx.__version__} now\n")
    found = json.loads(zoo("rederive", "mine:fp32-opset18", "--json").out)
    assert (found["bytes_agree"], found["outputs_agree"]) == (True, True)
    assert found["tools"] == {"onnx": {"then": "0.1", "now": onnx.__version__}}
    assert zoo("rederive", "mine:fp32").code == 2
    assert zoo("rm", "mine:fp32", "-y").code == 0
    ran = zoo("rederive", "mine:fp32-opset18")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines()[1] == (
        "hint: zoo register FILE --name mine:fp32, with the file that it was"
    )


def test_rederive_names_what_to_pull(zoo: Run, tmp_path: Path) -> None:
    zoo("pull", "light-squeezenet")
    at18(tmp_path, name="light-squeezenet")
    zoo("rm", "light-squeezenet:fp32", "-y")
    ran = zoo("rederive", "light-squeezenet:fp32-opset18")
    assert (ran.code, ran.err.splitlines()[1]) == (3, "hint: zoo pull light-squeezenet:fp32")


def test_rederive_exits_with_4_where_the_outputs_are_others(
    zoo: Run, mine: Path, tmp_path: Path
) -> None:
    at18(tmp_path, label="other", value=2)
    ran = zoo("rederive", "mine:other")
    assert ran.code == 4
    assert "mine:other@1 has other outputs: they lie up to" in ran.out
    damage("mine:other")
    ran = zoo("verify", "mine:other", "--repair")
    assert ran.code == 4
    assert "made again from `mine:fp32@1`, `mine:other@1` has other bytes than it had" in ran.err


def damage(ref: str) -> None:
    path = onnxzoo.resolve(ref).path
    path.chmod(0o600)
    path.write_bytes(b"bad")


def test_a_damaged_derived_variant_is_made_again(zoo: Run, mine: Path, tmp_path: Path) -> None:
    at18(tmp_path)
    damage("mine:fp32-opset18")
    ran = zoo("verify", "--repair")
    assert ran.code == 0, ran.err
    assert ran.out == "2 of 2 bundles are whole, 1 repaired\n"
    assert zoo("verify").code == 0


def test_a_damaged_variant_is_not_called_the_same(zoo: Run, mine: Path, tmp_path: Path) -> None:
    at18(tmp_path)
    damage("mine:fp32-opset18")
    ran = zoo("rederive", "mine:fp32-opset18")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.endswith("hint: zoo verify mine --repair\n")


def test_calibration_data_that_changed_are_named_with_what_to_put_back(
    zoo: Run, tmp_path: Path
) -> None:
    zoo("register", models.convolutions(tmp_path / "conv.onnx", opset=12), "--name", "conv")
    data = tmp_path / "good.npz"
    write_images(data, seed=0)
    assert zoo("quantize", "conv", "--to", "int8", "--calibrate", data).code == 0
    write_images(data, seed=1)
    named = f"the calibration data of `conv:int8@1`, `{data}`, are"
    hint = "\nhint: put `good.npz` back as it was, and run this again\n"
    ran = zoo("rederive", "conv:int8")
    assert (ran.code, ran.err) == (4, f"error: {named} not what they were{hint}")
    data.unlink()
    ran = zoo("rederive", "conv:int8")
    assert (ran.code, ran.err) == (3, f"error: {named} there no longer{hint}")
    damage("conv:int8")
    ran = zoo("verify", "--repair")
    assert (ran.code, f"{named} there no longer{hint}" in ran.err) == (4, True)
    write_images(data, seed=0)
    assert zoo("verify", "--repair").code == 0


def write_images(path: Path, *, seed: int) -> None:
    images = np.random.default_rng(seed).random((4, 3, 8, 8), np.float32)
    np.savez(path, x=images)


def test_a_parent_is_repaired_before_what_was_made_from_it(
    zoo: Run, mine: Path, tmp_path: Path
) -> None:
    at18(tmp_path, label="b")
    assert zoo("convert", "mine:b", "--opset", 19, "--label", "a").code == 0
    for label in ("a", "b", "fp32"):
        damage(f"mine:{label}")
    ran = zoo("verify", "--repair")
    repaired = [said[10:] for said in ran.err.splitlines() if said.startswith("repaired: ")]
    assert repaired == ["mine:fp32@1", "mine:b@1", "mine:a@1"], ran.err
    assert (ran.code, ran.out) == (0, "3 of 3 bundles are whole, 3 repaired\n")
    damage("mine:fp32")
    damage("mine:a")
    mine.unlink()
    ran = zoo("verify", "--repair")
    assert (ran.code, ran.out) == (4, "2 of 3 bundles are whole, 1 repaired\n"), ran.err


def test_rm_warns_of_what_was_made_from_a_model(zoo: Run, mine: Path, tmp_path: Path) -> None:
    at18(tmp_path)
    zoo("register", mine, "--name", "twin")
    assert "warning" not in zoo("rm", "mine:fp32", "-y").err  # another has its bytes
    ran = zoo("rm", "twin", "-y", "-q")
    warning = "warning: mine:fp32-opset18@1 cannot be repaired or made again without twin:fp32@1\n"
    assert (ran.out, ran.err) == ("twin:fp32@1\n", warning)
    zoo("register", mine, "--name", "twin")
    assert "warning" not in zoo("rm", "twin", "mine", "-y").err  # they go together
