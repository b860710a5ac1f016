"""List the limits of onnxruntime's releases."""

import re
from typing import NamedTuple

from onnxzoo.registry.core.errors import UsageError

# Release -> highest opset of ai.onnx, of ai.onnx.ml, highest IR version.
# Source: onnxruntime's documentation, "ONNX Runtime compatibility" (docs/reference/compatibility.md
# at commit 109c0ba), 1.0 to 1.14, with ai.onnx.ml of 1.11 as ONNX's own table of releases has it
# (onnx/helper.py, VERSION_TABLE); from 1.15 on as the releases' wheels answer to one-node models,
# which the page gets wrong for 1.15 (19, 3, 8) and 1.18 to 1.20 (ai.onnx.ml 4).
_TABLE = {
    (1, 0): (11, 2, 6), (1, 1): (11, 2, 6), (1, 2): (11, 2, 6), (1, 3): (12, 2, 7),
    (1, 4): (12, 2, 7), (1, 5): (12, 2, 7), (1, 6): (13, 2, 7), (1, 7): (13, 2, 7),
    (1, 8): (14, 2, 7), (1, 9): (15, 2, 8), (1, 10): (15, 2, 8), (1, 11): (16, 3, 8),
    (1, 12): (17, 3, 8), (1, 13): (17, 3, 8), (1, 14): (18, 3, 8), (1, 15): (18, 3, 9),
    (1, 16): (19, 3, 9), (1, 17): (20, 4, 9), (1, 18): (21, 5, 10), (1, 19): (21, 5, 10),
    (1, 20): (21, 5, 10), (1, 21): (22, 5, 10), (1, 22): (22, 5, 10), (1, 23): (23, 5, 11),
    (1, 24): (25, 5, 13), (1, 25): (26, 5, 13), (1, 26): (26, 5, 13), (1, 27): (26, 5, 13),
    (1, 28): (26, 5, 13), (1, 29): (26, 5, 13), (1, 30): (26, 5, 13), (1, 31): (26, 5, 13),
    (1, 32): (28, 5, 14),
}  # fmt: skip
_SPEC = re.compile(r"(?:(onnxruntime[a-z0-9_.-]*)\s*==\s*)?([0-9]+)\.([0-9]+)([0-9.]*)")


class Release(NamedTuple):
    """A release, and the highest opsets and IR version that it accepts."""

    name: str
    version: str
    opset: int
    ml_opset: int
    ir_version: int


def find(spec: str) -> Release:
    """Return the release that ``onnxruntime==1.17`` stands for; a patch is as its minor release.

    >>> find("onnxruntime==1.17.3")
    Release(name='onnxruntime', version='1.17.3', opset=20, ml_opset=4, ir_version=9)

    Raises:
        UsageError: if it is not ``onnxruntime==N.N``, or a release that the table does not have.
    """
    found = _SPEC.fullmatch(spec.strip().lower())
    if found is None:
        raise UsageError(
            f"`{spec}` is not a release of onnxruntime; expected `onnxruntime==N.N`",
            hint="for example: --for onnxruntime==1.17",
        )
    name, major, minor, patch = found.groups()
    row = _TABLE.get((int(major), int(minor)))
    if row is None:
        known = ", ".join(f"{one}.{two}" for one, two in _TABLE)
        raise UsageError(
            f"what onnxruntime {major}.{minor} runs is not known here; that of {known} is"
        )
    return Release(name or "onnxruntime", f"{major}.{minor}{patch}", *row)
