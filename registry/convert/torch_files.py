"""PyTorch's modules from files and factories: checkpoints, TorchScript, ExportedPrograms.

Source: PyTorch's documentation, "Serialization semantics".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxzoo.registry.convert.factory import made_by
from onnxzoo.registry.convert.job import Job
from onnxzoo.registry.convert.weights import is_safetensors
from onnxzoo.registry.errors import Refused, UsageError

_SHOWN = 200  # characters of each way in which a state dict does not fit


def load(job: Job) -> tuple[Any, Sequence[Any] | None]:
    """Return a module or program, and example inputs where it has some.

    Raises:
        UsageError: if what a factory makes is no module, or a file holds no state dict for it.
        Refused: if the state dict is of another module.
    """
    import torch

    if job.value is not None:
        return job.value, None
    if job.source is None:
        return _made(job)
    if job.format == "torchscript":
        return torch.jit.load(str(job.source), map_location="cpu"), None
    if job.format == "torch-pt2":
        program = torch.export.load(str(job.source))
        example = program.example_inputs
        return program, example and example[0]
    return _checkpoint(job, job.source)


def _made(job: Job) -> tuple[Any, Sequence[Any] | None]:
    import torch

    made = made_by(job)
    model, given = made if isinstance(made, tuple) else (made, None)
    if not (isinstance(model, torch.nn.Module) or is_program(model)):
        found = type(model).__name__
        raise UsageError(f"`{job.factory}` makes a `{found}`; expected a torch.nn.Module")
    return model, given


def _checkpoint(job: Job, source: Path) -> tuple[Any, Sequence[Any] | None]:
    import torch

    if is_safetensors(source):
        from safetensors.torch import load_file

        found: Any = load_file(source)
    else:
        found = torch.load(source, map_location="cpu", weights_only=not job.trust)
    if job.factory is None:
        if isinstance(found, torch.nn.Module):
            return found, None
        raise UsageError(
            f"`{source.name}` holds weights without a module",
            hint="say what makes the module: --factory module:function "
            '(in code: factory="module:function")',
        )
    module, given = _made(job)
    _fill(module, found, f"`{source.name}`", f"`{job.factory}`")
    return module, given


def _fill(module: Any, found: Any, source: str, factory: str) -> None:
    state = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(state, Mapping):
        raise UsageError(
            f"{source} holds a `{type(state).__name__}`; expected a state dict",
            hint="torch.save(module.state_dict(), FILE)",
        )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        unlike = [line.strip(" .\t") for line in str(error).splitlines()[1:]]
        shown = "; ".join(line[:_SHOWN] + "…" * (len(line) > _SHOWN) for line in unlike[:3])
        wrapped = all(str(key).startswith("module.") for key in state)
        raise Refused(
            f"{source} does not fit what {factory} makes: {shown or error}",
            hint="it is of a wrapped module: torch.save(module.module.state_dict(), FILE)"
            if wrapped
            else None,
        ) from error


def is_program(model: Any) -> bool:
    """Tell whether it is an ExportedProgram."""
    return hasattr(model, "graph_signature")
