"""The plot of a comparison, drawn for real."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from onnxzoo.cli import plot
from onnxzoo.cli.plot import check, draw
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.records import Measurement
from onnxzoo.registry.measure.bench import Figures, Trial
from onnxzoo.registry.measure.compare import Compared
from onnxzoo.registry.measure.drift import Drift
from tests.support import models


@pytest.fixture
def compared(home: Path, tmp_path: Path) -> list[Compared]:
    with Registry(home) as registry:
        variant = registry.register(models.linear(tmp_path / "a.onnx"), "net").variant
    trial = Trial(variant)
    context = trial.context()
    figures = Figures(trial, context, (Measurement("latency_p50", 0.00125, "s", context),))
    drifts = [Drift(0, 1, 1), Drift(1e-6, 1, 1), Drift(0.25, 0.9, 1), Drift(why="other inputs")]
    labels = ["fp32", "fp16", "int8", "other"]
    return [
        Compared(replace(variant, variant=label), figures, drift, 1.0, fresh=True)
        for label, drift in zip(labels, drifts, strict=True)
    ]


def test_an_svg_says_everything_in_words(compared: list[Compared], tmp_path: Path) -> None:
    draw(compared, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    for word in ("fp32", "int8", "Size", "1.25 ms", "Drift (log scale)", "0.25", "unknown"):
        assert f"<!-- {word} -->" in text, word


def test_a_plot_of_the_same_figures_is_the_same_picture(
    compared: list[Compared], tmp_path: Path
) -> None:
    for kind in ("png", "svg"):
        for name in "ab":
            draw(compared, tmp_path / f"{name}.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_words_and_bars_do_not_leave_the_picture(compared: list[Compared], tmp_path: Path) -> None:
    import matplotlib.image

    longest = [
        replace(item, variant=replace(item.variant, name=f"{'a' * 60}/{'b' * 60}{number}"))
        for number, item in enumerate(compared)
    ]
    draw(longest, tmp_path / "p.png")
    pixels = matplotlib.image.imread(tmp_path / "p.png")[..., :3]
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    assert all((edge == 1).all() for edge in edges)


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never() -> None:
    code = "import sys, onnxzoo.cli.plot; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "pyplot" not in Path(plot.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["p.gif", "p", "svg"])
def test_another_kind_of_file_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=r"expected `.svg` or `.png`"):
        check(Path(name))


def test_without_matplotlib_the_extra_is_named(tmp_path: Path) -> None:
    # None is Python's own mark of a module that is not to be found.
    code = """
import sys
sys.modules["matplotlib"] = None
sys.argv = ["zoo", "compare", "gone", "--plot", "a.svg"]
from onnxzoo.cli import main
main()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert "hint: pip install 'onnxzoo[plot]'" in ran.stderr
