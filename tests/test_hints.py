"""Every command that a message, a hint or a document names exists, with its options."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from onnxzoo.cli.app import app

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path for top in ("registry", "zoo_index", "cli", "src/onnxzoo")
    for path in (ROOT / top).rglob("*.py")
    if top != "src/onnxzoo" or path.parent == ROOT / top
)  # fmt: skip
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
VALUE = "\0"  # stands for what an f-string puts in
_MENTION = re.compile(r"\bzoo ([a-z-][^`;()\n]*)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*|-[a-zA-Z])(?![\w-])")
_AROUND = f",.:{VALUE}"
# Words that follow «zoo» in sentences about it.
_PROSE = {"manager"}


def _options(command: Any) -> set[str]:
    """Return a command's options, and those of its own commands."""
    own = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    return own.union(*map(_options, getattr(command, "commands", {}).values()), {"--help", "-h"})


_ROOT: dict[str, Any] = getattr(get_command(app), "commands", {})
COMMANDS = {name: _options(found) for name, found in _ROOT.items()}
_ALONE = re.compile(r"(?:^|: |, |\bor |\bor add )(--[a-z][\w-]*)")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string of a module, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    skipped |= {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else VALUE for v in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def wrong(mention: str) -> list[str]:
    """Return what of a command line, without its «zoo», there is not.

    >>> wrong("pull NAME --dry-run, or zoo push"), wrong("pull --no-such"), wrong("fly")
    ([], ['--no-such'], ['fly'])
    """
    command, words, path = get_command(app), mention.split(), []
    while words and (found := getattr(command, "commands", {}).get(words[0].strip(_AROUND))):
        command = found
        path.append(words.pop(0))
    if not path and words and not words[0].startswith("-"):
        return [] if words[0].strip(_AROUND) in _PROSE else [words[0]]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    return [option for option in _OPTION.findall(_own(" ".join(words))) if option not in known]


def _own(words: str) -> str:
    """Return the words up to those that speak of something else, such as another command."""
    return re.split(r"\bzoo |\bpip |\||&&|, | #|→", words)[0]


def mentions(text: str) -> Iterator[str]:
    for found in _MENTION.finditer(text):
        if not re.search(r"[/\w.-]$", text[: found.start()]):  # `my-zoo list`, `/opt/zoo x`
            yield found[1]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_message_names_commands_and_options_that_exist(path: Path) -> None:
    for number, text in texts(path):
        for mention in mentions(text):
            assert wrong(mention) == [], f"{path.name}:{number}: zoo {mention}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_commands_and_options_that_exist(path: Path) -> None:
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        for mention in mentions(text):
            assert wrong(mention) == [], f"{path.name}:{number}: zoo {mention}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_an_option_alone_is_one_that_some_command_has(path: Path) -> None:
    """A hint may name an option of the command that was typed; a converter's, `zoo convert`'s."""
    of = ["convert"] if "registry/convert/" in path.as_posix() else list(COMMANDS)
    known = {option for name in of for option in COMMANDS[name]}
    for number, text in texts(path):
        for option in _ALONE.findall(text) if " " in text else ():
            assert option in known, f"{path.name}:{number}: {text}"


def test_what_is_not_there_is_seen() -> None:
    assert wrong("pull NAME --force") == []
    assert wrong("pull NAME --forse") == ["--forse"]
    assert wrong("index update --force") == []
    assert wrong("index --force") == ["--force"]
    assert wrong("puul NAME") == ["puul"]
