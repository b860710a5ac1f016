"""What every test gets: an empty environment and a home of its own."""

import os
import sys
from pathlib import Path

import pytest

from onnxzoo.cli.app import main
from onnxzoo.registry.core.settings import Settings
from tests.support.commands import Ran, Run

_OURS = ("ZOO_", "HF_", "HUGGING_FACE_")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point ``ZOO_HOME`` at a temporary folder, with nothing of the user's in the environment."""
    for name in list(os.environ):
        if name.startswith(_OURS) or name.lower().endswith("_proxy") or name in {"CI", "NO_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("ZOO_CACHE_SIZE", "0")
    monkeypatch.setenv("ZOO_FIRST_LOOK", "0")  # a child process a model is for the tests of it
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    """The settings that the environment of this test stands for."""
    return Settings.from_env()


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the ``zoo`` command in this process."""

    def run(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out, err)

    return run
