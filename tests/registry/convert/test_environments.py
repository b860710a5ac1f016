"""Environments of frameworks: what an installer says when it fails, and that it is watched."""

import re
import sys
from pathlib import Path

import pytest

from onnxzoo.registry.convert.environments import interpreter
from onnxzoo.registry.convert.interface import Converter, pinned
from onnxzoo.registry.core.errors import RemoteError
from onnxzoo.registry.core.settings import Settings

REQUIREMENTS = pinned("acme").parent
# Stands where uv is looked for: makes a folder, then takes its time to fail.
UV = """#!{python}
import sys, time, pathlib
if sys.argv[1] == "venv":
    pathlib.Path(sys.argv[-1]).mkdir(exist_ok=True)
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


def packages(path: Path) -> list[str]:
    """Return a requirements file's lines, each with what is continued below it."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_package_of_an_environment_is_pinned_by_hash(path: Path) -> None:
    pins = packages(path)
    for pin in pins:
        assert re.match(r"[a-z0-9.-]+==[^ ]+( ; .*?)? +--hash=sha256:[0-9a-f]{64}\b", pin), pin
    named = {pin.partition("==")[0]: pin.split()[0] for pin in pins}
    for wanted in packages(path.with_suffix(".in")):
        name, _, version = wanted.partition("==")
        name = re.split(r"[<>=]", name)[0]
        assert name in named
        assert not version or named[name] == wanted


def test_a_package_without_a_hash_is_not_installed(tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("acme==9\n")
    one = Converter("acme", "acme", (), requirements=pins)
    with pytest.raises(RemoteError, match="hash"):
        interpreter(one, Settings.from_env())
    assert not list(Settings.from_env().environments.iterdir())
