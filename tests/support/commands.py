"""What running a command in this process gives."""

from collections.abc import Callable
from typing import NamedTuple


class Ran(NamedTuple):
    """A command's exit code, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
