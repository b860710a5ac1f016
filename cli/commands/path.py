"""Print the path of a held model's file."""

import sys
from typing import TYPE_CHECKING

from onnxzoo.cli import options
from onnxzoo.cli.output import print_json, safe

if TYPE_CHECKING:
    from onnxzoo.registry.resolve.choose import Constraints


def path(
    ref: options.Reference,
    opset: options.Opset = None,
    prefer: options.Prefer = None,
    max_size: options.MaxSize = None,
    max_drift: options.MaxDrift = None,
    lock: options.Lock = None,
    json: options.Json = False,
) -> None:
    """Print the path of a model's .onnx file."""
    from onnxzoo.zoo_index.lock.sync import held_by_lock
    from onnxzoo.zoo_index.zoo import Zoo

    wish: Constraints = {
        "opset": opset,
        "prefer": prefer,
        "max_bytes": max_size,
        "max_drift": max_drift,
    }
    with Zoo() as zoo:
        variant = held_by_lock(zoo, lock, ref, **wish) if lock else zoo.resolve(ref, **wish)
        zoo.registry.check_there(variant)
    if json:
        print_json({"ref": variant.ref, "path": variant.path, "why": variant.why})
    else:
        where = str(variant.path)  # as it is, for a shell; people see it made harmless
        print(safe(where) if sys.stdout.isatty() else where)
