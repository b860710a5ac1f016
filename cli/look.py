"""Looking at a model itself: a file that is not registered, a graph in Netron."""

import logging
import signal
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli.output import (
    cut,
    document,
    fields,
    fit_document,
    fit_title,
    fit_words,
    line,
    metadata,
    opsets,
    say_what_is_missing,
    talk,
    tensors,
    top_ops,
    weights,
)
from onnxzoo.registry.errors import NotFound, Refused
from onnxzoo.registry.visible import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.records import Graph


def is_file(text: str) -> bool:
    """Tell whether a text means a file on this machine rather than a model's name."""
    from onnxzoo.zoo_index.pull.plan import is_source

    return is_source(text) and "://" not in text


def show_file(path: Path, *, for_: str | None, full: bool, json: bool) -> None:
    """Show what an `.onnx` file says of itself, registered or not; its weights are not read."""
    from onnxzoo.registry.fit import judge, runtime_for

    path = path.expanduser()
    graph, runtime = described(path), runtime_for(for_)
    verdict, refused = judge(graph, runtime), refusal(path)
    why = refused.message if refused else None
    if json:
        document(_document(path, graph) | fit_document(runtime, *verdict) | {"refused": why})
    else:
        fit = (fit_title(runtime, for_).lower(), fit_words(*verdict))
        _show(path, graph, fit, why, full=full)
    say_what_is_missing(runtime)


def described(path: Path) -> "Graph":
    """Return what a file says of itself.

    Raises:
        NotFound: if it is not there.
        IntegrityError, InvalidModel: if it is no ONNX model, or a part of one.
    """
    from onnxzoo.registry.inspect import describe
    from onnxzoo.registry.sniff import check
    from onnxzoo.registry.store import reading

    path = path.expanduser()
    with reading(path):
        if not path.is_file():
            raise NotFound(f"no file `{path}`")
        check(path)
        return describe(path)


def refusal(path: Path) -> Refused | None:
    """Return why the registry would not take a file, if so; its external data may be elsewhere."""
    from onnxzoo.registry.guard import guard
    from onnxzoo.registry.settings import Settings

    try:
        guard(path.expanduser(), domains=Settings.from_env().allow_domains, beside=False)
    except Refused as error:
        return error
    return None


def view(
    ref: Annotated[
        str,
        typer.Argument(metavar="REFERENCE", help="A model that is held, or an .onnx file."),
    ],
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help="Of this machine; else a free one."),
    ] = None,
    browse: Annotated[bool, typer.Option(help="Open the web browser.")] = True,
) -> None:
    """Show a model's graph in a web browser (Netron)."""
    if find_spec("netron") is None:
        raise NotFound(
            "graphs are drawn by Netron, which is not installed",
            hint="pip install 'onnxzoo[view]'",
        )
    path = _path_of(ref)
    import netron

    logging.getLogger("netron").setLevel(logging.WARNING)  # it would print what is said here
    host, number = netron.start(str(path), address=port, browse=browse)
    talk(f"{path.name} is shown at http://{host}:{number} until Ctrl-C")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C is the command's normal end
    netron.wait()


def _path_of(ref: str) -> Path:
    from onnxzoo.zoo_index.zoo import Zoo

    if is_file(ref):
        described(Path(ref))
        if refused := refusal(Path(ref)):
            raise refused
        return Path(ref).expanduser().absolute()
    with Zoo() as zoo:
        variant = zoo.resolve(ref)
        zoo.registry.check_there(variant)
        return variant.path


def _show(
    path: Path, graph: "Graph", fit: tuple[str, str], refused: str | None, *, full: bool
) -> None:
    fields(
        [
            ("file", path),
            ("precision", graph.precision),
            ("opset", opsets(graph.opsets)),
            ("ir version", graph.ir_version),
            fit,
            ("refused", refused),
            ("size", show_size(_bytes(path, graph))),
            ("parameters", weights(graph)),
            ("producer", cut(graph.producer, full=full)),
            ("ops", cut(top_ops(graph.ops), full=full)),
            ("functions", cut(", ".join(graph.functions or ()), full=full)),
        ]
    )
    tensors("inputs", graph.inputs, full=full)
    tensors("outputs", graph.outputs, full=full)
    if graph.external:
        line("external data")
        for location in graph.external:
            size = _size(path.parent / location)
            line(f"  {location}  {'not there' if size is None else show_size(size)}")
    metadata(graph.metadata, full=full)
    talk(f"to register it: zoo register {quote(str(path))} --name NAME")


def _bytes(path: Path, graph: "Graph") -> int:
    files = [path, *(path.parent / location for location in graph.external)]
    return sum(_size(file) or 0 for file in files)


def _size(path: Path) -> int | None:
    """Return a file's size; None where there is none, or none of that name can be."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def _document(path: Path, graph: "Graph") -> dict[str, Any]:
    from dataclasses import asdict

    values = asdict(graph)
    external = [
        {"path": location, "there": _size(path.parent / location) is not None}
        for location in values.pop("external")
    ]
    return {"path": path.absolute(), "bytes": _bytes(path, graph), **values, "external": external}
