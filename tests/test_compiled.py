"""Prepared sessions on other providers than the CPU's plain one: as asked for, or not at all."""

import json

from onnxzoo.registry.looker import _with_tuples
from onnxzoo.registry.sessions import CPU, Provider

OPENVINO = "OpenVINOExecutionProvider"


def test_a_childs_providers_are_the_parents() -> None:
    providers: list[Provider] = [(OPENVINO, {"device_type": "CPU"}), CPU]
    assert _with_tuples(json.loads(json.dumps(providers))) == providers
