"""A model from its source file: loaded from a pickle that is trusted, or made by a function."""

from importlib import import_module
from typing import Any

from onnxzoo.registry.convert.interface import Job
from onnxzoo.registry.core.errors import NotFound, Refused, UsageError


def made_by(job: Job) -> Any:
    """Call the job's ``module:function`` without arguments, and return its result.

    Raises:
        NotFound: if there is no such module or function.
    """
    module, _, function = str(job.factory).partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        raise NotFound(f"cannot import `{module}`: no module `{error.name}`") from error
    make = getattr(found, function, None)
    if not callable(make):
        raise NotFound(f"`{module}` has no function `{function}`")
    return make()


def model_of(job: Job) -> Any:
    """Return the model: the value in code, a factory's result, or a trusted pickle's content."""
    if job.value is not None:
        return job.value
    if job.source is None:
        return made_by(job)
    if not job.format.endswith("pickle") and job.format != "unknown":
        raise UsageError(f"the converter `{job.converter}` does not read a `{job.format}`")
    if not job.trust:
        raise Refused(f"`{job.source.name}` is a pickle and not trusted")
    import joblib

    return joblib.load(job.source)


def names_no_outputs(job: Job) -> None:
    """Raise UsageError if outputs were named for a converter that names them itself."""
    if job.outputs:
        raise UsageError(f"the converter `{job.converter}` names the outputs itself")
