"""Run a converter in a child process: load a framework, convert a model, compute samples.

It runs in the framework's environment, which may hold none of onnxzoo's own dependencies, and
without a network where the system lets it leave.
"""

import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from onnxzoo.registry.convert.interface import Job, Made
from onnxzoo.registry.convert.samples import save
from onnxzoo.registry.core.errors import Refused, ZooError
from onnxzoo.registry.core.sandbox import answer, leave_network, wants_memory

_SHOWN = 300  # characters of an exporter's error
_NO_MEMORY = ("not enough memory", "cannot allocate memory", "can't allocate memory")


def main() -> None:
    """Answer one request."""
    answer(_answer)


def _answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
    leave_network()
    job = Job.from_json(request["job"])
    if job.path:
        sys.path.append(job.path)  # last: nothing there shadows a framework
    try:
        return perform(job, request["needs"])
    except ZooError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)  # in the child's log
        raise


def perform(job: Job, needs: tuple[str, ...]) -> Mapping[str, Any]:
    """Convert, write the samples beside the model, and return notes, versions and tolerances.

    Raises:
        Refused: if the framework or its exporter fails.
    """
    try:
        # Exporters warn of what nobody reads here, and print; standard output is the caller's.
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            made = import_module(job.module).convert(job)
    except (ZooError, MemoryError):
        raise
    except Exception as error:
        raise _failed(error, job) from error
    if not isinstance(made, Made):
        found = type(made).__name__
        raise Refused(f"the `convert` of {job.converter} returned a `{found}`; expected a `Made`")
    if not job.model.is_file():
        raise Refused(f"{job.converter} said it had converted the model, but wrote no file")
    save(made.samples, job.folder)
    return {
        "notes": list(made.notes),
        "found": list(made.found),
        "tools": versions(needs),
        "reference": made.reference,
        "within": {str(place): float(step) for place, step in made.within.items()},
    }


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of imported packages, and Python's."""
    found = {"python": sys.version.split()[0]}
    for name in packages:
        module = sys.modules.get(name)
        if version := getattr(module, "__version__", None):
            found[name] = str(version)
    return found


def _failed(error: Exception, job: Job) -> Exception:
    text = str(error).strip()
    if wants_memory(text) or any(words in text.lower() for words in _NO_MEMORY):
        return MemoryError()
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    said = f"{type(error).__name__}: {first}"[:_SHOWN].rstrip(".: ")
    hint = "ZOO_DEBUG=1 shows all that it said"
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"pip install {error.name.partition('.')[0]}"
    return Refused(f"{job.converter} could not convert it: {said}", hint=hint)
