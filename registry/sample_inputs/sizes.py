"""Sizes for a graph's open axes that its real inputs would have: words, pixels, sound."""

import re
from collections.abc import Iterator, Mapping, Sequence

from onnxzoo.registry.core.records import Axis, Tensor
from onnxzoo.registry.sample_inputs.kinds import CHANNELS, Kind

Sizes = Mapping[str, int]

_SEQUENCE = (128, 64, 32, 16, 8, 4, 3, 2, 1)
# Height and width: what classifiers and detectors take, then lines of text, then ever less.
_SIDES = (
    (224, 224), (48, 320), (32, 320), (32, 100), (640, 640), (320, 320), (128, 128), (64, 64),
    (32, 32), (28, 28), (16, 16), (8, 8), (4, 4), (3, 3), (2, 2), (1, 1),
)  # fmt: skip
_AUDIO = (16000, 8000, 4000, 1600, 576, 512, 400, 256, 160, 80, 32, 8, 2, 1)
_UNKNOWN = (128, 512, 1600, 16000, 64, 32, 16, 8, 4, 3, 2, 1)
_EQUAL = (224, 64, 32, 8, 2, 1)  # of every open axis, where no kind of size runs
_LINE = 64  # pixels: what is lower is a line of text
_BY_NAME = (
    ("batch", r"batch|^(n|b|bs)$"),
    ("channels", r"channel"),
    ("height", r"height|(^|_)h$"),
    ("width", r"width|(^|_)w$"),
    ("past", r"past|cache"),
    ("audio", r"sample|wave|audio"),
    ("sequence", r"seq|len|tokens?|time|frames?|phonemes|^(t|l|s)$"),
)
_RANK_OF_IMAGES = 4
_LAYERED = 3  # axes of a recurrent state: layers, batch, units


def levels(
    inputs: Sequence[Tensor], kinds: Mapping[str, Kind], given: Sizes, batch: int | None
) -> Iterator[tuple[Sizes, Sizes]]:
    """Yield sizes by axis, most telling first; of each level also smaller ones for a second set.

    The sides of an image that the model itself says come before all others.
    Axes are called by `key`. Sizes that are given stay.
    """
    roles = _roles(inputs, kinds)
    seen = []
    said = dict.fromkeys(kind.sides for kind in kinds.values() if kind.sides)
    for level, sides in [*((0, one) for one in said), *enumerate(_SIDES)]:
        first = _at(roles, level, sides, 2 if batch is None else batch)
        second = _half(roles, level, sides)
        if batch is not None:
            second = {k: batch if roles[k] == "batch" else size for k, size in second.items()}
        both = _summed(first, given), _summed(second, given)
        if both not in seen:
            seen.append(both)
            yield both
    for size in _EQUAL:
        for most in (2, 1) if batch is None else (batch,):
            equal = _summed({k: _equal(role, size, most) for k, role in roles.items()}, given)
            if (equal, equal) not in seen:
                seen.append((equal, equal))
                yield equal, equal


def key(tensor: Tensor, position: int) -> str:
    """Return the key of a dynamic axis: its own name, else input and position, ``x:1``."""
    axis = (tensor.shape or ())[position]
    return axis if isinstance(axis, str) and axis.strip("?") else f"{tensor.name}:{position}"


def shape_of(tensor: Tensor, sizes: Sizes) -> list[int]:
    """Return an input's shape where open axes have sizes; 1 where one has none."""
    return [
        max(axis, 0)
        if isinstance(axis, int)
        else sizes.get(f"{tensor.name}:{place}", sizes.get(key(tensor, place), 1))
        for place, axis in enumerate(tensor.shape or ())
    ]


def open_axes(inputs: Sequence[Tensor]) -> Iterator[tuple[Tensor, int]]:
    """Yield every open axis as its input and position."""
    for tensor in inputs:
        for place, axis in enumerate(tensor.shape or ()):
            if not isinstance(axis, int):
                yield tensor, place


def is_batch(tensor: Tensor, position: int, kind: Kind | None = None) -> bool:
    """Tell whether an axis counts examples."""
    return _role(tensor, position, kind or Kind("numbers")) == "batch"


def _roles(inputs: Sequence[Tensor], kinds: Mapping[str, Kind]) -> dict[str, str]:
    """Return the role of every dynamic axis; a shared one gets the most informative role."""
    roles: dict[str, str] = {}
    for tensor, place in open_axes(inputs):
        name, role = key(tensor, place), _role(tensor, place, kinds[tensor.name])
        if roles.get(name, "unknown") in {"unknown", "sequence"}:
            roles[name] = role
    return roles


def _role(tensor: Tensor, place: int, kind: Kind) -> str:
    shape = tensor.shape or ()
    rank = len(shape)
    if named := _named(shape[place]):
        role = _in_kind(named, tensor, place, kind)
    elif kind.name == "image":
        role = _of_image(shape, place)
    elif (kind.name == "state" and rank == _LAYERED) or (
        place == 0 and (rank > 1 or kind.name in {"length", "rate", "types"})
    ):
        role = "batch"
    elif kind.name == "audio":
        role = "audio" if place == rank - 1 else "one"
    elif kind.name == "past":
        role = "past"
    elif rank > 2 or kind.name in {"ids", "mask", "types", "positions"}:  # noqa: PLR2004
        role = "sequence"
    else:
        role = "unknown"
    return role


def _named(axis: Axis) -> str | None:
    """Return the role that an axis' name says, None if it says none."""
    if not isinstance(axis, str) or " + " in axis:
        return None
    for role, pattern in _BY_NAME:
        if re.search(pattern, axis.lower()):
            return role
    return None


def _in_kind(role: str, tensor: Tensor, place: int, kind: Kind) -> str:
    """Return the role of a named axis in an input of its kind: not every name means one thing."""
    shape = tensor.shape or ()
    if role == "sequence" and kind.name == "audio" and place == len(shape) - 1:
        return "audio"
    if role in {"width", "sequence"} and kind.name == "image":
        return _of_image(shape, place)
    return role


def _of_image(shape: Sequence[Axis], place: int) -> str:
    rank = len(shape)
    last = rank - 1
    if rank == _RANK_OF_IMAGES and place == 0:
        return "batch"
    back = shape[-1] in CHANNELS and shape[-3] not in CHANNELS  # channels last
    channels, height = (last, last - 2) if back else (last - 2, last - 1)
    if place == channels:
        return "channels"
    other = shape[height]
    if place != height and isinstance(other, int) and other <= _LINE:
        return "line"
    return "height" if place == height else "width"


def _at(roles: Mapping[str, str], level: int, sides: tuple[int, int], batch: int) -> dict[str, int]:
    return {name: _size(role, level, sides, batch) for name, role in roles.items()}


def _size(role: str, level: int, sides: tuple[int, int], batch: int) -> int:
    height, width = sides
    ladders = {"sequence": _SEQUENCE, "audio": _AUDIO, "unknown": _UNKNOWN}
    if ladder := ladders.get(role):
        return ladder[min(level, len(ladder) - 1)]
    return {
        "batch": batch,
        "channels": 3,
        "height": height,
        "width": width,
        "line": max(320 >> level, 1),
        "past": max(16 >> level, 1),
        "one": 1,
    }[role]


def _half(roles: Mapping[str, str], level: int, sides: tuple[int, int]) -> dict[str, int]:
    """Return smaller sizes than a level's, for one example; images become oblong."""
    sizes = _at(roles, level, sides, 1)
    parts = {"sequence": 4, "audio": 2, "unknown": 2, "line": 2}
    smaller = {name: max(size // parts.get(roles[name], 1), 1) for name, size in sizes.items()}
    for name, role in roles.items():
        if role == "width":  # networks halve sides five times: what is no multiple of 32 may not do
            smaller[name] = sizes[name] * 3 // 4 // 32 * 32 or max(sizes[name] // 2, 1)
    return {name: size if sizes[name] > 3 else sizes[name] for name, size in smaller.items()}  # noqa: PLR2004


def _equal(role: str, size: int, batch: int) -> int:
    return {"batch": batch, "channels": 3}.get(role, size)


def _summed(sizes: Sizes, given: Sizes) -> dict[str, int]:
    """Return sizes in which an axis that is named a sum, ``past + sequence``, is that sum.

    Sizes that are given stay, and count in sums.
    """
    known = {**sizes, **given}
    found = dict(known)
    for name in sizes:
        terms = [term.strip() for term in name.split("+")]
        if len(terms) > 1 and all(term in known or term.isdecimal() for term in terms):
            found[name] = sum(known[term] if term in known else int(term) for term in terms)
    total = next((name for name in sizes if name.lower().startswith("total_seq")), None)
    alone = [name for name in sizes if "+" not in name]
    parts = [known[name] for name in alone if re.match(r"past_seq|seq", name.lower())]
    if total and len(parts) > 1:
        found[total] = sum(parts)
    return {**found, **given}
