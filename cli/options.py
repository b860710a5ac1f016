"""The arguments and options that several commands share."""

from typing import Annotated

import typer

Reference = Annotated[
    str, typer.Argument(metavar="NAME[:VARIANT][@VERSION]", help="A model that is held.")
]
Known = Annotated[
    str,
    typer.Argument(metavar="NAME[:VARIANT][@VERSION]", help="Any model, held or in an index."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print references only, one a line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")]
Opset = Annotated[
    str | None, typer.Option(metavar="N", help="An opset or a constraint: 12, '<=13', '>=11,<18'.")
]
AsName = Annotated[
    str | None, typer.Option("--name", metavar="NAME[:VARIANT]", help="What to call it here.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, tensorrt, openvino, coreml, dml, …")]
Repair = Annotated[
    bool, typer.Option("--repair", help="Fetch what is damaged again from where it came from.")
]
