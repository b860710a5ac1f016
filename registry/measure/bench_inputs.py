"""Choose the inputs of a measurement: the user's, else test data, else sample inputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.records import Tensor, Variant
from onnxzoo.registry.measure.comparison_inputs import ground
from onnxzoo.registry.measure.input_files import digest
from onnxzoo.registry.reference_data import Reference
from onnxzoo.registry.sample_inputs.sizes import open_axes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Feed = Mapping[str, Any]
_SAMPLES = 2  # made up, in turns


class Asked(Protocol):
    """The fields of a `bench.Trial` that choose its inputs."""

    @property
    def variant(self) -> Variant: ...  # noqa: D102
    @property
    def batch(self) -> int | None: ...  # noqa: D102
    @property
    def axes(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def inputs(self) -> Path | None: ...  # noqa: D102


def data_of(registry: Registry, asked: Asked) -> str | None:
    """Return the digest of the data that a measurement runs on; None where they are samples.

    Raises:
        NotFound: if the user's data are not there.
    """
    if asked.inputs is not None:
        return digest(asked.inputs)
    held = _test_data(registry, asked.variant, asked.batch, asked.axes)
    return held[0].digest_of(held[1]) if held else None


def inputs_for(
    registry: Registry, session: "InferenceSession", variant: Variant, request: Mapping[str, Any]
) -> list[Feed]:
    """Return the inputs that a request's measurement runs on, in turns.

    Args:
        registry: where the variant is held.
        session: of the variant.
        variant: what is measured.
        request: ``inputs`` (a path or None), ``preprocess``, ``batch``, ``axes``.

    Raises:
        UsageError, Refused: if there are none on which it runs.
    """
    batch, axes = request["batch"], request["axes"]
    held = _test_data(registry, variant, batch, axes)
    found = ground(
        session,
        variant.path,
        inputs=request["inputs"],
        preprocess=request["preprocess"],
        held=held[0].folder / held[1] if held else None,
        samples=_SAMPLES,
        batch=1 if batch is None and held is None else batch,
        axes=axes,
    )
    return list(found.feeds)


def batch_of(feed: Feed, inputs: Sequence[Tensor]) -> int:
    """Return how many examples inputs hold: the length of an open first axis, else a fixed one."""
    firsts = [
        (isinstance(tensor.shape[0], int), feed[tensor.name].shape[0])
        for tensor in inputs
        if tensor.shape and getattr(feed.get(tensor.name), "shape", ())
    ]
    return min(firsts, default=(True, 1), key=lambda first: first[0])[1]


def sizes_of(feed: Feed, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Return the size of every open axis by input and position, ``x:1``."""
    return {
        f"{tensor.name}:{place}": feed[tensor.name].shape[place]
        for tensor, place in open_axes(inputs)
    }


def _test_data(
    registry: Registry, variant: Variant, batch: int | None, axes: Mapping[str, int]
) -> tuple[Reference, str] | None:
    """Return a version's test data and their label; None if sizes were requested."""
    if batch is not None or axes:
        return None
    held = registry.test_data(variant.ref)
    if held is None:
        return None
    return held, held.label_for(variant, registry.list(name=variant.name))
