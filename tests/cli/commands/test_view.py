"""`zoo show FILE` and `zoo view`: a model looked at as it lies, registered or not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import models
from tests.support.commands import Run

NETRON = """
import logging, os, signal

def start(path, address=None, browse=True):
    print(path, address, browse)
    logging.getLogger("netron.server").info("Serving")
    return "localhost", address or 8080


def wait():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass
"""


def test_a_file_is_shown_without_being_registered(zoo: Run, tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx")
    ran = zoo("show", path)
    shown = dict(line.split(maxsplit=1) for line in ran.out.splitlines()[:2])
    assert shown == {"file": str(path), "precision": "fp32"}
    assert "external data\n  weights.bin  16 B\n" in ran.out
    assert ran.err == f"to register it: zoo register {path} --name NAME\n"
    assert zoo("list", "-q").out == ""
    (tmp_path / "weights.bin").unlink()
    assert "  weights.bin  not there\n" in zoo("show", path).out


def test_a_file_is_shown_as_json(zoo: Run, tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx")
    found = json.loads(zoo("show", path, "--json", "--for", "onnxruntime==1.12").out)
    assert (found["path"], found["bytes"]) == (str(path), path.stat().st_size + 16)
    assert (found["opset"], found["ops"], found["parameters"]) == (17, {"Mul": 1}, 4)
    assert found["external"] == [{"path": "weights.bin", "there": True}]
    assert (found["runtime"], found["runs_here"]) == ("onnxruntime 1.12", True)


def test_what_is_no_model_is_an_error(zoo: Run, tmp_path: Path) -> None:
    assert zoo("show", tmp_path / "gone.onnx").code == 3
    (tmp_path / "page.onnx").write_text("<html>")
    (tmp_path / "text.onnx").write_text("hello")
    assert zoo("show", tmp_path / "page.onnx").code == 4
    assert zoo("show", tmp_path / "text.onnx").code == 5
    assert zoo("show", tmp_path / "text.onnx", "--lineage").code == 5


def test_a_graph_is_opened_in_netron(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stand-in" / "netron").mkdir(parents=True)
    (tmp_path / "stand-in" / "netron" / "__init__.py").write_text(NETRON)
    monkeypatch.syspath_prepend(tmp_path / "stand-in")
    path = models.linear(tmp_path / "m.onnx")
    ran = zoo("view", path, "--port", 8123, "--no-browse")
    assert ran.code == 0  # although it is Ctrl-C that ends it
    assert ran.out == f"{path} 8123 False\n"
    assert ran.err == "m.onnx is shown at http://localhost:8123 until Ctrl-C\n"
    zoo("register", path, "--name", "m")
    held = zoo("path", "m").out.strip()
    assert zoo("view", "m").out == f"{held} None True\n"
    assert zoo("view", "gone").code == 3
    (tmp_path / "text.onnx").write_text("hello")
    assert zoo("view", tmp_path / "text.onnx").code == 5


def test_without_netron_the_extra_is_named(tmp_path: Path) -> None:
    # None is Python's own mark of a module that is not to be found.
    code = """
import sys
sys.modules["netron"] = None
sys.argv = ["zoo", "view", "gone"]
from onnxzoo.cli import main
main()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert "hint: pip install 'onnxzoo[view]'" in ran.stderr
