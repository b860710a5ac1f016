"""Inputs to run a model on: `.npz` and `.npy` files, folders of them or of images, or made up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.measure.images import PICTURES, PREPROCESSING, read_picture
from onnxzoo.registry.onnx_file.dtypes import to_numpy
from onnxzoo.registry.sample_inputs.sample_inputs import sample_inputs
from onnxzoo.registry.testdata.arrays import read_npy, read_npz
from onnxzoo.registry.testdata.values import compose, flattened, parts

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

    Array = np.ndarray[Any, Any]

RANDOM = "random"
_SAMPLES = 16  # made up
_ROWS = 16  # examples in a batch; what a run needs of memory grows with it
_ENOUGH = 128 << 20  # bytes of inputs on which outputs are compared
_ARRAYS = {".npz", ".npy"}


@dataclass(frozen=True, slots=True)
class Examples:
    """The location of inputs, or ``random``; for images also the preprocessing: see `feeds`."""

    data: str
    preprocess: str | None = None

    @property
    def path(self) -> Path | None:
        """Their path; None for random ones."""
        return None if self.data == RANDOM else Path(self.data)


def located(given: str | Path, preprocess: str | None) -> Examples:
    """Return the inputs at a path, or random ones.

    Raises:
        NotFound, UsageError: if there is no data, or not of one kind.
    """
    if given == RANDOM:
        return Examples(RANDOM)
    path = Path(given).absolute()
    files_of(path)
    return Examples(str(path), preprocess)


def files_of(path: Path) -> list[Path]:
    """Return the files of data that a file or a folder stands for.

    Raises:
        NotFound, UsageError: if there is none, or there are arrays and images.
    """
    if not path.exists():
        raise NotFound(f"no inputs at `{path}`")
    each = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in each if file.suffix.lower() in _ARRAYS | PICTURES.keys()]
    if not files:
        raise UsageError(
            f"`{path}` is no data; expected `.npz`, `.npy`, images or a folder of them"
        )
    if len({is_picture(file) for file in files}) > 1:
        raise UsageError(f"`{path}` holds images and arrays; expected one or the other")
    return files


def check_preprocess(name: str | None, *data: Examples | None) -> None:
    """Raise UsageError for a preprocessing that there is not, or that nothing here needs."""
    if name is None:
        return
    if name not in PREPROCESSING:
        known = ", ".join(f"`{key}`" for key in PREPROCESSING)
        raise UsageError(f"`{name}` is not a preprocessing; expected {known}")
    paths = [one.path for one in data if one and one.path]
    if not any(is_picture(files_of(path)[0]) for path in paths):
        raise UsageError(
            f"the preprocessing `{name}` is of images, and the data holds none",
            hint="leave it out: arrays are taken as they are",
        )


def is_picture(file: Path) -> bool:
    """Tell whether a file is an image, by its name."""
    return file.suffix.lower() in PICTURES


def feeds(
    data: str,
    session: "InferenceSession",
    inputs: Sequence[Tensor],
    preprocess: str | None,
    path: Path | None = None,
) -> "Iterator[Mapping[str, Array]]":
    """Yield inputs by name for a model.

    Args:
        data: ``random``, a `.npz` or `.npy` file, or a folder of such files or of images.
        session: of the model.
        inputs: what it takes.
        preprocess: of images: a key of `PREPROCESSING`.
        path: the model's file, whose graph says what to make for ``random``.

    Raises:
        NotFound, UsageError: if there is no data, or it is not what the model takes.
    """
    if data == RANDOM:
        yield from sample_inputs(session, path, count=_SAMPLES).feeds
        return
    found = 0
    for file, feed in _read(Path(data), inputs, preprocess):
        for batch in _batches(_fitting(feed, inputs, file.name), inputs):
            found += 1
            yield batch
    if not found:
        raise NotFound(f"`{data}` holds no example, or fewer than the model takes at once")


def bounded(feeds: "Iterable[Mapping[str, Array]]") -> "Iterator[Mapping[str, Array]]":
    """Yield inputs until there are enough: they and all outputs are in memory at once."""
    total = 0
    for feed in feeds:
        yield feed
        arrays = (array for name in feed for _, array in flattened(name, feed[name]))
        total += sum(array.nbytes for array in arrays)
        if total > _ENOUGH:
            return


def read_inputs(path: Path) -> "Iterator[Mapping[str, Array]]":
    """Yield the inputs by name that a `.npz` holds, or every `.npz` of a folder, by name.

    Raises:
        NotFound, UsageError: if there is none, or one is not what `numpy.savez` writes.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise NotFound(f"no `.npz` at `{path}`")
    yield from map(read_npz, files)


def write(given: "Iterable[Mapping[str, Array]]", folder: Path) -> Path:
    """Write inputs by name to a folder, one `.npz` each, and return it.

    Raises:
        UsageError: if something else was given.
    """
    import numpy as np

    hint = 'for example: calibrate=[{"x": array}, …]'
    if not isinstance(given, Iterable):
        raise UsageError(f"`{given}` is no data; expected inputs by name", hint=hint)
    folder.mkdir()
    number = -1
    for number, feed in enumerate(given):
        if not isinstance(feed, Mapping):
            raise UsageError(
                f"the data holds `{type(feed).__name__}`; expected inputs by name", hint=hint
            )
        try:
            arrays: dict[str, Any] = {name: _plain(values) for name, values in feed.items()}
            np.savez(folder / f"calibrate[{number:06}].npz", **arrays)
        except ValueError as error:  # rows of several lengths, objects
            raise UsageError(f"the data's example `{number}` is no arrays: {error}") from error
    if number < 0:
        raise UsageError("the data is empty; expected inputs by name", hint=hint)
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
) -> "Iterator[tuple[Path, Mapping[str, Array]]]":
    for file in files_of(path):
        if file.suffix.lower() == ".npz":
            yield from ((file, feed) for feed in read_inputs(file))
        elif is_picture(file):
            yield file, {_only(inputs).name: read_picture(file, _only(inputs), preprocess)}
        else:
            yield file, {_only(inputs).name: _array(file, _only(inputs))}


def _only(inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 1:
        names = ", ".join(f"`{tensor.name}`" for tensor in inputs)
        raise UsageError(
            f"the model takes {names}; a `.npy` or an image is one input",
            hint="write .npz files: numpy.savez(file, name=array, …)",
        )
    return inputs[0]


def _array(file: Path, tensor: Tensor) -> "Array":
    values = read_npy(file)
    single = tensor.shape is not None and values.ndim == len(tensor.shape) - 1
    return values[None] if single else values


def _fitting(
    feed: "Mapping[str, Array]", inputs: Sequence[Tensor], file: str
) -> "Mapping[str, Array]":
    """Return a file's content in the model's types, or raise the mismatch."""
    composed = [tensor for tensor in inputs if "(" in tensor.dtype]
    if composed:  # sequences, maps, optionals: of several arrays each, or of none
        values = {tensor.name: compose(feed, tensor, f"`{file}`") for tensor in composed}
        tensors = [tensor for tensor in inputs if tensor not in composed]
        taken = {key for one in composed for key in parts(feed, one.name)}
        taken -= {tensor.name for tensor in tensors}
        rest = {key: array for key, array in feed.items() if key not in taken}
        return {**values, **_fitting(rest, tensors, file)}
    wanted = [tensor.name for tensor in inputs]
    if set(feed) != set(wanted):
        found, takes = (", ".join(f"`{name}`" for name in names) for names in (feed, wanted))
        raise UsageError(f"`{file}` holds {found or 'nothing'}; the model takes {takes}")
    return {tensor.name: _typed(tensor, feed[tensor.name], file) for tensor in inputs}


def _typed(tensor: Tensor, values: "Array", file: str) -> "Array":
    import numpy as np

    _check_shape(tensor, values, file)
    if tensor.dtype == "string":
        return values
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise UsageError(f"`{tensor.name}` in `{file}` holds NaN; expected numbers")
    held = {"U": "text", "S": "text", "c": "complex numbers"}.get(values.dtype.kind)
    problem = UsageError(
        f"`{tensor.name}` in `{file}` holds {held or values.dtype.name}; "
        f"the model takes {tensor.dtype}"
    )
    try:
        wanted = to_numpy(tensor.dtype)
        if values.dtype.kind == "V" and values.dtype.itemsize == wanted.itemsize:
            return values.view(wanted)  # a type that NumPy cannot name in a file
        if values.dtype.kind == "c" != wanted.kind:
            raise problem
        with np.errstate(invalid="ignore", over="ignore"):
            cast = values.astype(wanted)
    except (TypeError, ValueError) as error:
        raise problem from error
    if wanted.kind in "iub" and not np.array_equal(cast, values):
        raise UsageError(
            f"`{tensor.name}` in `{file}` holds {values.dtype.name} with other values than "
            f"{tensor.dtype} has, which the model takes"
        )
    if values.dtype.kind in "iuf" and np.isfinite(values)[~np.isfinite(cast)].any():
        raise UsageError(
            f"`{tensor.name}` in `{file}` holds {np.abs(values).max():g}, which {tensor.dtype} "
            "does not reach; the model takes that type"
        )
    return cast


def _batches(
    fitting: "Mapping[str, Array]", inputs: Sequence[Tensor]
) -> "Iterator[Mapping[str, Array]]":
    """Split inputs with more examples than the model takes at once, or memory allows."""
    import numpy as np

    firsts = {tensor.shape[0] for tensor in inputs if tensor.shape}
    arrays = all(isinstance(values, np.ndarray) for values in fitting.values())
    counts = {len(values) for values in fitting.values() if arrays and values.ndim}
    if len(firsts) != 1 or len(counts) != 1:
        yield fitting
        return
    count, first = counts.pop(), firsts.pop()
    size = first if isinstance(first, int) and first > 0 else _ROWS
    for start in range(0, count, size):
        if start + size <= count or not isinstance(first, int):
            yield {name: values[start : start + size] for name, values in fitting.items()}


def _check_shape(tensor: Tensor, values: "Array", file: str) -> None:
    """Refuse inputs with other axes than the model's; the first may hold more examples."""
    if not tensor.shape:  # onnxruntime says nothing of a shape that the model does not state
        return
    pairs = [*zip(values.shape, tensor.shape, strict=False)][1:]
    if values.ndim == len(tensor.shape) and not any(
        isinstance(wanted, int) and wanted > 0 and size != wanted for size, wanted in pairs
    ):
        return
    wanted = ", ".join("?" if axis is None else str(axis) for axis in tensor.shape)
    raise UsageError(
        f"`{tensor.name}` in `{file}` is {list(values.shape)}; the model takes [{wanted}]"
    )


def _plain(values: Any) -> "Array":
    """Return values as an array; `numpy.savez` would pickle objects, and asks from 2.1 on."""
    import numpy as np

    array = np.asarray(values)
    if array.dtype.hasobject:
        raise ValueError("it holds objects")
    return array
