"""Environments of frameworks: what an installer says when it fails, and that it is watched."""

import sys
from pathlib import Path

import pytest

from onnxzoo.registry.convert.environments import interpreter
from onnxzoo.registry.convert.job import Converter
from onnxzoo.registry.errors import RemoteError
from onnxzoo.registry.settings import Settings

# Stands where uv is looked for: makes a folder, then takes its time to fail.
UV = """#!{python}
import sys, time, pathlib
if sys.argv[1] == "venv":
    pathlib.Path(sys.argv[-1]).mkdir()
    pathlib.Path(sys.argv[-1], "file").write_bytes(bytes(7))
else:
    time.sleep(2.5)
    sys.exit("error: No solution found\\n  cause: there is no version of acme==9")
"""


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converter:
    """A converter whose packages cannot be had, and an installer that says so."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV.format(python=sys.executable))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(uv.parent), prepend=":")
    pins = tmp_path / "pins.txt"
    pins.write_text("acme==9\n")
    return Converter("acme", "acme", (), requirements=pins)


def test_why_an_environment_cannot_be_made_is_said_and_nothing_is_left(one: Converter) -> None:
    settings = Settings.from_env()
    with pytest.raises(RemoteError) as caught:
        interpreter(one, settings)
    assert caught.value.message == (
        "cannot make the environment of `acme`: error: No solution found; "
        "cause: there is no version of acme==9"
    )
    assert not list(settings.environments.iterdir())


def test_the_growth_of_an_environment_is_told(one: Converter) -> None:
    told: list[tuple[str, int, int | None]] = []
    with pytest.raises(RemoteError):
        interpreter(one, Settings.from_env(), lambda *report: told.append(report))
    assert told[0] == ("environment of acme", 7, None)
