"""Environments for frameworks: each made once from requirements pinned by hash, and kept.

They run on others' models, on machines that hold tokens: no package comes in that was not named
with its hashes, and none that runs code while it is installed (wheels only).
"""

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from onnxzoo.registry.convert.interface import Converter
from onnxzoo.registry.core.errors import RemoteError, StorageError, UsageError
from onnxzoo.registry.core.files import clear, size_of
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.settings import Settings, child_environment
from onnxzoo.registry.core.staging import staging_folder, staging_name

_ONLY = ["--quiet", "--require-hashes", "--only-binary", ":all:"]
_SHOWN = 300  # characters of an installer's last line
_STEP = 1  # seconds between two looks at how large an environment has become
_SECONDS = 3600  # TensorFlow's 1.5 GB take minutes on a slow line


def environment_of(one: Converter, settings: Settings) -> Path:
    """Return the folder of a converter's own environment, whether it was made or not.

    Raises:
        UsageError: if the converter has no pinned requirements.
    """
    if one.requirements is None:
        raise UsageError(f"the converter `{one.name}` has no environment of its own")
    made_of = f"{sys.version_info[:2]}\n{one.requirements.read_text(encoding='utf-8')}"
    key = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    return settings.environments / f"{one.requirements.stem}-{key}"


def interpreter(one: Converter, settings: Settings, progress: Progress | None = None) -> Path:
    """Return the Python of a converter's own environment, which is made if it is not there.

    A half-made one has another name: a kill leaves garbage, never a broken environment.

    Args:
        one: a converter that has requirements.
        settings: where environments are kept.
        progress: told of the bytes of one that is being made; nobody knows how many it takes.

    Raises:
        RemoteError: if the packages cannot be had.
    """
    folder = environment_of(one, settings)
    if not folder.is_dir():
        if settings.offline:
            raise RemoteError(
                f"the environment of `{one.name}` has to be made first, and this is offline mode"
            )
        making = folder.with_name(f".{staging_name()}")
        making.parent.mkdir(parents=True, exist_ok=True)

        def tell() -> None:
            if progress:
                progress(f"environment of {one.name}", size_of(making), None)

        try:
            with staging_folder(making):
                _make(making, one, tell)
                _keep(making, folder)
        finally:
            clear(making)
    return python_in(folder)


def python_in(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _make(folder: Path, one: Converter, tell: Callable[[], None]) -> None:
    requirements, name = str(one.requirements), one.name
    uv = shutil.which("uv")
    base = _python_for(one, uv=uv)
    if uv:
        _run([uv, "venv", "--quiet", "--python", base, str(folder)], name, tell)
        python = str(python_in(folder))
        _run([uv, "pip", "install", "--python", python, *_ONLY, "-r", requirements], name, tell)
    else:
        _run([base, "-m", "venv", str(folder)], name, tell)
        pip = [str(python_in(folder)), "-m", "pip", "install", *_ONLY, "-r", requirements]
        _run(pip, name, tell)


def _python_for(one: Converter, *, uv: str | None) -> str:
    """Return the Python to make an environment of: ours, unless it is newer than the packages."""
    if one.python is None or sys.version_info[:2] <= one.python:
        return sys.executable
    version = ".".join(map(str, one.python))
    found = shutil.which(f"python{version}") or (uv and version)  # uv finds or brings it
    if not found:
        raise UsageError(
            f"the packages of `{one.name}` are for Python {version} at the newest",
            hint=f"install Python {version}, or uv, which brings it",
        )
    return found


def _run(command: list[str], name: str, tell: Callable[[], None]) -> None:
    failed = f"cannot make the environment of `{name}`"
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=child_environment(isolated=True, offline=False),
    ) as installer:
        try:
            out, err = _said(installer, tell)
        except subprocess.TimeoutExpired as error:
            raise RemoteError(f"{failed}: it took longer than {_SECONDS} s") from error
    if installer.returncode:
        raise RemoteError(f"{failed}: {_reason(err or out)}")


def _said(installer: "subprocess.Popen[str]", tell: Callable[[], None]) -> tuple[str, str]:
    """Return an installer's output; the installer ends with this process."""
    end = time.monotonic() + _SECONDS
    try:
        while True:
            try:
                return installer.communicate(timeout=_STEP)
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise
            tell()
    except BaseException:
        installer.kill()
        raise


def _reason(said: str) -> str:
    """Return an installer's reason: pip's last error, or the lines after uv's.

    >>> _reason("a warning\\nERROR: No matching distribution\\n")
    'ERROR: No matching distribution'
    >>> _reason("error: No solution found\\n  cause: there is no version 9 of it\\n")
    'error: No solution found; cause: there is no version 9 of it'
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [place for place, line in enumerate(lines) if "error" in line.lower()]
    last = lines[errors[-1] :] if errors else lines[-1:]
    return "; ".join(last)[:_SHOWN] or "it said nothing"


def _keep(making: Path, folder: Path) -> None:
    try:
        making.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was first
            raise StorageError(
                f"cannot keep the environment `{folder}`: {error.strerror}"
            ) from error
