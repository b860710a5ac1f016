"""Inputs to run a model on: `.npz` and `.npy` files, folders of them or of images, or made up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from onnxzoo.registry.errors import NotFound, Refused, UsageError
from onnxzoo.registry.feeds import made_up
from onnxzoo.registry.records import Tensor

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]

RANDOM = "random"
_SAMPLES = 16  # made up
_ROWS = 16  # examples in a batch; what a run needs of memory grows with it
_ENOUGH = 128 << 20  # bytes of inputs on which outputs are compared
_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm"}
_SIDE = 224  # pixels, where the model leaves height and width open
_RGB = 3
# How pixels of 0 to 255 become inputs: (mean, standard deviation) by channel, after / 255.
# Source: torchvision's and Keras' preprocessing of ImageNet's models ("torch" and "tf" modes).
PREPROCESSING = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0-1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "-1-1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def feeds(
    data: str, session: "InferenceSession", inputs: Sequence[Tensor], preprocess: str | None
) -> "Iterator[Mapping[str, Array]]":
    """Yield inputs by name for a model.

    Args:
        data: ``random``, a `.npz` or `.npy` file, or a folder of such files or of images.
        session: of the model.
        inputs: what it takes.
        preprocess: of images: a key of `PREPROCESSING`.

    Raises:
        NotFound, UsageError: if there is no data, or it is not what the model takes.
    """
    if data == RANDOM:
        yield from made_up(session, samples=_SAMPLES)
        return
    found = 0
    for feed in _read(Path(data), inputs, preprocess):
        for batch in _batches(feed, inputs):
            found += 1
            yield batch
    if not found:
        raise NotFound(f"no example at `{data}`")


def bounded(feeds: "Iterable[Mapping[str, Array]]") -> "Iterator[Mapping[str, Array]]":
    """Yield inputs until there are enough: they and all outputs are in memory at once."""
    total = 0
    for feed in feeds:
        yield feed
        total += sum(values.nbytes for values in feed.values())
        if total > _ENOUGH:
            return


def check_preprocess(name: str | None) -> None:
    """Raise UsageError for what is no key of `PREPROCESSING`; None is none."""
    if name is not None and name not in PREPROCESSING:
        known = ", ".join(f"`{key}`" for key in PREPROCESSING)
        raise UsageError(f"`{name}` is not a preprocessing; expected {known}")


def read_inputs(path: Path) -> "Iterator[Mapping[str, Array]]":
    """Yield the inputs by name that a `.npz` holds, or every `.npz` of a folder, by name.

    Raises:
        NotFound, UsageError: if there is none, or one is not what `numpy.savez` writes.
    """
    import numpy as np

    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise NotFound(f"no `.npz` at `{path}`")
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                yield {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise UsageError(f"`{file}` is not what numpy.savez writes") from error


def write(given: "Iterable[Mapping[str, Array]]", folder: Path) -> Path:
    """Write inputs by name to a folder, one `.npz` each, and return it.

    Raises:
        UsageError: if something else was given.
    """
    import numpy as np

    folder.mkdir()
    for number, feed in enumerate(given):
        if not isinstance(feed, Mapping):
            raise UsageError(
                f"the data holds `{type(feed).__name__}`; expected inputs by name",
                hint='for example: calibrate=[{"x": array}, …]',
            )
        np.savez(
            folder / f"{number:06}.npz",
            allow_pickle=False,
            **{name: np.asarray(values) for name, values in feed.items()},
        )
    return folder


def digest(path: Path) -> str:
    """Return one digest of a file's bytes, or of a folder's files by name.

    Raises:
        NotFound: if there is none.
    """
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    total = sha256()
    for file in files:
        try:
            with file.open("rb") as stream:
                total.update(file_digest(stream, "sha256").digest())
        except FileNotFoundError as error:
            raise NotFound(f"no inputs at `{path}`") from error
    return f"sha256:{total.hexdigest()}"


def _read(
    path: Path, inputs: Sequence[Tensor], preprocess: str | None
) -> "Iterator[Mapping[str, Array]]":
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if not path.exists():
        raise NotFound(f"no inputs at `{path}`")
    for file in files:
        match file.suffix.lower():
            case ".npz":
                yield from read_inputs(file)
            case ".npy":
                yield {_only(inputs).name: _array(file, _only(inputs))}
            case ending if ending in _PICTURES:
                yield {_only(inputs).name: _picture(file, _only(inputs), preprocess)}


def _only(inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 1:
        names = ", ".join(f"`{tensor.name}`" for tensor in inputs)
        raise UsageError(
            f"the model takes {names}; a `.npy` or an image is one input",
            hint="write .npz files: numpy.savez(file, name=array, …)",
        )
    return inputs[0]


def _array(file: Path, tensor: Tensor) -> "Array":
    import numpy as np

    try:
        values: Array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"`{file}` is not what numpy.save writes") from error
    single = tensor.shape is not None and values.ndim == len(tensor.shape) - 1
    return values[np.newaxis] if single else values


def _picture(file: Path, tensor: Tensor, preprocess: str | None) -> "Array":
    """Return an image as ``[1, C, H, W]``: resized to the input's size, and normalised."""
    import numpy as np

    if preprocess is None:
        raise UsageError(
            "images need a preprocessing: the one that the model was trained with",
            hint=f"--preprocess {'|'.join(PREPROCESSING)}, or write inputs as .npy yourself",
        )
    how = PREPROCESSING[preprocess]
    channels, height, width = _layout(tensor)
    try:
        from PIL import Image
    except ImportError as error:
        raise Refused(
            "images need Pillow, which is not installed", hint="pip install 'onnxzoo[images]'"
        ) from error
    try:
        with Image.open(file) as image:
            mode = "RGB" if channels == _RGB else "L"
            pixels = np.asarray(image.convert(mode).resize((width, height)), np.float32)
    except OSError as error:
        raise UsageError(f"`{file}` is not an image that Pillow reads") from error
    mean, deviation = (np.array(values[:channels], np.float32) for values in how)
    scaled = (pixels.reshape(height, width, channels) / 255 - mean) / deviation
    example: Array = scaled.transpose(2, 0, 1)[np.newaxis].astype(tensor.dtype)
    return example


def _layout(tensor: Tensor) -> tuple[int, int, int]:
    """Return channels, height and width of an input of images."""
    match tensor.shape:
        case (_, channels, height, width) if channels in {1, _RGB}:
            side = (size if isinstance(size, int) else _SIDE for size in (height, width))
            return (int(channels or 0), *side)  # type: ignore[return-value]
    raise UsageError(
        f"the input `{tensor.name}` is not [batch, 1 or 3, height, width]",
        hint="write inputs as .npy yourself",
    )


def _batches(
    feed: "Mapping[str, Array]", inputs: Sequence[Tensor]
) -> "Iterator[Mapping[str, Array]]":
    """Split what holds more examples than the model takes at once, or than memory is good for."""
    import numpy as np

    dtypes = {tensor.name: tensor.dtype for tensor in inputs}
    if set(feed) != set(dtypes):
        found, wanted = (", ".join(f"`{name}`" for name in names) for names in (feed, dtypes))
        raise UsageError(f"the data holds {found}; the model takes {wanted}")
    fitting = {
        name: values if dtypes[name] == "string" else np.asarray(values).astype(dtypes[name])
        for name, values in feed.items()
    }
    for tensor in inputs:
        _check_shape(tensor, fitting[tensor.name])
    firsts = {tensor.shape[0] for tensor in inputs if tensor.shape}
    counts = {len(values) for values in fitting.values() if values.ndim}
    if len(firsts) != 1 or len(counts) != 1:
        yield fitting
        return
    count, first = counts.pop(), firsts.pop()
    size = first if isinstance(first, int) and first > 0 else _ROWS
    for start in range(0, count, size):
        if start + size <= count or not isinstance(first, int):
            yield {name: values[start : start + size] for name, values in fitting.items()}


def _check_shape(tensor: Tensor, values: "Array") -> None:
    """Refuse what has other axes than the model takes; the first may hold more examples."""
    if tensor.shape is None:
        return
    pairs = [*zip(values.shape, tensor.shape, strict=False)][1:]
    if values.ndim == len(tensor.shape) and not any(
        isinstance(wanted, int) and wanted > 0 and size != wanted for size, wanted in pairs
    ):
        return
    wanted = ", ".join("?" if axis is None else str(axis) for axis in tensor.shape)
    raise UsageError(
        f"`{tensor.name}` in the data is {list(values.shape)}; the model takes [{wanted}]"
    )
