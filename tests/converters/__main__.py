"""Run converters in environments of their own, and tell how far each lies from its framework.

``python -m tests.converters --all`` makes every environment (some 6 GB below the cache folder;
they are kept), makes each case's model in it, converts and proves it. ``--write`` puts the figures
into docs/converters.md. Names of converters take the place of ``--all``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import NamedTuple

from onnxzoo.registry.convert.api import convert
from onnxzoo.registry.convert.discovery import converter
from onnxzoo.registry.convert.environments import interpreter
from onnxzoo.registry.core.errors import ZooError
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.core.settings import Settings
from tests.converters import CASES, converter_in
from tests.converters.case import Case, NotInstalled, check, make, recognised
from tests.converters.real import REAL, derived, install

DOCUMENT = Path(__file__).parents[2] / "docs" / "converters.md"
BEGIN, END = "<!-- figures: python -m tests.converters --all --write -->", "<!-- end -->"
HEAD = "| case | from | opset | apart | seconds |\n| --- | --- | ---: | ---: | ---: |"


class Row(NamedTuple):
    """What became of a case; ``said`` is empty where it passed."""

    name: str
    case: Case
    variant: Variant | None
    seconds: float
    said: str = ""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.converters", description=__doc__)
    parser.add_argument("names", nargs="*", help="converters")
    parser.add_argument("--all", action="store_true", help="every converter")
    parser.add_argument("--case", action="append", help="only these cases")
    parser.add_argument("--real", action="store_true", help="published ONNX models, derived")
    parser.add_argument("--write", action="store_true", help="write docs/converters.md")
    asked = parser.parse_args()
    for one in REAL if asked.real or asked.all else ():
        with folder() as work:
            print(*derived(one, work), sep="\n", flush=True)
    if asked.real and not (asked.names or asked.case):
        return 0
    if not (asked.all or asked.names or asked.case):
        parser.error("name converters or cases, or give --all")
    names = [
        name
        for name in CASES
        if asked.all or converter_in(name) in asked.names or name in (asked.case or ())
    ]
    rows = []
    for row in run(names):
        rows.append(row)
        print(line(row) if not row.said else f"{row.name}: {row.said}", flush=True)
    if asked.write:
        write(rows)
    failed = [row.name for row in rows if row.said]
    print(f"{len(rows) - len(failed)} of {len(rows)} cases pass", *failed, file=sys.stderr)
    return 1 if failed else 0


def run(names: Sequence[str]) -> Iterator[Row]:
    """Run cases, each in a folder and a registry of its own."""
    for name in names:
        with folder() as work:
            yield _run(name, CASES[name], work)


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder to work in, and a registry of its own with the environments that are kept."""
    before, environments = os.environ.get("ZOO_HOME"), Settings.from_env().environments
    environments.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        work = Path(home) / "work"
        work.mkdir()
        (Path(home) / "cache").mkdir()
        (Path(home) / "cache" / "environments").symlink_to(environments)
        os.environ["ZOO_HOME"] = home
        with chdir(work):
            yield work
    os.environ.pop("ZOO_HOME")
    os.environ |= {"ZOO_HOME": before} if before else {}


def _run(name: str, case: Case, folder: Path) -> Row:
    start = time.monotonic()
    try:
        python = interpreter(converter(converter_in(name)), Settings.from_env())
        if case.wheel:
            install(case.wheel, folder)
        make(case, folder, str(python))
        assert recognised(case) == case.format, recognised(case)
        start = time.monotonic()
        variant = convert(case.file, "net", isolated=True, **case.how)
        seconds = time.monotonic() - start
        check(variant, case)
    except (ZooError, AssertionError, NotInstalled, subprocess.CalledProcessError) as error:
        said = f"{type(error).__name__}: {error}"[:2000]
        return Row(name, case, None, time.monotonic() - start, said)
    return Row(name, case, variant, seconds)


def line(row: Row) -> str:
    """Return a row of the table.

    >>> line(Row("acme", Case("acme", "m", ""), None, 1.25, "it failed"))
    '| acme | acme | - | it failed | 1.2 |'
    """
    words = row.case.words or row.case.format
    if row.variant is None or row.variant.lineage is None:
        return f"| {row.name} | {words} | - | {row.said} | {row.seconds:.1f} |"
    apart = row.variant.lineage.recipe["drift"]["max"]
    return f"| {row.name} | {words} | {row.variant.opset} | {apart:.1e} | {row.seconds:.1f} |"


def write(rows: Sequence[Row]) -> None:
    """Put the table into the document, between its marks."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    table = "\n".join([BEGIN, "", HEAD, *(line(row) for row in rows), "", END])
    DOCUMENT.write_text(before + table + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
