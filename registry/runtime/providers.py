"""Choose execution providers for a device, and explain unavailable ones."""

import ctypes
import io
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.names import check_list
from onnxzoo.registry.runtime.builds import EXTRAS, install, installed, runtime

Provider = str | tuple[str, Mapping[str, object]]

CPU = "CPUExecutionProvider"
# The name of each device's provider, and the build or package that brings it.
# Source: onnxruntime's documentation, "Execution Providers".
_DEVICES = {
    "cpu": (CPU, "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime on macOS"),
    "dml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "rocm": ("ROCMExecutionProvider", "onnxruntime-rocm"),
    "migraphx": ("MIGraphXExecutionProvider", "onnxruntime-migraphx"),
    "qnn": ("QNNExecutionProvider", "onnxruntime-qnn"),
}
_ALIASES = {"directml": "dml", "trt": "tensorrt"}
_GPUS = ("cuda", "rocm", "migraphx", "dml")  # `gpu` is the first that is there
_NUMBERED = (*_GPUS, "tensorrt")  # which take a `device_id`
_AUTO = ("cuda", "rocm", "coreml", "dml")  # tried in this order, each only where it is there
# Providers in libraries of their own, which need others that no wheel of onnxruntime holds.
_LIBRARIES = {
    "CUDAExecutionProvider": "onnxruntime_providers_cuda",
    "TensorrtExecutionProvider": "onnxruntime_providers_tensorrt",
}
_log = logger()


def wanted_providers(
    device: str = "auto", providers: Sequence[Provider] | None = None
) -> list[Provider]:
    """Return the execution providers that a device, or a list of them, stands for.

    Args:
        device: see `providers_of`.
        providers: onnxruntime's execution providers instead, with their options.

    Raises:
        UsageError: if the device is unknown.
        Refused: if one that was asked for is not there.
    """
    check_list(providers, "providers")
    wanted = providers_of(device) if providers is None else list(providers)
    there = available_providers()
    require_provider(wanted, [*there, *plugs([n for n in map(name_of, wanted) if n not in there])])
    for provider in wanted:
        if missing := missing_library(name_of(provider)):
            raise _not_loaded(name_of(provider), missing)
    return wanted


def providers_of(device: str) -> list[Provider]:
    """Return the execution provider of a device, with the CPU behind it.

    Args:
        device: ``auto``, ``cpu``, ``gpu`` (the first that is there of CUDA, ROCm, MIGraphX and
            DirectML), ``cuda``, ``cuda:1``, ``tensorrt``, ``openvino``, ``coreml``, ``dml`` or
            ``directml`` …, in any case.

    Raises:
        UsageError: if there is no such device.
    """
    name, _, number = device.strip().lower().partition(":")
    name = _ALIASES.get(name, name)
    if name == "auto" and not number:
        return [*(_DEVICES[one][0] for one in _AUTO if _usable(_DEVICES[one][0])), CPU]
    if name == "gpu":
        there = available_providers()
        name = next((one for one in _GPUS if _DEVICES[one][0] in there), _GPUS[0])
    if name not in _DEVICES:
        known = ", ".join(("auto", "gpu", *_DEVICES, *_ALIASES))
        raise UsageError(f"`{device}` is not a device; expected {known}")
    if ":" in device and not (number.isdecimal() and name in _NUMBERED):
        raise UsageError(
            f"`{device}` is not a device; a number can follow {', '.join(('gpu', *_NUMBERED))}",
            hint="for example: cuda:0",
        )
    provider = _DEVICES[name][0]
    if int(number or 0):
        return [(provider, {"device_id": str(int(number))}), CPU]
    return list(dict.fromkeys([provider, CPU]))


def first_provider(device: str) -> str:
    """Return the execution provider that a device stands for here: the first that is tried."""
    return name_of(providers_of(device)[0])


def available_providers() -> list[str]:
    """Return the execution providers that the installed onnxruntime has, best first."""
    return list(runtime().get_available_providers())


def name_of(provider: Provider) -> str:
    """Return an execution provider's name, without its options."""
    return provider if isinstance(provider, str) else provider[0]


def plugs(names: Sequence[str]) -> dict[str, Any]:
    """Return the devices of plugged-in providers, by name."""
    others = [name for name in names if name != CPU]
    if not others:
        return {}
    from onnxzoo.registry.runtime.provider_plugins import plugged  # of which the CPU has no need

    return {name: device for name in others if (device := plugged(name)) is not None}


@cache
def missing_library(name: str) -> str | None:
    """Return the library that a provider needs and this machine lacks; None where it loads.

    CUDA's libraries are loaded first where wheels brought them (`onnxruntime.preload_dlls`).
    """
    if name not in _LIBRARIES or name not in available_providers():
        return None
    onnxruntime = runtime()
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        with redirect_stdout(io.StringIO()) as said:
            onnxruntime.preload_dlls()
        _log.debug("preload_dlls: %s", said.getvalue().strip())
    library = Path(onnxruntime.__file__).parent / "capi" / _file_name(_LIBRARIES[name])
    return absent_dependency(library) if library.is_file() else None


def absent_dependency(library: Path) -> str | None:
    """Return the library that another one needs and that is not found, None where it loads.

    Elsewhere than on Linux the loader does not name it, and the library's own name is returned.
    Source: glibc, elf/dl-load.c; Python, Modules/_ctypes/callproc.c.
    """
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        if absent := re.match(r"(\S+): cannot open shared object file", str(error)):
            return absent[1]
        return library.name if "could not find module" in str(error).lower() else None
    return None


def check_libraries() -> None:
    """Raise Refused, with the way to have it, where CUDA is built in and a library for it missing.

    TensorRT is left out: it comes with every build for CUDA, and few have its libraries.
    """
    if missing := missing_library(_DEVICES["cuda"][0]):
        raise _not_loaded(_DEVICES["cuda"][0], missing)


def require_provider(wanted: Sequence[Provider], there: Sequence[str]) -> None:
    """Raise Refused, with installation hints, for an unavailable provider."""
    for name in map(name_of, wanted):
        if name in there:
            continue
        if missing := missing_library(name):
            raise _not_loaded(name, missing)
        if name in available_providers():
            raise Refused(
                f"onnxruntime did not start the execution provider `{name}`, which it has: "
                "it found no device or driver for it, or cannot run the model on it",
                hint="onnxruntime's own message above says why",
            )
        raise Refused(
            f"the execution provider `{name}` was asked for and is not there; "
            f"onnxruntime has {', '.join(f'`{known}`' for known in there)}",
            hint=_way_to(name),
        )


def _usable(name: str) -> bool:
    """Tell whether a provider is there and its libraries too; say it once where they are not."""
    if name not in available_providers():
        return False
    missing = missing_library(name)
    if missing:
        _say_missing(name, missing)
    return not missing


@cache
def _say_missing(name: str, missing: str) -> None:
    error = _not_loaded(name, missing)
    _log.warning("%s; models run without it. %s", error.message, error.hint)


def _not_loaded(name: str, missing: str) -> Refused:
    return Refused(
        f"the execution provider `{name}` cannot be loaded: the library `{missing}` is missing",
        hint="install TensorRT, and add the folder of its libraries to LD_LIBRARY_PATH"
        if "nvinfer" in missing or "nvonnxparser" in missing
        else f"pip install '{_gpu_build()}[cuda,cudnn]', or install CUDA and cuDNN for the system",
    )


def _gpu_build() -> str:
    builds = [str(one) for one in installed() if one.package == EXTRAS["gpu"]]
    return builds[0] if builds else EXTRAS["gpu"]


def _way_to(name: str) -> str | None:
    """Return the command that brings a provider, or the package's name where no extra does."""
    packages = [package for known, package in _DEVICES.values() if known == name]
    if not packages:
        return None
    extras = [extra for extra, package in EXTRAS.items() if package == packages[0]]
    return install(extras[0]) if extras else f"install {packages[0]} and its drivers"


def _file_name(library: str) -> str:
    if sys.platform == "win32":
        return f"{library}.dll"
    return f"lib{library}.{'dylib' if sys.platform == 'darwin' else 'so'}"
