"""Describe this machine's processor, the context of every measurement."""

import os
from dataclasses import dataclass
from pathlib import Path

from onnxzoo.registry.core.records import Context
from onnxzoo.registry.runtime.session import runtime_version

_CPUINFO = Path("/proc/cpuinfo")
# The instruction sets for which onnxruntime has kernels of its own, as Linux calls them.
# Source: onnxruntime, onnxruntime/core/mlas/lib/platform.cpp.
_INTERESTING = {
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme", "vsx",
}  # fmt: skip
# What the lines of /proc/cpuinfo are called, by architecture.
_NAMES = ("model name", "cpu model", "uarch", "cpu", "Hardware")
_FLAGS = ("flags", "Features", "isa")
# Arm's kernels name no model, only its registers' numbers.
_PARTS = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision")


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor: its model's name and its interesting instruction sets, sorted."""

    cpu: str
    features: tuple[str, ...]


def describe_machine(cpuinfo: Path = _CPUINFO) -> Machine:
    """Return the processor's description, from files and the platform alone.

    Args:
        cpuinfo: Linux's list of processors; where it is not there, Python's `platform` is asked,
            which knows a name and no instruction sets.
    """
    facts = _facts(cpuinfo)
    words = next((facts[key] for key in _FLAGS if key in facts), "").split()
    cpu = next((facts[key] for key in _NAMES if facts.get(key)), None) or _part(facts)
    return Machine(
        cpu or _elsewhere() or "unknown",
        tuple(sorted(_INTERESTING.intersection(words))),
    )


def usable_cores() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _facts(cpuinfo: Path) -> dict[str, str]:
    """Return the first processor's lines by name."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), " ".join(value.split()))
    return facts


def _elsewhere() -> str:
    import platform  # costs 3 ms, which opening a session has not got

    # Except on Windows platform.processor() starts a process to ask.
    return (platform.processor() if os.name == "nt" else "") or platform.machine()


def _part(facts: dict[str, str]) -> str:
    return " ".join(["arm", *(facts[key] for key in _PARTS)]) if "CPU part" in facts else ""


def here(provider: str) -> Context:
    """Return the context of figures of this machine.

    Args:
        provider: the execution provider that runs.
    """
    machine = describe_machine()
    return {
        "onnxruntime": runtime_version(),
        "provider": provider,
        "cpu": machine.cpu,
        "features": " ".join(machine.features),
        "cores": usable_cores(),
    }
