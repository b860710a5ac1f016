"""The command that lists a model's opsets and says which of them run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxzoo.cli import options
from onnxzoo.cli.output import (
    VERDICTS,
    fit_title,
    found_document,
    info,
    print_json,
    print_line,
    say_what_is_missing,
    table,
)
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.zoo_index.search import SearchHit


def opsets(
    name: options.Name,
    for_: options.For = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """List a model's opsets, and which run here.

    Each is held, can be pulled, or can be made by `zoo convert`.
    """
    from onnx import defs

    from onnxzoo.registry.core.names import Ref
    from onnxzoo.registry.runtime.compatibility import runtime_for
    from onnxzoo.zoo_index import search
    from onnxzoo.zoo_index.zoo import Zoo

    runtime = runtime_for(for_)
    known = [one.opsets[""] for one in (runtime, runtime_for(None)) if one.is_known]
    highest = min(known, default=defs.onnx_opset_version())
    with Zoo() as zoo:
        model = Ref.parse(name)
        found = search.of_model(zoo, model.name, runtime, converts_up_to=highest)
        if not found:
            zoo.plan(model.name)  # raises, with what comes near
    items = [
        item
        for item in sorted(found, key=lambda item: (-(item.opset or 0), item.variant))
        if model.variant in {None, item.variant, item.precision}
    ]
    if json:
        print_json([found_document(item, runtime) for item in items])
    elif quiet:
        for item in items:
            print_line(item.ref or f"{item.name}:{item.variant}")
    else:
        table(
            (
                "OPSET",
                "VARIANT",
                fit_title(runtime, for_),
                "HELD",
                "CONVERTS TO",
                "PRECISION",
                "SIZE",
                "SOURCE",
            ),
            (
                (
                    item.opset or "?",
                    item.variant,
                    VERDICTS[item.runs_here],
                    item.ref or "no",
                    _reach(item),
                    item.precision,
                    show_size(item.bytes),
                    item.source,
                )
                for item in items
            ),
        )
        goal = f"--for {for_}" if for_ else "--opset N"
        info(f"zoo convert {model.name} {goal} tries what is not sure, and keeps what is sound")
        where = runtime if for_ else f"{runtime.name} here"
        if runtime.is_known:
            info(f"{where} runs opsets up to {runtime.opsets['']}")
    say_what_is_missing(runtime)


def _reach(item: "SearchHit") -> str:
    """Return a variant's surely reachable opsets, and those to try."""
    sure, untried = ranges(item.converts_to or ()), ranges(item.may_convert_to or ())
    return "; ".join(filter(None, (sure, f"try {untried}" if untried else ""))) or "?"


def ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers for people, consecutive ones as a range.

    >>> ranges([7, 9, 10, 11, 13, 14])
    '7, 9-11, 13-14'
    """
    rows: list[list[int]] = []
    for number in numbers:
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ", ".join(f"{row[0]}-{row[-1]}" if len(row) > 1 else str(row[0]) for row in rows)
