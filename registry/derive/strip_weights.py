"""A model without its weights: taken out before a tool rewrites the graph, put back after it."""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.onnx_file.protos import graphs, nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

# Bytes; smaller tensors may be shapes and axes, whose values tools look at.
SMALL = 4096
LIMIT = (1 << 31) - (1 << 20)  # bytes of a protobuf message, less what the graph may yet need
_PLACE = "onnxzoo-weights"  # where tensors are said to lie that were taken out
_MARK = "onnxzoo-notes:"
_OUTSIDE = 1  # TensorProto.DataLocation


def read_skeleton(path: Path) -> "tuple[ModelProto, list[TensorProto]]":
    """Return a model in which every large tensor is a reference, and the tensors taken out.

    Small tensors are read in where they are external data: tools may need their values.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    taken: list[TensorProto] = []
    for tensor in list(tensors(model)):
        if _is_small(tensor):
            _bring_in(tensor, path.parent)
        elif tensor.data_type != onnx.TensorProto.STRING:
            kept = onnx.TensorProto()
            kept.CopyFrom(tensor)
            _refer(tensor, len(taken))
            taken.append(kept)
    bare = onnx.ModelProto()  # what a message no longer holds is freed with the message
    bare.CopyFrom(model)
    return bare, taken


def write_skeleton(model: "ModelProto", folder: Path) -> Path:
    """Write a model without its weights so that it can be checked, and return the file."""
    (folder / _PLACE).touch()
    (folder / "skeleton.onnx").write_bytes(model.SerializeToString())
    return folder / "skeleton.onnx"


def put_back(model: "ModelProto", taken: "Sequence[TensorProto]") -> None:
    """Give the tensors that were taken out back to a model, under the names they have there."""
    for tensor in tensors(model):
        entry = {item.key: item.value for item in tensor.external_data}
        if entry.get("location") == _PLACE:
            name = tensor.name
            tensor.CopyFrom(taken[int(entry["offset"])])
            tensor.name = name


def empty_taken(model: "ModelProto") -> None:
    """Make the removed tensors empty ones, for a tool that reads every tensor."""
    for tensor in tensors(model):
        entry = {item.key: item.value for item in tensor.external_data}
        if entry.get("location") == _PLACE:
            name, dtype = tensor.name, tensor.data_type
            tensor.Clear()
            tensor.name, tensor.data_type, tensor.doc_string = name, dtype, _MARK + entry["offset"]
            tensor.dims.append(0)


def fill_taken(
    model: "ModelProto",
    taken: "Sequence[TensorProto]",
    folder: Path,
    change: "Callable[[TensorProto, Any], bytes | None]",
) -> None:
    """Fill the tensors that `empty_taken` emptied, one by one, changed where a tool retyped them.

    Args:
        model: after the tool.
        taken: see `read_skeleton`.
        folder: of their external data.
        change: returns a tensor's new bytes, given it as it is now and its values before; None
            where it is as it was.
    """
    from onnx import numpy_helper

    for tensor in tensors(model):
        if not tensor.doc_string.startswith(_MARK) or list(tensor.dims) != [0]:
            continue
        origin = taken[int(tensor.doc_string.removeprefix(_MARK))]
        changed = change(tensor, numpy_helper.to_array(origin, str(folder)))
        name, dtype = tensor.name, tensor.data_type
        tensor.Clear()
        if changed is None:
            tensor.CopyFrom(origin)
            _bring_in(tensor, folder)
        else:
            tensor.data_type, tensor.raw_data = dtype, changed
            tensor.dims.extend(origin.dims)
            tensor.doc_string = origin.doc_string
        tensor.name = name


def write(model: "ModelProto", path: Path, *, limit: int = LIMIT) -> None:
    """Write a model as one file, or with its weights beside it where they are over the limit."""
    import onnx

    inline = sum(len(t.raw_data) or 8 * prod(t.dims) for t in tensors(model) if not _is_out(t))
    if inline <= limit:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        location=f"{path.name}.data",
        size_threshold=SMALL,
        convert_attribute=True,
    )


def copy_external(model: "ModelProto", source: Path, into: Path) -> None:
    """Copy the external data that a model names from its old folder to its new one."""
    from shutil import copyfile

    named = {
        item.value
        for tensor in tensors(model)
        if _is_out(tensor)
        for item in tensor.external_data
        if item.key == "location"
    }
    for location in sorted(named):
        (into / location).parent.mkdir(parents=True, exist_ok=True)
        copyfile(source / location, into / location)


def inline_functions(model: "ModelProto") -> "ModelProto":
    """Return a model with calls of its own functions inlined.

    Nodes of functions keep their metadata: the inliner drops it, but not their doc strings.
    """
    from onnx import inliner

    if not model.functions:
        return model
    fill_defaults(model)
    notes = []
    for node in nodes(model):
        if node.metadata_props:
            notes.append((node.doc_string, [(p.key, p.value) for p in node.metadata_props]))
            node.doc_string = f"{_MARK}{len(notes) - 1}"
    described = [value.name for value in model.graph.value_info]
    inlined = inliner.inline_local_functions(_typed(model), convert_version=True)
    kept = [value for value in inlined.graph.value_info if value.name in described]
    del inlined.graph.value_info[:]
    inlined.graph.value_info.extend(kept)
    for node in nodes(inlined):
        if node.doc_string.startswith(_MARK):
            node.doc_string, pairs = notes[int(node.doc_string.removeprefix(_MARK))]
            node.ClearField("metadata_props")
            for key, value in pairs:
                node.metadata_props.add(key=key, value=value)
    return inlined


def fill_defaults(model: "ModelProto") -> None:
    """Write the defaults of functions' attributes where they are called: the inliner drops them."""
    defaults = {
        (function.domain, function.name, function.overload): function.attribute_proto
        for function in model.functions
        if function.attribute_proto
    }
    for node in nodes(model) if defaults else ():
        given = {attribute.name for attribute in node.attribute}
        for default in defaults.get((node.domain, node.op_type, node.overload), ()):
            if default.name not in given:
                node.attribute.append(default)


def restore_metadata(before: "ModelProto", after: "ModelProto") -> None:
    """Restore metadata and value descriptions that onnx's version converter drops.

    A node is known by its name; where the converter put one of its own, by what it now makes.
    """
    after.metadata_props.clear()
    after.metadata_props.extend(before.metadata_props)
    _restore_graph(before.graph, after.graph)


def tensors(model: "ModelProto") -> "Iterator[TensorProto]":
    """Yield every tensor of a model: initialisers and attributes, sub-graphs and functions too."""
    for graph in graphs(model):
        yield from graph.initializer
    for node in nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _typed(model: "ModelProto") -> "ModelProto":
    """Return a model that says the type of each value.

    The inliner needs those of a function's arguments where it has another opset than the model,
    and does not look at initialisers: "Type unknown for w".
    """
    from onnx import helper, shape_inference

    typed = shape_inference.infer_shapes(model)
    known = {value.name for value in (*typed.graph.value_info, *typed.graph.input)}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            typed.graph.value_info.append(value)
    return typed


def _refer(tensor: "TensorProto", number: int) -> None:
    """Make a tensor a reference to the numbered one that was taken out."""
    from onnx import TensorProto

    name, dtype, dims = tensor.name, tensor.data_type, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type = name, dtype
    tensor.dims.extend(dims)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=_PLACE)
    tensor.external_data.add(key="offset", value=str(number))


def _is_out(tensor: "TensorProto") -> bool:
    return bool(tensor.data_location == _OUTSIDE)


def _is_small(tensor: "TensorProto") -> bool:
    if not _is_out(tensor):
        return len(tensor.raw_data) <= SMALL and prod(tensor.dims) <= SMALL
    length = next((e.value for e in tensor.external_data if e.key == "length"), "")
    return length.isdecimal() and int(length) <= SMALL


def _bring_in(tensor: "TensorProto", folder: Path) -> None:
    from onnx.external_data_helper import load_external_data_for_tensor

    if _is_out(tensor):
        load_external_data_for_tensor(tensor, str(folder))
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def _restore_graph(before: "GraphProto", after: "GraphProto") -> None:
    for name in ("metadata_props", "quantization_annotation"):
        after.ClearField(name)
        getattr(after, name).extend(getattr(before, name))
    by_output = {node.output[0]: node for node in before.node if node.output}
    by_name = {node.name: node for node in before.node if node.name}
    for node in after.node:
        origin = by_name.get(node.name) or by_output.get(next(iter(node.output), ""))
        if origin is not None:
            _restore_node(origin, node)
    _restore_values(before, after)


def _restore_node(before: "NodeProto", after: "NodeProto") -> None:
    after.ClearField("metadata_props")
    after.metadata_props.extend(before.metadata_props)
    known = {attribute.name: attribute for attribute in before.attribute}
    for attribute in after.attribute:
        if attribute.HasField("g") and attribute.name in known:
            _restore_graph(known[attribute.name].g, attribute.g)


def _restore_values(before: "GraphProto", after: "GraphProto") -> None:
    """Describe each value as before; the converter adds shapes that it only inferred."""
    there = {name for node in after.node for name in node.output}
    after.ClearField("value_info")
    after.value_info.extend(value for value in before.value_info if value.name in there)
    for name in ("input", "output", "initializer"):
        known: dict[str, Any] = {item.name: item for item in getattr(before, name)}
        for item in getattr(after, name):
            origin = known.get(item.name)
            if origin is None:
                continue
            if name == "initializer":
                item.ClearField("metadata_props")
                item.metadata_props.extend(origin.metadata_props)
            else:
                item.CopyFrom(origin)
