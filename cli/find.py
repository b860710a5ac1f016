"""Commands that look: search, list, show, versions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from onnxzoo.cli import completion, options
from onnxzoo.cli.figures import (
    measurement_document,
    measurements_of,
    show_measurements,
    show_test_data,
    test_data_of,
)
from onnxzoo.cli.look import is_file, show_file
from onnxzoo.cli.output import (
    cut,
    date,
    document,
    fields,
    fit_document,
    fit_title,
    fit_words,
    found_document,
    line,
    metadata,
    opsets,
    plan_document,
    say_what_is_missing,
    show_plan,
    table,
    talk,
    tensors,
    top_ops,
    variant_document,
    weights,
)
from onnxzoo.registry.errors import NotFound, StorageError
from onnxzoo.registry.visible import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.prepared import Prepared
    from onnxzoo.registry.records import Event, Variant
    from onnxzoo.zoo_index.pull.plan import Plan
    from onnxzoo.zoo_index.search import Found

_LAST_EVENTS, _ALL_EVENTS = 5, 100_000
_FEW = 3  # labels or opsets shown in a cell


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
    """Search models, held ones and those that can be pulled."""
    from onnxzoo.registry.choose import parse_opset
    from onnxzoo.registry.fit import installed, release
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
    models: dict[str, list[Found]] = defaultdict(list)
    for item in found:
        models[item.name].append(item)
    shown = dict(list(models.items())[: limit or None])
    if json:
        document([found_document(item) for items in shown.values() for item in items])
    elif quiet:
        for name in shown:
            line(name)
    elif shown:
        headers = ("NAME", "HELD", "VARIANTS", "OPSETS", "SIZE", "TASK")
        table(headers, (_model_row(name, items) for name, items in shown.items()))
    if len(shown) < len(models):
        talk(f"{len(shown)} of {len(models)} models; --limit 0 shows all")
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


def list_held(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="Each must occur in the name, task, tags, precision, label or aliases; or a "
            "reference. `*` stands for anything.",
        ),
    ] = None,
    task: options.Task = None,
    opset: options.Opset = None,
    max_size: options.MaxSize = None,
    license_: options.License = None,
    limit: options.Limit = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """List the variants that are held."""
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.manifest import Manifest

    with Registry() as registry:
        found = registry.list(
            words or (),
            task=task,
            opset=opset,
            max_bytes=max_size,
            license=license_,
            limit=limit or None,
        )
    if json:
        document([variant_document(variant) for variant in found])
    elif quiet:
        for variant in found:
            line(variant.ref)
    elif found:
        headers = ("REFERENCE", "PRECISION", "OPSET", "SIZE", "TASK", "ALIASES", "CREATED")
        table(headers, map(_held_row, found))
        for variant in found:
            try:
                if not registry.store.holds(Manifest(variant.files)):  # a list hashes nothing
                    state = "not here" if registry.store.is_absent(variant.digest) else "damaged"
                    talk(f"{state}: {variant.ref}; zoo verify {variant.name} --repair")
            except StorageError as error:
                talk(f"{variant.ref}: {error.message}")
    elif words or task or opset or max_size is not None or license_:
        talk("nothing that is held matches; try: zoo search")
    else:
        talk("nothing is held yet; try: zoo pull light-squeezenet")


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
    """Show what is known of a model, held or not."""
    from onnxzoo.registry.fit import runtime_for
    from onnxzoo.registry.names import Ref
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
        document(variant_document(variant) | fit_document(runtime, *verdict) | more)
    else:
        fit = (fit_title(runtime, for_).lower(), fit_words(*verdict))
        _show_variant(variant, fit, state=state, full=full, prepared=prepared, data=data)
        show_measurements(measured)
        _show_history(events)
    say_what_is_missing(runtime)


def versions(name: options.Name, quiet: options.Quiet = False, json: options.Json = False) -> None:
    """List a model's versions, newest first."""
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo() as zoo:
        found = zoo.registry.list(name=zoo.resolve(name).name)
        aliases = zoo.registry.aliases(found[0].name)
    by_number: dict[int, list[Variant]] = defaultdict(list)
    for variant in found:
        by_number[variant.version].append(variant)
    rows = [_version(number, items, aliases) for number, items in by_number.items()]
    if json:
        document(rows)
    elif quiet:
        for row in rows:
            line(f"{row['name']}@{row['version']}")
    else:
        table(
            ("VERSION", "VARIANTS", "SIZE", "ALIASES", "LICENSE", "SOURCE", "CREATED"),
            (
                (
                    row["version"],
                    _few(row["variants"]),
                    show_size(row["bytes"]),
                    " ".join(row["aliases"]),
                    row["license"] or "?",
                    row["source"],
                    row["created_at"][:10],
                )
                for row in rows
            ),
        )


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
    fields(
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
    line("files")
    for file in variant.files:
        line(f"  {file.path}  {show_size(file.bytes)}  sha256:{file.sha256}")
    metadata(graph.metadata, full=full)


def _state(registry: "Registry", variant: "Variant") -> str | None:
    """Return how a variant's files are and the way out; None where all is well."""
    if registry.is_whole(variant):
        return None
    state = "not here" if registry.store.is_absent(variant.digest) else "missing or changed"
    return f"{state}: zoo verify {variant.name} --repair"


def _made_from(variant: "Variant") -> str | None:
    from onnxzoo.registry.lineage import made_from

    return made_from(variant.lineage) if variant.lineage else None


def _show_lineage(registry: "Registry", variant: "Variant", *, json: bool) -> None:
    from dataclasses import asdict

    from onnxzoo.registry.lineage import family, lines

    root = family(registry, variant)
    if json:
        document({"ref": variant.ref, "lineage": asdict(root)})
        return
    for text in lines(root, variant.ref):
        line(text)


def _show_history(events: "Sequence[Event]") -> None:
    line("history")
    for event in events:
        line(f"  {date(event.at)}  {event.action} {event.reference}  {event.detail or ''}")


def _prepared(found: "Prepared | None") -> str:
    from onnxzoo.registry.store import size_of

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
        document(plan_document(plan))
        return
    show_plan(plan, for_=for_)
    if plan.parameters is not None or plan.ops:
        count = None if plan.parameters is None else f"{plan.parameters:,}"
        fields([("parameters", count), ("ops", top_ops(plan.ops))])
    if plan.inputs or plan.outputs:
        tensors("inputs", plan.inputs)
        tensors("outputs", plan.outputs)
    talk(f"not held; zoo pull {plan.name}:{plan.variant}")


def _model_row(name: str, items: "Sequence[Found]") -> Sequence[object]:
    sizes = sorted(item.bytes for item in items)
    shown = dict.fromkeys((show_size(sizes[0]), show_size(sizes[-1])))
    known = sorted({item.opset for item in items if item.opset is not None})
    return (
        name,
        _few(item.variant for item in items if item.ref),
        _few(item.variant for item in items),
        _few(map(str, known)) or "?",
        " … ".join(shown),
        items[0].task or "",
    )


def _few(words: Iterable[str]) -> str:
    """Return the first of some words, each once, and how many more there are."""
    once = list(dict.fromkeys(words))
    more = len(once) - _FEW
    return " ".join(once[:_FEW]) + (f" +{more}" if more > 0 else "")


def _held_row(variant: "Variant") -> Sequence[object]:
    return (
        variant.ref,
        variant.precision,
        variant.opset,
        show_size(variant.bytes),
        variant.task or "",
        " ".join(variant.aliases),
        date(variant.created_at),
    )


def _version(
    number: int, variants: "Sequence[Variant]", aliases: Mapping[str, int]
) -> dict[str, Any]:
    first = variants[0]
    return {
        "name": first.name,
        "version": number,
        "variants": [variant.variant for variant in variants],
        "opset_versions": sorted({variant.opset for variant in variants}),
        "bytes": sum(variant.bytes for variant in variants),
        "aliases": [alias for alias, target in aliases.items() if target == number],
        "license": first.license,
        "source": first.source,
        "created_at": min(variant.created_at for variant in variants).isoformat(),
    }
