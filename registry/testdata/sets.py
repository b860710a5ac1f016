"""Reference inputs and outputs as files: brought into one layout, and read from it.

The layout is that of onnx's backend tests: folders ``test_data_set_0``, ``test_data_set_1`` … with
``input_0.pb`` … and ``output_0.pb`` …, each a serialised TensorProto, SequenceProto or
OptionalProto. Source: onnx, docs/OnnxBackendTest.md, and onnx/backend/test/runner/__init__.py.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import NotFound, Refused, UsageError
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.records import Graph, Tensor
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.onnx_file.dtypes import STRING, WIDTHS
from onnxzoo.registry.store import Stage
from onnxzoo.registry.testdata.archives import members
from onnxzoo.registry.testdata.arrays import read_npz

if TYPE_CHECKING:
    import numpy as np
    from onnx import TensorProto

    Array = np.ndarray[Any, Any]

_SET = re.compile(r"test_data_set_\d+")
_FILE = re.compile(r"(input|output)_\d+\.pb")
_KEY = re.compile(r"(input|output):(.+)")
_LARGEST = 2 << 30  # bytes of one file: no serialised protobuf can be larger
_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
_EXPECTED = (
    "a folder or a .tar.gz or .zip of test_data_set_0/input_0.pb, output_0.pb …, "
    "or an .npz with the arrays input:NAME and output:NAME"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One set: a value by name for each input, and for each output that is expected.

    A value is an array, a list of them, or None for an optional that is empty.
    """

    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


def gather(path: Path, stage: Stage, graph: Graph) -> None:
    """Bring reference data into a stage, in the one layout, and hold them against the graph.

    Args:
        path: a folder that holds ``test_data_set_*`` (or is one), or ``.npz`` files, each a set;
            one ``.npz`` with the arrays ``input:NAME`` and ``output:NAME``; or an archive of
            ``test_data_set_*`` folders, of which everything else is left out.
        stage: where to, ``test_data_set_N/…``.
        graph: of the model that they are for.

    Raises:
        NotFound: if there are no such data.
        Refused: if they are unsafe to read, malformed, or not for this model.
        IntegrityError: if an archive is damaged.
    """
    with reading(path):
        if path.is_dir():
            _from_folder(path, stage, graph)
        elif not path.is_file():
            raise NotFound(f"no test data `{path}`", hint=f"expected {_EXPECTED}")
        elif path.suffix.lower() == ".npz":
            _from_arrays([path], stage, graph)
        else:
            _from_archive(path, stage)
    found = list(sets(stage.folder))
    if not found:
        raise NotFound(f"no test data in `{path}`", hint=f"expected {_EXPECTED}")
    for folder in found:
        _check(read(folder, graph), graph)


def gather_light(path: Path, stage: Stage, graph: Graph) -> None:
    """Bring in the expected output of one of onnx's light models; the inputs are made.

    Source: onnx, onnx/backend/test/runner/__init__.py, "generate_dummy_data": the numbers from 0
    to 1 in equal steps, float32.
    """
    import numpy as np
    from onnx import numpy_helper

    for number, tensor in enumerate(graph.inputs):
        shape = [axis if isinstance(axis, int) else 1 for axis in tensor.shape or ()]
        count = int(np.prod(shape))
        steps = (np.arange(count).reshape(shape) / count).astype(np.float32)
        made = numpy_helper.from_array(steps, tensor.name).SerializeToString()
        stage.write([made], f"test_data_set_0/input_{number}.pb")
    stage.copy(path, "test_data_set_0/output_0.pb")
    read(stage.folder / "test_data_set_0", graph)


def sets(folder: Path) -> list[Path]:
    """Return the folders of the sets in a folder, by their numbers."""
    found = [path for path in folder.glob("test_data_set_*") if _SET.fullmatch(path.name)]
    return sorted(found, key=_number)


def read(folder: Path, graph: Graph) -> Case:
    """Return one set's inputs and outputs.

    Values belong to the graph's by their names where all of them have known ones, else by position:
    what wrote onnx's own files often left the names out, or made them up.

    Raises:
        Refused: if a file is not what it should be, or they are not for this graph.
    """
    values = {}
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        paths = sorted(folder.glob(f"{kind}_*.pb"), key=_number)
        if len(paths) > len(tensors) or (kind == "output" and not paths):
            raise Refused(
                f"`{folder.name}` has {len(paths)} {kind}s; the model has {len(tensors)}",
                hint="are these data of another model?",
            )
        found = [read_value(path, tensor) for path, tensor in zip(paths, tensors, strict=False)]
        values[kind] = _named(found, tensors)
    return Case(folder.name, values["input"], values["output"])


def _check(case: Case, graph: Graph) -> None:
    """Refuse a set that leaves something out, or has inputs that the graph does not take."""
    for kind, tensor in _tensors_of(graph):
        if tensor.name not in (case.inputs if kind == "input" else case.outputs):
            raise Refused(
                f"`{case.name}` has no {kind} `{tensor.name}`; expected all that the model has",
                hint=f"its own: {_listed(graph)}",
            )
    for tensor in graph.inputs:
        if "(" not in tensor.dtype:
            _check_input(f"the input `{tensor.name}` of `{case.name}`", case, tensor)


def _check_input(who: str, case: Case, tensor: Tensor) -> None:
    value, hint = case.inputs[tensor.name], "are these data of another model?"
    dtype = STRING if value.dtype == object else str(value.dtype)
    if dtype != tensor.dtype and not {dtype, tensor.dtype} <= WIDTHS:
        raise Refused(f"{who} is `{dtype}`; the model takes {tensor.dtype}", hint=hint)
    if not tensor.takes(value.shape):
        axes = ", ".join("?" if axis is None else str(axis) for axis in tensor.shape or ())
        raise Refused(f"{who} is `{list(value.shape)}`; the model takes [{axes}]", hint=hint)


def _listed(graph: Graph) -> str:
    return ", ".join(f"`{kind}:{tensor.name}`" for kind, tensor in _tensors_of(graph))


def _tensors_of(graph: Graph) -> Iterator[tuple[str, Tensor]]:
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            yield kind, tensor


def _from_folder(path: Path, stage: Stage, graph: Graph) -> None:
    folders = [path] if list(path.glob("input_*.pb")) or list(path.glob("output_*.pb")) else []
    for number, folder in enumerate(folders or sets(path)):
        name = f"test_data_set_{number}" if folders else folder.name
        for file in sorted(folder.iterdir()):
            if _FILE.fullmatch(file.name):
                stage.copy(file, f"{name}/{file.name}")
    if not stage.folder.exists() or not any(stage.folder.iterdir()):
        _from_arrays(sorted(path.glob("*.npz")), stage, graph)


def _from_archive(path: Path, stage: Stage) -> None:
    taken = set()
    for member in members(path):
        parts = PurePosixPath(member.path).parts[-2:]
        if len(parts) < len(("set", "file")) or not _SET.fullmatch(parts[0]):
            continue
        if _FILE.fullmatch(parts[1]):
            target = "/".join(parts)
            if target in taken:
                raise Refused(f"`{path.name}` holds `{target}` twice")
            taken.add(target)
            stage.write(_bounded(member.chunks, f"`{member.path}` in `{path.name}`"), target)


def _from_arrays(paths: Sequence[Path], stage: Stage, graph: Graph) -> None:
    from onnx import numpy_helper

    known = {f"{kind}:{tensor.name}" for kind, tensor in _tensors_of(graph)}
    for number, path in enumerate(paths):
        counts = {"input": 0, "output": 0}
        for key, array in _arrays(path):
            match = _KEY.fullmatch(key)
            if match is None:
                raise UsageError(
                    f"`{path.name}` has an array `{key}`; expected `input:NAME` or `output:NAME`",
                    hint='numpy.savez(FILE, **{"input:x": x, "output:y": y})',
                )
            if key not in known:
                raise Refused(
                    f"`{path.name}` has an array `{key}`, and the model no such {match[1]}",
                    hint=f"its own: {_listed(graph)}",
                )
            try:
                made = numpy_helper.from_array(array, match[2]).SerializeToString()
            except (ValueError, TypeError, LookupError, NotImplementedError) as error:
                raise Refused(f"`{key}` in `{path.name}` is {array.dtype}: no tensor") from error
            file = f"{match[1]}_{counts[match[1]]}.pb"
            stage.write([made], f"test_data_set_{number}/{file}")
            counts[match[1]] += 1


def _arrays(path: Path) -> "Iterator[tuple[str, Array]]":
    try:
        arrays = read_npz(path)
    except UsageError as error:
        raise Refused(error.message) from error
    for key, array in arrays.items():
        yield key, array.astype(object) if array.dtype.kind == "U" else array


def _bounded(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        if done > _LARGEST:
            raise Refused(f"{name} is larger than {show_size(_LARGEST)}, and no tensor's file")
        yield chunk


def read_value(path: Path, tensor: Tensor) -> tuple[str, Any]:
    """Return the name that a `.pb` file gives its value, and the value.

    Args:
        path: a serialised TensorProto, SequenceProto, OptionalProto or MapProto.
        tensor: the input or output whose kind it has to be.

    Raises:
        Refused: if it holds none of that kind.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    where = f"{path.parent.name}/{path.name}"
    readers: dict[str, tuple[Any, Any]] = {
        "seq": (onnx.SequenceProto, numpy_helper.to_list),
        "optional": (onnx.OptionalProto, numpy_helper.to_optional),
        "map": (onnx.MapProto, numpy_helper.to_dict),
        "": (onnx.TensorProto, numpy_helper.to_array),
    }
    kind = tensor.dtype.partition("(")[0] if "(" in tensor.dtype else ""
    if kind not in readers:
        raise Refused(f"`{where}` is for `{tensor.name}`, and {tensor.dtype} has no such file")
    make, convert = readers[kind]
    try:
        proto = make.FromString(path.read_bytes())
        if any(t.data_location == _EXTERNAL for t in _tensors(proto)):
            raise Refused(f"`{where}` keeps its values in another file, which is not read")
        return proto.name, convert(proto)
    except (DecodeError, ValueError, TypeError, ArithmeticError, MemoryError, LookupError) as error:
        raise Refused(f"`{where}` is not a serialised {make.__name__}: {error}") from error


def _tensors(proto: Any) -> "Iterator[TensorProto]":
    """Yield the tensors in a value, at any depth."""
    if hasattr(proto, "data_location"):
        yield proto
        return
    for name in ("tensor_values", "sequence_values", "optional_values"):
        for value in getattr(proto, name, ()):
            yield from _tensors(value)
    for name in ("tensor_value", "sequence_value", "optional_value"):
        if hasattr(proto, name) and proto.HasField(name):
            yield from _tensors(getattr(proto, name))


def _named(found: Sequence[tuple[str, Any]], tensors: Sequence[Tensor]) -> dict[str, Any]:
    known = {tensor.name for tensor in tensors}
    names = [name for name, _ in found]
    if len(set(names)) == len(names) and known.issuperset(names):
        return dict(found)
    for tensor, name in zip(tensors, names, strict=False):
        if name in known - {tensor.name} and names.count(name) == 1:
            raise Refused(
                f"`{name}` stands in the place of `{tensor.name}`, beside names of no such model",
                hint=f"the model has {', '.join(f'`{tensor.name}`' for tensor in tensors)}",
            )
    return {tensor.name: value for tensor, (_, value) in zip(tensors, found, strict=False)}


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1
