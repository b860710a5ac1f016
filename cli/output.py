"""Print the commands' output: data on stdout, talk on stderr, safe for a terminal."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.text import show_size, visible

if TYPE_CHECKING:
    from datetime import datetime

    from onnxzoo.registry.core.errors import ZooError
    from onnxzoo.registry.core.records import AddResult, Graph, Tensor, Variant
    from onnxzoo.registry.runtime.compatibility import Runtime
    from onnxzoo.zoo_index.pull.plan import Plan
    from onnxzoo.zoo_index.search import SearchHit
if TYPE_CHECKING:
    from onnxzoo.registry.core.records import Garbage

VERDICTS = {True: "yes", False: "no", None: "?"}  # of "does it run here"
_TOP_OPS = 8  # op types shown by `zoo show`; --json has all of them
_LINE = 100  # characters of one text of a model
_NARROW = 16  # characters; a column is not cut to less, but left out


def safe(text: object) -> str:
    """Return text of others as it may be printed; see `visible`."""
    return visible(text)


def date(when: "datetime") -> str:
    """Return a time for people: local, to the minute."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M")


def shape(tensor: "Tensor") -> str:
    """Return a tensor's shape for people; an open axis is ``?``.

    >>> from onnxzoo.registry.core.records import Tensor
    >>> shape(Tensor("x", "float32", ("N", 3, None)))
    '[N, 3, ?]'
    """
    if tensor.shape is None:
        return "[…]"
    return f"[{', '.join('?' if axis is None else str(axis) for axis in tensor.shape)}]"


def print_line(text: str) -> None:
    """Print one line of data."""
    print(safe(text))


def info(text: str) -> None:
    """Print one line of talk, after the data that came before it."""
    with suppress(OSError):  # whoever prints the data tells of it
        sys.stdout.flush()
    with suppress(OSError):  # the exit code says it too
        print(safe(text), file=sys.stderr, flush=True)


def print_error(error: "ZooError") -> None:
    """Print an error and its hint; as a JSON object with ``--json``."""
    if _wants_json(sys.argv):
        fields = {
            "error": error.message,
            "type": type(error).__name__,
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
        info(json.dumps(fields))
        return
    info(f"error: {error.message}")
    if error.hint:
        info(f"hint: {error.hint}")


def _wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether a command was asked for JSON, however it then failed.

    >>> _wants_json(["zoo", "show", "net", "--json"]), _wants_json(["zoo", "show", "--", "--json"])
    (True, False)
    """
    return "--json" in takewhile(lambda word: word != "--", arguments)


def print_json(value: object) -> None:
    """Print one JSON document, in ASCII: unsafe characters stay escaped."""
    text = json.dumps(value, indent=2, default=_plain)
    print(text.replace("\x7f", "\\u007f"))  # ASCII too, and no text


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; on a terminal long cells are cut until a line fits."""
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if limit is not None:
        widths = fitted(widths, limit)
    for row in [list(headers), *cells]:
        padded = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=False))
        print("  ".join(padded).rstrip())
    if len(widths) < len(headers):
        info(f"too narrow here for: {', '.join(headers[len(widths) :])}")


def fitted(widths: Sequence[int], limit: int) -> list[int]:
    """Return the widths of the columns that fit in a line, none of them cut beyond sense.

    The widest columns are made narrower first, then the last ones are left out; the first one,
    which says what a row is of, is cut only where it does not fit alone.

    >>> fitted([10, 40, 30], 60), fitted([30, 40, 9, 16], 60), fitted([30], 20)
    ([10, 23, 23], [30, 17, 9], [20])
    """
    fit = list(widths)
    while (excess := sum(fit) + 2 * (len(fit) - 1) - limit) > 0:
        wide = [n for n in range(1, len(fit)) if fit[n] > _NARROW]
        if sum(fit[n] - _NARROW for n in wide) >= excess:
            fit[max(wide, key=lambda n: fit[n])] -= 1
        elif len(fit) > 1:
            fit = list(widths[: len(fit) - 1])
        else:
            return [limit]
    return fit


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def cut(text: object, *, full: bool = False) -> str:
    """Return text of a model safe to print, and at a line's length unless all is asked for.

    >>> cut("a" * 200, full=True) == "a" * 200, len(cut("a" * 200))
    (True, 100)
    """
    shown = safe(text)
    return shown if full or len(shown) <= _LINE else f"{shown[: _LINE - 1]}…"


def print_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Print a name and a value a line, values aligned; missing values are left out."""
    there = [(name, value) for name, value in pairs if value is not None and value != ""]
    width = max((len(safe(name)) for name, _ in there), default=0)
    for name, value in there:
        print(f"{safe(name):{width}}  {safe(value)}")


def variant_document(variant: "Variant") -> dict[str, Any]:
    """Return the JSON object of a held variant, under the keys that every command uses."""
    from dataclasses import asdict

    graph = variant.graph
    return {
        "ref": variant.ref,
        "name": variant.name,
        "version": variant.version,
        "variant": variant.variant,
        "precision": variant.precision,
        "opset": variant.opset,
        "opsets": graph.opsets,
        "ir_version": graph.ir_version,
        "producer": graph.producer,
        "bytes": variant.bytes,
        "digest": variant.digest,
        "source": variant.source,
        "revision": variant.revision,
        "license": variant.license,
        "task": variant.task,
        "tags": variant.tags,
        "aliases": variant.aliases,
        "created_at": variant.created_at.isoformat(),
        "inputs": [asdict(tensor) for tensor in graph.inputs],
        "outputs": [asdict(tensor) for tensor in graph.outputs],
        "ops": graph.ops,
        "functions": graph.functions,
        "parameters": graph.parameters,
        "weights": weights_document(graph),
        "external": graph.external,
        "metadata": graph.metadata,
        "files": [asdict(file) for file in variant.files],
        "path": variant.path,
        "lineage": asdict(variant.lineage) if variant.lineage else None,
    }


def tensors(title: str, listed: "Sequence[Tensor]", *, full: bool = True) -> None:
    """Print inputs or outputs, one a line; see `cut`."""
    print_line(title)
    names = [cut(tensor.name, full=full) for tensor in listed]
    width = max(map(len, names), default=0)
    for name, tensor in zip(names, listed, strict=True):
        print_line(f"  {name:{width}}  {tensor.dtype}  {cut(shape(tensor), full=full)}")


def metadata(values: Mapping[str, str], *, full: bool) -> None:
    """Print the metadata in a model's file, one entry a line; see `cut`."""
    if values:
        print_line("metadata")
    for key, value in values.items():
        print_line(f"  {cut(f'{key} = {value}', full=full)}")


def opsets(by_domain: Mapping[str, int]) -> str:
    """Return opsets by domain for people."""
    return ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in by_domain.items())


def weights(graph: "Graph") -> str:
    """Return how many parameters a graph has, and of which dtypes, for people."""
    by_dtype = [
        f"{dtype} {share.parameters:,} ({show_size(share.bytes)})"
        for dtype, share in (graph.weights or {}).items()
    ]
    if not graph.parameters and any(op.startswith("ai.onnx.ml") for op in graph.ops):
        return "not counted: they are attributes of nodes"  # trees, support vectors, coefficients
    return ": ".join(filter(None, [f"{graph.parameters:,}", ", ".join(by_dtype)]))


def weights_document(graph: "Graph") -> dict[str, Any] | None:
    """Return parameters and bytes by dtype; None where that was not recorded."""
    from dataclasses import asdict

    if graph.weights is None:
        return None
    return {dtype: asdict(share) for dtype, share in graph.weights.items()}


def top_ops(ops: Mapping[str, int]) -> str:
    """Return the most frequent op types and their counts."""
    ranked = sorted(ops.items(), key=lambda item: (-item[1], item[0]))
    more = len(ranked) - _TOP_OPS
    shown = ", ".join(f"{op} {count}" for op, count in ranked[:_TOP_OPS])
    return shown + (f" and {more} other types" if more > 0 else "")


def unknown_models(refs: Sequence[str], shown: int = 3) -> str:
    """Return which models are in the store and not in the database, as a sentence."""
    more = f" and {len(refs) - shown} more" if len(refs) > shown else ""
    names = ", ".join(f"`{ref}`" for ref in refs[:shown])
    lie = "lies" if len(refs) == 1 else "lie"
    return (
        f"{names}{more} {lie} in the store and the database does not know of it; "
        "it may be an older copy"
    )


def print_added(added: "AddResult", verb: str, *, quiet: bool) -> None:
    """Print an added variant, whether it is new, and the recorded metadata."""
    variant = added.variant
    if quiet:
        print_line(variant.ref)
    elif added.new:
        opset = f"opset {variant.opset}"
        print_line(
            f"{verb} {variant.ref}  {variant.precision}, {opset}, {show_size(variant.bytes)}"
        )
    else:
        repaired = f"repaired {variant.ref}: its files were missing or damaged"
        learnt = f"; set now: {', '.join(added.learnt)}" if added.learnt else ""
        print_line((repaired if added.repaired else f"{variant.ref} is held already") + learnt)


def fit_title(runtime: "Runtime", for_: str | None) -> str:
    """Return the heading of a verdict: ``RUNS HERE``, or the requested release."""
    return f"RUNS ON {runtime}" if for_ else "RUNS HERE"


def fit_words(verdict: bool | None, misfits: Sequence[str]) -> str:
    """Return a verdict for people.

    >>> fit_words(True, ()), fit_words(None, ()), fit_words(False, ["no op `Nope` in ai.onnx"])
    ('yes', '?', 'no: no op `Nope` in ai.onnx')
    """
    return VERDICTS[verdict] + (f": {'; '.join(misfits)}" if misfits else "")


def say_what_is_missing(runtime: "Runtime") -> None:
    """Say that nothing is known of running here, where no onnxruntime is installed."""
    if not runtime.is_known:
        from onnxzoo.registry.runtime.builds import faults

        missing = faults()[0]
        info(f"{missing.what}: nothing can be said of running here; {missing.way_out}")


def fit_document(
    runtime: "Runtime", verdict: bool | None, misfits: Sequence[str]
) -> dict[str, Any]:
    """Return the JSON keys of a verdict; ``runtime`` is where "here" is, None for nowhere."""
    return {
        "runtime": str(runtime) if runtime.is_known else None,
        "runs_here": verdict,
        "misfits": list(misfits),
    }


def found_document(found: "SearchHit", runtime: "Runtime | None" = None) -> dict[str, Any]:
    """Return the JSON object of a variant that is held or can be pulled."""
    from dataclasses import asdict

    values = asdict(found)
    verdict = {key: values.pop(key) for key in ("runs_here", "misfits")}
    for key in ("converts_to", "may_convert_to"):
        if values[key] is None:  # nobody asked
            del values[key]
    if runtime is None:
        return values
    return values | fit_document(runtime, verdict["runs_here"], verdict["misfits"])


def plan_document(plan: "Plan", held: "Variant | None" = None) -> dict[str, Any]:
    """Return the JSON object of a plan."""
    from dataclasses import asdict

    return {
        "ref": held.ref if held else None,
        "name": plan.name,
        "variant": plan.variant,
        "precision": plan.precision,
        "opset": plan.opset,
        "bytes": plan.bytes,
        "source": plan.source,
        "revision": plan.revision,
        "license": plan.license,
        "task": plan.task,
        "tags": plan.tags,
        "inputs": [asdict(tensor) for tensor in plan.inputs],
        "outputs": [asdict(tensor) for tensor in plan.outputs],
        "ops": plan.ops,
        "parameters": plan.parameters,
        "files": [asdict(file) for file in plan.files],
    } | (fit_document(plan.fit.runtime, plan.fit.runs, plan.fit.misfits) if plan.fit else {})


def show_plan(plan: "Plan", held: "Variant | None" = None, *, for_: str | None = None) -> None:
    """Print a plan."""
    fit = plan.fit
    print_fields(
        [
            ("name", f"{plan.name}:{plan.variant}" if plan.variant else plan.name),
            ("held", f"{held.ref}, nothing would be fetched" if held else "no"),
            ("precision", plan.precision),
            ("opset", plan.opset),
            (fit_title(fit.runtime, for_).lower(), fit_words(fit.runs, fit.misfits))
            if fit
            else ("", None),
            ("chosen", plan.why),
            ("size", show_size(plan.bytes)),
            ("task", plan.task),
            ("license", plan.license or "unknown"),
            ("tags", " ".join(plan.tags)),
            ("source", plan.source),
            ("revision", plan.revision),
        ]
    )
    print_line("files")
    for file in plan.files:
        known = f"sha256:{file.sha256}" if file.sha256 else "no hash known"
        print_line(f"  {file.path}  {show_size(file.bytes)}  {known}")
    if fit:
        say_what_is_missing(fit.runtime)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def say_unknown(garbage: "Garbage") -> None:
    """Say which bundles without a known name garbage collection kept."""
    if garbage.unknown:
        info(f"kept: {unknown_models(garbage.unknown)}")
        info("hint: zoo doctor --rebuild adds them, zoo gc --force frees them")
