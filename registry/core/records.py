"""Define the records that callers receive: frozen values, independent of the database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.names import check_name, check_text, check_word

Axis = int | str | None
Context = Mapping[str, str | int | float | None]
"""What a measurement holds under: onnxruntime's version, provider, processor, threads, batch…"""
Progress = Callable[[str, int, int | None], None]
"""``progress(label, done, total)``: bytes done so far and in all (None: unknown)."""

# What is out of these years overflows in some zone, and no registry was there to write it.
_FIRST_YEAR, _LAST_YEAR = 1970, 9998


def utc(text: str) -> datetime:
    """Return a time in UTC, from a text that says its zone.

    Raises:
        ValueError: if it is none, or one that other zones cannot tell.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"`{text}` is a time without its zone")
    try:
        found = found.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"`{text}` is a time beyond the calendar") from error
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError(f"`{text}` is a time when nothing was made")
    return found


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph.

    A dtype is the runtime's word (``float32``, ``int64``, ``string``; ``seq(...)`` and
    ``map(...)`` for other values). A shape has an int for a fixed axis, a str for a symbolic one
    and None for an unknown one; the shape itself is None where the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[Axis, ...] | None

    def takes(self, shape: Sequence[int]) -> bool:
        """Tell whether an array of this shape fits: open axes take any size.

        A graph's scalar takes anything, as in onnxruntime.

        >>> Tensor("x", "float32", ("batch", 3)).takes([8, 3])
        True
        """
        return not self.shape or (
            len(self.shape) == len(shape)
            and all(
                axis == size or not isinstance(axis, int)
                for axis, size in zip(self.shape, shape, strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Weights:
    """Number of weights of a dtype, and their bytes as stored."""

    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Graph:
    """The description of an ONNX file.

    Attributes:
        opset: version of the default domain ``ai.onnx``; 0 where the model imports none.
        opsets: version by domain; the default domain is ``""``.
        ops: how often each op type occurs, sub-graphs and functions included, as
            ``Conv`` or ``com.microsoft.FusedMatMul``.
        parameters: number of elements in initialisers and Constant tensors.
        precision: what the weights truly are: ``fp32``, ``fp16``, ``int8``, ``qdq``…
        external: paths of external data files, as the graph names them, sorted.
        functions: the functions that the model defines for itself, named as ops are; None where
            that was not recorded.
        weights: parameters and bytes by dtype, the most first; None where that was not recorded.
    """

    ir_version: int
    opset: int
    opsets: Mapping[str, int] = field(hash=False)
    producer: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    ops: Mapping[str, int] = field(hash=False)
    parameters: int
    precision: str
    external: tuple[str, ...]
    metadata: Mapping[str, str] = field(hash=False)
    functions: tuple[str, ...] | None = None
    weights: Mapping[str, Weights] | None = field(default=None, hash=False)

    @property
    def domains(self) -> set[str]:
        """The domains of its ops."""
        return {op.rpartition(".")[0] for op in self.ops}


@dataclass(frozen=True, slots=True)
class Lineage:
    """The parent and the recipe of a variant.

    Attributes:
        parent: the digest of the bundle that it was made from, which may be held no longer; None
            where that was not an ONNX model of this registry.
        called: the parent's reference at that time, or the name of the source.
        recipe: what was done, as JSON values: ``kind`` (``quantize``, ``opset``, ``convert``…),
            its options, and ``tools``: versions by name of all that had a part in it.
    """

    parent: str | None
    called: str
    recipe: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """One held encoding of one version of a model; everything `zoo show` prints.

    Attributes:
        lineage: what it was made from, where it was derived.
        why: one sentence on why it was chosen, where a reference was resolved.
    """

    name: str
    version: int
    variant: str
    digest: str
    bytes: int
    source: str
    revision: str | None
    license: str | None
    task: str | None
    created_at: datetime
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    files: tuple[File, ...] = field(repr=False)
    path: Path
    graph: Graph = field(repr=False)
    lineage: Lineage | None = field(default=None, repr=False)
    why: str | None = field(default=None, compare=False)

    @property
    def ref(self) -> str:
        """The reference that always means exactly this variant."""
        return f"{self.name}:{self.variant}@{self.version}"

    @property
    def entry(self) -> str:
        """The ``.onnx`` file's path inside the bundle, which may hold several."""
        path = self.path.as_posix()
        return max((f.path for f in self.files if path.endswith(f"/{f.path}")), key=len)

    @property
    def precision(self) -> str:
        """The precision of the weights, from the graph."""
        return self.graph.precision

    @property
    def derived(self) -> bool:
        """True if it was made from another variant."""
        return self.lineage is not None and self.lineage.parent is not None

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.graph.opset


@dataclass(frozen=True, slots=True)
class Draft:
    """A variant before the registry gives it a version.

    Attributes:
        name: the model's name.
        entry: the `.onnx` file's path inside the bundle.
        label: the variant's label; None takes the graph's precision.
        version: the version to add it to; None follows the rule of `Registry.publish`.
        new_version: start a new version whatever is held.
        origin: whose weights these are (an index's model, a Hub commit); None: the user's own.
        lineage: what it was made from, where it was derived.
        force: take a label that says another precision, or other inputs and outputs than those of
            the version it goes to.
    """

    name: str
    entry: str
    graph: Graph
    source: str
    label: str | None = None
    version: int | None = None
    new_version: bool = False
    revision: str | None = None
    origin: str | None = None
    license: str | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    lineage: Lineage | None = None
    force: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.label is not None:
            check_word(self.label, "variant")
        for kind in ("source", "revision", "origin", "license", "task"):
            check_text(getattr(self, kind), kind)


@dataclass(frozen=True, slots=True)
class AddResult:
    """A variant that the registry holds now.

    Attributes:
        new: whether it was not held before.
        repaired: it was there, but its files were missing or damaged.
        learnt: what was recorded of it that was not known, such as ``task`` and ``test data``.
    """

    variant: Variant
    new: bool
    repaired: bool = False
    learnt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """The result of `Registry.remove`: references, and the bytes that gc can free."""

    refs: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """Unreferenced files.

    Attributes:
        items: ``(what, bytes)`` of each, bundles and leftovers alike.
        unknown: what sidecars call the bundles that stay although the database knows nothing of
            them: it may be an older copy than its store.
    """

    items: tuple[tuple[str, int], ...]
    unknown: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """The bytes of all of it."""
        return sum(size for _, size in self.items)


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A verified bundle.

    Attributes:
        refs: who uses it.
        problems: what is wrong with its bytes.
        moved_to: where they were set aside.
        refused: why its models would not be let in today, though its bytes are whole.
        absent: nothing of it is in this machine's store: it is not damaged, but not here.
    """

    digest: str
    refs: tuple[str, ...]
    problems: tuple[str, ...]
    moved_to: Path | None
    refused: tuple[str, ...] = ()
    absent: bool = False


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A figure of a variant's bytes, with its context.

    Attributes:
        metric: ``latency_p50``, ``throughput``, ``open_time``, ``peak_memory``, ``drift_max``…
        value: a finite number.
        unit: ``s``, ``B``, ``1/s``, or nothing for a pure number.
        context: what it holds under; a new value under the same context replaces the old.
        at: when it was measured, to the second.
    """

    metric: str
    value: float
    unit: str
    context: Context = field(hash=False)
    at: datetime = field(default_factory=_now)

    def __post_init__(self) -> None:
        if not isfinite(self.value):
            raise UsageError(f"`{self.metric}` is `{self.value}`; expected a finite number")


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the event log: time, action, reference, details."""

    at: datetime
    action: str
    reference: str
    detail: str | None


def now() -> str:
    """Return the time as the tables keep it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
