"""Represent the source of a conversion: a file, a folder, a factory, or a value in code."""

import hashlib
import os.path
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.convert.detect.weight_files import weights_of
from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.files import expanded, is_there, reading
from onnxzoo.registry.core.manifest import File, Manifest

# A value's framework by the packages that its type comes from; the first of them decides.
_FRAMEWORKS = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "torch": "torch",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "paddle": "paddle",
    "sklearn": "sklearn",
    "flax": "jax",
    "equinox": "jax",
    "jax": "jax",
    "jaxlib": "jax",
}


class Source(NamedTuple):
    """The origin of a model.

    Attributes:
        name: what it is called in messages and in lineage: no folders of this machine.
        where: what the registry keeps as its source.
        path: of a file or folder; None for a factory's or a value.
        factory: ``module:function``.
        value: the model itself.
        framework: of a value, by its type; None where that is not known.
        content: what tells its SHA-256 and its size on disk.
    """

    name: str
    where: str
    path: Path | None = None
    factory: str | None = None
    value: Any = None
    framework: str | None = None
    content: Callable[[], tuple[str | None, int]] = lambda: (None, 0)

    @property
    def bytes(self) -> int:
        """Its size on disk."""
        return self.content()[1]

    @property
    def sha256(self) -> str | None:
        """The digest of its content, which is read when this is first asked.

        The file's, the factory's module's, a manifest's where there are several files, as in a
        folder or with weights that lie beside the graph.
        """
        return self.content()[0]


def source_of(
    what: Any, factory: str | None = None, options: Mapping[str, str] | None = None
) -> Source:
    """Return the source named by a path, ``module:function`` or model.

    Args:
        what: it.
        factory: of the module that a file of weights is for.
        options: of the conversion, which may name a file of weights.

    Raises:
        NotFound: if there is no such file, folder or module.
        UsageError: if a function that makes its module is given another one.
    """
    if not isinstance(what, str | Path):
        kind = type(what)
        called = f"{kind.__module__}.{kind.__qualname__}"
        return Source(called, f"code:{called}", value=what, framework=_framework(kind))
    path = expanded(what)
    if is_there(what):
        if not (path.is_file() or path.is_dir()):
            raise NotFound(f"`{what}` is neither a file nor a folder")
        content = cache(partial(_content, path.absolute(), options or {}))
        return Source(path.name, str(path.absolute()), path.absolute(), factory, content=content)
    if is_factory(str(what)):
        if factory:
            raise UsageError(f"`{what}` makes its model itself; --factory goes with a file")
        module = _of_module(str(what))
        return Source(str(what), str(what), factory=str(what), content=lambda: (module, 0))
    raise NotFound(f"no file, folder or module:function `{what}`")


def is_factory(text: str) -> bool:
    """Tell whether a text is ``module:function`` of a module that is there.

    The module is looked for in the working directory too; nothing of it is imported.
    """
    module, sign, function = text.partition(":")
    names = module.split(".")
    return (
        bool(sign)
        and function.isidentifier()
        and all(map(str.isidentifier, names))
        and _is_module(names[0])
    )


def _is_module(name: str) -> bool:
    files = (f"{name}.py", f"{name}/__init__.py")
    if any(map(os.path.isfile, files)):
        return True
    try:
        return find_spec(name) is not None
    except (OSError, ValueError):  # `__main__`, or a name that is too long for a file
        return False


def _framework(kind: type) -> str | None:
    roots = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for root, name in _FRAMEWORKS.items() if root in roots), None)


def _content(path: Path, options: Mapping[str, str]) -> tuple[str, int]:
    with reading(path):
        return _digest(path, options)


def _digest(path: Path, options: Mapping[str, str]) -> tuple[str, int]:
    found = {
        file.relative_to(path).as_posix(): file
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    if path.is_file():
        weights = weights_of(path, options)
        if weights is None:
            return sha256_of(path), path.stat().st_size
        found = {path.name: path, weights.name: weights}
    files = [File(name, sha256_of(file), file.stat().st_size) for name, file in found.items()]
    if not files:
        raise NotFound(f"the folder `{path}` is empty")
    return Manifest.of(files).digest.removeprefix("sha256:"), sum(file.bytes for file in files)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_module(factory: str) -> str | None:
    names = factory.partition(":")[0].split(".")
    for file in (Path(*names).with_suffix(".py"), Path(*names, "__init__.py")):
        if file.is_file():
            return sha256_of(file)
    return None
