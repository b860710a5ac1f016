"""Every command that the README shows works, in the order in which it shows them."""

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnxzoo.cli.app import main
from onnxzoo.zoo_index.index.entry import Entry, dump
from onnxzoo.zoo_index.index.index import Index
from onnxzoo.zoo_index.index.indexes import SHIPPED, ZOO
from tests.support import models
from tests.support.hub import Hub, sha256, size

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)
SERVER = "https://models.example.org"


def served(hub: Hub, folder: Path) -> Path:
    """Serve small files under the names of ResNet-50's, and return an index of them."""
    known: list[Entry] = Index(SHIPPED, ZOO, trusted=True).find("resnet50")
    lines = []
    for number, entry in enumerate(known):
        path = models.linear(folder / entry.files[0].path, value=number)
        hub.add(entry.source.removeprefix("hf://"), {path.name: path})
        file = replace(entry.files[0], sha256=sha256(path), bytes=size(path))
        lines.append(dump(replace(entry, files=(file,))) + "\n")
    index = folder / "index.jsonl"
    index.write_text("".join(lines))
    return index


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(command, comments=True))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, command


def test_every_command_of_the_readme_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = models.linear(tmp_path / "model.onnx")
    models.linear(tmp_path / "better.onnx", value=2)
    np.save(tmp_path / "x.npy", np.ones((1, 4), np.float32))
    models.mlp(tmp_path / "ranker.onnx")
    (tmp_path / "inputs").mkdir()
    np.save(tmp_path / "inputs" / "x.npy", np.random.default_rng(0).random((8, 32), np.float32))
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("ZOO_INDEX", str(served(hub, tmp_path / "zoo")))
        hub.add("acme/ranker", {"onnx/model.onnx": model, "onnx/model_fp16.onnx": model})
        for path in ("/m.onnx", "/download"):
            hub.put(path, model)
        ran = 0
        for language, block in BLOCKS:
            if language == "python":
                exec(compile(block, "README.md", "exec"), {})
                continue
            for line in block.splitlines():
                if line.startswith("zoo "):
                    run(line.replace(SERVER, hub.url).replace("SHA256", sha256(model)), monkeypatch)
                    ran += 1
    assert ran > 25


def test_what_the_readme_shows_beside_zoo_is_the_set_up() -> None:
    others = [
        line
        for language, block in BLOCKS
        for line in block.splitlines()
        if language == "sh" and not line.startswith("zoo ")
    ]
    assert len(others) == 2
    assert all(line.startswith("python3 -m venv .venv && ") for line in others)
