"""TensorFlow's SavedModels, GraphDefs and functions: loaded, run on seeded inputs, and frozen.

Source: TensorFlow's guides "Using the SavedModel format" and "Migrate: SavedModel"; the functions
that freeze are those that tf2onnx 1.17 calls.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onnxzoo.registry.convert.frameworks._inputs import feeds
from onnxzoo.registry.convert.frameworks.tensorflow_ports import (
    Loaded,
    Port,
    chosen,
    named,
    port_of,
    shaped,
)
from onnxzoo.registry.convert.interface import Job, Sample
from onnxzoo.registry.core.errors import NotFound, Refused, UsageError

SIGNATURE = "serving_default"
_SHOWN = 8  # names in a message
_WORDS = 200  # characters of TensorFlow's own message
_VARIABLES = {"VarHandleOp", "Variable", "VariableV2"}
_SILENT = {"NoOp", "Assert", "Const"}  # no outputs of a model


def of_saved_model(job: Job) -> Loaded:
    """Load a SavedModel by its meta graph alone, without its Python objects."""
    import tensorflow as tf

    tags = _tags(job)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        meta = _meta_graph(session, tags, job)
        signature = _signature(meta.signature_def, job)
        inputs = shaped(_ports(graph, signature.inputs), job)
        outputs = chosen(_ports(graph, signature.outputs), job.outputs)
        fetched = [port.tensor for port in outputs]

        def run(feed: Mapping[str, Any]) -> list[Any]:
            fed = {port.tensor: feed[port.name] for port in inputs}
            return list(session.run(fetched, fed))

        samples = list(sampled(inputs, run, job))
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [_node(p.tensor) for p in (*inputs, *outputs)]
        )
        frozen = _inlined(_with_shapes(frozen, inputs), inputs, outputs)
        return Loaded(inputs, outputs, samples, frozen, _tables(frozen, session))


def _meta_graph(session: Any, tags: Sequence[str], job: Job) -> Any:
    import tensorflow as tf

    try:
        return tf.compat.v1.saved_model.load(session, tags, str(job.source))
    except (ValueError, KeyError, OSError, tf.errors.OpError) as error:
        raise Refused(
            f"TensorFlow cannot load it: {_first_line(error)}",
            hint="a SavedModel is a whole folder: `variables` and `assets` lie beside its graph",
        ) from error


def _tags(job: Job) -> list[str]:
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    every = [sorted(meta.meta_info_def.tags) for meta in parse_saved_model(job.source).meta_graphs]
    if not every:
        raise UsageError(f"`{job.source and job.source.name}` holds no graph")
    return next((tags for tags in every if "serve" in tags), every[0])


def _signature(signatures: Mapping[str, Any], job: Job) -> Any:
    names = sorted(name for name in signatures if not name.startswith("__"))
    usual = SIGNATURE if SIGNATURE in names or len(names) != 1 else names[0]
    wanted = job.options.get("signature", usual)
    if wanted not in names:
        there = ", ".join(f"`{name}`" for name in names[:_SHOWN]) or "none"
        raise NotFound(
            f"the SavedModel has no signature `{wanted}`; it has {there}",
            hint=f"--option signature={names[0]}" if names else "save it with signatures=",
        )
    return signatures[wanted]


def _ports(graph: Any, infos: Mapping[str, Any]) -> list[Port]:
    found = []
    for name in sorted(infos):
        if infos[name].WhichOneof("encoding") != "name":
            raise UsageError(f"`{name}` is a sparse or ragged tensor, which ONNX has none of")
        found.append(port_of(graph.get_tensor_by_name(infos[name].name), name))
    return found


def of_graph_def(job: Job) -> Loaded:
    """Load a frozen graph; the user names its inputs and outputs."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(job.source and job.source.read_bytes())
    _check_named(graph, job)
    _check_frozen(graph, job)
    with tf.Graph().as_default() as whole:
        tf.import_graph_def(graph, name="")
    inputs = shaped([_port(whole, one.name) for one in job.inputs], job)
    outputs = [_port(whole, name) for name in job.outputs]
    graph = _with_shapes(graph, inputs)
    function = _function(graph, inputs, outputs)

    def run(feed: Mapping[str, Any]) -> list[Any]:
        return [one.numpy() for one in function(*(tf.constant(feed[p.name]) for p in inputs))]

    samples = list(sampled(inputs, run, job))
    return Loaded(inputs, outputs, samples, _inlined(graph, inputs, outputs))


def _check_named(graph: Any, job: Job) -> None:
    if job.inputs and job.outputs:
        return
    placeholders = [node for node in graph.node if node.op.startswith("Placeholder")]
    taken = {_node(name) for node in graph.node for name in node.input}
    ends = [n.name for n in graph.node if n.name not in taken and n.op not in _SILENT]
    ins = ", ".join(f"`{node.name}` ({_said(node)})" for node in placeholders[:_SHOWN]) or "none"
    outs = ", ".join(f"`{name}`" for name in ends[:_SHOWN]) or "none"
    first = [f"--input {node.name}" for node in placeholders[:_SHOWN]] or ["--input NAME"]
    last = [f"--output {name}" for name in ends[:_SHOWN]] or ["--output NAME"]
    raise UsageError(
        "a GraphDef does not say which of its tensors go in and come out; its placeholders are "
        f"{ins}; nothing takes what comes from {outs}",
        hint=" ".join([*first, *last]),
    )


def _said(node: Any) -> str:
    import tensorflow as tf

    dtype = tf.dtypes.as_dtype(node.attr["dtype"].type).name
    shape = node.attr["shape"].shape
    if shape.unknown_rank or "shape" not in node.attr:
        return f"{dtype}, no shape"
    return f"{dtype} {[d.size if d.size >= 0 else '?' for d in shape.dim]}".replace("'", "")


def _check_frozen(graph: Any, job: Job) -> None:
    """Raise where an output needs a placeholder that is not fed, or a variable."""
    nodes = {node.name: node for node in graph.node}
    fed = {_node(one.name) for one in job.inputs}
    ahead, seen = {_node(name) for name in job.outputs}, set(fed)
    while ahead:
        seen |= ahead
        ahead = {_node(t) for n in ahead if n in nodes for t in nodes[n].input} - seen
    if held := sorted(n for n in seen if n in nodes and nodes[n].op in _VARIABLES):
        raise UsageError(
            f"the graph is not frozen: `{held[0]}` is a variable without its value",
            hint="convert its SavedModel, or freeze it with its checkpoint first",
        )
    absent = [n for n in seen - fed if n in nodes and nodes[n].op == "Placeholder"]
    if absent:
        raise UsageError(
            f"the outputs need `{min(absent)}` too",
            hint=f"name it as an input: --input {min(absent)}",
        )


def _port(graph: Any, name: str) -> Port:
    tensor = name if ":" in name else f"{name}:0"
    try:
        return port_of(graph.get_tensor_by_name(tensor), name.removesuffix(":0"))
    except (KeyError, ValueError) as error:
        raise NotFound(
            f"the graph has no tensor `{name}`", hint="without --input it lists what it has"
        ) from error


def of_function(
    job: Job, call: Any, specs: Sequence[Any], names: Sequence[str] = (), holder: Any = None
) -> Loaded:
    """Trace a function that takes tensors of these specs, one by one.

    Args:
        job: what the user says.
        call: a function of tensors.
        specs: of its arguments; their names are the inputs'.
        names: of the outputs, where they are known.
        holder: what holds the variables and look-up tables; None: the function itself.
    """
    import tensorflow as tf
    from tf2onnx import tf_loader

    function = tf.function(call).get_concrete_function(*specs)
    inputs = [
        port_of(tensor, spec.name)
        for spec, tensor in zip(specs, function.inputs[: len(specs)], strict=True)
    ]
    structure = function.structured_outputs
    known = sorted(structure) if isinstance(structure, Mapping) else list(names)
    outputs = named(function.outputs, known, job)
    inputs = shaped(inputs, job)

    def run(feed: Mapping[str, Any]) -> list[Any]:
        found = function(*(tf.constant(feed[port.name]) for port in inputs))
        return [value.numpy() for value in tf.nest.flatten(found)]

    samples = list(sampled(inputs, run, job))
    frozen, tables = tf_loader.from_trackable(
        holder or call,
        function,
        [port.tensor for port in inputs],
        [port.tensor for port in outputs],
        large_model=False,
    )
    return Loaded(inputs, outputs, samples, frozen, tables)


def sampled(inputs: Sequence[Port], run: Any, job: Job) -> Iterator[Sample]:
    """Yield seeded inputs and the framework's outputs.

    Raises:
        UsageError: if it does not take them, and shapes were made up.
    """
    import numpy as np

    if job.given is not None:
        names = [port.name for port in inputs]
        feed = dict(zip(names, map(np.asarray, job.given), strict=True))
        yield Sample(feed, run(feed))
        return
    made_up = any(isinstance(a, str) for p in inputs for a in (p.shape or ())[1:])
    for feed in feeds([port.input for port in inputs], job):
        try:
            yield Sample(feed, run(feed))
        except Exception as error:
            if job.example is not None or not made_up:
                raise
            open_ones = next(p for p in inputs if any(isinstance(a, str) for a in p.shape or ()))
            axes = ",".join(map(str, open_ones.shape or ()))
            raise UsageError(
                f"TensorFlow does not take inputs of the made-up shape "
                f"{list(feed[open_ones.name].shape)}: {_first_line(error)}",
                hint=f"give sizes for open axes: --input {open_ones.name}={axes}; or --example",
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:_WORDS] or type(error).__name__


def _with_shapes(graph: Any, inputs: Sequence[Port]) -> Any:
    """Write the inputs' shapes into the placeholders."""
    shapes = {_node(port.tensor): port.shape for port in inputs}
    for node in graph.node:
        shape = shapes.get(node.name)
        if shape is not None and node.op.startswith("Placeholder"):
            proto = node.attr["shape"].shape
            proto.Clear()
            for axis in shape:
                proto.dim.add().size = axis if isinstance(axis, int) else -1
            node.attr.pop("_output_shapes", None)
    return graph


def _function(graph: Any, inputs: Sequence[Port], outputs: Sequence[Port]) -> Any:
    import tensorflow as tf

    v1 = tf.compat.v1
    whole = v1.wrap_function(lambda: v1.import_graph_def(graph, name=""), [])
    ins, outs = ([whole.graph.as_graph_element(p.tensor) for p in ps] for ps in (inputs, outputs))
    return whole.prune(ins, outs)


def _inlined(graph: Any, inputs: Sequence[Port], outputs: Sequence[Port]) -> Any:
    """Return a frozen graph without calls of functions, its loops still loops."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants
    from tf2onnx import tf_loader

    graph = convert_to_constants._run_inline_graph_optimization(  # noqa: SLF001
        _function(graph, inputs, outputs), lower_control_flow=False, aggressive_inlining=True
    )
    names = [[port.tensor for port in ports] for ports in (inputs, outputs)]
    with tf.Graph().as_default():
        tf.import_graph_def(graph, name="")
        return tf_loader.tf_optimize(*names, graph)


def _tables(graph: Any, session: Any) -> dict[bytes, Any]:
    """Return the keys and values of look-up tables by their names."""
    import tensorflow as tf
    from tensorflow.python.ops import lookup_ops
    from tf2onnx.tf_utils import get_hash_table_info

    found = {}
    for info in get_hash_table_info(graph):
        kinds = (info.key_dtype, info.val_dtype)
        handle = lookup_ops.hash_table_v2(*kinds, shared_name=info.shared_name)
        try:
            found[info.shared_name] = tuple(
                session.run(lookup_ops.lookup_table_export_v2(handle, *kinds))
            )
        except tf.errors.OpError:  # one that this graph's initializer does not fill
            continue
    return found


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
