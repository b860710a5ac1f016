"""Environments for frameworks: each made once from pinned requirements, and kept."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from onnxzoo.registry.convert.job import Converter
from onnxzoo.registry.errors import RemoteError, StorageError, UsageError
from onnxzoo.registry.settings import Settings, child_environment
from onnxzoo.registry.store import clear, staging_name

_SHOWN = 300  # characters of an installer's last line
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


def interpreter(one: Converter, settings: Settings) -> Path:
    """Return the Python of a converter's own environment, which is made if it is not there.

    A half-made one has another name: a kill leaves garbage, never a broken environment.

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
        try:
            _make(making, one)
            _keep(making, folder)
        finally:
            clear(making)
    return python_in(folder)


def python_in(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _make(folder: Path, one: Converter) -> None:
    requirements, name = str(one.requirements), one.name
    uv = shutil.which("uv")
    base = _python_for(one, uv=uv)
    if uv:
        _run([uv, "venv", "--quiet", "--python", base, str(folder)], name)
        python = str(python_in(folder))
        _run([uv, "pip", "install", "--quiet", "--python", python, "-r", requirements], name)
    else:
        _run([base, "-m", "venv", str(folder)], name)
        pip = [str(python_in(folder)), "-m", "pip", "install", "--quiet", "-r", requirements]
        _run(pip, name)


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


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        check=False,
        env=child_environment(isolated=True, offline=False),
    )
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()] or said or ["it said nothing"]
        raise RemoteError(f"cannot make the environment of `{name}`: {errors[-1][:_SHOWN]}")


def _keep(making: Path, folder: Path) -> None:
    try:
        making.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was first
            raise StorageError(
                f"cannot keep the environment `{folder}`: {error.strerror}"
            ) from error
