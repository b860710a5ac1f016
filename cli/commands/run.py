"""Run a held model on inputs, given or made up."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import print_json, print_line, safe, shape, table
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import NotFound, UsageError, ZooError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from onnxzoo.registry.core.records import Progress, Tensor, Variant
    from onnxzoo.registry.resolve.choose import Constraints
    from onnxzoo.zoo_index.zoo import Zoo

_LONGEST = 80  # characters of one value that are shown


def run(
    ref: options.Known,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=FILE", help="A .npy, .npz or .pb file; repeatable."
        ),
    ] = None,
    axis: options.Axis = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Of the sample inputs.")
    ] = None,
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
    """Run a model once and print its outputs.

    The inputs are yours, else the model's test data, else samples of usual sizes. A model that is
    not held is pulled first.
    """
    from onnxzoo.registry.runtime.providers import available_providers
    from onnxzoo.registry.runtime.session import infer, overridable
    from onnxzoo.zoo_index.zoo import Zoo

    wish: Constraints = {
        "opset": opset,
        "prefer": prefer,
        "max_bytes": max_size,
        "max_drift": max_drift,
        "device": device,
    }
    paths = {name: Path(p) for name, p in options.pairs(input_ or (), "--input x=x.npy")}
    _check_files(paths.values())
    axes = options.axes(axis)
    with Zoo() as zoo:
        with progress(zoo.settings, quiet=json, verb="fetched") as report:
            variant = _obtained(zoo, ref, wish, lock, report)
        available_providers()  # imports onnxruntime, which is no part of loading a model
        started = time.perf_counter()
        session = zoo.load(variant, device=device)
        loaded = time.perf_counter()
        known = (*variant.graph.inputs, *overridable(session))
        given = _given(paths, known)
        feeds = _fed(zoo, session, variant, given, axes, seed)
        began = time.perf_counter()
        outputs = infer(session, feeds)
        ran = time.perf_counter() - began
    if save:
        _save(save, outputs)
    result = {
        "ref": variant.ref,
        "providers": session.get_providers(),
        "load_seconds": loaded - started,
        "run_seconds": ran,
        "inputs": [_described(name, value) for name, value in feeds.items()],
        "outputs": [_described(name, value) for name, value in outputs.items()],
    }
    if json:
        print_json(result)
        return
    print_line(f"{variant.ref} on {', '.join(session.get_providers())}")
    print_line(f"load {1000 * (loaded - started):.1f} ms, run {1000 * ran:.1f} ms")
    table(
        ("", "NAME", "DTYPE", "SHAPE", "VALUES"),
        (
            (kind if number == 0 else "", name, *_row(value))
            for kind, values in (("in", feeds), ("out", outputs))
            for number, (name, value) in enumerate(values.items())
        ),
    )


def _obtained(
    zoo: "Zoo", ref: str, wish: "Constraints", lock: Path | None, report: "Progress | None"
) -> "Variant":
    """Return a reference's variant, here or by a lock, pulled first if not held."""
    if lock is None:
        return zoo.obtain(ref, progress=report, **wish)
    from onnxzoo.zoo_index.lock.sync import from_lock

    return from_lock(zoo, lock, ref, report, **wish)


def _check_files(paths: "Iterable[Path]") -> None:
    """Raise NotFound for a file that is not there, before anything is pulled."""
    for path in paths:
        if not path.exists():
            raise NotFound(f"no file `{path}`")


def _given(paths: Mapping[str, Path], inputs: "Sequence[Tensor]") -> dict[str, Any]:
    """Return the values of the inputs that files hold."""
    from onnxzoo.registry.testdata.values import load_value

    known = {tensor.name: tensor for tensor in inputs}
    for name in paths:
        if name not in known:
            there = ", ".join(f"`{tensor.name}` {shape(tensor)}" for tensor in inputs)
            raise UsageError(f"no input `{name}`; the model has {there}")
    given = {name: load_value(path, known[name]) for name, path in paths.items()}
    for name, value in given.items():
        found, wanted = getattr(value, "dtype", None), known[name].dtype
        if found is not None and "(" not in wanted and wanted not in {"string", found.name}:
            raise UsageError(f"the input `{name}` is {found.name}; the model takes {wanted}")
    return given


def _fed(
    zoo: "Zoo",
    session: "InferenceSession",
    variant: "Variant",
    given: Mapping[str, Any],
    axes: Mapping[str, int],
    seed: int | None,
) -> Mapping[str, Any]:
    """Return all inputs: the given ones, and samples for the rest.

    Where nothing is given and no size or seed is asked for, they are the model's test data.
    """
    from onnxzoo.registry.measure.bench_inputs import inputs_for
    from onnxzoo.registry.sample_inputs.axes import check_axes
    from onnxzoo.registry.sample_inputs.sample_inputs import sample_inputs

    check_axes(axes, variant.graph.inputs)
    if all(tensor.name in given for tensor in variant.graph.inputs):
        return given
    asked = {"inputs": None, "preprocess": None, "batch": None, "axes": axes}
    try:
        asks_nothing = not given and seed is None and not axes
        if asks_nothing and zoo.registry.test_data(variant.ref) is not None:
            return inputs_for(zoo.registry, session, variant, asked)[0]
        return sample_inputs(
            session, variant.path, count=1, batch=1, axes=axes, given=given, seed=seed or 0
        ).feeds[0]
    except ZooError as error:
        if error.hint is None:
            error.hint = "give sizes or inputs: --axis NAME=N, --input NAME=FILE.npy"
        raise


def _save(target: Path, outputs: Mapping[str, Any]) -> None:
    """Write outputs by name as `numpy.savez` does, which cannot take a name such as ``file``."""
    import zipfile
    from io import BufferedWriter

    from numpy.lib.format import write_array

    from onnxzoo.registry.archive.tar import writing
    from onnxzoo.registry.testdata.values import flattened

    with writing(target) as file:
        buffered = BufferedWriter(file)
        with zipfile.ZipFile(buffered, "w") as archive:
            for name, array in chain.from_iterable(starmap(flattened, outputs.items())):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_array(member, array, allow_pickle=False)
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
