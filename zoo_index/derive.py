"""Derive variants by name, pulling a parent that only an index has."""

from onnxzoo.registry.core.errors import NotFound
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.records import Progress, Variant
from onnxzoo.registry.derive.opset import original, to_opset
from onnxzoo.registry.derive.rederive import Again
from onnxzoo.registry.derive.rederive import rederive as again
from onnxzoo.registry.runtime.compatibility import release
from onnxzoo.zoo_index.zoo import Zoo


def convert(
    ref: str,
    *,
    opset: int | None = None,
    runtime: str | None = None,
    label: str | None = None,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Variant:
    """Make a variant at another opset, compare its outputs with its parent's, and keep it.

    What is held at that opset already, in the same precision, is returned as it is.

    Args:
        ref: ``NAME[:VARIANT][@VERSION]``; a name that only an index has is pulled first.
        opset: the opset of ``ai.onnx``, higher or lower.
        runtime: a release that is to run it, ``"onnxruntime==1.17"``: without an opset, the
            highest up to the model's own that it reads; and no higher IR version than it reads.
        label: the variant's; None for its parent's, with the opset where that is taken.
        offline: never touch the network; None for what the environment says.
        progress: called with ``(label, done, total)`` in bytes.

    Raises:
        NotFound: if neither the registry nor an index has it.
        Refused: if it cannot be, naming the op in the way, or its outputs are others.
    """
    there = release(runtime) if runtime is not None else None
    with Zoo(offline=offline) as zoo:
        parent = parent_of(zoo, ref, progress=progress)
        kept = to_opset(zoo.registry, parent, opset, runtime=there, label=label, progress=progress)
    return kept.variant


def parent_of(zoo: Zoo, ref: str, *, progress: Progress | None = None) -> Variant:
    """Return the parent of a conversion to another opset, pulled first if needed.

    Where the reference names no variant, that is what others were converted from already.
    """
    variant = zoo.obtain(ref, progress=progress)
    if Ref.parse(ref).variant is not None:
        return variant
    return original(zoo.registry, variant)


def rederive(zoo: Zoo, ref: str, *, progress: Progress | None = None) -> Again:
    """Make a derived variant again and compare; see `onnxzoo.registry.derive.rederive`.

    Raises:
        NotFound: if its parent or its calibration data are gone; the hint says how to have them
            again.
    """
    variant = zoo.resolve(ref)
    try:
        return again(zoo.registry, variant, progress=progress)
    except NotFound as error:
        error.hint = error.hint or _way_back(zoo, variant)
        raise


def _way_back(zoo: Zoo, variant: Variant) -> str | None:
    """Return how to have a variant's parent again: by a pull where an index has it."""
    if variant.lineage is None:
        return None
    called = Ref.parse(variant.lineage.called)
    label = f"{called.name}:{called.variant}"
    if any(entry.variant == called.variant for entry in zoo.indexes.find(called.name)):
        return f"zoo pull {label}"
    return f"zoo register FILE --name {label}, with the file that it was"
