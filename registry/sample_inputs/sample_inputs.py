"""Make sample inputs for a model: realistic sizes and values."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import Refused, UsageError, ZooError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.core.sandbox import wants_memory
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.runtime.session import infer, signature
from onnxzoo.registry.sample_inputs.kinds import Kind, kinds_of
from onnxzoo.registry.sample_inputs.sizes import Sizes, is_batch, levels, open_axes, shape_of
from onnxzoo.registry.sample_inputs.values import draw

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]
    Feed = Mapping[str, Array]

_LARGEST = 256 << 20  # bytes of one set of inputs
_SECONDS = 10.0  # for all runs of one session on the samples; a slow model gets fewer
_EMPTY, _THE_SAME = "empty or not finite", "the same for all inputs"
_FEWEST = 2  # samples: between which outputs can differ


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs on which a model runs.

    Attributes:
        feeds: inputs by name; the sets differ in their sizes where the model leaves them open.
        silent: why its outputs show nothing on them; None where they do.
        given: they are a user's own, or reference data.
    """

    feeds: "Sequence[Feed]"
    silent: str | None = None
    given: bool = False


def sample_inputs(
    session: "InferenceSession",
    path: Path | None = None,
    *,
    count: int = 8,
    batch: int | None = None,
    axes: Sizes | None = None,
    given: "Feed | None" = None,
    seed: int = 0,
) -> Samples:
    """Return seeded inputs of the largest likely sizes on which a model runs and says something.

    Token ids are distributed as words are and lie within the embedding's table, masks end in
    padding, images are smooth with edges, sound is made of tones and noise.

    Args:
        session: of the model; it is run to find sizes.
        path: its `.onnx` file, whose graph says what its inputs are; None goes by names and shapes.
        count: how many; a slow model gets fewer, two at least.
        batch: examples in a batch; None for 2 and 1 in turns.
        axes: sizes of open axes by name, or by input and position:
            ``{"sequence": 16, "x:1": 512}``.
        given: values of some inputs, which stay.
        seed: of the first; each that follows has the next.

    Raises:
        Refused: if it runs on none, or has no memory to.
        UsageError: if an input is not a dense tensor of a known rank and dtype.
    """
    inputs = [tensor for tensor in signature(session)[0] if tensor.name not in (given or {})]
    kinds, fixed = _kinds(inputs, path), dict(axes or {})
    fixed |= _sizes_of(session, given or {})
    make = _Maker(session, inputs, kinds, given or {}, seed).samples
    quiet: Samples | None = None
    failed: ZooError | None = None
    for sizes, smaller in levels(inputs, kinds, fixed, batch):
        if any(_bytes(inputs, each) > _LARGEST for each in (sizes, smaller)):
            continue
        try:
            found = make((sizes, smaller), count)
        except (Refused, UsageError) as error:
            failed = error
            continue
        if found.silent is None:
            return found
        quiet = quiet or found
    if quiet is not None:
        return quiet
    if failed is None and axes:
        asked = ", ".join(f"{name}={size}" for name, size in axes.items())
        raise UsageError(
            f"no memory for inputs with {asked}; at most {show_size(_LARGEST)} are made up"
        )
    if failed is not None and (wants_memory(failed.message) or isinstance(failed, UsageError)):
        raise failed
    why = f": {failed.message}" if failed is not None else ""
    raise Refused(
        f"no sample inputs were found on which the model runs{why}",
        hint="give inputs that it takes: --inputs DATA",
    ) from failed


def short(feeds: "Sequence[Feed]", inputs: Sequence[Tensor]) -> bool:
    """Tell whether an open axis that is no batch has the length 1 in all inputs."""
    return any(
        all(_length(feed, tensor.name, place) == 1 for feed in feeds)
        for tensor, place in open_axes(inputs)
        if not is_batch(tensor, place)
    )


def shapes_text(feeds: "Sequence[Feed]") -> str:
    """Return the shapes of inputs in words, each once.

    >>> from numpy import zeros
    >>> shapes_text([{"x": zeros((2, 128))}, {"x": zeros((1, 32))}, {"x": zeros((2, 128))}])
    'x 2x128; x 1x32'
    """
    each = [
        ", ".join(f"{name} {_shape_text(value)}" for name, value in feed.items()) for feed in feeds
    ]
    return "; ".join(dict.fromkeys(each))


def _shape_text(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return "none" if value is None else f"{len(value)} values"
    return "x".join(map(str, shape)) or "scalar"


def silence(feeds: "Sequence[Feed]", outputs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why outputs show nothing of a model; None where one of them does.

    An output that is finite has to differ between inputs of the same sizes; where no two have the
    same sizes, it has to hold two values. Of one example, and of a model without inputs, finite is
    enough.
    """
    why = silent_outputs(feeds, outputs)
    if len(why) < len(outputs[0] if outputs else ()):
        return None
    return f"they are {_THE_SAME if _THE_SAME in why.values() else _EMPTY}"


def silent_outputs(feeds: "Sequence[Feed]", outputs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return why single outputs show nothing, by name; see `silence`.

    Sequences and maps are compared as they are, and never silent.
    """
    import numpy as np

    found, alone = {}, len(feeds) < 2 or not feeds[0]  # noqa: PLR2004
    for name in outputs[0] if outputs else ():
        values = [one[name] for one in outputs]
        if not all(isinstance(value, np.ndarray) for value in values):
            continue
        if not any(_is_finite(value) for value in values):
            found[name] = _EMPTY
        elif not ((alone and _says(values[0])) or _differ(feeds, values)):
            found[name] = _THE_SAME
    return found


def _is_finite(value: "Array") -> bool:
    """Tell whether an output holds numbers, or text; some may be infinite."""
    import numpy as np

    return bool(value.size) and (value.dtype.kind not in "fc" or bool(np.isfinite(value).any()))


def _says(value: "Array") -> bool:
    """Tell whether an output is not all zero."""
    import numpy as np

    return value.dtype.kind not in "fc" or bool(np.nan_to_num(value).any())


def _differ(feeds: "Sequence[Feed]", values: "Sequence[Array]") -> bool:
    import numpy as np

    groups: dict[str, list[Array]] = {}
    for feed, value in zip(feeds, values, strict=True):
        groups.setdefault(shapes_text([feed]), []).append(value)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return any(bool((value != value.flat[0]).any()) for value in values)
    return any(
        one.shape != group[0].shape or not np.array_equal(one, group[0], equal_nan=_is_float(one))
        for group in several
        for one in group[1:]
    )


def _is_float(value: "Array") -> bool:
    return value.dtype.kind in "fc"


@dataclass(frozen=True, slots=True)
class _Maker:
    """The model and kinds of inputs for which samples are made."""

    session: "InferenceSession"
    inputs: Sequence[Tensor]
    kinds: Mapping[str, Kind]
    given: "Feed"
    seed: int

    def samples(self, sizes: tuple[Sizes, Sizes], count: int) -> Samples:
        """Return samples of two sizes in turns, two and two; raise where the first does not run."""
        large, small = sizes
        if count == 1:  # for one run: nothing is compared, and outputs may take much memory
            feed = self._feed(0, large)
            if any(open_axes(self.inputs)):
                infer(self.session, feed)
            return Samples([feed])
        feeds = [self._feed(0, large), self._feed(1, large)]
        started = time.perf_counter()
        outputs = [infer(self.session, feeds[0])]
        runs = max(_FEWEST, int(_SECONDS / max(time.perf_counter() - started, 1e-6)))
        outputs += [infer(self.session, one) for one in feeds[1:] if self.inputs]
        quiet = silence(feeds[: len(outputs)], outputs)
        if quiet is not None or not self.inputs:
            return Samples(feeds[: min(count, len(outputs))], quiet)
        for seed in range(_FEWEST, min(count, runs)):
            if seed // 2 % 2 and not self._runs(self._feed(seed, small)):
                small = large
            feeds.append(self._feed(seed, small if seed // 2 % 2 else large))
        return Samples(feeds[:count])

    def _feed(self, seed: int, sizes: Sizes) -> "Feed":
        return {**draw(self.inputs, self.kinds, sizes, seed=self.seed + seed), **self.given}

    def _runs(self, feed: "Feed") -> bool:
        try:
            infer(self.session, feed)
        except (Refused, UsageError):
            return False
        return True


def _kinds(inputs: Sequence[Tensor], path: Path | None) -> dict[str, Kind]:
    from onnxzoo.registry.onnx_file.graph import read_bare

    try:
        model = read_bare(path) if path is not None else None
        return kinds_of(inputs, model)
    except Exception:  # noqa: BLE001  (a graph that onnxruntime reads and onnx does not)
        return kinds_of(inputs, None)


def _sizes_of(session: "InferenceSession", given: "Feed") -> dict[str, int]:
    """Return the sizes of named axes that the values of some inputs have."""
    found: dict[str, int] = {}
    for tensor in signature(session)[0]:
        value = given.get(tensor.name)
        if value is not None and len(tensor.shape or ()) == value.ndim:
            pairs = zip(tensor.shape or (), value.shape, strict=True)
            found |= {axis: size for axis, size in pairs if isinstance(axis, str)}
    return found


def _length(feed: "Feed", name: str, place: int) -> int | None:
    shape = getattr(feed.get(name), "shape", ())
    return shape[place] if len(shape) > place else None


def _bytes(inputs: Sequence[Tensor], sizes: Sizes) -> int:
    """Return about how many bytes inputs take, where every element has eight."""
    return sum(8 * prod(shape_of(tensor, sizes)) for tensor in inputs)
