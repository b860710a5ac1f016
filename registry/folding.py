"""What a graph's constants become when a runtime folds them: bytes that no file has to hold.

onnxruntime evaluates what is constant while it opens a model, so that 75 bytes can cost a gigabyte
there. Only what is certain is counted: outputs of the ops in `MAKERS`, whose sizes constants say.
What other ops make, such as products of matrices and `Gather`, and how what is expanded meets axes
that were moved before, is left to the first look's bounds on memory.
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
            made, inputs = None, list[Constant | None]()
            if missing is None or len(maker.inputs) < FEW:
                inputs = [self.find(name) for name in maker.inputs]
                made = MAKERS[maker.op](maker, inputs)
            largest = max(largest, made.bytes if made else 0)
            if missing is not None:
                waiting.setdefault(maker.inputs[missing], []).append((maker, missing))
            elif made is not None and maker.output not in self.known:
                self.known[maker.output] = made
                total += made.bytes
                if maker.op in _GROW:  # a chain of them is freed as it goes, unless it grows
                    total -= min(made.bytes, max(one.bytes for one in inputs if one is not None))
                ready.extend(waiting.pop(maker.output, ()))
        return total, largest

    def _missing(self, maker: Maker, first: int) -> int | None:
        """Return the place of the first input, from one on, that is there and not known."""
        for at in range(first, len(maker.inputs)):
            if maker.inputs[at] and self.find(maker.inputs[at]) is None:
                return at
        return None


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
    if data is None:
        return Constant(count, 8, None)
    dims = _broadcast([data.dims, tuple(map(int, sizes))])
    whole = max(count, data.elements) if dims is None else min(prod(dims), _HUGE)
    return Constant(whole, data.bits, None, dims)


def _met(maker: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    """Return what comes of tensors that meet element by element."""
    known = [one for one in inputs if one is not None]
    old = maker.value is not None  # before opset 7 an attribute says which axes meet
    if not known or len(known) < len(inputs) or old:
        return None
    dims = _broadcast([one.dims for one in known])
    whole = max(one.elements for one in known) if dims is None else min(prod(dims), _HUGE)
    bits = 8 if maker.op in _TRUE_OR_FALSE else known[-1 if maker.op == "Where" else 0].bits
    return Constant(whole, bits, None, dims)


def _broadcast(shapes: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """Return the sizes that shapes take together; None if they do not meet, or one is unknown."""
    known = [sizes for sizes in shapes if sizes is not None]
    rank = max(map(len, known), default=0)
    axes = zip(*((1,) * (rank - len(sizes)) + sizes for sizes in known), strict=True)
    wide = [{size for size in axis if size != 1} for axis in axes]
    if len(known) < len(shapes) or any(len(sizes) > 1 for sizes in wide):
        return None
    return tuple(sizes.pop() if sizes else 1 for sizes in wide)


def _padded(maker: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    data, pads = next(iter(inputs), None), _at(inputs, 1)
    if len(inputs) == 1 and maker.value:  # before opset 11
        pads = maker.value.values
    if data is None or not data.dims or pads is None:
        return None
    dims, axes = list(data.dims), _at(inputs, 3) or range(len(data.dims))
    if len(pads) != 2 * len(axes) or not all(map(isfinite, [*pads, *axes])):
        return None
    for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
        at = int(axis) % len(dims)
        dims[at] = min(max(0, dims[at] + int(before) + int(after)), _HUGE)
    return Constant(min(prod(dims), _HUGE), data.bits, None, tuple(dims))


def _resized(_: Maker, inputs: Sequence[Constant | None]) -> Constant | None:
    data, sizes = next(iter(inputs), None), _at(inputs, 3)
    scales = _at(inputs, 2) or _at(inputs, 1) or ()  # before opset 11 no `roi` is between
    count = _product(sizes) if sizes else None  # the policy `not_larger` may make less
    if count is not None:
        return Constant(count, data.bits if data else 8, None)
    if data is None or data.dims is None or len(scales) != len(data.dims):
        return None
    if not all(isfinite(scale) and scale >= 0 for scale in scales):
        return None
    pairs = zip(data.dims, scales, strict=True)
    dims = tuple(int(min(size * scale, _HUGE)) for size, scale in pairs)
    return Constant(min(prod(dims), _HUGE), data.bits, None, dims)


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


_TRUE_OR_FALSE = {
    "And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor",
}  # fmt: skip
_ANY_NUMBER = {"Max", "Mean", "Min", "Sum"}
_MEET = {
    *_TRUE_OR_FALSE, *_ANY_NUMBER, "Add", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
    "Div", "Mul", "PRelu", "Pow", "Sub", "Where",
}  # fmt: skip
_AS_IT_IS = {"Cast", "Identity"}
_KEEP = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_GROW = _KEEP | _MEET  # they make no more than their largest input, unless that is broadcast
TAKE_ALL = {"Concat", *_ANY_NUMBER}  # ops with any number of inputs; no other has more than four
MAKERS: dict[str, Callable[[Maker, Sequence[Constant | None]], Constant | None]] = {
    "BlackmanWindow": _window,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "HammingWindow": _window,
    "HannWindow": _window,
    "Pad": _padded,
    "Range": _range,
    "Resize": _resized,
    "Tile": _tiled,
    "Upsample": _resized,
    **dict.fromkeys(_MEET, _met),
    **dict.fromkeys(_KEEP, _keep),
}
