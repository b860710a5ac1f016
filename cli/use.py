"""Commands that use what is held: run, path."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import document, line, safe, shape, table
from onnxzoo.cli.progress import progress
from onnxzoo.registry.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from onnxzoo.registry.choose import Wish
    from onnxzoo.registry.records import Progress, Tensor, Variant
    from onnxzoo.zoo_index.zoo import Zoo

    Array = np.ndarray[Any, Any]

_LONGEST = 80  # characters of one value that are shown


def run(
    ref: options.Known,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=FILE.npy", help="Repeatable; the rest is random."
        ),
    ] = None,
    axis: options.Axis = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    opset: options.Opset = None,
    prefer: options.Prefer = None,
    max_size: options.MaxSize = None,
    max_drift: options.MaxDrift = None,
    device: options.Device = "auto",
    lock: options.Lock = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Keep the outputs, by name.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Run a model once and show what comes out.

    The inputs are random, or yours. A model that is not held is pulled first.
    """
    from onnxzoo.registry.feeds import check_axes
    from onnxzoo.registry.providers import available_providers
    from onnxzoo.registry.sessions import infer, overridable
    from onnxzoo.zoo_index.zoo import Zoo

    wish: Wish = {
        "opset": opset,
        "prefer": prefer,
        "max_bytes": max_size,
        "max_drift": max_drift,
        "device": device,
    }
    given = {n: _array(n, path) for n, path in options.pairs(input_ or (), "--input x=x.npy")}
    axes = options.axes(axis)
    with Zoo() as zoo:
        with progress(zoo.settings, quiet=json, verb="fetched") as report:
            variant = _obtained(zoo, ref, wish, lock, report)
        required = {t.name for t in variant.graph.inputs}
        if given.keys() <= required:  # else the session tells which inputs have a default
            _check_known(given, variant.graph.inputs)
        check_axes(axes, variant.graph.inputs)
        missing = [tensor for tensor in variant.graph.inputs if tensor.name not in given]
        feeds = given | _made_up(missing, seed, axes)
        available_providers()  # imports onnxruntime, which is no part of loading a model
        started = time.perf_counter()
        session = zoo.load(variant, device=device)
        loaded = time.perf_counter()
        if not given.keys() <= required:
            _check_known(given, (*variant.graph.inputs, *overridable(session)))
        outputs = infer(session, feeds)
        ran = time.perf_counter()
    if save:
        _save(save, outputs)
    result = {
        "ref": variant.ref,
        "providers": session.get_providers(),
        "load_seconds": loaded - started,
        "run_seconds": ran - loaded,
        "inputs": [_described(name, value) for name, value in feeds.items()],
        "outputs": [_described(name, value) for name, value in outputs.items()],
    }
    if json:
        document(result)
        return
    line(f"{variant.ref} on {', '.join(session.get_providers())}")
    line(f"load {1000 * (loaded - started):.1f} ms, run {1000 * (ran - loaded):.1f} ms")
    table(
        ("", "NAME", "DTYPE", "SHAPE", "VALUES"),
        (
            (kind if number == 0 else "", name, *_row(value))
            for kind, values in (("in", feeds), ("out", outputs))
            for number, (name, value) in enumerate(values.items())
        ),
    )


def path(
    ref: options.Reference,
    opset: options.Opset = None,
    prefer: options.Prefer = None,
    max_size: options.MaxSize = None,
    max_drift: options.MaxDrift = None,
    lock: options.Lock = None,
    json: options.Json = False,
) -> None:
    """Print the absolute path of a held model's .onnx file."""
    from onnxzoo.zoo_index.sync import held_by_lock
    from onnxzoo.zoo_index.zoo import Zoo

    wish: Wish = {
        "opset": opset,
        "prefer": prefer,
        "max_bytes": max_size,
        "max_drift": max_drift,
    }
    with Zoo() as zoo:
        variant = held_by_lock(zoo, lock, ref, **wish) if lock else zoo.resolve(ref, **wish)
        zoo.registry.check_there(variant)
    if json:
        document({"ref": variant.ref, "path": variant.path, "why": variant.why})
    else:
        where = str(variant.path)  # as it is, for a shell; people see it made harmless
        print(safe(where) if sys.stdout.isatty() else where)


def _obtained(
    zoo: "Zoo", ref: str, wish: "Wish", lock: Path | None, report: "Progress | None"
) -> "Variant":
    """Return what a reference means, here or by a lock, pulled first if it is not held."""
    if lock is None:
        return zoo.obtain(ref, progress=report, **wish)
    from onnxzoo.zoo_index.sync import from_lock

    return from_lock(zoo, lock, ref, report, **wish)


def _array(name: str, text: str) -> "Array":
    """Return the array of a .npy file, or the one of this name in a .npz file."""
    from onnxzoo.registry.arrays import is_npz, read_npy, read_npz

    path = Path(text)
    return read_npz(path, name)[name] if is_npz(path) else read_npy(path)


def _check_known(given: "Mapping[str, Array]", inputs: "Sequence[Tensor]") -> None:
    names = [tensor.name for tensor in inputs]
    for name in given:
        if name not in names:
            known = ", ".join(f"`{tensor.name}` {shape(tensor)}" for tensor in inputs)
            raise UsageError(f"no input `{name}`; the model has {known}")
    for tensor in inputs:
        found = given[tensor.name].dtype.name if tensor.name in given else tensor.dtype
        if found != tensor.dtype and not tensor.dtype.startswith(("string", "seq(", "map(")):
            raise UsageError(
                f"the input `{tensor.name}` is {found}; the model takes {tensor.dtype}"
            )


def _made_up(missing: "Sequence[Tensor]", seed: int, axes: Mapping[str, int]) -> "dict[str, Array]":
    from onnxzoo.registry.feeds import random_inputs

    try:
        return random_inputs(missing, seed=seed, axes=axes)
    except (MemoryError, ValueError, OverflowError) as error:
        sizes = ", ".join(f"{name}={number}" for name, number in axes.items())
        raise UsageError(
            f"no memory for inputs with {sizes or 'the sizes of this model'}"
        ) from error


def _save(target: Path, outputs: Mapping[str, Any]) -> None:
    """Write outputs by name as `numpy.savez` does, which cannot take a name such as ``file``."""
    import zipfile
    from io import BufferedWriter

    import numpy as np

    from onnxzoo.registry.packed import writing

    with writing(target) as file:
        buffered = BufferedWriter(file)
        with zipfile.ZipFile(buffered, "w") as archive:
            for name, value in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(value))
        buffered.detach()


def _described(name: str, value: Any) -> dict[str, object]:
    dtype, dims = str(getattr(value, "dtype", type(value).__name__)), getattr(value, "shape", None)
    return {"name": name, "dtype": "string" if dtype == "object" else dtype, "shape": dims}


def _row(value: Any) -> tuple[str, str, str]:
    described = _described("", value)
    dims = described["shape"]
    text = f"[{', '.join(map(str, dims))}]" if isinstance(dims, tuple) else ""
    return str(described["dtype"]), text, _sample(value)


def _sample(value: Any) -> str:
    return safe(", ".join(islice(_shown(value), 4)))


def _shown(value: Any) -> Iterator[str]:
    """Yield the values of an output as text, one by one: an array may have millions."""
    import numpy as np

    if isinstance(value, np.ndarray):
        yield from (text for place in range(value.size) for text in _shown(value.item(place)))
    elif isinstance(value, list):
        yield from (text for one in value for text in _shown(one))
    elif isinstance(value, float):
        yield f"{value:.4g}"
    else:
        yield str(value)[:_LONGEST]
