"""onnxruntime sessions on models: opened here and nowhere else."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import InvalidModel, Refused, UsageError, ZooError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.onnx_file.dtypes import from_runtime
from onnxzoo.registry.runtime.builds import quiet_options, runtime
from onnxzoo.registry.runtime.providers import CPU, Provider, name_of, plugs, require_provider
from onnxzoo.registry.runtime.tensor_values import runner

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

# These compile a graph into a form of their own, which onnxruntime writes as EPContext nodes.
# Source: onnxruntime's documentation, "EP Context Design".
_COMPILERS = {
    "NvTensorRTRTXExecutionProvider",
    "OpenVINOExecutionProvider",
    "QNNExecutionProvider",
    "TensorrtExecutionProvider",
    "VitisAIExecutionProvider",
}


def open_session(
    path: Path,
    providers: Sequence[Provider],
    session_options: "SessionOptions | None" = None,
    *,
    strict: bool = True,
) -> "InferenceSession":
    """Open a session on an ONNX file.

    Args:
        path: the `.onnx` file; its external data lies where the graph names it.
        providers: execution providers with their options, as `wanted_providers` returns them.
        session_options: onnxruntime's own options; without them it logs nothing.
        strict: refuse a session that onnxruntime opened without one of the providers.

    Raises:
        Refused: if onnxruntime dropped a provider while opening.
        InvalidModel: if onnxruntime cannot open the model.
    """
    onnxruntime = runtime()
    options = session_options or quiet_options()
    try:
        session = _session(path, options, providers)
    except Refused:
        raise
    except Exception as error:
        raise InvalidModel(
            f"onnxruntime {onnxruntime.__version__} cannot open `{path}`: {_reason(error)}"
        ) from error
    if strict:
        require_provider(providers, session.get_providers())
    return session


def save_prepared(path: Path, graph: Path, weights: str, providers: Sequence[Provider]) -> None:
    """Open an ONNX file and save a faster one: a compiled form, or an optimised graph.

    A compiled form is the first provider's own; the graph is as onnxruntime optimised it for this
    machine.

    Args:
        path: the `.onnx` file.
        graph: the `.onnx` file to write.
        weights: the file beside it for tensors over 1 KiB, and for matrices as the kernels want
            them (prepacked), so that a session maps both instead of copying.
        providers: as `wanted_providers` returns them.

    Raises:
        Refused: if the provider compiled nothing, or the graph cannot be written.

    Source: onnxruntime, onnxruntime_session_options_config_keys.h.
    """
    options = quiet_options()
    entries = {
        "session.optimized_model_external_initializers_file_name": weights,
        "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
        "session.save_external_prepacked_constant_initializers": "1",
    }
    if compiles(providers):
        entries = {
            "ep.context_enable": "1",
            "ep.context_file_path": str(graph),
            "ep.context_embed_mode": "0",  # beside the graph: over 2 GB it would not fit into it
            "ep.context_model_external_initializers_file_name": weights,  # of what it left over
        }
    else:
        options.optimized_model_filepath = str(graph)
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    open_session(path, providers, options, strict=compiles(providers))
    if not graph.exists():
        raise Refused(f"`{name_of(providers[0])}` compiled no part of the model")


def open_prepared(
    graph: Path,
    providers: Sequence[Provider],
    session_options: "SessionOptions | None" = None,
    *,
    prepack: bool = True,
    strict: bool = True,
) -> "InferenceSession":
    """Open a session on the files of `save_prepared`.

    Args:
        graph: the graph's file.
        providers: as `wanted_providers` returns them.
        session_options: onnxruntime's own options; they come back as they were.
        prepack: arrange matrices as the kernels want them; without, opening is faster, running
            slower, and outputs may differ in the last bits.
        strict: see `open_session`.
    """
    if compiles(providers):  # what the provider left to the CPU is not optimised yet
        return open_session(graph, providers, session_options, strict=strict)
    onnxruntime = runtime()
    options = session_options or quiet_options()
    level = options.graph_optimization_level
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return open_session(graph, providers, options, strict=strict)
    finally:
        options.graph_optimization_level = level
        if not prepack and session_options is not None:  # onnxruntime warns of it
            options.add_session_config_entry("session.disable_prepacking", "0")


def compiles(providers: Sequence[Provider]) -> bool:
    """Tell whether the first of these providers has a compiled form of its own."""
    return bool(providers) and name_of(providers[0]) in _COMPILERS


def suits_prepared(options: "SessionOptions | None") -> bool:
    """Return whether a fully optimised graph matches these session options."""
    every = runtime().GraphOptimizationLevel.ORT_ENABLE_ALL
    return options is None or (
        options.graph_optimization_level == every and not options.optimized_model_filepath
    )


def runtime_build(providers: Sequence[Provider] = (CPU,)) -> str:
    """Return the key of prepared sessions: onnxruntime's build, and the providers' devices."""
    onnxruntime = runtime()
    build = f"{onnxruntime.__version__} {onnxruntime.get_build_info()}"
    others = [name for name in map(name_of, providers) if name != CPU]
    if not others:
        return build
    from onnxzoo.registry.runtime.provider_plugins import describe_devices

    return f"{build} {[describe_devices(name) for name in others]}"


def signature(session: "InferenceSession") -> tuple[list[Tensor], list[Tensor]]:
    """Return a session's inputs and outputs, in the words of `records.Tensor`."""
    return (
        [_tensor(value) for value in session.get_inputs()],
        [_tensor(value) for value in session.get_outputs()],
    )


def overridable(session: "InferenceSession") -> list[Tensor]:
    """Return the inputs that have a default: initialisers that are inputs too (IR 4 and up).

    Source: ONNX IR specification, "Graphs"; onnxruntime's `get_overridable_initializers`.
    """
    return [_tensor(value) for value in session.get_overridable_initializers()]


def infer(session: "InferenceSession", feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Run a session once and return its outputs by name.

    Args:
        session: an open session.
        feeds: by name an array, a list of arrays (a sequence), a dictionary (a map) or None (an
            empty optional). Arrays of types that NumPy lacks are ml_dtypes'.

    Returns:
        Values of the same kinds.

    Raises:
        UsageError: if an input has another shape or dtype than the model takes.
        Refused: if onnxruntime fails while it runs the model.
    """
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, runner(session, feeds)(), strict=True))
    except ZooError:
        raise
    except Exception as error:
        if type(error).__name__ in {"InvalidArgument", "ValueError"}:
            raise UsageError(f"the model does not take these inputs: {_reason(error)}") from error
        raise Refused(f"onnxruntime could not run the model: {_reason(error)}") from error


def runtime_version() -> str:
    """Return the version of the installed onnxruntime."""
    return str(runtime().__version__)


def options_with(threads: int | None) -> "SessionOptions | None":
    """Return session options with so many intra-op threads; None: the runtime's own choice."""
    if threads is None:
        return None
    options = quiet_options()
    options.intra_op_num_threads = threads
    return options


def _tensor(value: Any) -> Tensor:
    return Tensor(value.name, from_runtime(value.type), tuple(value.shape))


def _session(
    path: Path, options: "SessionOptions", providers: Sequence[Provider]
) -> "InferenceSession":
    onnxruntime = runtime()
    names = [name_of(provider) for provider in providers]
    devices = plugs(names)
    if not devices:
        return onnxruntime.InferenceSession(path, options, providers=list(providers))
    if not options.has_providers():  # options that come again have them, and refuse them twice
        for name, provider in zip(names, providers, strict=True):
            given = {} if isinstance(provider, str) else provider[1]
            settings = {str(key): str(value) for key, value in given.items()}
            if name in devices:
                options.add_provider_for_devices([devices[name]], settings)
            elif name != CPU:  # which is always there, last
                options.add_provider(name, settings)
    return onnxruntime.InferenceSession(path, options)


def _reason(error: Exception) -> str:
    """Return the first sentence of an onnxruntime error, without its prefix and source paths.

    >>> _reason(Exception("[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while "
    ... "running Add node. Name:'a' Status Message: /src/add.h:9 f(int) Sizes differ. Ask."))
    'the Add node `a`: Sizes differ'
    >>> _reason(Exception("running Add node. Name:'' Status Message: Sizes differ"))
    'the Add node: Sizes differ'
    """
    # "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from x failed:Protobuf parsing…"
    text = " ".join(str(error).split(" : ", 3)[-1].replace("\\n", " ").split())
    text = re.sub(r"^Load model from .*? failed: ?(This is an invalid model\. )?", "", text)
    text = re.sub(
        r"data type\. Actual: \((.*)\) , expected: \((.*)\)", r"data type \1; expected \2", text
    )
    where = ""
    if node := re.search(r"running (\S+) node\. Name:'(.*?)' Status Message: ", text):
        name = f" `{node[2]}`" if node[2] else ""
        where, text = f"the {node[1]} node{name}: ", text[node.end() :]
    text = re.sub(r"^\S*[/\\]\S+:\d+ (.*? was false\. |[^()]*\([^()]*\) )?", "", text)
    first = re.split(r"\.\s+(?=[A-Z])| Please fix ", text)[0].strip().rstrip(".")
    return f"{where}{first}" if first else type(error).__name__
