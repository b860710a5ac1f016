"""`zoo convert NAME --opset N` and what tells of where a variant came from, as a user meets it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import onnxzoo
from onnxzoo.cli.app import main
from tests import models


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out, err)

    return run


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
    assert zoo("convert", "mine", "--opset", 18).out == "mine:fp32-opset18@1 is held already\n"
    assert zoo("convert", "mine", "--opset", 17).out == "mine:fp32@1 is held already\n"
    assert zoo("convert", "mine", "--opset", 18, "-q").out == "mine:fp32-opset18@1\n"


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
    ran = zoo("convert", "mine", "--opset", 11)
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == (
        "error: `Mul` cannot go below opset 14\nhint: zoo convert mine:fp32@1 --opset 14\n"
    )
    assert zoo("convert", "mine", "--opset", 0).code == 2
    assert zoo("convert", "nobody-has-it", "--opset", 12).code == 3


def test_in_code_what_is_not_held_is_pulled_first(zoo: Run) -> None:
    variant = onnxzoo.convert("light-squeezenet", opset=13)
    assert (variant.ref, variant.opset) == ("light-squeezenet:fp32-opset13@1", 13)
    assert zoo("list", "-q").out.split() == ["light-squeezenet:fp32@1", variant.ref]
    assert onnxzoo.convert("light-squeezenet", opset=13) == variant
