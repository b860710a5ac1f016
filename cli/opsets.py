"""The command that lists a model's opsets and says which of them run."""

from onnxzoo.cli import options
from onnxzoo.cli.output import (
    VERDICTS,
    document,
    fit_title,
    found_document,
    line,
    table,
    talk,
)
from onnxzoo.registry.settings import show_size


def opsets(
    name: options.Name,
    for_: options.For = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """List a model's opsets, and which run here.

    Each is held, or can be pulled.
    """
    from onnxzoo.registry.fit import runtime_for
    from onnxzoo.registry.names import Ref
    from onnxzoo.zoo_index import catalogue
    from onnxzoo.zoo_index.zoo import Zoo

    runtime = runtime_for(for_)
    with Zoo() as zoo:
        model = Ref.parse(name)
        found = catalogue.of_model(zoo, model.name, runtime)
        if not found:
            zoo.plan(model.name)  # raises, with what comes near
    items = [
        item
        for item in sorted(found, key=lambda item: (-(item.opset or 0), item.variant))
        if model.variant in {None, item.variant, item.precision}
    ]
    if json:
        document([found_document(item, runtime) for item in items])
    elif quiet:
        for item in items:
            line(item.ref or f"{item.name}:{item.variant}")
    else:
        table(
            ("OPSET", "VARIANT", fit_title(runtime, for_), "HELD", "PRECISION", "SIZE", "SOURCE"),
            (
                (
                    item.opset or "?",
                    item.variant,
                    VERDICTS[item.runs_here],
                    item.ref or "no",
                    item.precision,
                    show_size(item.bytes),
                    item.source,
                )
                for item in items
            ),
        )
        where = runtime if for_ else f"{runtime.name} here"
        talk(f"{where} runs opsets up to {runtime.opsets['']}")
