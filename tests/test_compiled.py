"""Prepared sessions on other providers than the CPU's plain one: as asked for, or not at all."""

import json
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import onnxruntime
import pytest

from onnxzoo.registry.errors import Refused
from onnxzoo.registry.looker import _with_tuples
from onnxzoo.registry.sessions import (
    CPU,
    Provider,
    open_session,
    runtime_build,
    wanted_providers,
)
from tests import models

QNN, OPENVINO = "QNNExecutionProvider", "OpenVINOExecutionProvider"
needs_qnn = pytest.mark.skipif(
    find_spec("onnxruntime_qnn") is None, reason="onnxruntime-qnn is not installed"
)


def qnn() -> list[Provider]:
    """The emulator of a Qualcomm NPU, which runs on any x86-64 processor."""
    return [(QNN, {"backend_path": import_module("onnxruntime_qnn").get_qnn_htp_path()}), CPU]


def test_a_childs_providers_are_the_parents() -> None:
    providers: list[Provider] = [(OPENVINO, {"device_type": "CPU"}), CPU]
    assert _with_tuples(json.loads(json.dumps(providers))) == providers


def test_a_plug_in_and_its_devices_are_part_of_the_key_but_not_of_the_cpus() -> None:
    build = onnxruntime.get_build_info()
    assert runtime_build([CPU]) == runtime_build() == f"{onnxruntime.__version__} {build}"
    if find_spec("onnxruntime_qnn") is not None:
        assert version("onnxruntime_qnn") in runtime_build(qnn())


@pytest.mark.skipif(find_spec("onnxruntime_qnn") is not None, reason="it is there")
def test_a_plug_in_that_does_not_load_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.so").write_text("no library")
    (tmp_path / "onnxruntime_qnn.py").write_text(
        f"def get_library_path():\n    return {str(tmp_path / 'broken.so')!r}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Refused, match="`onnxruntime_qnn` cannot be loaded"):
        wanted_providers("qnn")


@needs_qnn
def test_a_plug_in_opens_by_its_providers_name(tmp_path: Path) -> None:
    session = open_session(models.linear(tmp_path / "m.onnx"), wanted_providers(providers=qnn()))
    assert session.get_providers() == [QNN, CPU]
    options = onnxruntime.SessionOptions()
    for _ in range(2):
        assert open_session(tmp_path / "m.onnx", qnn(), options).get_providers() == [QNN, CPU]
