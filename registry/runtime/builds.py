"""The installed onnxruntime: imported here and nowhere else, and named with its builds.

Its builds (`onnxruntime`, `onnxruntime-gpu` …) are packages that all write into one folder: the
last one installed runs, and removing any of them takes files of the others away.
"""

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from onnxzoo.registry.core.errors import NotFound

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

# The packages by the extras of onnxzoo that bring them. Source: onnxruntime's documentation,
# "Install ONNX Runtime".
EXTRAS = {
    "cpu": "onnxruntime",
    "gpu": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "directml": "onnxruntime-directml",
}
_FOLDER = "onnxruntime"
_FATAL_ONLY = 4  # onnxruntime's log severity


class Build(NamedTuple):
    """One installed package that brings onnxruntime."""

    package: str
    version: str

    def __str__(self) -> str:
        """Return it as pip writes it."""
        return f"{self.package}=={self.version}"


class Fault(NamedTuple):
    """A fault of the installation, and the commands that mend it."""

    what: str
    way_out: str


@cache
def runtime() -> Any:
    """Import and return onnxruntime.

    Raises:
        NotFound: if it is not installed, or incomplete, as another build's removal leaves it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        if _FOLDER not in sys.modules and getattr(error, "name", None) == _FOLDER:
            raise NotFound("onnxruntime is not installed", hint=install("cpu")) from error
        raise _broken(str(error)) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise _broken("files are missing from it")
    return onnxruntime


def quiet_options() -> "SessionOptions":
    """Return session options under which onnxruntime logs nothing short of its own end.

    Errors are raised, too; its lines hold a model's text as it is.
    """
    options: SessionOptions = runtime().SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


def installed() -> list[Build]:
    """Return the packages that bring onnxruntime, by their own lists of files."""
    from importlib.metadata import distributions  # 10 ms, which a session has no need of

    found = {
        Build(one.metadata["Name"], one.version)
        for one in distributions()
        if (one.metadata["Name"] or "").lower().startswith(("onnxruntime", "ort"))
        and any(file.as_posix() == f"{_FOLDER}/__init__.py" for file in one.files or ())
    }
    return sorted(found)


def running() -> Build:
    """Return the imported build.

    Raises:
        NotFound: see `runtime`.
    """
    version = str(runtime().__version__)
    try:
        from onnxruntime.capi.build_and_package_info import package_name
    except ImportError:  # builds from source may have none
        package_name = _FOLDER
    return Build(str(package_name), version)


def install(extra: str) -> str:
    """Return the commands that install a build, after removing conflicting ones.

    >>> install("nonesuch").rpartition("&& ")[2]
    "pip install 'onnxzoo[nonesuch]'"
    """
    there = " ".join(build.package for build in installed())
    return f"{f'pip uninstall -y {there} && ' if there else ''}pip install 'onnxzoo[{extra}]'"


def faults() -> list[Fault]:
    """Return the faults of the installed onnxruntime, worst first."""
    there = installed()
    try:
        imported = running()
    except NotFound as error:
        return [Fault(error.message, error.hint or install("cpu"))]
    if len(there) > 1:
        names = " and ".join(f"`{build}`" for build in there)
        return [
            Fault(
                f"{names} are installed in one folder; `{imported}` is the one that runs",
                install(_extra(there)),
            )
        ]
    return []


def _broken(why: str) -> NotFound:
    there = installed()
    return NotFound(
        f"the installed onnxruntime is incomplete: {why}",
        hint=install(_extra(there) if there else "cpu"),
    )


def _extra(builds: list[Build]) -> str:
    """Return the extra to keep of several builds: the one that does more than the CPU."""
    extras = [extra for extra, name in EXTRAS.items() if name in {b.package for b in builds}]
    return extras[-1] if extras else "cpu"
