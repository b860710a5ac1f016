"""What a graph's constants become when a runtime folds them: bytes that no file has to hold.

onnxruntime evaluates what is constant while it opens a model, so that 75 bytes can cost a gigabyte
there. Only what is certain is counted: outputs of the ops in `MAKERS`, whose sizes constants say.
What other ops make, and how what is expanded meets axes that were moved before, is left to the
first look's bounds on memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite, prod
from typing import NamedTuple

FEW = 64  # values of a tensor that are kept: a shape has no more
_HUGE = 1 << 80  # stands for every size that is out of the question


class Constant(NamedTuple):
    """A tensor that is known before anything runs.

    Attributes:
        elements: how many.
        bits: of one of them.
        values: all of them, where they are few.
        dims: its sizes by axis; None where they are not followed: behind what moves axes.
    """

    elements: int
    bits: int
    values: tuple[float, ...] | None
    dims: tuple[int, ...] | None = None

    @property
    def bytes(self) -> int:
        """Its size when it is laid out in memory."""
        return self.elements * self.bits // 8


class Maker(NamedTuple):
    """A node that can make much of little: its op, inputs, output and the attribute that counts."""

    op: str
    inputs: Sequence[str]
    output: str
    value: Constant | None


@dataclass(slots=True)
class Scope:
    """A graph's constants and makers; a sub-graph sees those around it."""

    outer: "Scope | None" = None
    known: dict[str, Constant] = field(default_factory=dict)
    makers: list[Maker] = field(default_factory=list)

    def find(self, name: str) -> Constant | None:
        """Return a constant by name, from here outwards."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.known:
                return scope.known[name]
            scope = scope.outer
        return None

    def fold(self) -> tuple[int, int]:
        """Return the bytes that folding makes here, and those of the largest output when it runs.

        Nodes may stand in any order, since onnxruntime sorts them. Scopes around this one must
        have been folded before.
        """
        total = largest = 0
        waiting: dict[str, list[tuple[Maker, int]]] = {}
        ready = [(maker, 0) for maker in reversed(self.makers)]
        while ready:
            maker, first = ready.pop()
            missing = self._missing(maker, first)
            made = None
            if missing is None or len(maker.inputs) < FEW:
                made = MAKERS[maker.op](maker, [self.find(name) for name in maker.inputs])
            largest = max(largest, made.bytes if made else 0)
            if missing is not None:
                waiting.setdefault(maker.inputs[missing], []).append((maker, missing))
            elif made is not None and maker.output not in self.known:
                self.known[maker.output] = made
                total += made.bytes if maker.op not in _KEEP else 0
                ready.extend(waiting.pop(maker.output, ()))
        return total, largest

    def _missing(self, maker: Maker, first: int) -> int | None:
        """Return the place of the first input, from one on, that is not known."""
        places = range(first, len(maker.inputs))
        return next((at for at in places if self.find(maker.inputs[at]) is None), None)


def _keep(maker: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    data = inputs[0] if inputs else None
    return data and (data if maker.op in _AS_IT_IS else data._replace(dims=None))


def _concat(_: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    known = [one for one in inputs if one is not None]
    if not known or len(known) < len(inputs):
        return None
    count = min(sum(one.elements for one in known), _HUGE)
    joined = None
    if count <= FEW and all(one.values is not None for one in known):
        joined = tuple(value for one in known for value in one.values or ())
    return Constant(count, known[0].bits, joined)


def _filled(maker: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    sizes = _at(inputs, 0)
    count = _product(sizes)
    if sizes is None or count is None:
        return None
    return Constant(count, maker.value.bits if maker.value else 32, None, tuple(map(int, sizes)))


def _expanded(_: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    sizes, data = _at(inputs, 1), inputs[0] if inputs else None
    count = _product(sizes)
    if sizes is None or count is None:
        return None
    if data is None or data.dims is None:
        return Constant(max(count, data.elements if data else 0), data.bits if data else 8, None)
    dims = _broadcast(data.dims, tuple(map(int, sizes)))
    return Constant(min(prod(dims), _HUGE), data.bits, None, dims)


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes that two shapes take together: of each axis the larger, but nothing wins."""
    rank = max(len(one), len(other))
    pairs = zip(*((1,) * (rank - len(sizes)) + sizes for sizes in (one, other)), strict=True)
    return tuple(min(pair) if 0 in pair else max(pair) for pair in pairs)


def _tiled(_: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    count, data = _product(_at(inputs, 1)), inputs[0] if inputs else None
    if count is None:
        return None
    whole = min(count * (data.elements if data else 1), _HUGE)
    return Constant(whole, data.bits if data else 8, None)


def _range(_: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    ends = [_at(inputs, number) for number in range(3)]
    if not all(one and len(one) == 1 and isfinite(one[0]) for one in ends):
        return None
    start, limit, delta = (one[0] for one in ends if one)
    if delta == 0:
        return None
    steps = (limit - start) / delta
    count = _HUGE if steps > _HUGE else max(0, ceil(steps))
    return Constant(count, inputs[0].bits if inputs[0] else 64, None, (count,))


def _window(_: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    size = _at(inputs, 0)
    return Constant(max(0, int(size[0])), 32, None) if size and isfinite(size[0]) else None


def _at(inputs: Sequence[Constant | None], number: int) -> tuple[float, ...] | None:
    known = inputs[number] if number < len(inputs) else None
    return known.values if known else None


def _product(sizes: Sequence[float] | None) -> int | None:
    """Return the elements of a shape; sizes that are none make nothing, and fail when run."""
    if sizes is None or not all(isfinite(size) and size >= 0 for size in sizes):
        return None
    return min(prod(map(int, sizes)), _HUGE)


_AS_IT_IS = {"Cast", "Identity"}
_KEEP = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
MAKERS: dict[str, Callable[[Maker, Sequence[Constant | None]], Constant | None]] = {
    "BlackmanWindow": _window,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "HammingWindow": _window,
    "HannWindow": _window,
    "Range": _range,
    "Tile": _tiled,
    **dict.fromkeys(_KEEP, _keep),
}
