"""Prepare a model for onnxruntime's quantizers, and clean up their results."""

from contextlib import chdir, suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.derive.single_precision import to_fp32
from onnxzoo.registry.derive.strip_weights import fill_defaults
from onnxzoo.registry.onnx_file.protos import graphs, nodes, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_ONE_FILE = 1_500_000_000  # bytes of weights that stay in the `.onnx`; protobuf ends at 2 GiB


def prepared(
    path: Path, folder: Path, *, opset: int | None, plain: bool = False, wide: bool = False
) -> Path:
    """Write a model to a folder, with functions inlined, nodes named, shapes inferred; optimised.

    Args:
        path: the model; the store's own file, which is only read.
        folder: for this and for files between.
        opset: to raise it to first, None to leave it.
        plain: leave its nodes as they are.
        wide: make it fp32 where it is fp16.

    Raises:
        Refused: if it cannot be raised.
    """
    import onnx
    from onnx import inliner

    model = onnx.load(path, load_external_data=False)
    if model.functions:
        fill_defaults(model)
        model = inliner.inline_local_functions(model)
    if opset is not None:
        model = _raised(model, opset)
    # Before IR version 4 weights had to be inputs too, which what is added here is not.
    model.ir_version = max(model.ir_version, 4)
    name_all(model)
    onnx.load_external_data_for_model(model, str(path.parent))
    if wide:
        model = to_fp32(model)
    saved = save(model, folder / "plain.onnx")
    if plain:
        return saved
    return _processed(saved, folder / "prepared.onnx", big=_weights(model) > _ONE_FILE) or saved


def name_all(model: "onnx.ModelProto") -> None:
    """Give every node a name of its own, and every graph one: quantizers tell them apart by it."""
    taken: set[str] = set()
    for place, inner in enumerate(graphs(model)):
        inner.name = inner.name or f"graph_{place}"
        for number, node in enumerate(inner.node):
            name = node.name or f"{node.op_type}_{number}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)


def save(model: "onnx.ModelProto", path: Path) -> Path:
    """Write a model; its weights go beside it where one file cannot hold them."""
    import onnx

    outside = _weights(model) > _ONE_FILE
    onnx.save(model, path, save_as_external_data=outside, location=f"{path.name}.data")
    return path


def finish(model: "onnx.ModelProto", parent: Path, path: Path) -> None:
    """Write a quantizer's model: sorted, without unused domains, checked.

    Args:
        model: what was made.
        parent: the file from which; its metadata is kept, and where it is not valid itself,
            what was made of it need not be.
        path: the file to write.

    Raises:
        Refused: if it is not a valid model, and its parent is.
    """
    import onnx

    _sort(model)
    used = {node.domain for node in nodes(model)}
    used |= {node.domain for function in model.functions for node in function.node}
    for opset in [opset for opset in model.opset_import if opset.domain not in used | {""}]:
        model.opset_import.remove(opset)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(parent, load_external_data=False).metadata_props)
    save(model, path)
    problem = _problem_of(path)
    if problem and not _problem_of(parent):
        raise Refused(f"what came out is not a valid model: {problem}")


def _problem_of(path: Path) -> str | None:
    """Return the finding of onnx's check without shape inference."""
    import onnx

    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        return " ".join(str(error).split())[:300]
    return None


def _raised(model: "onnx.ModelProto", opset: int) -> "onnx.ModelProto":
    from onnx import version_converter

    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise Refused(f"onnx cannot raise it to opset `{opset}`: {words}") from error


def _processed(path: Path, into: Path, *, big: bool) -> Path | None:
    """Run onnxruntime's pre-processing; None where no way of it works for this model.

    Its symbolic shape inference stops at many models (measured: three of four), or sympy is not
    there; without it the rest works.
    """
    from onnxruntime.quantization import shape_inference

    for skip in (False, True):
        # Where its inference of shapes stops, it leaves a file in the current folder.
        with suppress(Exception), chdir(into.parent):
            shape_inference.quant_pre_process(
                path.name,
                into.name,
                skip_symbolic_shape=skip,
                save_as_external_data=big,
                all_tensors_to_one_file=True,
                external_data_location=f"{into.name}.data",
            )
            return into
    return None


def _weights(model: "onnx.ModelProto") -> int:
    return sum(len(tensor.raw_data) for graph in graphs(model) for tensor in graph.initializer)


def _sort(model: "onnx.ModelProto") -> None:
    """Sort nodes topologically; onnxruntime's fp16 converter does not."""
    for inner in graphs(model):
        found = list(inner.node)
        makers = {name: number for number, node in enumerate(found) for name in node.output if name}
        needs = {
            number: [makers[name] for name in _read(node) if name in makers]
            for number, node in enumerate(found)
        }
        with suppress(CycleError):  # the check that follows says it
            order = list(TopologicalSorter(needs).static_order())
            del inner.node[:]
            inner.node.extend(found[number] for number in order)


def _read(node: "onnx.NodeProto") -> "Sequence[str]":
    inner = [name for graph in within([node]) for each in graph.node for name in each.input]
    return [*node.input, *inner]
