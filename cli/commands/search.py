"""Search held and pullable models."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from onnxzoo.cli import options
from onnxzoo.cli.format import few
from onnxzoo.cli.output import found_document, info, print_json, print_line, table
from onnxzoo.registry.core.errors import NotFound
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.zoo_index.search import SearchHit


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD", help="Each must occur in the name, task, tags, ops or exporter."
        ),
    ] = None,
    task: options.Task = None,
    opset: options.Opset = None,
    max_size: options.MaxSize = None,
    license_: options.License = None,
    runs_here: Annotated[
        bool, typer.Option("--runs-here", help="Only what the installed onnxruntime runs.")
    ] = False,
    for_: options.For = None,
    limit: options.Limit = 20,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Search held and pullable models."""
    from onnxzoo.registry.resolve.choose import parse_opset
    from onnxzoo.registry.runtime.compatibility import installed, release
    from onnxzoo.zoo_index import search as catalogue
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo() as zoo:
        found = catalogue.search(
            zoo,
            words or [],
            task=task,
            opset=parse_opset(opset),
            max_bytes=max_size,
            license=license_,
            runs_on=release(for_) if for_ else installed() if runs_here else None,
        )
        near = zoo.indexes.suggest("-".join(words or ()), zoo.registry.names()) if not found else []
    models: dict[str, list[SearchHit]] = defaultdict(list)
    for item in found:
        models[item.name].append(item)
    shown = dict(list(models.items())[: limit or None])
    if json:
        print_json([found_document(item) for items in shown.values() for item in items])
    elif quiet:
        for name in shown:
            print_line(name)
    elif shown:
        headers = ("NAME", "HELD", "VARIANTS", "OPSETS", "SIZE", "TASK")
        table(headers, (_model_row(name, items) for name, items in shown.items()))
    if len(shown) < len(models):
        info(f"{len(shown)} of {len(models)} models; --limit 0 shows all")
    if not found:
        bounded = any((task, opset, max_size is not None, license_, runs_here, for_))
        raise _no_match(" ".join(words or ()), near, bounded=bounded)


def _no_match(words: str, near: Sequence[str], *, bounded: bool) -> NotFound:
    """Return the error of a search that found nothing: a near name, fewer bounds, or the Hub."""
    from onnxzoo.zoo_index.sources.addresses import hub_repository

    said = f"no model matches `{words}`" if words else "no model matches"
    if bounded or not words:
        return NotFound(said, hint="search for fewer words, with fewer options; zoo index list")
    if near:
        names = ", ".join(f"`{name}`" for name in near)
        return NotFound(f"{said}; did you mean {names}?", hint=f"zoo search {near[0]}")
    if (source := hub_repository(words)) is not None:
        hint = f"if it is a repository on the Hub: zoo pull {source} --dry-run"
    else:
        page = f"https://huggingface.co/models?library=onnx&search={quote(words)}"
        hint = f"other words, or the Hub: {page}, then: zoo pull hf://OWNER/REPOSITORY --dry-run"
    return NotFound(said, hint=hint)


def _model_row(name: str, items: "Sequence[SearchHit]") -> Sequence[object]:
    sizes = sorted(item.bytes for item in items)
    shown = dict.fromkeys((show_size(sizes[0]), show_size(sizes[-1])))
    known = sorted({item.opset for item in items if item.opset is not None})
    return (
        name,
        few(item.variant for item in items if item.ref),
        few(item.variant for item in items),
        few(map(str, known)) or "?",
        " … ".join(shown),
        items[0].task or "",
    )
