"""Show a model's graph in a web browser, by Netron."""

import logging
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from onnxzoo.cli.commands.show import described, is_file, refusal
from onnxzoo.cli.output import info
from onnxzoo.registry.core.errors import NotFound


def view(
    ref: Annotated[
        str,
        typer.Argument(metavar="REFERENCE", help="A model that is held, or an .onnx file."),
    ],
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help="Of this machine; else a free one."),
    ] = None,
    browse: Annotated[bool, typer.Option(help="Open the web browser.")] = True,
) -> None:
    """Show a model's graph in a web browser (Netron)."""
    if find_spec("netron") is None:
        raise NotFound(
            "graphs are drawn by Netron, which is not installed",
            hint="pip install 'onnxzoo[view]'",
        )
    path = _path_of(ref)
    import netron

    logging.getLogger("netron").setLevel(logging.WARNING)  # it would print what is said here
    host, number = netron.start(str(path), address=port, browse=browse)
    info(f"{path.name} is shown at http://{host}:{number} until Ctrl-C")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C is the command's normal end
    netron.wait()


def _path_of(ref: str) -> Path:
    from onnxzoo.zoo_index.zoo import Zoo

    if is_file(ref):
        described(Path(ref))
        if refused := refusal(Path(ref)):
            raise refused
        return Path(ref).expanduser().absolute()
    with Zoo() as zoo:
        variant = zoo.resolve(ref)
        zoo.registry.check_there(variant)
        return variant.path
