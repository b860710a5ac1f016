"""Execution providers that come as packages of their own and are plugged into onnxruntime."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.runtime.builds import runtime

# What is imported for which provider; each has `get_library_path`. Where onnxruntime was built with
# the provider, that one is used. Source: the packages' pages on PyPI.
_PACKAGES = {
    "NvTensorRTRTXExecutionProvider": "onnxruntime_ep_nv_tensorrt_rtx",
    "OpenVINOExecutionProvider": "onnxruntime_ep_openvino",
    "QNNExecutionProvider": "onnxruntime_qnn",
}
_BEST = ("NPU", "GPU", "CPU")  # a plug-in drives one kind of device: the first of these it has


def plugged(name: str) -> Any | None:
    """Return the device that a plug-in drives for a provider, None where there is no plug-in.

    The plug-in's library is loaded the first time.

    Raises:
        Refused: if it cannot be loaded.
    """
    package = _PACKAGES.get(name)
    if package is None or find_spec(package) is None:
        return None
    if not (found := _devices(name)):
        _plug_in(name, package)
        found = _devices(name)
    kinds = {device.device.type.name: device for device in reversed(found)}
    return next((kinds[kind] for kind in _BEST if kind in kinds), None)


def describe_devices(name: str) -> list[object]:
    """Return onnxruntime's description of a provider's devices, and its plug-in's version."""
    from importlib.metadata import version  # 10 ms, which the CPU has no need of

    package = _PACKAGES.get(name)
    versions = [version(package)] if package and find_spec(package) else []
    return [
        *versions,
        *(
            [one.ep_metadata, one.device.vendor_id, one.device.device_id, one.device.metadata]
            for one in _devices(name)
        ),
    ]


def _devices(name: str) -> list[Any]:
    onnxruntime = runtime()
    if not hasattr(onnxruntime, "get_ep_devices"):  # before 1.23
        return []
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]


@cache
def _plug_in(name: str, package: str) -> None:
    onnxruntime = runtime()
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        return
    if name in onnxruntime.get_available_providers():
        return
    try:
        library = import_module(package).get_library_path()
        onnxruntime.register_execution_provider_library(name, library)
    except Exception as error:
        if not _devices(name):  # else another thread was quicker
            raise Refused(f"the plug-in `{package}` cannot be loaded: {error}") from error
