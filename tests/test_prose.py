"""The English of docstrings and help: a first line says what is done, in a plain order."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

from onnxzoo.cli.app import app

ROOT = Path(__file__).parent.parent
# Words in a noun's place, which a reader has to decode: «Return what follows», «those that are».
_DECODED = re.compile(r"^(What|Which|Those|Whose|How|Where|Whether|When)\b|\b(what|those|whose)\b")
_MOST = 0.01  # the share in pooch, httpx, packaging and sqlite-utils
_HELP = 55  # characters: `zoo --help` cuts longer ones in a terminal of 80 columns


def first_lines() -> Iterator[tuple[str, str]]:
    """Yield the place and the first line of every docstring of the product."""
    for top in ("registry", "zoo_index", "cli", "src/onnxzoo"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if path.resolve() != path:
                continue  # behind a link in src
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(
                    node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                ) and (text := ast.get_docstring(node)):
                    place = f"{path.relative_to(ROOT)}:{getattr(node, 'name', '')}"
                    yield place, text.splitlines()[0]


def test_first_lines_need_no_decoding() -> None:
    found = list(first_lines())
    decoded = [(place, line) for place, line in found if _DECODED.search(line)]
    assert len(found) > 1000
    assert len(decoded) <= _MOST * len(found), decoded


def test_a_first_line_is_a_sentence() -> None:
    found = [one for one in first_lines() if not one[1].endswith((".", ":", "…"))]
    assert found == []


def test_no_summary_of_a_command_is_cut() -> None:
    commands = getattr(get_command(app), "commands")  # noqa: B009  (of click's group)
    long = {
        name: line
        for name, command in commands.items()
        if len(line := (command.help or "").strip().splitlines()[0]) > _HELP
    }
    assert commands
    assert long == {}
