"""What ``import onnxzoo`` offers, and what it costs."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import onnxzoo
from onnxzoo.registry.api import Registry
from tests.support import models

HEAVY = (
    "alembic huggingface_hub numpy onnx onnxruntime pooch pydantic requests sqlalchemy sqlmodel "
    "typer"
)


def modules_after(code: str) -> set[str]:
    """Return the top-level packages that are imported once some code ran."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_the_surface_is_sorted_and_all_there() -> None:
    assert onnxzoo.__all__ == sorted(onnxzoo.__all__)
    assert dir(onnxzoo) == onnxzoo.__all__
    assert all(getattr(onnxzoo, name).__doc__ for name in onnxzoo.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = onnxzoo.nonsense  # type: ignore[attr-defined]


def test_importing_it_imports_nothing_else() -> None:
    assert modules_after("import onnxzoo") & set(HEAVY.split()) == set()


def test_looking_a_model_up_imports_no_orm() -> None:
    onnxzoo.pull("light-squeezenet")
    after = modules_after("import onnxzoo; onnxzoo.resolve('light-squeezenet')")
    assert after & set(HEAVY.split()) == set()


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (lambda: onnxzoo.register("a.onnx", "net", tags="vision"), "tags"),
        (lambda: onnxzoo.pull("light-squeezenet", allow_licenses="mit"), "allow_licenses"),
        (lambda: onnxzoo.load("net", providers="CPUExecutionProvider"), "providers"),
        (lambda: onnxzoo.quantize("net", "int8", ops="MatMul"), "ops"),
        (lambda: onnxzoo.quantize("net", "int8", exclude="MatMul"), "exclude"),
        (lambda: onnxzoo.convert("net.pt", "mine", inputs="x=1,3"), "inputs"),
        (lambda: Registry().tag("net", "vision"), "tags"),
        (lambda: Registry().untag("net", "vision"), "tags"),
        (lambda: Registry().verify("net"), "refs"),
        (lambda: Registry().list("net"), "words"),
    ],
)
def test_a_text_in_a_lists_place_is_refused(
    tmp_path: Path, call: Callable[[], Any], parameter: str
) -> None:
    onnxzoo.register(models.linear(tmp_path / "a.onnx"), "net")
    with pytest.raises(onnxzoo.UsageError, match=f"`{parameter}` is the text `") as caught:
        call()
    assert (caught.value.hint or "").startswith(f"{parameter}=['")


def test_what_the_registry_returns_can_be_hashed_loaded_and_read(tmp_path: Path) -> None:
    found = onnxzoo.register(models.linear(tmp_path / "a.onnx"), "net")
    assert {found, onnxzoo.resolve("net")} == {found}
    assert onnxzoo.resolve(found) == found
    assert onnxzoo.load(found) is onnxzoo.load("net")
    assert len(repr(found)) < 700
    assert [v.ref for v in onnxzoo.list()] == ["net:fp32@1"]
    assert onnxzoo.list("other") == []
    assert "net:fp32@1" in {item.ref for item in onnxzoo.search("net")}


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("model.onnx", 'onnxzoo.load(onnxzoo.register("model.onnx", "NAME"))'),
        (Path("some/model"), 'onnxzoo.load(onnxzoo.register("some/model", "NAME"))'),
        ("hf://org/repo:fp16", 'onnxzoo.load(onnxzoo.pull("hf://org/repo:fp16"))'),
        ("https://huggingface.co/org/repo", "onnxzoo.pull("),
        ("hf.co/org/repo", "onnxzoo.pull("),
    ],
)
def test_loading_a_file_or_a_source_names_the_call_that_takes_it(ref: Any, hint: str) -> None:
    with pytest.raises(onnxzoo.UsageError, match="expected NAME") as caught:
        onnxzoo.load(ref)
    assert hint in (caught.value.hint or "")


def test_a_load_that_pulls_reports_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    with caplog.at_level(logging.INFO, logger="onnxzoo"):
        onnxzoo.load("light-squeezenet", progress=lambda label, *_: told.append(label))
        onnxzoo.load("light-squeezenet")
    assert told
    said = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert said[0] == "`light-squeezenet` is not held: pulling it"
    assert said[1].startswith("pulled `light-squeezenet:fp32@1`: ")
    assert len(said) == 2
