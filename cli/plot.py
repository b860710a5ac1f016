"""Draw a comparison as an SVG or PNG; matplotlib comes with the extra ``plot``."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.cli.format import duration, number, threads_of
from onnxzoo.cli.output import safe
from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from onnxzoo.registry.measure.compare import Compared

_SUFFIXES = (".svg", ".png")
_WIDTH, _BAR, _FRAME = 10.0, 0.42, 1.5  # inches: of all, of a bar, of titles and notes
_DPI = 150
_BASE, _OTHER = "#8a94a6", "#2563a8"  # colours of bars
_INK, _QUIET, _FAINT = "#1f2733", "#5b6472", "#c9ced6"  # of words, notes and lines
_ROOM = 0.34  # of a panel's width, right of the longest bar, for its value
_SPREAD = 20  # largest over smallest drift from which a log scale reads better
_LABEL, _TITLE = 34, 80  # characters that fit


def check(path: Path) -> None:
    """Raise UsageError unless a plot can be drawn in this file."""
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"`{path}` is not a file that a plot can be drawn in; expected `.svg` or `.png`",
            hint="for example: --plot compared.svg",
        )
    if find_spec("matplotlib") is None:
        raise NotFound(
            "a plot is drawn by matplotlib, which is not installed",
            hint="pip install 'onnxzoo[plot]'",
        )


def draw(found: "Sequence[Compared]", path: Path) -> None:
    """Draw size, latency and drift of compared variants, a bar each, the first at the top."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from onnxzoo.registry.core.files import reporting_storage

    height = _FRAME + _BAR * len(found)
    figure = Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    panels = figure.subplots(1, 3, sharey=True)
    sizes = [float(item.variant.bytes) for item in found]
    latencies = [item.figures.value("latency_p50") for item in found]
    _bars(panels[0], "Size", sizes, lambda value: show_size(int(value)))
    _bars(panels[1], "Latency, median", latencies, duration)
    _bars(panels[2], "Drift", [item.drift.max for item in found], number)
    panels[0].set_yticks(range(len(found)), _labels(found), color=_INK)
    panels[0].set_ylim(len(found) - 0.4, -0.6)  # the first at the top
    figure.suptitle(_title(found), x=0.01, ha="left", color=_INK, fontweight="bold")
    figure.supxlabel(_note(found), x=0.01, ha="left", color=_QUIET, fontsize="small")
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else None
    # The same figures, the same file: no date in it, and no names made up anew.
    with rc_context({"svg.hashsalt": "onnxzoo"}), reporting_storage(path.parent):
        figure.savefig(path, format=kind, dpi=_DPI, metadata=metadata)


def _bars(
    axes: "Axes", title: str, values: Sequence[float | None], text: Callable[[float], str]
) -> None:
    known = [value for value in values if value]
    log = title == "Drift" and bool(known) and max(known) >= _SPREAD * min(known)
    if log:
        axes.set_xscale("log")
        title += " (log scale)"
    colours = [_BASE, *([_OTHER] * (len(values) - 1))]
    axes.barh(range(len(values)), [value or 0 for value in values], height=0.62, color=colours)
    low, high = _limits(known, log=log)
    axes.set_xlim(low, high)
    for place, value in enumerate(values):
        axes.annotate(
            "unknown" if value is None else text(value),
            (max(value or 0, low), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
        )
    axes.set_title(title, loc="left", fontsize="medium", color=_INK)
    axes.xaxis.set_visible(False)  # every bar says its value
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(_FAINT)


def _limits(known: Sequence[float], *, log: bool) -> tuple[float, float]:
    """Return a panel's bounds, with room for a value right of the longest bar."""
    most = max(known, default=1.0)
    if not log:
        return 0.0, most / (1 - _ROOM)
    low = min(known) / 3
    return low, low * (most / low) ** (1 / (1 - _ROOM))


def _labels(found: "Sequence[Compared]") -> list[str]:
    """Return each bar's label: the words that tell it apart."""
    names = {item.variant.name for item in found}
    versions = {item.variant.version for item in found}
    labels = [
        item.variant.ref
        if len(names) > 1
        else f"{item.variant.variant}@{item.variant.version}"
        if len(versions) > 1
        else item.variant.variant
        for item in found
    ]
    return [_short(label, _LABEL) for label in labels]


def _title(found: "Sequence[Compared]") -> str:
    return _short(f"Compared with {found[0].variant.ref}", _TITLE)


def _note(found: "Sequence[Compared]") -> str:
    context = found[0].figures.context
    provider = str(context["provider"]).removesuffix("ExecutionProvider")
    return safe(
        f"batch {context['batch']}, threads {threads_of(context)}, {provider}, "
        f"onnxruntime {context['onnxruntime']}, {context['cpu']}; "
        "drift: largest absolute difference of an output"
    )


def _short(text: str, most: int) -> str:
    return safe(text if len(text) <= most else "…" + text[1 - most :])
