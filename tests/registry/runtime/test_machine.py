"""The processor, as Linux's files or Python's platform describe it."""

import subprocess
import sys
from pathlib import Path

import pytest

from onnxzoo.registry.runtime.machine import Machine, describe_machine, usable_cores

X86 = """processor\t: 0
model name\t: Some  CPU @ 2.00GHz
flags\t\t: fpu avx512_vnni avx2 sse4_1 fma nonsense

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
ARM = """processor\t: 0
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        (X86, Machine("Some CPU @ 2.00GHz", ("avx2", "avx512_vnni", "fma", "sse4_1"))),
        (ARM, Machine("arm 0x41 8 0x3 0xd0c 1", ("asimd", "asimddp", "i8mm"))),
    ],
)
def test_a_processor_is_named_with_its_instruction_sets(
    tmp_path: Path, text: str, machine: Machine
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert describe_machine(tmp_path / "cpuinfo") == machine


def test_without_linuxs_files_the_platform_is_asked(tmp_path: Path) -> None:
    found = describe_machine(tmp_path / "nothing")
    assert found.cpu
    assert found.features == ()


def test_this_machine_has_a_name_and_repeats_itself() -> None:
    assert describe_machine().cpu
    assert describe_machine() == describe_machine()
    assert usable_cores() >= 1


def test_describing_imports_nothing_heavy() -> None:
    code = (
        "import sys, onnxzoo.registry.runtime.machine as m; m.describe_machine();"
        "print({'numpy', 'onnxruntime', 'subprocess', 'sqlite3'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
