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
    from onnxzoo._api import (
        convert,
        list,  # noqa: A004
        load,
        pull,
        quantize,
        register,
        resolve,
        search,
    )
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.errors import (
        Busy,
        Damaged,
        DatabaseError,
        IntegrityError,
        InvalidModel,
        Misfit,
        NotAuthorised,
        NotFound,
        Refused,
        RemoteError,
        StorageError,
        UsageError,
        ZooError,
    )
    from onnxzoo.registry.core.records import Variant
    from onnxzoo.registry.serving.pool import SessionPool
    from onnxzoo.registry.serving.watch import watch

    __version__: str

__all__ = [
    "Busy",
    "Damaged",
    "DatabaseError",
    "IntegrityError",
    "InvalidModel",
    "Misfit",
    "NotAuthorised",
    "NotFound",
    "Refused",
    "Registry",
    "RemoteError",
    "SessionPool",
    "StorageError",
    "UsageError",
    "Variant",
    "ZooError",
    "convert",
    "hub",
    "list",
    "load",
    "pull",
    "quantize",
    "register",
    "resolve",
    "search",
    "watch",
]

_HOMES = {
    "Registry": "onnxzoo.registry.api",
    "SessionPool": "onnxzoo.registry.serving.pool",
    "Variant": "onnxzoo.registry.core.records",
    "watch": "onnxzoo.registry.serving.watch",
    **dict.fromkeys(
        ("convert", "list", "load", "pull", "quantize", "register", "resolve", "search"),
        "onnxzoo._api",
    ),
}

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name):
        from importlib import import_module

        if name == "hub":
            return import_module("onnxzoo.hub")
        if name == "__version__":
            from importlib.metadata import version

            value = version("onnxzoo")
        elif name in __all__:
            home = _HOMES.get(name, "onnxzoo.registry.core.errors")
            value = getattr(import_module(home), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__():
        return __all__
