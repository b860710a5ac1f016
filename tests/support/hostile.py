"""Models that nobody should open: each is built in a folder, and each must be refused.

Some are made with onnx's helpers; where those would not write it, field by field.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Build = Callable[[Path], Path]
OPSETS = [helper.make_opsetid("", 17)]


class Case(NamedTuple):
    """A hostile model: its name, what builds it in a folder, and a word of why it is refused."""

    name: str
    build: Build
    says: str


def cases() -> Iterator[Case]:
    """Yield every hostile model."""
    yield from _places()
    yield from _contexts()
    yield from _numbers()
    yield from _owners()
    yield from _tensors()
    yield from _foldings()
    yield from _functions()
    yield from _forms()
    yield from _domains()


def field(number: int, payload: bytes | int) -> bytes:
    """Encode one field: a message, or a number."""
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Encode a number of 64 bits."""
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def node(op: str, inputs: str = "x", output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """Make a node."""
    return helper.make_node(op, inputs.split(), [output], **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto] = (), weights: Sequence[TensorProto] = ()
) -> onnx.GraphProto:
    """Make a graph from ``x`` to ``y``."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    return helper.make_graph(
        list(nodes) or [node("Identity")], "g", values[:1], values[1:], list(weights)
    )


def branching(inner: onnx.GraphProto) -> onnx.GraphProto:
    """Make a graph that holds another twice, in the branches of an ``If``."""
    yes = numpy_helper.from_array(np.ones((), bool), "yes")
    return graph([node("If", "yes", then_branch=inner, else_branch=inner)], [yes])


def model(made: onnx.GraphProto, *, opsets: Sequence[Any] = OPSETS, **more: Any) -> onnx.ModelProto:
    """Make a model."""
    return helper.make_model(made, opset_imports=list(opsets), ir_version=10, **more)


def weight(*dims: int, dtype: int = TensorProto.FLOAT, **more: Any) -> TensorProto:
    """Make a tensor ``w`` of any dims, with any data or none."""
    return TensorProto(name="w", dims=dims, data_type=dtype, **more)


def outside(*entries: tuple[str, str], dtype: int = TensorProto.FLOAT) -> TensorProto:
    """Make a tensor ``w`` of four elements that lies elsewhere."""
    made = weight(4, dtype=dtype, data_location=TensorProto.EXTERNAL)
    for key, value in entries:
        made.external_data.add(key=key, value=value)
    return made


def shape(name: str, *sizes: float, dtype: str = "int64") -> TensorProto:
    """Make a constant that says a shape."""
    return numpy_helper.from_array(np.array(sizes, dtype), name)


def scalar(name: str, value: float, dtype: str = "int64") -> TensorProto:
    """Make a constant without axes."""
    return numpy_helper.from_array(np.array(value, dtype), name)


def written(made: onnx.ModelProto | bytes) -> Build:
    """Return what writes a model into a folder."""

    def build(folder: Path) -> Path:
        path = folder / "m.onnx"
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        return path

    return build


def held(*weights: TensorProto) -> Build:
    """Return what writes a model of these weights."""
    return written(model(graph(weights=weights)))


def beside(location: str, put: Callable[[Path], object]) -> Build:
    """Return what writes a model whose weight lies somewhere, and puts something there."""

    def build(folder: Path) -> Path:
        (folder / "inner").mkdir()
        (folder / "secret").write_bytes(bytes(16))
        put(folder / "inner" / location)
        return held(outside(("location", location)))(folder / "inner")

    return build


def _file(path: Path, size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def _linked(path: Path) -> None:
    _file(path.with_name("v"))
    path.symlink_to("v")


def _places() -> Iterator[Case]:
    plain = {
        "above": ("../secret", "outside the model's folder"),
        "above from below": ("a/../../secret", "outside the model's folder"),
        "absolute": ("/etc/passwd", "an absolute path"),
        "a drive": ("C:secret", "an absolute path"),
        "a backslash": ("..\\secret", "a backslash"),
        "a NUL": ("w.bin\0.txt", "a NUL"),
        "no location": ("", "names no file"),
        "blank": ("  ", "names no file"),
        "an address in memory": ("*/_ORT_MEM_ADDR_/*", "an address in memory"),
        "a reserved name": ("con", "a location that is none"),
        "the model itself": ("m.onnx", "the model itself"),
    }
    for name, (location, says) in plain.items():
        yield Case(f"external: {name}", held(outside(("location", location))), says)
    yield Case("external: no keys", held(outside()), "names no file")
    yield Case("external: missing", beside("w.bin", lambda _: None), "is not there")
    yield Case("external: short", beside("w.bin", lambda path: _file(path, 15)), "which has 15")
    yield Case("external: a folder", beside("w.bin", Path.mkdir), "a folder, not a file")
    yield Case(
        "external: below a file",
        beside("w.bin/w", lambda path: path.parent.write_bytes(b"")),
        "`w.bin` is no folder",
    )
    if not hasattr(os, "mkfifo"):
        return
    yield Case("external: a pipe", beside("w.bin", os.mkfifo), "a pipe, not a file")
    yield Case(
        "external: a symbolic link",
        beside("w.bin", lambda path: path.symlink_to("../secret")),
        "a symbolic link",
    )
    yield Case(
        "external: a symbolic link within the folder",
        beside("w.bin", _linked),
        "a symbolic link",
    )
    yield Case(
        "external: a device by a link",
        beside("w.bin", lambda path: path.symlink_to("/dev/zero")),
        "a symbolic link",
    )
    yield Case(
        "external: a folder that is a link",
        beside("d/secret", lambda path: path.parent.symlink_to("..")),
        "`d` is a symbolic link",
    )
    yield Case(
        "external: a hard link",
        beside("w.bin", lambda path: path.hardlink_to(path.parent.parent / "secret")),
        "2 names (hard links)",
    )


def compiled(location: str, put: Callable[[Path], object] = lambda _: None) -> Build:
    """Return what writes a node that was compiled into a file, and puts something there."""
    context = node("EPContext", domain="com.microsoft", embed_mode=0, ep_cache_context=location)

    def build(folder: Path) -> Path:
        (folder / "secret").write_bytes(bytes(16))
        put(folder / location)
        return written(model(graph([context])))(folder)

    return build


def _contexts() -> Iterator[Case]:
    who = "the compiled graph of the node `EPContext` in the graph "
    outside = f"{who}lies outside the model's folder: `../secret`"
    yield Case("compiled: above", compiled("../secret"), outside)
    yield Case("compiled: absolute", compiled("/etc/passwd"), f"{who}lies at an absolute path")
    yield Case("compiled: missing", compiled("c.bin"), f"{who}lies in `c.bin`, which is not there")
    yield Case(
        "compiled: a link", compiled("c.bin", _linked), f"{who}lies in `c.bin`, and `c.bin` "
    )
    without = onnx.AttributeProto(name="embed_mode", type=onnx.AttributeProto.INT)  # which is 0
    for name, modes in {
        "a mode that is left out": [without],
        "the first of two modes": [helper.make_attribute("embed_mode", mode) for mode in (0, 1)],
    }.items():
        context = node("EPContext", domain="com.microsoft", ep_cache_context="../secret")
        context.attribute.extend(modes)
        yield Case(f"compiled: above, by {name}", written(model(graph([context]))), outside)
    referring = function("F0")
    referring.attribute.append("where")
    inner = referring.node.add(op_type="EPContext", domain="com.microsoft", output=["y"])
    inner.attribute.append(helper.make_attribute("embed_mode", 0))
    inner.attribute.add(name="ep_cache_context", ref_attr_name="where", type=3)
    yield Case("compiled: where a caller says", written(calling(referring)), "a function's caller")


def _numbers() -> Iterator[Case]:
    def with_file(*entries: tuple[str, str], dtype: int = TensorProto.FLOAT) -> Build:
        def build(folder: Path) -> Path:
            _file(folder / "w.bin", 32)
            return held(outside(("location", "w.bin"), *entries, dtype=dtype))(folder)

        return build

    entries = {
        "a negative offset": ([("offset", "-1")], "the offset `-1`"),
        "a negative length": ([("length", "-16")], "the length `-16`"),
        "an offset in hexadecimal": ([("offset", "0x10")], "the offset `0x10`"),
        "an offset with a sign": ([("offset", "+4")], "the offset `+4`"),
        "an offset in other digits": ([("offset", "٣")], "the offset `٣`"),
        "an offset of twenty digits": ([("offset", "9" * 20)], "the offset `9999"),
        "an end that overflows": (
            [("offset", str((1 << 63) - 8)), ("length", "16")],
            "ends beyond any file",
        ),
        "an offset beyond the file": ([("offset", "17")], "byte 33 of `w.bin`, which has 32"),
        "another length": ([("length", "12")], "needs 16 bytes; `w.bin` is to give 12"),
        "a key twice": ([("offset", "0"), ("offset", "16")], "twice"),
        "a key that is none": ([("url", "https://a.org")], "says `url`"),
        "packed weights nowhere": (
            [("prepacked_0", "MatMul+1|x;1;0")],
            "packed weights at `MatMul",
        ),
        "packed weights beyond the file": (
            [("prepacked_0", "MatMul+1|0;8;0|16;17;0")],
            "packed weights that end at byte 33 of `w.bin`, which has 32",
        ),
        "packed weights without a number": ([("prepacked_x", "k|0;8;0")], "says `prepacked_x`"),
        "a checksum that is none": ([("checksum", "abc")], "no SHA-1"),
        "another checksum": ([("checksum", "0" * 40)], f"the checksum {'0' * 40}"),
    }
    for name, (more, says) in entries.items():
        yield Case(f"external: {name}", with_file(*more), says)
    yield Case(
        "external: strings", with_file(dtype=TensorProto.STRING), "strings, which cannot lie in"
    )


def _owners() -> Iterator[Case]:
    """Every place that can hold a tensor holds one that leads out."""
    leads = outside(("location", "../secret"))
    says = "outside the model's folder"
    sparse = onnx.SparseTensorProto(values=leads, indices=shape("i", 0, 1, 2, 3), dims=[9])
    constant = node("Constant", "", value=leads)
    yield Case("owner: a sub-graph", written(model(branching(graph(weights=[leads])))), says)
    yield Case("owner: an attribute", written(model(graph([constant]))), says)
    yield Case(
        "owner: one of an attribute's tensors",
        written(model(graph([node("Add", tensors=[leads])]))),
        says,
    )
    made = model(graph())
    made.graph.sparse_initializer.append(sparse)
    yield Case("owner: a sparse initializer", written(made), says)
    indexed = onnx.SparseTensorProto(values=weight(0), indices=leads, dims=[9])
    indexed_model = model(graph())
    indexed_model.graph.sparse_initializer.append(indexed)
    yield Case("owner: the indices of a sparse tensor", written(indexed_model), says)
    yield Case(
        "owner: a sparse constant",
        written(model(graph([node("Constant", "", sparse_value=sparse)]))),
        says,
    )
    function = helper.make_function("own", "F", [], ["y"], [constant], OPSETS)
    yield Case("owner: a function", written(model(graph(), functions=[function])), says)
    default = helper.make_attribute("t", leads)
    function = helper.make_function(
        "own", "F", ["x"], ["y"], [node("Neg")], OPSETS, attribute_protos=[default]
    )
    yield Case("owner: a function's default", written(model(graph(), functions=[function])), says)
    for part in ("initialization", "algorithm"):
        info = onnx.TrainingInfoProto(**{part: graph(weights=[leads])})
        trained = model(graph())
        trained.training_info.append(info)
        yield Case(f"owner: training information, {part}", written(trained), says)


def _tensors() -> Iterator[Case]:
    four = bytes(16)
    tensors = {
        "a negative size": (weight(-4, raw_data=four), "a negative size, -4"),
        "sizes that overflow": (weight(1 << 32, 1 << 32, raw_data=four), "can be counted"),
        "sizes that overflow around nothing": (weight(1 << 62, 4, 0), "can be counted"),
        "sizes that wrap round to four": (
            weight(1 << 62, 1 << 62, 1 << 62, raw_data=four),
            "can be counted",
        ),
        "too few bytes": (weight(5, raw_data=four), "has 16 bytes; its shape [5] wants 20"),
        "too many bytes": (weight(3, raw_data=four), "has 16 bytes; its shape [3] wants 12"),
        "no bytes": (weight(4), "has 0 bytes"),
        "too few floats": (weight(5, float_data=[0] * 4), "has 4 numbers"),
        "too many integers": (
            weight(3, dtype=TensorProto.INT64, int64_data=[300] * 4),
            "has 4 numbers",
        ),
        "half a complex number": (
            weight(2, dtype=TensorProto.COMPLEX64, float_data=[0] * 3),
            "its shape [2] wants 4",
        ),
        "too few strings": (
            weight(2, dtype=TensorProto.STRING, string_data=[b"a"]),
            "has 1 numbers",
        ),
        "raw strings": (
            weight(4, dtype=TensorProto.STRING, raw_data=b"abcd"),
            "has 4 bytes",
        ),
        "half bytes as whole ones": (
            weight(4, dtype=TensorProto.INT4, raw_data=bytes(4)),
            "has 4 bytes; its shape [4] wants 2",
        ),
        "quarters as whole numbers": (
            weight(5, dtype=TensorProto.UINT2, int32_data=[0] * 5),
            "wants 2",
        ),
        "six bits as eight": (
            weight(4, dtype=TensorProto.FLOAT6E2M3, raw_data=bytes(4)),
            "wants 3",
        ),
        "data twice": (weight(4, raw_data=four, float_data=[0] * 4), "more than one field"),
        "data of another type": (weight(4, int64_data=[0] * 4), "where its type has none"),
        "a type that is none": (weight(4, dtype=99, raw_data=four), "the data type 99"),
        "no type": (TensorProto(name="w", dims=[4], raw_data=four), "the data type 0"),
        "too many axes": (weight(*[1] * 65, raw_data=bytes(4)), "more than 64 axes"),
        "a segment": (
            weight(4, raw_data=four, segment=TensorProto.Segment(begin=0, end=4)),
            "a segment",
        ),
    }
    for name, (made, says) in tensors.items():
        yield Case(f"tensor: {name}", held(made), says)
    torn = field(1, 1) + field(2, 1) + field(8, b"w") + field(4, bytes(5))
    yield Case("tensor: a float torn in two", raw(field(5, torn)), "breaks off within a number")
    place = field(1, 4) + field(2, 1) + field(8, b"w") + field(9, four) + field(14, 7)
    yield Case("tensor: a place that is none", raw(field(5, place)), "the place 7")
    many = field(1, b"\x01" * 10_000_000) + field(2, 1) + field(8, b"w")
    yield Case("tensor: ten million axes", raw(field(5, many)), "more than 64 axes")


def raw(inside: bytes, *more: bytes) -> Build:
    """Return what writes a model whose graph is these bytes."""
    return written(field(1, 10) + field(8, field(2, 17)) + field(7, inside) + b"".join(more))


def _foldings() -> Iterator[Case]:
    says = "when it is opened"
    fill = node("ConstantOfShape", "s")
    giga = shape("s", 1 << 28)
    yield Case("folding: a filled shape", written(model(graph([fill], [giga]))), says)
    typed = helper.make_tensor("s", TensorProto.INT64, [2], [1 << 14, 1 << 14])
    yield Case("folding: a shape in numbers", written(model(graph([fill], [typed]))), says)
    doubles = numpy_helper.from_array(np.zeros(1))
    wide = node("ConstantOfShape", "s", value=doubles)
    yield Case(
        "folding: a shape of doubles", written(model(graph([wide], [shape("s", 1 << 27)]))), says
    )
    for attribute in ({"value": shape("", 1 << 28)}, {"value_ints": [1 << 28]}):
        constant = node("Constant", "", "s", **attribute)
        yield Case(
            f"folding: a shape from the attribute {next(iter(attribute))}",
            written(model(graph([constant, fill]))),
            says,
        )
    yield Case(
        "folding: nodes in another order",
        written(model(graph([fill, node("Identity", "t", "s")], [shape("t", 1 << 28)]))),
        says,
    )
    yield Case("folding: a sub-graph", written(model(branching(graph([fill], [giga])))), says)
    inner = graph([fill])
    nested = branching(inner)
    nested.initializer.append(giga)
    yield Case("folding: a shape from outside a sub-graph", written(model(nested)), says)
    joined = [node("Concat", "a a", "s", axis=0), fill]
    yield Case(
        "folding: a shape put together",
        written(model(graph(joined, [shape("a", 1 << 14)]))),
        says,
    )
    doubling = [
        node("Concat", f"t{number} t{number}", f"t{number + 1}", axis=0) for number in range(40)
    ]
    yield Case(
        "folding: a doubling repeated",
        written(model(graph(doubling, [shape("t0", 1)]))),
        says,
    )
    little = scalar("v", 1.0, "float32")
    yield Case(
        "folding: a constant expanded",
        written(model(graph([node("Expand", "v s")], [little, giga]))),
        says,
    )
    column = numpy_helper.from_array(np.zeros((25_000, 1), "float32"), "v")
    yield Case(
        "folding: a column expanded to a square",
        written(model(graph([node("Expand", "v s")], [column, shape("s", 1, 25_000)]))),
        says,
    )
    yield Case(
        "folding: a constant tiled",
        written(model(graph([node("Tile", "v s")], [shape("v", 1, 1), shape("s", 1 << 27)]))),
        says,
    )
    row, yes = (
        numpy_helper.from_array(np.zeros((1, 25_000), "float32"), "w"),
        scalar("b", 1, "bool"),
    )
    for op, inputs in {"Add": "v w", "Where": "b v w", "Sum": "v v v v w", "Less": "v w"}.items():
        joined = [node(op, inputs, "t"), node("Concat", "t t", axis=0)]
        yield Case(
            f"folding: a column that meets a row, {op}",
            written(model(graph(joined, [column, row, yes]))),
            says,
        )
    yield from _moved()
    square = numpy_helper.from_array(np.zeros((2, 2), "float32"), "v")
    pads = {
        "padded": (node("Pad", "v s"), shape("s", 0, 0, 25_000, 25_000)),
        "padded by axes": (
            helper.make_node("Pad", ["v", "s", "", "a"], ["y"]),
            shape("s", 0, 1 << 40),
        ),
        "padded by an attribute": (node("Pad", "v", pads=[25_000] * 4), shape("s")),
        "resized": (helper.make_node("Resize", ["v", "", "", "s"], ["y"]), shape("s", 1 << 40, 1)),
        "scaled": (
            helper.make_node("Resize", ["v", "", "s"], ["y"]),
            shape("s", 1e9, 1, dtype="float32"),
        ),
        "resized along an axis": (
            helper.make_node("Resize", ["v", "", "", "s"], ["y"], axes=[1]),
            shape("s", 150_000_000),
        ),
        "scaled along an axis": (
            helper.make_node("Resize", ["v", "", "s"], ["y"], axes=[-1]),
            shape("s", 1e9, dtype="float32"),
        ),
        "scaled in the old way": (node("Upsample", "v s"), shape("s", 1e9, 1, dtype="float32")),
    }
    for name, (made, values) in pads.items():
        weights = [square, values, shape("a", -1)]
        yield Case(f"folding: a constant {name}", written(model(graph([made], weights))), says)
    endless = shape("s", 1 << 40)
    yield Case(
        "folding: an input that becomes endless, Resize",
        written(model(graph([helper.make_node("Resize", ["x", "", "", "s"], ["y"])], [endless]))),
        "whenever it runs",
    )
    onehot = node("OneHot", "x d v")
    deep = [scalar("d", 1 << 40), shape("v", 0, 1)]
    yield Case("folding: OneHot", written(model(graph([onehot], [*deep, shape("x", 3)]))), says)
    yield Case("folding: OneHot of an input", written(model(graph([onehot], deep))), "whenever it")
    for op in ("RandomNormal", "RandomUniform"):
        noise = node(op, "", shape=[1 << 20, 1 << 20])
        yield Case(f"folding: {op}", written(model(graph([noise]))), "whenever it runs")
    ends = [scalar("a", 0), scalar("b", 1 << 40), scalar("c", 1)]
    yield Case("folding: a range", written(model(graph([node("Range", "a b c")], ends))), says)
    tiny = [scalar("a", 0, "f"), scalar("b", 1, "f"), scalar("c", 1e-30, "f")]
    yield Case(
        "folding: a range of little steps",
        written(model(graph([node("Range", "a b c")], tiny))),
        says,
    )
    yield Case(
        "folding: a window",
        written(model(graph([node("HannWindow", "n")], [scalar("n", 1 << 40)]))),
        says,
    )
    for op in ("Expand", "Tile"):
        yield Case(
            f"folding: an input that becomes endless, {op}",
            written(model(graph([node(op, "x s")], [shape("s", 1 << 40)]))),
            "whenever it runs",
        )
    sparse = onnx.SparseTensorProto(
        values=weight(1, raw_data=bytes(4)), indices=shape("i", 0), dims=[1 << 40]
    )
    made = model(graph())
    made.graph.sparse_initializer.append(sparse)
    yield Case("folding: a sparse tensor", written(made), says)
    for name, indices in (("few", shape("i", 0, 1)), ("many", shape("i", *range(9)))):
        values = numpy_helper.from_array(np.ones(4, "float32"), "w")
        unlike = onnx.SparseTensorProto(values=values, indices=indices, dims=[9])
        made = model(graph())
        made.graph.sparse_initializer.append(unlike)
        yield Case(f"folding: too {name} indices", written(made), "4 values and")
    full = onnx.SparseTensorProto(
        values=numpy_helper.from_array(np.ones(4, "float32"), "w"),
        indices=shape("i", 0, 1, 2, 3),
        dims=[3],
    )
    made = model(graph())
    made.graph.sparse_initializer.append(full)
    yield Case("folding: more values than elements", written(made), "4 values for 3 elements")
    some = helper.make_function(
        "own",
        "F",
        ["x"],
        ["y"],
        [node("Constant", "", "s", value_ints=[1 << 20]), fill],
        OPSETS,
    )
    calls = [node("F", "x", f"y{number}", domain="own") for number in range(300)]
    yield Case(
        "folding: a function called often",
        written(
            model(graph(calls), functions=[some], opsets=[*OPSETS, helper.make_opsetid("own", 1)])
        ),
        says,
    )

    def far(folder: Path) -> Path:
        (folder / "w.bin").write_bytes(np.full(2, 1 << 14, "int64").tobytes())
        there = outside(("location", "w.bin"), dtype=TensorProto.INT64)
        there.dims[:] = [2]
        return written(model(graph([node("ConstantOfShape", "w")], [there])))(folder)

    yield Case("folding: a shape in another file", far, says)


def _moved() -> Iterator[Case]:
    """Yield a column of 50,000 that meets a row, by what made it one."""
    column, old = shape("s", 50_000, 1), [helper.make_opsetid("", 11)]
    ways = {
        "Unsqueeze": ([50_000], node("Unsqueeze", "v s", "c"), shape("s", 1)),
        "Unsqueeze, by an attribute": ([50_000], node("Unsqueeze", "v", "c", axes=[-1]), column),
        "Squeeze": ([1, 50_000, 1], node("Squeeze", "v s", "c"), shape("s", 0)),
        "Squeeze, by an attribute": ([50_000, 1, 1], node("Squeeze", "v", "c", axes=[1]), column),
        "Reshape": ([50_000], node("Reshape", "v s", "c"), shape("s", -1, 1)),
        "Reshape that copies": ([50_000, 1, 1], node("Reshape", "v s", "c"), shape("s", 0, -1)),
        "Flatten": ([50_000, 1, 1], node("Flatten", "v", "c"), column),
        "Transpose": ([1, 50_000], node("Transpose", "v", "c"), column),
        "Transpose, by an order": ([1, 50_000], node("Transpose", "v", "c", perm=[1, 0]), column),
    }
    for name, (sizes, made, told) in ways.items():
        weights = [
            numpy_helper.from_array(np.zeros(sizes, "float32"), "v"),
            numpy_helper.from_array(np.zeros(50_000, "float32"), "w"),
            told,
        ]
        opsets = old if "attribute" in name else OPSETS
        yield Case(
            f"folding: a column made by {name}",
            written(model(graph([made, node("Add", "c w")], weights), opsets=opsets)),
            "when it is opened",
        )


def function(name: str, *calls: str) -> onnx.FunctionProto:
    """Make a function of a domain ``own`` that calls others."""
    names = ["x", *(f"t{number}" for number in range(len(calls) - 1)), "y"]
    nodes = [
        node(op, names[at], names[at + 1], domain="own" if op[0] == "F" else "")
        for at, op in enumerate(calls)
    ]
    opsets = [*OPSETS, helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["x"], ["y"], nodes, opsets)


def calling(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    """Make a model that calls the function ``F0`` and holds these."""
    opsets = [*OPSETS, helper.make_opsetid("own", 1)]
    return model(graph([node("F0", domain="own")]), functions=list(functions), opsets=opsets)


def _functions() -> Iterator[Case]:
    bomb = [function(f"F{number}", f"F{number + 1}", f"F{number + 1}") for number in range(24)]
    yield Case(
        "function: doubled twenty-four times",
        written(calling(*bomb, function("F24", "Neg"))),
        "expand to more than 1,000,000 nodes",
    )
    yield Case("function: of itself", written(calling(function("F0", "F0"))), "calls itself")
    yield Case(
        "function: of each other",
        written(calling(function("F0", "F1"), function("F1", "F0"))),
        "calls itself",
    )
    chain = [function(f"F{number}", f"F{number + 1}") for number in range(5000)]
    for name, order in (("", chain), (", the last one first", chain[::-1])):
        yield Case(
            f"function: five thousand deep{name}",
            written(calling(*order, function("F5000", "Neg"))),
            "calls deep",
        )
    twice = [function("F0", "Neg"), function("F0", "Abs")]
    yield Case("function: defined twice", written(calling(*twice)), "defines the function `own.F0`")


def _forms() -> Iterator[Case]:
    sound = model(graph()).SerializeToString()
    yield Case("form: nothing", written(b""), "no graph")
    yield Case("form: the first field alone", written(sound[:2]), "no graph")
    yield Case("form: cut off", written(sound[:-3]), "goes on to byte")
    yield Case("form: a byte too much", written(sound + b"\0"), "no field has number 0")
    yield Case("form: words after the end", written(sound + b"and more"), "not an ONNX model")
    yield Case("form: two models", written(sound + sound), "there twice")
    graphs = field(7, graph().SerializeToString())
    yield Case("form: two graphs", written(sound + graphs), "there twice")
    unknown = field(99, bytes(70_000))
    yield Case("form: a field of another format", written(sound + unknown), "ONNX has not got")
    pieces = b"".join(field(number, bytes(1000)) for number in range(100, 170))
    yield Case("form: many fields of another format", raw(pieces), "ONNX has not got")
    yield Case("form: a number for a graph", written(field(1, 8) + field(7, 5)), "wire type 0")
    fixed = b"\x4d" + bytes(4)  # raw_data as a number of 32 bits
    tensor = field(1, 1) + field(2, 1) + fixed
    yield Case("form: a number for bytes", raw(field(5, tensor)), "`Tensor.raw_data` has wire type")
    for number, name in ((1, "input"), (3, "name"), (4, "op_type"), (7, "domain")):
        bad = field(1, field(number, b"a\xff"))
        yield Case(f"form: a node's {name} that is no text", raw(bad), "is not UTF-8")
    yield Case("form: a tensor's name that is no text", raw(field(5, field(8, b"\xff"))), "UTF-8")
    yield Case(
        "form: an endless name", raw(field(1, field(3, b"a" * 2_000_000))), "2,000,000 bytes"
    )
    inner = b""
    for _ in range(40):
        inner = field(1, field(4, b"If") + field(5, field(6, inner)))
    yield Case("form: graphs nested without end", raw(inner), "nest deeper than 100")
    kind = b""
    for _ in range(60):
        kind = field(4, field(1, kind))
    yield Case("form: types nested without end", raw(field(11, field(2, kind))), "nest deeper")
    for name, domain, version in (
        ("absurd", "", 9999),
        ("negative", "", -1),
        ("absurd, of machine learning", "ai.onnx.ml", 5000),
        ("absurd, of another domain", "acme", 1 << 40),
    ):
        made = model(graph(), opsets=[helper.make_opsetid(domain, version)])
        yield Case(f"form: an opset that is {name}", written(made), f"opset {version}")
    within = function("F0", "Neg")
    within.opset_import[0].version = 9999
    yield Case("form: an opset of a function", written(calling(within)), "opset 9999")
    high = 1 << 32  # a parser that reads tags as 32 bits sees the field below it
    led_out = outside(("location", "../secret.bin")).SerializeToString()
    for name, number, payload in (
        ("a node", 1, node("Foo", domain="com.acme").SerializeToString()),
        ("an initializer that leads out", 5, led_out),
        ("an output", 12, helper.make_tensor_value_info("z", 1, [4]).SerializeToString()),
    ):
        hidden = varint(number << 3 | 2 | high) + varint(len(payload)) + payload
        yield Case(f"form: {name} behind a tag of 33 bits", raw(hidden), "no field has number")
    longer = varint(10 << 3 | 2) + varint(high | 4) + b"abcd"
    yield Case("form: a length of 33 bits", raw(longer), "no field has 4294967300 bytes")
    future = model(graph())
    future.ir_version = 1_000_000
    yield Case("form: an IR version that is absurd", written(future), "IR version is 1000000")


def _domains() -> Iterator[Case]:
    foreign = node("Foo", domain="com.acme")
    opsets = [*OPSETS, helper.make_opsetid("com.acme", 1), helper.make_opsetid("own", 1)]
    says = "domain `com.acme`, `Foo`"
    yield Case("domain: foreign", written(model(graph([foreign]), opsets=opsets)), says)
    yield Case(
        "domain: foreign, in a sub-graph",
        written(model(branching(graph([foreign])), opsets=opsets)),
        says,
    )
    hidden = helper.make_function("own", "F", ["x"], ["y"], [foreign], opsets)
    yield Case(
        "domain: foreign, in a function",
        written(model(graph(), functions=[hidden], opsets=opsets)),
        says,
    )
    other = helper.make_function("com.acme", "Bar", ["x"], ["y"], [node("Neg")], opsets)
    yield Case(
        "domain: foreign, beside a function of the domain",
        written(model(graph([foreign]), functions=[other], opsets=opsets)),
        says,
    )
