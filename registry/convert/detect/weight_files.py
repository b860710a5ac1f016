"""Find the weights of a graph's file: Paddle and MXNet keep them in another file."""

import re
from collections.abc import Mapping
from pathlib import Path

from onnxzoo.registry.core.errors import NotFound, UsageError

_SYMBOL = "-symbol.json"  # of MXNet
_EPOCH = re.compile(r"-(\d+)\.params")
_PADDLE = {".json", ".pdmodel"}


def is_safetensors(path: Path) -> bool:
    """Tell whether a file is safetensors, by its header: a length, then JSON."""
    with path.open("rb") as file:
        head = file.read(10)
    return head[8:] == b'{"' and int.from_bytes(head[:8], "little") < path.stat().st_size


def weights_of(graph: Path, options: Mapping[str, str]) -> Path | None:
    """Return the file of weights of a graph's file, or None if there is none.

    Args:
        graph: a file of any format.
        options: of the conversion; ``params`` names a file beside the graph's.

    Raises:
        NotFound: if the named one is not there.
    """
    if "params" in options:
        named = graph.parent / options["params"]
        if not named.is_file():
            raise NotFound(f"no file `{options['params']}` beside `{graph.name}`")
        return named
    if graph.name.endswith(_SYMBOL):
        return _last_epoch(graph)
    beside = graph.with_suffix(".pdiparams")
    return beside if graph.suffix in _PADDLE and beside.is_file() else None


def _last_epoch(graph: Path) -> Path | None:
    start = graph.name.removesuffix(_SYMBOL)
    epochs = {
        int(found[1]): file
        for file in sorted(graph.parent.iterdir())
        if file.name.startswith(start) and (found := _EPOCH.fullmatch(file.name, len(start)))
    }
    return epochs[max(epochs)] if epochs else None


def needed_weights(graph: Path, options: Mapping[str, str], expected: str) -> Path:
    """Return the file of weights of a graph's file.

    Raises:
        NotFound: if there is none.
    """
    found = weights_of(graph, options)
    if found is None:
        raise NotFound(
            f"`{graph.name}` is a graph without weights, and `{expected}` is not beside it",
            hint="put it there, or name the file: --option params=FILE",
        )
    return found


def graph_in(folder: Path) -> Path | None:
    """Return the graph's file in a folder that holds one with its weights; None if none does.

    Raises:
        UsageError: if it holds several.
    """
    graphs = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and (file.name == "__model__" or file.suffix == ".pdmodel" or weights_of(file, {}))
    ]
    if len(graphs) > 1:
        raise UsageError(
            f"`{folder.name}` holds several graphs: {', '.join(file.name for file in graphs)}",
            hint="give the file of one of them",
        )
    return graphs[0] if graphs else None
