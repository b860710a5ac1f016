"""A way in: what makes a small model of a format, and what must come of it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.convert.discovery import converter_of
from onnxzoo.registry.core.records import Variant


class Case(NamedTuple):
    """A way in.

    Attributes:
        format: as it is recognised; ``factory`` where there is no file.
        file: what is written, or found in a wheel.
        code: what writes it, with the framework, in the folder that it is run in.
        how: what `convert` is told beside the file.
        inputs: shapes of what comes out.
        outputs: how many come out.
        labels: whether it classifies: the last axis of an output holds scores.
        apart: how far an element of an output may lie from the framework's.
        wheel: a published package that holds the model; only the command installs it.
        words: what the table of figures calls it.
    """

    format: str
    file: str
    code: str
    how: Mapping[str, Any] = {}
    inputs: tuple[tuple[Any, ...], ...] = (("batch", 4),)
    outputs: int = 2
    labels: bool = True
    apart: float = 1e-4
    wheel: str | None = None
    words: str | None = None


class NotInstalled(Exception):
    """What makes a case's model is not there."""


def make(case: Case, folder: Path, python: str = sys.executable) -> None:
    """Make a case's file in a folder, by a Python that has the framework.

    Raises:
        NotInstalled: if a module is missing.
    """
    said = run_apart(f"import sys; sys.path.append('.'); {case.code}", folder, python)
    if "ModuleNotFoundError" in said:
        raise NotInstalled(said.splitlines()[-1])
    assert not said, said


def check(variant: Variant, case: Case) -> None:
    """Assert that what came out is what the contract of every converter says."""
    assert tuple(tensor.shape or () for tensor in variant.graph.inputs) == case.inputs
    assert len(variant.graph.outputs) == case.outputs
    assert "opset" not in case.how or variant.opset == case.how["opset"]
    assert variant.lineage is not None
    recipe = variant.lineage.recipe
    assert recipe["format"] == case.format
    assert set(recipe["tools"]) > {"python", "onnx", "onnxruntime", "onnxzoo"}
    drift = recipe["drift"]
    assert drift["max"] <= case.apart, drift
    assert drift["outside"] == 0, drift
    assert drift["labels"] == (1 if case.labels else None), drift
    assert drift["samples"] >= ("example" in case.how or 2), drift
    assert not drift["unlike"], drift


def recognised(case: Case) -> str:
    """Return the format that a case's file is seen to have."""
    if case.format == "factory":
        return case.format
    asked = "torch" if "factory" in case.how else None  # as `convert` takes it
    return converter_of(Path(case.file), asked)[1].name


def run_apart(code: str, folder: Path, python: str = sys.executable) -> str:
    """Run code in a process of its own; return what it said if it failed."""
    command = [python, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.stderr or "it failed" if done.returncode else ""
