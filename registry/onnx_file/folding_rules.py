"""Compute the output size of ops with constant inputs.

A maker takes a node and its inputs, None where one is not known, and returns its output, or None.

Source: ONNX operator schemas.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, isfinite, prod
from typing import NamedTuple

FEW = 64  # values of a tensor that are kept: a shape has no more
Sizes = tuple[int, ...]  # by axis
_HUGE = 1 << 80  # stands for every size that is out of the question


class Constant(NamedTuple):
    """A tensor that is known before anything runs.

    Attributes:
        elements: how many.
        bits: of one of them.
        values: all of them, where they are few.
        dims: its sizes by axis; None where they are not followed, behind `Concat` for instance.
    """

    elements: int
    bits: int
    values: tuple[float, ...] | None
    dims: Sizes | None = None

    @property
    def bytes(self) -> int:
        """Its size when it is laid out in memory."""
        return self.elements * self.bits // 8


class FoldableOp(NamedTuple):
    """A node that can make a large output of a small input, with its attributes."""

    op: str
    inputs: Sequence[str]
    output: str
    attributes: Mapping[str, Constant]


def _keep(maker: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    """Return the same elements with other axes."""
    data = inputs[0] if inputs else None
    if data is None or maker.op in _AS_IT_IS:
        return data
    dims = _MOVES[maker.op](maker, inputs, data)
    if dims is None or len(dims) > FEW or min(dims, default=0) < 0 or prod(dims) != data.elements:
        dims = None
    return data._replace(dims=dims)


def _reshaped(maker: FoldableOp, inputs: Sequence[Constant | None], data: Constant) -> Sizes | None:
    sizes = list(_told(maker, "shape", inputs, 1) or ())
    for at, size in enumerate(sizes):
        if size == 0 and data.dims and at < len(data.dims):
            sizes[at] = data.dims[at]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = data.elements // max(1, -prod(sizes))
    return tuple(sizes)


def _unsqueezed(
    maker: FoldableOp, inputs: Sequence[Constant | None], data: Constant
) -> Sizes | None:
    axes = _told(maker, "axes", inputs, 1)
    if axes is None or data.dims is None:
        return None
    rank, left = len(data.dims) + len(axes), iter(data.dims)
    new = {axis % rank for axis in axes}
    return tuple(1 if at in new else next(left, 1) for at in range(rank))


def _squeezed(maker: FoldableOp, inputs: Sequence[Constant | None], data: Constant) -> Sizes | None:
    axes = _told(maker, "axes", inputs, 1)
    if data.dims is None or (axes is None and any(inputs[1:])):
        return None
    gone = {axis % len(data.dims) for axis in axes or () if data.dims}
    kept = enumerate(data.dims)
    return tuple(size for at, size in kept if (at not in gone if axes else size != 1))


def _transposed(maker: FoldableOp, _: Sequence[Constant | None], data: Constant) -> Sizes | None:
    order = _told(maker, "perm", (), 0) or range(len(data.dims or ()))[::-1]
    if data.dims is None or sorted(order) != list(range(len(data.dims))):
        return None
    return tuple(data.dims[axis] for axis in order)


def _flattened(maker: FoldableOp, _: Sequence[Constant | None], data: Constant) -> Sizes | None:
    axis = (_told(maker, "axis", (), 0) or (1,))[0]
    return data.dims and (prod(data.dims[:axis]), prod(data.dims[axis:]))


def _concat(_: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    known = [one for one in inputs if one is not None]
    if not known or len(known) < len(inputs):
        return None
    count = min(sum(one.elements for one in known), _HUGE)
    joined = None
    if count <= FEW and all(one.values is not None for one in known):
        joined = tuple(value for one in known for value in one.values or ())
    return Constant(count, known[0].bits, joined)


def _filled(maker: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    sizes = _at(inputs, 0)
    count = _product(sizes)
    if sizes is None or count is None:
        return None
    value = maker.attributes.get("value")
    return Constant(count, value.bits if value else 32, None, tuple(map(int, sizes)))


def _expanded(_: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    sizes, data = _at(inputs, 1), inputs[0] if inputs else None
    count = _product(sizes)
    if sizes is None or count is None:
        return None
    if data is None:
        return Constant(count, 8, None)
    dims = _broadcast([data.dims, tuple(map(int, sizes))])
    whole = max(count, data.elements) if dims is None else min(prod(dims), _HUGE)
    return Constant(whole, data.bits, None, dims)


def _met(maker: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    """Return the broadcast result of tensors."""
    known = [one for one in inputs if one is not None]
    # Before opset 7 an attribute says which axes meet.
    if not known or len(known) < len(inputs) or maker.attributes:
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


def _padded(maker: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    data, pads = next(iter(inputs), None), _told(maker, "pads", inputs, 1)
    if data is None or not data.dims or pads is None:
        return None
    dims, axes = list(data.dims), _at(inputs, 3) or range(len(data.dims))
    if len(pads) != 2 * len(axes) or not all(map(isfinite, [*pads, *axes])):
        return None
    for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
        at = int(axis) % len(dims)
        dims[at] = min(max(0, dims[at] + int(before) + int(after)), _HUGE)
    return Constant(min(prod(dims), _HUGE), data.bits, None, tuple(dims))


def _resized(maker: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    data, sizes = next(iter(inputs), None), _at(inputs, 3)
    if data is None or not data.dims:
        count = _product(sizes) if sizes else None
        return None if count is None else Constant(count, data.bits if data else 8, None)
    # The policy `not_larger` may make less. Before opset 11 no `roi` is between.
    told = sizes or _at(inputs, 2) or _at(inputs, 1) or ()
    dims, axes = list(data.dims), _told(maker, "axes", (), 0) or range(len(data.dims))
    if len(told) != len(axes) or _product(told) is None:
        return None
    for axis, number in zip(axes, told, strict=True):
        at = axis % len(dims)
        dims[at] = int(min(number if sizes else dims[at] * number, _HUGE))
    return Constant(min(prod(dims), _HUGE), data.bits, None, tuple(dims))


def _tiled(_: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    count, data = _product(_at(inputs, 1)), inputs[0] if inputs else None
    if count is None:
        return None
    whole = min(count * (data.elements if data else 1), _HUGE)
    return Constant(whole, data.bits if data else 8, None)


def _range(_: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    ends = [_at(inputs, number) for number in range(3)]
    if not all(one and len(one) == 1 and isfinite(one[0]) for one in ends):
        return None
    start, limit, delta = (one[0] for one in ends if one)
    if delta == 0:
        return None
    steps = (limit - start) / delta
    count = _HUGE if steps > _HUGE else max(0, ceil(steps))
    return Constant(count, inputs[0].bits if inputs[0] else 64, None, (count,))


def _window(_: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    size = _at(inputs, 0)
    return Constant(max(0, int(size[0])), 32, None) if size and isfinite(size[0]) else None


def _one_hot(_: FoldableOp, inputs: Sequence[Constant | None]) -> Constant | None:
    indices, _depth, values = (*inputs, None, None, None)[:3]
    depth = _product(_at(inputs, 1))
    if depth is None:
        return None
    whole = min(depth * (indices.elements if indices else 1), _HUGE)
    return Constant(whole, values.bits if values else 8, None)


def _random(maker: FoldableOp, _: Sequence[Constant | None]) -> Constant | None:
    count = _product(_told(maker, "shape", (), 0))
    dtype = (_told(maker, "dtype", (), 0) or (1,))[0]
    return None if count is None else Constant(count, _WIDTHS.get(dtype, 32), None)


def _told(
    maker: FoldableOp, name: str, inputs: Sequence[Constant | None], number: int
) -> Sizes | None:
    """Return the integers of an attribute, else of an input, as in later opsets."""
    attribute = maker.attributes.get(name)
    values = attribute.values if attribute else _at(inputs, number)
    return tuple(map(int, values)) if values is not None and all(map(isfinite, values)) else None


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
_MOVES = {
    "Flatten": _flattened,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}
_KEEP = {*_AS_IT_IS, *_MOVES}
GROW = _KEEP | _MEET  # they make no more than their largest input, unless that is broadcast
RANDOM = {"RandomNormal", "RandomUniform"}  # are made whenever they run, and never folded
_WIDTHS = {10: 16, 11: 64}  # bits of random numbers, by TensorProto.DataType
TAKE_ALL = {"Concat", *_ANY_NUMBER}  # ops with any number of inputs; no other has more than four
MAKERS: dict[str, Callable[[FoldableOp, Sequence[Constant | None]], Constant | None]] = {
    "BlackmanWindow": _window,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "HammingWindow": _window,
    "HannWindow": _window,
    "OneHot": _one_hot,
    "Pad": _padded,
    "Range": _range,
    "Resize": _resized,
    "Tile": _tiled,
    "Upsample": _resized,
    **dict.fromkeys(RANDOM, _random),
    **dict.fromkeys(_MEET, _met),
    **dict.fromkeys(_KEEP, _keep),
}
