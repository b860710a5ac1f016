"""Run the children of a conversion: one loads the framework, one compares outputs."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import onnxzoo
import onnxzoo.registry
from onnxzoo.registry.core.decode import each, get, mapping, maybe, number, text
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.sandbox import Budget, Limits, ask
from onnxzoo.registry.core.sandbox_answer import read_plain
from onnxzoo.registry.core.settings import Settings, child_environment

T = TypeVar("T")

_log = logger()
_LARGEST = 64 << 10  # bytes of an answer: notes, versions, tolerances
_LONGEST_LOG = 128 << 20  # bytes
_SAME_ORDER = {"PYTHONHASHSEED": "0"}  # some exporters write what they keep in sets
# Finds onnxzoo alone: what else lies beside it must not shadow the framework's own packages.
_FIND = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
for name, at in {packages!r}:
    spec = spec_from_file_location(name, at + "/__init__.py", submodule_search_locations=[at])
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
from onnxzoo.registry.convert.{module} import main
main()
"""


@dataclass(frozen=True, slots=True)
class Child:
    """A child process of a conversion.

    Attributes:
        module: of this package; its `main` is run.
        doing: what it does, in words that follow on "while".
        limits: of its memory and time.
        python: of an environment of its own; None: ours.
        environment: variables beside those of `child_environment`.
    """

    module: str
    doing: str
    limits: Limits
    python: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def ask(
        self,
        request: Mapping[str, Any],
        folder: Path,
        settings: Settings,
        progress: Progress | None = None,
    ) -> Mapping[str, Any]:
        """Run it on a request, in a folder made for it below another, and return its answer."""

        def tell() -> None:
            if progress:
                progress(self.doing.replace("`", ""), 0, None)

        own = folder / self.module
        own.mkdir()
        # Each by its own folder: an editable installation may have them in different places.
        packages = [(one.__name__, one.__path__[0]) for one in (onnxzoo, onnxzoo.registry)]
        find = _FIND.format(packages=packages, module=self.module)
        try:
            return ask(
                [str(self.python or sys.executable), "-P", "-c", find],
                request,
                own,
                doing=self.doing,
                limits=self.limits,
                tell=tell,
                environment=child_environment(isolated=self.python is not None)
                | _SAME_ORDER
                | dict(self.environment),
            )
        finally:
            if settings.debug:
                _log.warning("%s", _log_of(own / "log"))


def _log_of(path: Path) -> str:
    try:
        return read_plain(path, _LONGEST_LOG).decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        return f"the log cannot be read: {error}"


def checked(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer of a converting child, in which code of others may have written anything.

    Raises:
        Refused: if it is not what `convert_worker.perform` gives, or has more than a record should
            hold.
    """
    try:
        found: dict[str, Any] = {
            "notes": get(told, "notes", each(text)),
            "found": get(told, "found", each(text)),
            "tools": get(told, "tools", _each_value(text)),
            "reference": get(told, "reference", maybe(text)),
            "within": get(told, "within", _each_value(number)),
        }
    except ValueError as error:
        raise Refused(f"the converter gave an answer that is none: {error}") from error
    if len(json.dumps(found)) > _LARGEST or not all(map(str.isdecimal, found["within"])):
        raise Refused(
            "the converter gave an answer that is none: it has too much, or tolerances of no output"
        )
    return found


def _each_value(read: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    return lambda values: {name: get(values, name, read) for name in mapping(values)}


def limits(memory: int, size: int, settings: Settings) -> Limits:
    """Return a child's limits: the user's, else by the size of its input."""
    return Budget(memory, times=8, seconds=600, rate=1_000_000).limits(size, settings)
