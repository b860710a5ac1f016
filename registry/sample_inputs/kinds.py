"""Kinds of a graph's inputs (token ids, masks, images, audio) by their names, shapes and ops."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING

from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.protos import graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

CHANNELS = {1, 3, 4}
_FULL = 255.0  # the largest value of a byte
# Ops through which a value is still the same input, in another shape or dtype.
_SAME = {
    "Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Flatten", "Slice",
    "Concat", "Expand", "Split", "Pad", "If",
}  # fmt: skip
# Ops that only rescale what an image or a wave is.
_SCALED = _SAME | {
    "Add", "Sub", "Mul", "Div", "Clip", "BatchNormalization", "InstanceNormalization",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Resize",
}  # fmt: skip
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1, "NhwcFusedConv": 1}
_LOOKUPS = {"Gather": (0, 1), "GatherBlockQuantized": (0, 1), "EmbedLayerNormalization": (2, 0)}
_WORDS = (
    ("mask", r"mask"),
    ("types", r"token_?type|segment_?ids?|type_?ids"),
    ("positions", r"position|pos_?ids"),
    ("rate", r"^(sr|sample_?rate|sampling_?rate)$"),
    ("scale", r"scale|speed|temperature"),
    ("lowest", r"^f_?min$"),
    ("highest", r"^f_?max$"),
    ("length", r"(^|_)(len|lens|lengths?|sizes?)$"),
    ("past", r"past|cache"),
    ("image", r"image|pixel|^img"),
    ("audio", r"audio|wave|speech|^pcm|waveform"),
    ("ids", r"(^|[_./:])(input_?)?ids|tokens?$|indices"),
    ("state", r"^(h|c|hn|cn|h0|c0|state\w*|hidden\w*|context)$"),
)
_SIDES = re.compile(r"\s*[\[(]?\s*([1-9]\d{0,4})\s*(?:,\s*([1-9]\d{0,4})\s*)?[\])]?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """A guess at the meaning of an input.

    Attributes:
        name: ``ids``, ``mask``, ``types``, ``positions``, ``rate``, ``scale``, ``lowest`` or
            ``highest`` (of frequencies), ``length``, ``past``, ``image``, ``audio``, ``state`` or
            ``numbers``.
        below: ids are below it; None where no table says so.
        channels: of an image.
        most: the largest value of an image's pixel: 255, or 1 where the graph does not say.
        sides: height and width of an image that the model says it was made for.
    """

    name: str
    below: int | None = None
    channels: int | None = None
    most: float = 1.0
    sides: tuple[int, int] | None = None


def kinds_of(inputs: Sequence[Tensor], model: "ModelProto | None") -> dict[str, Kind]:
    """Return the kind of every input; without a model their names and shapes have to do."""
    graph = None if model is None else _Graph(model)
    kinds = {tensor.name: _kind(tensor, graph) for tensor in inputs}
    if model is None or not (sides := _sides_in_metadata(model)):
        return kinds
    return {
        name: replace(kind, sides=sides) if kind.name == "image" else kind
        for name, kind in kinds.items()
    }


def _sides_in_metadata(model: "ModelProto") -> tuple[int, int] | None:
    """Return height and width by Ultralytics' exports: ``imgsz`` is ``[640, 640]`` or ``640``."""
    said = next((one.value for one in model.metadata_props if one.key == "imgsz"), "")
    found = _SIDES.fullmatch(said)
    return (int(found[1]), int(found[2] or found[1])) if found else None


def _kind(tensor: Tensor, graph: "_Graph | None") -> Kind:
    whole = tensor.dtype.startswith(("int", "uint"))
    named = Kind(_by_name(tensor.name))
    found = graph.follow(tensor.name) if graph else Kind("numbers")
    if whole and found.below is not None and named.name in {"numbers", "ids", "state", "length"}:
        return replace(found, name="ids")
    if named.name in {"mask", "types", "positions", "rate", "length", "past"}:
        return replace(named, below=found.below)
    if _is_image(tensor, found):
        return replace(found, name="image", most=_FULL if tensor.dtype == "uint8" else found.most)
    if whole:
        bytes_ = tensor.name.lower() == "bytes"
        return Kind("ids" if bytes_ or named.name == "ids" else "numbers", 256 if bytes_ else None)
    if found.name == "audio" or (named.name == "audio" and len(tensor.shape or ()) <= 3):  # noqa: PLR2004
        return replace(found, name="audio")
    others = {"state", "scale", "lowest", "highest"}
    return named if named.name in others else Kind("numbers")


def _by_name(name: str) -> str:
    word = name.lower()
    return next((kind for kind, pattern in _WORDS if re.search(pattern, word)), "numbers")


def _is_image(tensor: Tensor, found: Kind) -> bool:
    shape = tensor.shape or ()
    if len(shape) not in {3, 4}:
        return False
    looks = (shape[-3] in CHANNELS or shape[-1] in CHANNELS) and len(shape) == 4  # noqa: PLR2004
    return found.name == "image" or looks or _by_name(tensor.name) == "image"


class _Graph:
    """Consumers of every value, and the dims of every weight."""

    def __init__(self, model: "ModelProto") -> None:
        if model.functions:
            from onnx import inliner

            model = inliner.inline_local_functions(model)
        self._users: defaultdict[str, list[NodeProto]] = defaultdict(list)
        self._weights: dict[str, TensorProto] = {}
        self._makers: dict[str, NodeProto] = {}
        added: list[str] = []
        for graph in graphs(model):
            self._weights |= {tensor.name: tensor for tensor in graph.initializer}
            for node in graph.node:
                added += node.input if node.op_type == "Add" else ()
                for name in dict.fromkeys(node.input):
                    self._users[name].append(node)
                self._makers |= dict.fromkeys(node.output, node)
                for attribute in node.attribute:
                    if node.op_type == "Constant" and attribute.name == "value":
                        self._weights[node.output[0]] = attribute.t
        tables = (self._weights[name] for name in added if name in self._weights)
        self._added = [list(tensor.dims) for tensor in tables]

    def follow(self, name: str) -> Kind:
        """Return the kind that the ops behind an input say it is."""
        rows = [self._rows(node, value) for node, value in self._reached(name, _SAME)]
        tables = [count for count in rows if count]
        return Kind("ids", below=min(tables)) if tables else self._filtered(name)

    def _rows(self, node: "NodeProto", value: str) -> int | None:
        """Return how many rows the table has that a node looks a value up in, if it does."""
        if node.op_type == "OneHot" and node.input[0] == value:
            return int(self._scalar(node) or 0)
        if node.op_type not in _LOOKUPS:
            return None
        data, indices = _LOOKUPS[node.op_type]
        dims = self._dims(node, data)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        asks = len(node.input) > indices and node.input[indices] == value
        return dims[axis] if asks and -len(dims) <= axis < len(dims) else None

    def _filtered(self, name: str) -> Kind:
        """Return an image or a wave, where the first filters behind an input say so."""
        most, sides = 1.0, None
        for node, _ in self._reached(name, _SCALED):
            if node.op_type in {"STFT", "DFT"}:
                return Kind("audio")
            if node.op_type in {"Div", "Mul"}:
                scale = self._scalar(node)
                if scale and (abs(scale - _FULL) < 1 or abs(1 / scale - _FULL) < 1):
                    most = _FULL
            if node.op_type == "Resize":
                sides = sides or self._resized(node)
            if node.op_type in _CONVOLUTIONS:
                dims = self._dims(node, _CONVOLUTIONS[node.op_type])
                group = next((a.i for a in node.attribute if a.name == "group"), 1)
                if len(dims) == 4 and dims[1] * group in CHANNELS:  # noqa: PLR2004
                    sides = sides or self._patched(node, dims)
                    return Kind("image", channels=dims[1] * group, most=most, sides=sides)
                if len(dims) == 3 and dims[1] * group == 1:  # noqa: PLR2004
                    return Kind("audio")
        return Kind("numbers")

    def _resized(self, node: "NodeProto") -> tuple[int, int] | None:
        """Return the height and width that a Resize of an image makes, where they are constant."""
        values = self._values(node.input[3]) if len(node.input) > 3 else []  # noqa: PLR2004
        if len(values) != 4:  # noqa: PLR2004
            return None
        place = 1 if values[3] in CHANNELS and values[1] not in CHANNELS else 2
        height, width = values[place : place + 2]
        return (int(height), int(width)) if height > 0 and width > 0 else None

    def _patched(self, node: "NodeProto", dims: Sequence[int]) -> tuple[int, int] | None:
        """Return the sides of which a filter makes as many patches as a table has positions.

        A table is added to the patches and has a row for each, or one or two more for classes.
        """
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [])
        if strides != list(dims[2:]) or len(set(strides)) != 1:
            return None
        for table in self._added:
            if len(table) == 3 and table[0] == 1 and table[2] == dims[0]:  # noqa: PLR2004
                for classes in range(3):
                    side = isqrt(max(table[1] - classes, 0))
                    if side > 1 and side * side == table[1] - classes:
                        return side * strides[0], side * strides[0]
        return None

    def _reached(self, name: str, through: set[str]) -> "Iterator[tuple[NodeProto, str]]":
        """Yield the nodes that read a value, and it in another shape."""
        waiting, seen = [name], {name}
        while waiting:
            value = waiting.pop(0)
            for node in self._users[value]:
                yield node, value
                if node.op_type in through:
                    new = [one for one in node.output if one not in seen]
                    seen.update(new)
                    waiting += new

    def _dims(self, node: "NodeProto", place: int) -> list[int]:
        """Return the dims of a weight that a node reads, itself or through a cast."""
        name = node.input[place] if len(node.input) > place else ""
        for _ in range(4):
            if name in self._weights:
                return list(self._weights[name].dims)
            maker = self._makers.get(name)
            if maker is None or maker.op_type not in {"Cast", "Identity", "DequantizeLinear"}:
                return []
            name = maker.input[0]
        return []

    def _scalar(self, node: "NodeProto") -> float | None:
        for name in node.input:
            tensor = self._weights.get(name)
            if tensor is not None and not [size for size in tensor.dims if size != 1]:
                return next(iter(self._values(name)), None)
        return None

    def _values(self, name: str) -> list[float]:
        """Return the values of a small weight; none where they are not at hand."""
        from onnx import numpy_helper

        tensor = self._weights.get(name)
        try:
            return [] if tensor is None else numpy_helper.to_array(tensor).reshape(-1).tolist()
        except Exception:  # noqa: BLE001  (external data, or a type that NumPy has not)
            return []
