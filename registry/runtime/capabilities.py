"""Ask the installed onnxruntime for its limits; guess nothing."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from onnxzoo.registry.onnx_file.wire import varint
from onnxzoo.registry.runtime.builds import quiet_options, runtime
from onnxzoo.registry.runtime.providers import CPU, available_providers

DOMAINS = ("", "ai.onnx.ml", "com.microsoft")  # whose opsets onnxruntime numbers and bounds
_IR_VERSION = 3  # the lowest with opsets, which every onnxruntime reads
_LOWEST = {"": 7}  # the lowest opset that every onnxruntime since 1.0 accepts
_PLAIN = {CPU, "AzureExecutionProvider"}  # what the builds for the CPU alone have
_OPEN = 2**31 - 1  # the end of a kernel's range that has none


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of the CPU: the versions of its op that it runs, and dtypes by type parameter."""

    first: int
    last: int
    dtypes: Mapping[str, tuple[str, ...]]

    def runs(self, since: int) -> bool:
        """Tell whether it runs the op as it is since an opset.

        A range without an end covers its first version only, until the runtime's authors looked at
        the next. Source: onnxruntime, core/framework/kernel_registry.cc, "VerifyVersion".
        """
        return self.first == since or (self.first <= since <= self.last < _OPEN)


@dataclass(frozen=True, slots=True)
class Operators:
    """The ops that the installed onnxruntime knows, by ``Conv`` or ``com.microsoft.FusedMatMul``.

    Attributes:
        versions: the opsets that brought an op or changed it, in order; True where it ended.
        kernels: those of the CPU, None where the runtime cannot be asked for them. An op without
            one may still run: as the function it stands for.
    """

    versions: Mapping[str, tuple[tuple[int, bool], ...]]
    kernels: Mapping[str, tuple[Kernel, ...]] | None


@cache
def accepts(opsets: tuple[tuple[str, int], ...], ir_version: int) -> bool:
    """Tell whether a one-node model of these opsets by domain and this IR version opens."""
    onnxruntime = runtime()
    versions = _LOWEST | dict(opsets)
    model = _one_node(versions, ir_version)
    try:
        onnxruntime.InferenceSession(model, quiet_options(), providers=[CPU])
    except Exception:  # noqa: BLE001  (whatever it raises, it is a no)
        return False
    return True


@cache
def highest_opset(domain: str = "") -> int:
    """Return the highest opset of a domain, one of `DOMAINS`, that the runtime accepts."""
    opset = _LOWEST.get(domain, 1)
    while accepts(((domain, opset + 1),), _IR_VERSION):
        opset += 1
    return opset


@cache
def highest_ir_version() -> int:
    """Return the highest IR version that the runtime reads."""
    ir_version = _IR_VERSION
    while accepts((), ir_version + 1):
        ir_version += 1
    return ir_version


@cache
def operators() -> Operators | None:
    """Return the ops that the runtime knows; None if it does not tell.

    The two functions that tell are not in onnxruntime's documented interface: a release without
    them leaves the questions of opset and IR version. The list of kernels is asked of CPU builds
    alone: it starts every provider of the build, and one without a device, a library or kernels of
    its own (CUDA, TensorRT, OpenVINO, Core ML) ends the process by a null pointer. Source:
    onnxruntime, python/onnxruntime_pybind_schema.cc; seen with 1.31.1 (GPU) and 1.24.1 (OpenVINO).
    """
    runtime()
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    try:
        schemas = native.get_all_operator_schema()
        safe = set(available_providers()) <= _PLAIN
        kernels = native.get_all_opkernel_def() if safe else None
    except AttributeError:
        return None
    versions: defaultdict[str, list[tuple[int, bool]]] = defaultdict(list)
    for schema in schemas:
        versions[_key(schema.domain, schema.name)].append((schema.since_version, schema.deprecated))
    runs: defaultdict[str, list[Kernel]] = defaultdict(list)
    for kernel in kernels or ():
        if kernel.provider == CPU:
            first, last = kernel.version_range
            dtypes = {name: tuple(types) for name, types in kernel.type_constraints.items()}
            runs[_key(kernel.domain, kernel.op_name)].append(Kernel(first, last, dtypes))
    return Operators(
        versions={op: tuple(sorted(found)) for op, found in versions.items()},
        kernels=None if kernels is None else {op: tuple(found) for op, found in runs.items()},
    )


def _key(domain: str, name: str) -> str:
    return f"{domain}.{name}" if domain else name


def _one_node(opsets: Mapping[str, int], ir_version: int) -> bytes:
    """Return a ModelProto with one Identity node, encoded by hand: importing onnx costs 0.1 s.

    Source: onnx.proto, and protobuf's documentation, "Encoding".
    """
    node = _field(1, b"x") + _field(2, b"y") + _field(4, b"Identity")
    graph = _field(1, node) + _field(2, b"g") + _field(11, _value(b"x")) + _field(12, _value(b"y"))
    imports = b"".join(
        _field(8, _field(1, domain.encode()) + b"\x10" + varint(opset))
        for domain, opset in opsets.items()
    )
    return b"\x08" + varint(ir_version) + _field(7, graph) + imports


def _value(name: bytes) -> bytes:
    scalar = _field(1, b"\x08\x01" + _field(2, b""))  # TypeProto.tensor_type: float, rank 0
    return _field(1, name) + _field(2, scalar)


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload
