"""The model registry and model-zoo manager for ONNX.

Importing this costs next to nothing: each name is imported when it is first used.
"""

from os import environ

# onnxruntime 1.29 and later sends telemetry, and writes a device id to the user's cache folder,
# unless this is set before its first import. Every module of ours is imported after this line; what
# the user has set stays. Source: onnxruntime, docs/Privacy.md, "Disabling Telemetry".
if not environ.get("ORT_DISABLE_TELEMETRY"):
    environ["ORT_DISABLE_TELEMETRY"] = "1"

TYPE_CHECKING = False  # type checkers take it for typing's, whose import costs 5 ms

if TYPE_CHECKING:
    from onnxzoo import hub
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.errors import ZooError
    from onnxzoo.registry.pool import SessionPool
    from onnxzoo.registry.records import Variant
    from onnxzoo.registry.watch import watch
    from onnxzoo.zoo_index.surface import convert, load, pull, quantize, register, resolve

__all__ = [
    "Registry",
    "SessionPool",
    "Variant",
    "ZooError",
    "convert",
    "hub",
    "load",
    "pull",
    "quantize",
    "register",
    "resolve",
    "watch",
]

_HOMES = {
    "Registry": "onnxzoo.registry.api",
    "SessionPool": "onnxzoo.registry.pool",
    "Variant": "onnxzoo.registry.records",
    "ZooError": "onnxzoo.registry.errors",
    "convert": "onnxzoo.zoo_index.surface",
    "load": "onnxzoo.zoo_index.surface",
    "pull": "onnxzoo.zoo_index.surface",
    "quantize": "onnxzoo.zoo_index.surface",
    "register": "onnxzoo.zoo_index.surface",
    "resolve": "onnxzoo.zoo_index.surface",
    "watch": "onnxzoo.registry.watch",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "hub":
        return import_module("onnxzoo.hub")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
