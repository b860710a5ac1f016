"""The arguments and options that several commands share."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from onnxzoo.cli import completion
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.settings import parse_size

Reference = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:VARIANT][@VERSION]",
        help="A model that is held.",
        autocompletion=completion.held_references,
    ),
]
Known = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:VARIANT][@VERSION]",
        help="Any model, held or in an index.",
        autocompletion=completion.known_references,
    ),
]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A model's name.", autocompletion=completion.known_names),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print references only, one a line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="At most so many; 0 for all.")]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK", help="Such as image-classification.", autocompletion=completion.tasks
    ),
]
License = Annotated[
    str | None,
    typer.Option(
        "--license", metavar="SPDX", help="Such as Apache-2.0.", autocompletion=completion.spdx
    ),
]
Opset = Annotated[
    str | None, typer.Option(metavar="N", help="An opset or a constraint: 12, '<=13', '>=11,<18'.")
]
MaxSize = Annotated[
    int | None, typer.Option(parser=parse_size, metavar="SIZE", help="Of all its files: 50MB.")
]
Prefer = Annotated[
    str | None,
    typer.Option(
        metavar="GOAL",
        help="Which of several variants: speed, size, memory, accuracy.",
        autocompletion=completion.words("speed", "size", "memory", "accuracy"),
    ),
]
MaxDrift = Annotated[
    float | None,
    typer.Option(min=0, metavar="N", help="How far outputs may lie from fp32's, as measured here."),
]
For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="onnxruntime==N.N",
        help="What this release runs, instead of the installed onnxruntime.",
    ),
]
AsName = Annotated[
    str | None, typer.Option("--name", metavar="NAME[:VARIANT]", help="What to call it here.")
]
AllowDomain = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-domain",
        metavar="DOMAIN",
        help="Take a model whose ops of this domain only a custom-op library has; repeatable.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="auto, cpu, gpu, cuda, cuda:1, openvino, directml, …",
        autocompletion=completion.words("auto", "cpu", "gpu", "cuda", "openvino", "directml"),
    ),
]
Axis = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=N", help="A size for an open axis, by name or as x:1."),
]
AllowLicense = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPDX[,SPDX]",
        help="Refuse others before anything is fetched; `unknown` allows what states none.",
    ),
]
Lock = Annotated[
    Path | None,
    typer.Option("--lock", metavar="FILE", help="Take the bytes that this lock has, no others."),
]
Repair = Annotated[bool, typer.Option("--repair", help="Fetch what is damaged or not here again.")]
Measured = Annotated[
    list[str],
    typer.Argument(
        metavar="REF",
        help="NAME[:VARIANT][@VERSION]; pulled if not held.",
        autocompletion=completion.known_references,
    ),
]
InputData = Annotated[
    Path | None,
    typer.Option(metavar="DATA", help="A file or folder of inputs, as for `zoo quantize`."),
]
Preprocess = Annotated[
    str | None, typer.Option(metavar="HOW", help="Of images: imagenet, 0-1 or -1-1.")
]
RunCount = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Runs that are counted, instead of seconds.")
]
RunSeconds = Annotated[
    float,
    typer.Option(
        min=0.0, metavar="S", help="For the runs that are counted, of each configuration."
    ),
]
WarmupRuns = Annotated[int, typer.Option(min=0, metavar="N", help="Runs before those that count.")]
ProcessTimeout = Annotated[
    float, typer.Option(min=0.0, metavar="S", help="Seconds that one process may take.")
]


def pairs(texts: Iterable[str], example: str) -> Iterable[tuple[str, str]]:
    """Yield the name and the value of each ``NAME=VALUE``; no name may come twice."""
    seen = set()
    for text in texts:
        name, sign, value = text.partition("=")
        if name in seen:
            raise UsageError(f"`{name}` is given twice")
        seen.add(name)
        if not sign or not value:
            raise UsageError(f"`{text}` is not `NAME=VALUE`", hint=f"for example: {example}")
        yield name, value


def licenses(texts: Sequence[str] | None) -> list[str] | None:
    """Return the licences that are allowed, None where nothing was said.

    >>> licenses(["apache-2.0,mit", "bsd-3-clause"]), licenses(None)
    (['apache-2.0', 'mit', 'bsd-3-clause'], None)
    """
    if texts is None:
        return None
    words = [word.strip() for text in texts for word in text.split(",")]
    if not all(words):
        raise UsageError("a licence is empty", hint="for example: --allow-license apache-2.0,mit")
    return words


def axes(texts: Sequence[str] | None) -> dict[str, int]:
    """Return the sizes of open axes by name.

    >>> axes(["batch=4", "seq=128"])
    {'batch': 4, 'seq': 128}
    """
    return {name: _count(text) for name, text in pairs(texts or (), "--axis batch=4")}


def _count(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"`{text}` is not a size", hint="for example: --axis batch=4")
    return int(text)
