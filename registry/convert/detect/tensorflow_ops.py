"""Find the ops of a TensorFlow model that run Python or reach files, without TensorFlow.

Source: TensorFlow's saved_model.proto, meta_graph.proto, graph.proto, function.proto and
attr_value.proto, and what its 2.21 registers as ops.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onnxzoo.registry.core.errors import InvalidModel
from onnxzoo.registry.onnx_file.wire import BYTES, Field, Reader

_BLOCK = 1 << 22  # bytes of a TFLite file that are searched at once
_LONGEST = 128  # bytes; no op has a longer name
_REACHING = (
    r"(?:(?:Eager)?PyFunc(?:Stateless)?|ReadFile|WriteFile|MatchingFiles|DumpTensor|RecordInput"
    r"|Skipgram|LoadAndRemapMatrix|FileSystemSetConfiguration|CalibrationStatisticsSaver"
    r"|DistributedSave|Save|SaveV2|SaveSlices|MergeV2Checkpoints|PrintV2|RemoteCall|Rpc\w+|Debug\w+"
    r"|XlaCustomCall\w*|\w*Dataset\w*|\w+Reader(?:V2)?|\w*SummaryWriter|CreateSummary\w+"
    r"|ImmutableConst|GenerateVocabRemapping|InitializeTableFromTextFile\w*)"
)
_REACHES = re.compile(_REACHING)
_FLEX = re.compile(rb"Flex(" + _REACHING.encode() + rb")(?!\w)")  # TensorFlow's ops in TFLite


@dataclass(slots=True)
class _Graph:
    """Nodes by name: their op, their inputs, the functions they call."""

    ops: dict[str, str] = field(default_factory=dict)
    takes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    calls: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    functions: dict[str, "_Graph"] = field(default_factory=dict)

    def below(self, names: Iterable[str]) -> set[str]:
        """Return nodes and all that they take, whatever the distance."""
        return _closure(names, lambda name: self.takes.get(name, ()))

    def all_ops(self, names: Iterable[str]) -> set[str]:
        """Return the ops of nodes and of the functions that they call."""
        ops, called = self._of(names)
        for name in _closure(called, lambda one: self._inside(one)[1]):
            ops |= self._inside(name)[0]
        return ops

    def _inside(self, function: str) -> tuple[set[str], set[str]]:
        body = self.functions.get(function)
        return body._of(body.ops) if body else (set(), set())  # noqa: SLF001

    def _of(self, names: Iterable[str]) -> tuple[set[str], set[str]]:
        ops = {self.ops[name] for name in names if name in self.ops}
        return ops, ops.union(*(self.calls.get(name, ()) for name in names))


def reaching(path: Path, form: str) -> list[str]:
    """Return the ops that run Python or reach files when a model is loaded or run.

    A SavedModel's saver is left out: nothing saves it again.

    Args:
        path: a SavedModel's folder, a GraphDef or a TFLite model.
        form: which of them, as `formats` calls it.

    Raises:
        InvalidModel: if it cannot be read as far as that.
    """
    if form.startswith("tflite"):
        found = set(_in_tflite(path))
    else:
        saved = form.startswith("tf-savedmodel")
        file = path / "saved_model.pb" if path.is_dir() else path
        found = set(_in_protobuf(file, saved=saved))
    return sorted(op for op in found if _REACHES.fullmatch(op))


def _in_tflite(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        before = b""
        while block := file.read(_BLOCK):
            yield from (match[1].decode() for match in _FLEX.finditer(before + block))
            before = block[-_LONGEST:]


def _in_protobuf(path: Path, *, saved: bool) -> set[str]:
    with path.open("rb", buffering=0) as file:
        reader = Reader(file, path.name)
        whole = Field(0, None, 0, reader.size)
        try:
            if not saved:
                graph = _graph(reader, [whole])
                return graph.all_ops(graph.ops)
            found = _numbered(reader, whole)
            return set().union(*(_of_meta_graph(reader, meta) for meta in found[2]))
        except InvalidModel as error:
            raise InvalidModel(
                f"`{path.name}` cannot be read: {error.message.partition(': ')[2]}",
                hint="get it again: it is broken, or not all there",
            ) from error


def _of_meta_graph(reader: Reader, meta: Field) -> set[str]:
    """Return the ops of a meta graph, except those of the saver alone."""
    parts = _numbered(reader, meta)
    graph = _graph(reader, parts[2])
    saver = [_numbered(reader, one) for one in parts[3]]
    saves = {_node(reader.text(name)) for one in saver for name in one[2]}
    wanted = {_node(name) for name in _declared(reader, parts)}
    wanted |= {_node(reader.text(name)) for one in saver for name in one[3]}
    return graph.all_ops(graph.below((set(graph.ops) - graph.below(saves)) | wanted))


def _declared(reader: Reader, parts: Mapping[int, list[Field]]) -> Iterator[str]:
    """Yield the tensors and nodes of collections and of signatures' outputs."""
    for entry in parts[4]:
        for value in _numbered(reader, entry)[2]:
            for nodes in _numbered(reader, value)[1]:
                yield from map(reader.text, _numbered(reader, nodes)[1])
    for entry in parts[5]:
        for signature in _numbered(reader, entry)[2]:
            for output in _numbered(reader, signature)[2]:
                for tensor in _numbered(reader, output)[2]:
                    yield from _tensors(reader, tensor)


def _tensors(reader: Reader, info: Field) -> Iterator[str]:
    """Yield the names of a TensorInfo: a dense tensor's, or the parts' of another."""
    parts = _numbered(reader, info)
    yield from map(reader.text, parts[1])
    for sparse in parts[4]:
        for name in reader.fields(sparse.start, sparse.end):
            yield reader.text(name)
    for composite in parts[5]:
        for component in _numbered(reader, composite)[2]:
            yield from _tensors(reader, component)


def _graph(reader: Reader, messages: Iterable[Field]) -> _Graph:
    graph = _Graph()
    for message in messages:
        parts = _numbered(reader, message)
        for node in parts[1]:
            _add_node(reader, node, graph)
        for library in parts[2]:
            for function in _numbered(reader, library)[1]:
                _add_function(reader, function, graph)
    return graph


def _add_function(reader: Reader, function: Field, graph: _Graph) -> None:
    parts = _numbered(reader, function)
    names = [name for one in parts[1] for name in _numbered(reader, one)[1]]
    body = graph.functions.setdefault(reader.text(names[-1]) if names else "", _Graph())
    for node in parts[3]:
        _add_node(reader, node, body)


def _add_node(reader: Reader, node: Field, graph: _Graph) -> None:
    parts = _numbered(reader, node)
    name, op = (reader.text(parts[number][-1]) if parts[number] else "" for number in (1, 2))
    graph.ops[name] = op
    graph.takes[name].update(_node(reader.text(one)) for one in parts[3])
    for entry in parts[5]:
        for value in _numbered(reader, entry)[2]:  # protobuf merges several into one
            graph.calls[name].update(_called(reader, value))


def _called(reader: Reader, value: Field) -> Iterator[str]:
    """Yield the functions that an attribute names."""
    parts = _numbered(reader, value)
    listed = [one for many in parts[1] for one in _numbered(reader, many)[9]]
    for function in (*parts[10], *listed):
        inner = _numbered(reader, function)
        yield from map(reader.text, inner[1])
        for entry in inner[2]:
            for attribute in _numbered(reader, entry)[2]:
                yield from _called(reader, attribute)


def _numbered(reader: Reader, message: Field) -> defaultdict[int, list[Field]]:
    """Return the strings and messages in a message by their numbers; their payloads are not read.

    Protobuf takes a field of another wire type than its own for one that it does not know.
    """
    found = defaultdict(list)
    for one in reader.fields(message.start, message.end):
        if one.kind == BYTES:
            found[one.number].append(one)
    return found


def _node(tensor: str) -> str:
    """Return the node of a tensor or of a control input.

    >>> _node("net/out:0"), _node("^init")
    ('net/out', 'init')
    """
    return tensor.removeprefix("^").partition(":")[0]


def _closure(names: Iterable[str], more: "Callable[[str], Iterable[str]]") -> set[str]:
    found: set[str] = set()
    ahead = set(names)
    while ahead:
        found |= ahead
        ahead = {one for name in ahead for one in more(name)} - found
    return found
