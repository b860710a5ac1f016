"""Figures for people and for JSON: durations, rates, ratios, measurements."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxzoo.cli.output import date, print_line
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.records import Context, Measurement, Variant

UNKNOWN = "-"
_PLAIN = 100  # a rate from here on needs no decimals
_FEW = 3  # labels or opsets shown in a cell


def duration(seconds: float | None) -> str:
    """Return a duration for people.

    >>> duration(0.0123456), duration(0.000026), duration(2.5), duration(None)
    ('12.3 ms', '0.026 ms', '2.50 s', '-')
    """
    if seconds is None:
        return UNKNOWN
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{_short(1000 * seconds)} ms"


def rate(per_second: float | None) -> str:
    """Return a throughput for people.

    >>> rate(38221.9), rate(12.34), rate(None)
    ('38,222/s', '12.3/s', '-')
    """
    if per_second is None:
        return UNKNOWN
    return f"{per_second:,.0f}/s" if per_second >= _PLAIN else f"{_short(per_second)}/s"


def memory(count: float | None) -> str:
    """Return bytes for people, or a dash.

    >>> memory(1478656.0), memory(None)
    ('1.5 MB', '-')
    """
    return UNKNOWN if count is None else show_size(int(count))


def number(value: float | None, digits: int = 3) -> str:
    """Return a pure number for people.

    >>> number(0.00012345), number(0.0), number(0.99998, 5), number(None)
    ('0.000123', '0', '0.99998', '-')
    """
    return UNKNOWN if value is None else f"{value:.{digits}g}"


def share(value: float | None) -> str:
    """Return a share for people; less than all never reads 100 %.

    >>> share(1.0), share(0.9999), share(0.5), share(None)
    ('100%', '99.9%', '50.0%', '-')
    """
    if value is None:
        return UNKNOWN
    return "100%" if value == 1 else f"{min(100 * value, 99.9):.1f}%"


def percent(value: float | None) -> str:
    """Return a share of any size for people.

    >>> percent(0.034), percent(1.5), percent(None)
    ('3%', '150%', '-')
    """
    return UNKNOWN if value is None else f"{100 * value:.0f}%"


def inputs_of(context: "Context") -> str:
    """Return for people which inputs a figure was measured on.

    >>> inputs_of({"shapes": "x 1x4"}), inputs_of({"shapes": "x 1x4", "inputs": "sha256:ab"})
    ('sample inputs x 1x4', 'given inputs x 1x4')
    >>> inputs_of({})
    'inputs whose shapes were not recorded'
    """
    if "shapes" not in context:
        return "inputs whose shapes were not recorded"
    return f"{'given' if 'inputs' in context else 'sample'} inputs {context['shapes']}"


def count(number: int, thing: str) -> str:
    """Return a number of things in words.

    >>> count(1, "variant"), count(2, "variant")
    ('1 variant', '2 variants')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def compared_on(shapes: object, unproven: object) -> str:
    """Return the inputs of an output comparison in words, and why they prove nothing.

    >>> compared_on("x 2x128; x 1x32", None)
    'compared on x 2x128; x 1x32'
    >>> compared_on("x 1x1", "compared on length 1 only")
    'compared on x 1x1: no proof, compared on length 1 only'
    """
    words = f"compared on {shapes or 'inputs of unknown sizes'}"
    return f"{words}: no proof, {unproven}" if unproven else words


def measurement_document(measurement: "Measurement") -> dict[str, Any]:
    """Return the JSON object of a measurement."""
    return {
        "metric": measurement.metric,
        "value": measurement.value,
        "unit": measurement.unit,
        "context": measurement.context,
        "at": measurement.at.isoformat(),
    }


def measurements_of(registry: "Registry", variant: "Variant") -> "Sequence[Measurement]":
    """Return a variant's measurements; of tests, those on its version's data.

    Others are of data that were replaced, or of another model with the same bytes.
    """
    held = registry.test_data(variant.ref)
    data = {None, *(held.digest_of(label) for label in held.labels)} if held else {None}
    return [m for m in registry.measurements(variant.digest) if m.context.get("data") in data]


def show_measurements(measurements: "Sequence[Measurement]") -> None:
    """Print measurements, a line a context."""
    if not measurements:
        return
    print_line("measurements")
    groups: list[tuple[Context, list[Measurement]]] = []
    for measurement in measurements:  # of one context, they stand together
        if not groups or groups[-1][0] != measurement.context:
            groups.append((measurement.context, []))
        groups[-1][1].append(measurement)
    for context, found in groups:
        print_line(f"  {date(max(m.at for m in found))}  {_under(context)}")
        print_line(f"    {', '.join(_figures(found))}")


def test_data_of(registry: "Registry", ref: str) -> Mapping[str, Any] | None:
    """Return the JSON object of a version's reference data; ``sets`` counts them by variant."""
    held = registry.test_data(ref)
    if held is None:
        return None
    sets = {label: held.sets(label) for label in held.labels}
    return {"digest": held.digest, "bytes": held.bytes, "source": held.source, "sets": sets}


def show_test_data(data: Mapping[str, Any] | None) -> str:
    """Return `test_data_of`'s result for people.

    >>> show_test_data({"bytes": 1200, "sets": {"fp32": 3, "int8": 1}})
    '3 of fp32, 1 of int8, 1.2 kB'
    """
    if data is None:
        return "no"
    sets = (f"{count} of {label}" for label, count in data["sets"].items())
    return f"{', '.join(sets)}, {show_size(data['bytes'])}"


def threads_of(context: "Context") -> str:
    """Return the threads of a context for people; onnxruntime's own choice is ``auto``."""
    return "auto" if context.get("threads") is None else str(context["threads"])


def _under(context: "Context") -> str:
    words = []
    if "data" in context:
        words.append(f"test data, rtol {context.get('rtol')}, atol {context.get('atol')}")
    elif "batch" in context:  # a derived variant is held against its parent at sizes of its own
        words.append(f"batch {context['batch']}, threads {threads_of(context)}")
    words += [
        *([str(context["axes"])] if "axes" in context else []),
        *([inputs_of(context)] if "batch" in context and "base" not in context else []),
        str(context.get("provider", "")).removesuffix("ExecutionProvider"),
        f"onnxruntime {context.get('onnxruntime')}",
        str(context.get("cpu")),
    ]
    if "base" in context:
        on = f"{context['samples']} inputs" if "samples" in context else context.get("inputs")
        words.append(f"against {str(context['base'])[:19]} on {str(on)[:19]}")
        shapes, unproven = (context.get(key) for key in ("shapes", "unproven"))
        words.append(compared_on(shapes, unproven))
    return ", ".join(words)


def _figures(found: "Iterable[Measurement]") -> Iterable[str]:
    for measurement in found:
        name = measurement.metric.removeprefix("latency_").replace("_", " ")
        yield f"{name} {_value(measurement)}"


def _value(measurement: "Measurement") -> str:
    if measurement.unit == "s":
        return duration(measurement.value)
    if measurement.unit == "B":
        return memory(measurement.value)
    if measurement.metric == "latency_spread":
        return percent(measurement.value)
    if measurement.unit == "1/s":
        return rate(measurement.value)
    return " ".join([number(measurement.value, 6), measurement.unit]).rstrip()


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:#.2g}"  # noqa: PLR2004


def few(words: Iterable[str]) -> str:
    """Return the first of some words, each once, and how many more there are."""
    once = list(dict.fromkeys(words))
    more = len(once) - _FEW
    return " ".join(once[:_FEW]) + (f" +{more}" if more > 0 else "")
