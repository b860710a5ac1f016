"""Archives of test data that the tests make themselves, harmless and hostile."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.manifest import File, Manifest
from tests.support import models

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


def twins(folder: Path, other: Path) -> Path:
    """Write a `.zoo` file: a bundle with a sound model, ``twins:fp32``, and another one.

    The other model is the variant ``twins:other`` of the same version, on the same bundle.
    """
    sound = models.linear(folder / "a.onnx")
    with Registry(folder / "twins") as registry:
        registry.register(sound, "twins")
        registry.export(["twins"], folder / "twins.zoo")
    under = "models/twins@1/fp32/"
    members = {f"{under}a.onnx": sound.read_bytes(), f"{under}b.onnx": other.read_bytes()}
    files = [
        File(name.removeprefix(under), hashlib.sha256(content).hexdigest(), len(content))
        for name, content in members.items()
    ]
    values = _manifest_of(folder / "twins.zoo")
    manifest = Manifest.of(files)
    first = values["models"][0]["versions"][0]["variants"][0]
    first["digest"] = manifest.digest
    values["models"][0]["versions"][0]["variants"].append(
        {**first, "label": "other", "entry": "b.onnx"}
    )
    values["bundles"] = [{"digest": manifest.digest, "files": [asdict(file) for file in files]}]
    values["members"] = [
        {"name": name, "sha256": file.sha256, "bytes": file.bytes}
        for name, file in zip(members, files, strict=True)
    ]
    return zoo(folder / "twins.zoo", values, members)


def zoo(path: Path, values: Mapping[str, Any], members: Mapping[str, bytes]) -> Path:
    """Write a `.zoo` file of any manifest and any members, which ends as ours do."""
    tar(path, [("zoo.json", json.dumps(values).encode()), *members.items()], mode="w:")
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    path.write_bytes(data[: end + -end % 512] + bytes(1024))
    return path


def _manifest_of(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as archive:
        return json.load(archive.extractfile("zoo.json"))  # type: ignore[arg-type, no-any-return]


def spread(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder and return it."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
