"""Show a model: held, pullable, or a file that is not registered."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.format import (
    measurement_document,
    measurements_of,
    show_measurements,
    show_test_data,
    test_data_of,
)
from onnxzoo.cli.output import (
    cut,
    date,
    fit_document,
    fit_title,
    fit_words,
    info,
    metadata,
    opsets,
    plan_document,
    print_fields,
    print_json,
    print_line,
    say_what_is_missing,
    show_plan,
    tensors,
    top_ops,
    variant_document,
    weights,
)
from onnxzoo.registry.core.errors import NotFound, Refused
from onnxzoo.registry.core.recipes import repair_command
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.records import Event, Variant
    from onnxzoo.registry.sessions.session_cache import Prepared
    from onnxzoo.zoo_index.pull.plan import Plan
if TYPE_CHECKING:
    from onnxzoo.registry.core.records import Graph

_LAST_EVENTS, _ALL_EVENTS = 5, 100_000


def show(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="NAME[:VARIANT][@VERSION]",
            help="Any model, held or in an index, or an .onnx file.",
            autocompletion=completion.known_references,
        ),
    ],
    for_: options.For = None,
    lineage: Annotated[
        bool, typer.Option("--lineage", help="What it was made from, and what was made of it.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Print long texts of the model whole.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show a model's metadata, held or not."""
    from onnxzoo.registry.core.names import Ref
    from onnxzoo.registry.runtime.compatibility import runtime_for
    from onnxzoo.zoo_index.zoo import Zoo

    if is_file(ref):
        show_file(Path(ref), for_=for_, full=full, json=json)
        return
    with Zoo() as zoo:
        try:
            variant = zoo.resolve(ref, runtime=for_)
        except NotFound:
            parsed = Ref.parse(ref)
            if parsed.version is not None or zoo.registry.list(name=parsed.name):
                raise
            _show_plan(zoo.plan(ref, runtime=for_), json=json, for_=for_)
            return
        if lineage:
            _show_lineage(zoo.registry, variant, json=json)
            return
        state = _state(zoo.registry, variant)
        prepared = zoo.registry.loader.found(variant)
        runtime = runtime_for(for_)
        verdict = zoo.registry.loader.judge(variant, runtime)
        events = zoo.registry.events(
            variant.name, limit=_ALL_EVENTS if full or json else _LAST_EVENTS
        )
        measured = measurements_of(zoo.registry, variant)
        data = test_data_of(zoo.registry, variant.ref)
    if json:
        figures = [measurement_document(measurement) for measurement in measured]
        more = {
            "prepared": _prepared_document(prepared),
            "measurements": figures,
            "test_data": data,
            "history": [asdict(event) | {"at": event.at.isoformat()} for event in events],
        }
        print_json(variant_document(variant) | fit_document(runtime, *verdict) | more)
    else:
        fit = (fit_title(runtime, for_).lower(), fit_words(*verdict))
        _show_variant(variant, fit, state=state, full=full, prepared=prepared, data=data)
        show_measurements(measured)
        _show_history(events)
    say_what_is_missing(runtime)


def _show_variant(
    variant: "Variant",
    fit: tuple[str, str],
    *,
    state: str | None,
    full: bool,
    prepared: "Prepared | None",
    data: Mapping[str, Any] | None,
) -> None:
    graph = variant.graph
    print_fields(
        [
            ("reference", variant.ref),
            ("files", state),
            ("precision", variant.precision),
            ("opset", opsets(graph.opsets)),
            ("ir version", graph.ir_version),
            fit,
            ("chosen", variant.why),
            ("size", show_size(variant.bytes)),
            ("parameters", weights(graph)),
            ("prepared", _prepared(prepared)),
            ("test data", show_test_data(data)),
            ("task", variant.task),
            ("license", variant.license or "unknown"),
            ("tags", " ".join(variant.tags)),
            ("aliases", " ".join(variant.aliases)),
            ("producer", cut(graph.producer, full=full)),
            ("ops", cut(top_ops(graph.ops), full=full)),
            ("made from", _made_from(variant)),
            ("source", variant.source),
            ("revision", variant.revision),
            ("digest", variant.digest),
            ("created", date(variant.created_at)),
            ("path", variant.path),
        ]
    )
    tensors("inputs", graph.inputs, full=full)
    tensors("outputs", graph.outputs, full=full)
    print_line("files")
    for file in variant.files:
        print_line(f"  {file.path}  {show_size(file.bytes)}  sha256:{file.sha256}")
    metadata(graph.metadata, full=full)


def _state(registry: "Registry", variant: "Variant") -> str | None:
    """Return how a variant's files are and the way out; None where all is well."""
    if registry.is_whole(variant):
        return None
    state = "not here" if registry.store.is_absent(variant.digest) else "missing or changed"
    return f"{state}: {repair_command(variant)}"


def _made_from(variant: "Variant") -> str | None:
    from onnxzoo.registry.core.recipes import made_from

    return made_from(variant.lineage) if variant.lineage else None


def _show_lineage(registry: "Registry", variant: "Variant", *, json: bool) -> None:
    from dataclasses import asdict

    from onnxzoo.registry.derive.lineage import family, lines

    root = family(registry, variant)
    if json:
        print_json({"ref": variant.ref, "lineage": asdict(root)})
        return
    for text in lines(root, variant.ref):
        print_line(text)


def _show_history(events: "Sequence[Event]") -> None:
    print_line("history")
    for event in events:
        print_line(f"  {date(event.at)}  {event.action} {event.reference}  {event.detail or ''}")


def _prepared(found: "Prepared | None") -> str:
    from onnxzoo.registry.core.files import size_of

    if found is None:
        return "no"
    if found.graph is None:
        return f"no: {found.look.why_not}"
    ours, theirs = found.look.prepared_seconds or 0, found.look.open_seconds
    took = f"opened in {1000 * ours:.0f} ms (the plain file in {1000 * theirs:.0f} ms)"
    return f"yes, {show_size(size_of(found.graph.parent))}, {took}"


def _prepared_document(found: "Prepared | None") -> dict[str, Any] | None:
    from dataclasses import asdict

    return asdict(found.look) | {"path": found.graph} if found else None


def _show_plan(plan: "Plan", *, json: bool, for_: str | None) -> None:
    if json:
        print_json(plan_document(plan))
        return
    show_plan(plan, for_=for_)
    if plan.parameters is not None or plan.ops:
        count = None if plan.parameters is None else f"{plan.parameters:,}"
        print_fields([("parameters", count), ("ops", top_ops(plan.ops))])
    if plan.inputs or plan.outputs:
        tensors("inputs", plan.inputs)
        tensors("outputs", plan.outputs)
    info(f"not held; zoo pull {plan.name}:{plan.variant}")


def is_file(text: str) -> bool:
    """Tell whether a text means a file on this machine rather than a model's name."""
    from onnxzoo.zoo_index.pull.plan import is_source

    return is_source(text) and "://" not in text


def show_file(path: Path, *, for_: str | None, full: bool, json: bool) -> None:
    """Describe an `.onnx` file, registered or not, without reading its weights."""
    from onnxzoo.registry.runtime.compatibility import judge, runtime_for

    path = path.expanduser()
    graph, runtime = described(path), runtime_for(for_)
    verdict, refused = judge(graph, runtime), refusal(path)
    why = refused.message if refused else None
    if json:
        print_json(_document(path, graph) | fit_document(runtime, *verdict) | {"refused": why})
    else:
        fit = (fit_title(runtime, for_).lower(), fit_words(*verdict))
        _show(path, graph, fit, why, full=full)
    say_what_is_missing(runtime)


def described(path: Path) -> "Graph":
    """Return a file's description.

    Raises:
        NotFound: if it is not there.
        IntegrityError, InvalidModel: if it is no ONNX model, or a part of one.
    """
    from onnxzoo.registry.core.files import reading
    from onnxzoo.registry.onnx_file.describe import describe
    from onnxzoo.registry.onnx_file.kind import check

    path = path.expanduser()
    with reading(path):
        if not path.is_file():
            raise NotFound(f"no file `{path}`")
        check(path)
        return describe(path)


def refusal(path: Path) -> Refused | None:
    """Return why the registry would not take a file, if so; its external data may be elsewhere."""
    from onnxzoo.registry.core.settings import Settings
    from onnxzoo.registry.onnx_file.safety import check_safe

    try:
        check_safe(path.expanduser(), domains=Settings.from_env().allow_domains, beside=False)
    except Refused as error:
        return error
    return None


def _show(
    path: Path, graph: "Graph", fit: tuple[str, str], refused: str | None, *, full: bool
) -> None:
    print_fields(
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
        print_line("external data")
        for location in graph.external:
            size = _size(path.parent / location)
            print_line(f"  {location}  {'not there' if size is None else show_size(size)}")
    metadata(graph.metadata, full=full)
    info(f"to register it: zoo register {quote(str(path))} --name NAME")


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
