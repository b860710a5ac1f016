"""What ``import onnxzoo`` offers, and what it costs."""

import subprocess
import sys

import pytest

import onnxzoo

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
        _ = onnxzoo.nonsense


def test_importing_it_imports_nothing_else() -> None:
    assert modules_after("import onnxzoo") & set(HEAVY.split()) == set()


def test_looking_a_model_up_imports_no_orm() -> None:
    onnxzoo.pull("light-squeezenet")
    after = modules_after("import onnxzoo; onnxzoo.resolve('light-squeezenet')")
    assert after & set(HEAVY.split()) == set()
