"""Help texts of the commands: their groups, their examples, and no types in the place of words."""

import re
from typing import Any

import typer.core

# Commands as people look for them, each with what one would type.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "Get models": {
        "search": ("zoo search resnet --opset '>=13'", "zoo search --task object-detection -q"),
        "pull": ("zoo pull resnet50", "zoo pull hf://org/repo:q4 --dry-run"),
        "register": ("zoo register model.onnx --name mine", "zoo register v2.onnx --name mine"),
        "import": ("zoo import models.zoo",),
        "sync": ("zoo sync", "zoo sync --check"),
    },
    "Look": {
        "list": ("zoo list", "zoo list vision --json"),
        "show": ("zoo show resnet50", "zoo show model.onnx"),
        "versions": ("zoo versions mine",),
        "opsets": ("zoo opsets resnet50", "zoo opsets mine --for onnxruntime==1.17"),
        "path": ("zoo path mine:int8@2",),
        "view": ("zoo view mine",),
        "licenses": ("zoo licenses", "zoo licenses --attribution -o NOTICE"),
    },
    "Run and measure": {
        "run": ("zoo run resnet50", "zoo run mine --input x=image.npy"),
        "test": ("zoo test mine", "zoo test mine --data test_data_set_0"),
        "bench": ("zoo bench mine --batch 1,8 --threads 1,4",),
        "compare": ("zoo compare mine --plot mine.svg", "zoo compare mine:fp32 mine:int8"),
    },
    "Make variants": {
        "convert": ("zoo convert model.pkl --name mine --trust", "zoo convert mine --opset 17"),
        "quantize": (
            "zoo quantize mine --to int8",
            "zoo quantize mine --to qdq --calibrate images",
        ),
        "rederive": ("zoo rederive mine:int8",),
    },
    "Name and share": {
        "alias": ("zoo alias mine@2 production", "zoo alias mine"),
        "tag": ("zoo tag mine vision edge",),
        "lock": ("zoo lock mine@production resnet50",),
        "export": ("zoo export mine -o mine.zoo",),
    },
    "Keep": {
        "verify": ("zoo verify --repair",),
        "rm": ("zoo rm mine@1", "zoo rm mine:int8 --gc"),
        "gc": ("zoo gc --dry-run",),
        "doctor": ("zoo doctor", "zoo doctor --rebuild"),
        "index": ("zoo index list", "zoo index update"),
    },
}
_EXAMPLES = {name: shown for names in GROUPS.values() for name, shown in names.items()}
# A parameter's Python type, and the bounds of a number: the texts say what is meant.
_TYPE = re.compile(r" <[\w\[\] ]+>$")
_BOUNDS = re.compile(r"(; |(?<=\[))(?:-?[\d.]+<=?)?x(?:[<>]=?-?[\d.]+)?(?=\])")


class Command(typer.core.TyperCommand):
    """A command with examples in its help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options into the help."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            params = [one for one in self.get_params(ctx) if one.param_type_name == kind]
            rows = [_plain(*record) for one in params if (record := one.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples into the help."""
        if examples := _EXAMPLES.get(ctx.info_name or ""):
            with formatter.section("Examples"):
                for example in examples:
                    formatter.write(f"  {example}\n")


class Group(typer.core.TyperGroup):
    """The list of commands, in groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a list a group into the help."""
        shown = {
            name: command
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) and not command.hidden
        }
        for title, names in GROUPS.items():
            limit = formatter.width - 6 - max(map(len, shown))
            rows = [
                (name, shown[name].get_short_help_str(limit)) for name in names if name in shown
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


def _plain(name: str, text: str) -> tuple[str, str]:
    """Return a row of the help without a parameter's type and bounds.

    >>> _plain("--runs N", "Runs that are counted.  [default: 5; x>=1]")
    ('--runs N', 'Runs that are counted.  [default: 5]')
    >>> _plain("source <str>", "A file.  [x>=1]")
    ('source', 'A file.')
    """
    return _TYPE.sub("", name), _BOUNDS.sub("", text).removesuffix("[]").rstrip()
