"""Archives of test data that the tests make themselves, harmless and hostile."""

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

Member = tuple[str, bytes]


def tar(path: Path, members: Sequence[Member | tarfile.TarInfo], *, mode: str = "w:gz") -> Path:
    """Write a tar archive of files, and of headers of any other kind."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return path


def header(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return the header of a link, a device, a pipe or a folder."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(path: Path, members: Sequence[Member], *, mode: int = 0) -> Path:
    """Write a zip archive; its files have this Unix mode."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def pb(array: Any, name: str = "") -> bytes:
    """Return a serialised TensorProto."""
    return bytes(numpy_helper.from_array(np.asarray(array), name).SerializeToString())


def npz(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays by their names."""
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def one_set(factor: float = 1.0, *, number: int = 0, under: str = "") -> dict[str, bytes]:
    """Return the files of one set for ``y = x * factor``; see `tests.models.linear`."""
    x = np.arange(8, dtype=np.float32).reshape(2, 4) + number
    folder = f"{under}test_data_set_{number}"
    return {f"{folder}/input_0.pb": pb(x), f"{folder}/output_0.pb": pb(x * np.float32(factor))}


def spread(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder and return it."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
