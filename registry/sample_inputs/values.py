"""Values for sample inputs: words' statistics, masks with padding, smooth images, tones."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.dtypes import to_numpy
from onnxzoo.registry.sample_inputs.kinds import CHANNELS, Kind
from onnxzoo.registry.sample_inputs.sizes import Sizes, is_batch, open_axes, shape_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_RATE = 16000  # samples of sound a second
_WORDS = ("text", "word", "the", "of", "sample", "model", "input", "zoo")
_PADDED = 4  # a quarter of the last row of a mask, from this length on
_KNOTS = 7  # of a smooth image, a side
_BARS = 12  # light or dark rectangles in it: edges


def draw(
    inputs: Sequence[Tensor], kinds: Mapping[str, Kind], sizes: Sizes, *, seed: int
) -> "dict[str, Array]":
    """Return a value for every input: of its kind, of these sizes, the same for the same seed.

    Raises:
        UsageError: if an input is not a dense tensor of a known rank and dtype.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    arrays = {}
    for tensor in inputs:
        if tensor.shape is None or "(" in tensor.dtype:
            raise UsageError(
                f"cannot make up the input `{tensor.name}` ({tensor.dtype})",
                hint=f"give it: zoo run --input {tensor.name}=FILE, or --inputs DATA elsewhere",
            )
        arrays[tensor.name] = _draw(random, tensor, kinds[tensor.name], shape_of(tensor, sizes))
    return _padded(inputs, kinds, arrays, seed)


def _draw(random: "np.random.Generator", tensor: Tensor, kind: Kind, shape: list[int]) -> "Array":
    import numpy as np

    match kind.name:
        case "mask" | "scale":
            values: Array = np.ones(shape)
        case "types":
            values = _halves(shape)
        case "positions":
            values = np.broadcast_to(np.arange(shape[-1]) if shape else 0, shape)
        case "rate" | "lowest" | "highest":
            values = np.full(shape, {"rate": _RATE, "lowest": 50, "highest": 2000}[kind.name])
        case "length":
            values = np.zeros(shape)  # `_padded` knows of what
        case "image":
            values = _image(random, shape, kind.most)
        case "audio":
            values = _sound(random, shape)
        case "ids":
            values = _ids(random, shape, kind.below or 2)
        case _:
            values = _numbers(random, tensor.dtype, shape)
    try:
        return np.ascontiguousarray(values).reshape(shape).astype(to_numpy(tensor.dtype))
    except (TypeError, ValueError) as error:  # a dtype that NumPy has not
        raise UsageError(f"cannot make up values of type `{tensor.dtype}`") from error


def _numbers(random: "np.random.Generator", dtype: str, shape: list[int]) -> "Array":
    if dtype == "string":
        return random.choice(_WORDS, shape).astype(object)
    if dtype == "bool" or not dtype.startswith(("float", "bfloat")):
        return random.integers(0, 2, shape)  # always a valid index or mask
    return random.standard_normal(shape)


def _ids(random: "np.random.Generator", shape: list[int], below: int) -> "Array":
    """Return ids of which the n-th is about 1/n as frequent as the first, as words are.

    Source: Zipf's law; the logarithm of such a rank is uniform.
    """
    import numpy as np

    ranks: Array = np.floor(np.exp(random.uniform(0, np.log(below + 1), shape)))
    # Common words lie anywhere in a table, and in all of it: a step that shares no factor with
    # the table's length reaches every row.
    step = next(n for n in range(max(below * 5 // 8, 1), 2 * below + 2) if np.gcd(n, below) == 1)
    return (ranks.astype(np.int64) * step) % below


def _halves(shape: list[int]) -> "Array":
    import numpy as np

    if not shape:
        return np.zeros(shape, np.int64)
    return np.broadcast_to(np.arange(shape[-1]) >= (shape[-1] + 1) // 2, shape).astype(np.int64)


def _image(random: "np.random.Generator", shape: list[int], most: float) -> "Array":
    """Return smooth images with edges and a little noise, of values about as wide as real ones.

    Where the graph divides by 255 they lie between 0 and 255, else around 0 with a deviation of
    about 1, as after the usual normalisation.
    """
    import numpy as np

    back = shape[-1] in CHANNELS and shape[-3] not in CHANNELS
    channels, height, width = (
        (shape[-1], shape[-3], shape[-2]) if back else (shape[-3], shape[-2], shape[-1])
    )
    images = np.empty((prod(shape[:-3]), channels, height, width), np.float32)
    for image in images:
        knots = random.standard_normal((channels, _KNOTS, _KNOTS))
        rows = _between(knots, height).swapaxes(1, 2)
        image[:] = _between(rows, width).swapaxes(1, 2)
        for _ in range(_BARS):
            top, left = (int(random.integers(0, max(side, 1))) for side in (height, width))
            tall, wide = (
                int(random.integers(1, max(side // 4, 1) + 1)) for side in (height, width)
            )
            image[:, top : top + tall, left : left + wide] += random.normal(0, 1.5)
    images += random.normal(0, 0.1, images.shape)
    if back:
        images = images.transpose(0, 2, 3, 1)
    if most > 1:
        images = np.clip(images * most / 5 + most / 2, 0, most)
    return images.reshape(shape)


def _between(knots: "Array", size: int) -> "Array":
    """Return values that lie linearly between knots on the second axis."""
    import numpy as np

    place = np.linspace(0, knots.shape[1] - 1, size)
    low = np.minimum(place.astype(int), knots.shape[1] - 2)
    part = (place - low)[None, :, None]
    values: Array = knots[:, low] * (1 - part) + knots[:, low + 1] * part
    return values


def _sound(random: "np.random.Generator", shape: list[int]) -> "Array":
    """Return tones of a voice, which grow and fade, and noise; within -1 and 1."""
    import numpy as np

    length = shape[-1] if shape else 1
    seconds = np.arange(length) / _RATE
    waves = np.zeros((prod(shape[:-1]), length))
    for wave in waves:
        pitch = random.uniform(90, 400)
        for overtone in range(1, 6):
            angle = random.uniform(0, 2 * np.pi)
            wave[:] += np.sin(2 * np.pi * pitch * overtone * seconds + angle) / overtone
        wave[:] *= 0.25 * (0.6 + 0.4 * np.sin(2 * np.pi * random.uniform(1, 4) * seconds))
    waves += random.normal(0, 0.01, waves.shape)
    return np.clip(waves, -1, 1).reshape(shape)


def _padded(
    inputs: Sequence[Tensor], kinds: Mapping[str, Kind], arrays: "dict[str, Array]", seed: int
) -> "dict[str, Array]":
    """Give masks a padded tail, the padded ids 0, and lengths the unpadded size.

    The last row ends early; a row that is alone, with every second seed.
    """
    masks = [t.name for t in inputs if kinds[t.name].name == "mask" and arrays[t.name].ndim == 2]  # noqa: PLR2004
    ids = [t.name for t in inputs if kinds[t.name].name in {"ids", "audio"}]
    for name in masks:
        rows, length = arrays[name].shape
        if length >= _PADDED and (rows > 1 or seed % 2):
            tail = length - length // _PADDED
            for other in (name, *ids):
                if arrays[other].shape == arrays[name].shape:
                    arrays[other][-1, tail:] = 0
    longest = [t for t in inputs if kinds[t.name].name != "length" and arrays[t.name].ndim > 1]
    for tensor in inputs:
        if kinds[tensor.name].name == "length" and longest:
            arrays[tensor.name][...] = _length(longest[0], arrays[longest[0].name].shape)
    return arrays


def _length(tensor: Tensor, shape: tuple[int, ...]) -> int:
    """Return an input's length: along its dynamic axis beside the batch."""
    places = [place for _, place in open_axes([tensor]) if place and not is_batch(tensor, place)]
    if len(places) == 1:
        return shape[places[0]]
    return shape[-1] if len(shape) == 2 else max(shape[1:])  # noqa: PLR2004
